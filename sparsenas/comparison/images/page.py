"""The report of a comparison on images as text."""

from collections.abc import Sequence

from sparsenas.comparison.images.contest import Entry, make_attacks
from sparsenas.comparison.images.outcomes import ImageReport, ImageRow, PairedTest
from sparsenas.comparison.records import processors_note

#: Fewer seeds have no interval and no t-test: one difference hardly tells its deviation.
FEWEST = 3
#: With fewer seeds, the page says what they cannot show.
FEW = 6
#: Columns of the table; those of attacks come after the fifth.
HEADS = ("network", "runs", "mean", "sd", "min", "parameters", "MACs", "ms", "seconds", "deciding", "epochs")
#: Largest deviation of an accuracy by the choice of test images, in points, from which on the page says so.
NOISY = 2
#: Seconds over the plan, as a share, from which on a run is named.
LATE = 0.1


def page(report: ImageReport) -> str:
    """Format the report: the table, the tests, and how to read them."""
    plan = report.plan
    attacked = [] if plan.attacks is None else list(make_attacks(plan.attacks, "attacks").named)
    lines = [
        f"# {plan.name}",
        "",
        f"Test accuracy in percent on {_images(report)}. Every network is as wide as a budget of {_budget(report)} "
        "allows, and all are trained by one recipe. "
        f"A run has {plan.seconds:g} processor seconds in one thread; deciding and searching "
        "count. All competitors of a seed have the same parts of the images.",
        "",
        _table(
            (*HEADS[:5], *attacked, *HEADS[5:], *(["Pareto"] if attacked else [])),
            [_cells(row, attacked) for row in report.rows],
        ),
    ]
    if attacked:
        lines += ["", _attack_notes(report)]
    if report.best_reference is not None and report.tests:
        lines += ["", f"## Against {report.best_reference}, the best reference", ""]
        heads = ("network", "seeds", "difference", "95 % interval", "p, t-test", "p, Wilcoxon")
        lines += [_table(heads, [_test_cells(test) for test in report.tests]), "", _notes(report)]
    lines += [f"\n{_origin(row, plan.entries[row.name])}" for row in report.rows if row.kind == "timm"]
    for row in report.rows:
        if row.impossible:
            count = f"{row.planned - row.runs} of {row.planned} runs" if row.runs else "no network"
            lines += ["", f"`{row.name}`: {count}, because {row.impossible}"]
    missing = [name for name in plan.entries if name not in {row.name for row in report.rows}]
    if missing:
        lines += ["", f"Without a finished run: {', '.join(missing)}."]
    diverged = [record for record in report.records if record.diverged]
    lines += [f"\n`{run.searcher}` with seed {run.seed} has diverged, and counts as chance." for run in diverged]
    late = [record for record in report.records if record.seconds > (1 + LATE) * plan.seconds]
    lines += [f"\n`{run.searcher}` with seed {run.seed} took {run.seconds:.1f} s." for run in late]
    if note := processors_note(report.records):
        lines += ["", note]
    return "\n".join(lines) + "\n"


def _images(report: ImageReport) -> str:
    """Name the test images, and say what chance does where they are few."""
    data = report.plan.data
    name = str(data["init_args"].get("path") or data["class_path"].rpartition(".")[2])
    tested = max((record.tested for record in report.records), default=0)
    if not tested:
        return name
    points = 100 * 0.5 / tested**0.5
    chance = f" (the same network would vary by {points:.0f} points on others)" if points >= NOISY else ""
    return f"{tested:,} images of {name}{chance}"


def _origin(row: ImageRow, entry: Entry) -> str:
    """Say what a network of timm has that others have not."""
    text = f"`{row.name}` is `{entry.options['model']}` of timm: its size is its own, and does not fill the budget."
    if row.pretrained:
        text += f" It began with the weights of `{entry.options['pretrained']}`; what made them does not count here."
    if (factor := entry.options["lr_factor"]) != 1:
        text += f" Its learning rate is that of the recipe times {factor:g}."
    return text


def _budget(report: ImageReport) -> str:
    limits = report.plan.limits
    kinds = ((limits.max_params, "parameters"), (limits.max_macs, "MACs"), (limits.max_latency_ms, "ms"))
    return " and ".join(f"{limit:,.12g} {unit}" for limit, unit in kinds if limit is not None)


def _notes(report: ImageReport) -> str:
    seeds = min(test.runs for test in report.tests)
    notes = (
        "Differences are paired by seed. The reference is the best of several on these seeds, which flatters it. The "
        "p-values are not corrected for their number."
    )
    if seeds < FEW:
        notes += (
            f" With {seeds} common seed{'s' if seeds > 1 else ''}, Wilcoxon's p cannot be below "
            f"{2 ** (1 - seeds):.2g}, and the interval trusts that differences are normal: use {FEW} seeds or more."
        )
    return notes


def _attack_notes(report: ImageReport) -> str:
    assert report.plan.attacks is not None  # else there is nothing to say
    attacks = "; ".join(f"`{n}` is {a}" for n, a in make_attacks(report.plan.attacks, "attacks").named.items())
    adversary = report.plan.training.get("adversary")
    return (
        f"Columns of attacks are mean accuracies under them: {attacks}. The networks were trained "
        f"{'on attacked images' if adversary else 'without attacks, and stronger attacks would succeed'}. `*` "
        "marks the Pareto set of accuracy, lowest accuracy under attack, parameters and MACs."
    )


def _cells(row: ImageRow, attacked: Sequence[str] = ()) -> list[str]:
    runs = str(row.runs) if row.runs == row.planned else f"{row.runs} of {row.planned}"
    if row.mean is None:
        return [_marked(row), runs, "impossible", *[""] * (8 + (len(attacked) + 1 if attacked else 0))]
    return [
        _marked(row),
        runs,
        f"{row.mean:.2f}",
        "" if row.sd is None else f"{row.sd:.2f}",
        f"{row.worst:.2f}",
        *(f"{row.under_attack[name]:.2f}" if name in row.under_attack else "" for name in attacked),
        f"{row.parameters:,.0f}",
        f"{row.macs:,.0f}",
        f"{row.milliseconds:.2f}",
        f"{row.seconds:.1f}",
        f"{row.deciding:.1f}",
        f"{row.epochs:.1f}",
        *(["" if row.dominated is not False else "*"] if attacked else []),
    ]


def _marked(row: ImageRow) -> str:
    """Name a competitor, and tell at once a network that is not ours."""
    mark = "" if row.kind != "timm" else " (timm, pretrained)" if row.pretrained else " (timm)"
    return f"{row.name}{mark}"


def _test_cells(test: PairedTest) -> list[str]:
    interval = "" if test.low is None or test.runs < FEWEST else f"{test.low:+.2f} to {test.high:+.2f}"
    p_t = "" if test.p_t is None or test.runs < FEWEST else f"{test.p_t:.3f}"
    return [test.name, str(test.runs), f"{test.difference:+.2f}", interval, p_t, f"{test.p_wilcoxon:.3f}"]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows))
