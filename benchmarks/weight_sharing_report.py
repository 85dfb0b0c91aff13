"""What a study of weight sharing found: figures of every level, tables and picture."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import combine_pvalues
from seeds import mean_of, or_none

from sparsenas.drawing.style import DPI, INK, STRUCTURE, add_legend, legend_height, line_sample
from sparsenas.ranking import consensus_rank, kendall_tau, stability, top_rank, truth_taus

NAME = "weight_sharing_trained"
#: Cells; each is trained once in a cycle.
CYCLE = 64
#: Levels of which all cells share one super-net.
SHARED = ("cyclic", "reshuffled")
#: Mini-batches of a cell alone, and the level that it starts from.
FINE_TUNING, FINE_TUNED = (0, 1, 2, 5, 10, 20), "reshuffled"
#: Snapshots that a consensus is over.
LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128)
PERMUTATIONS = 10_000
#: Published mean and deviation of tau over the last 64 mini-batches, ten instances; which order the first two have is
#: not said. Source of all published figures: Zhang et al., Deeper Insights into Weight Sharing (2020).
PUBLISHED_SPREADS: dict[str, tuple[float, float]] = {
    "cyclic": (0.4988, 0.1497),
    "reshuffled": (0.4988, 0.1497),
    "random_2": (0.4577, 0.1371),
    "similar_2": (0.3425, 0.1442),
    "random_4": (0.2736, 0.1340),
    "similar_4": (0.7075, 0.0702),
    "random_8": (0.2539, 0.1462),
    "similar_8": (0.6917, 0.0457),
    "random_16": (0.1658, 0.1255),
    "similar_16": (0.7200, 0.0411),
    "random_32": (0.2903, 0.1104),
    "similar_32": (0.7360, 0.0364),
    "alone": (0.8032, 0.0151),
}
#: Published figures of ten instances at their end; that of fine-tuning is given as "about".
PUBLISHED_ENDS: dict[str, dict[str, float]] = {
    "cyclic": {"tau_consensus_1": 0.4625, "tau_between_seeds": 0.3930},
    "reshuffled": {"tau_consensus_1": 0.5108, "tau_between_seeds": 0.4403, "tau_fine_tuned_weights_5": 0.8},
    "alone": {"tau_consensus_1": 0.7985, "tau_between_seeds": 0.7120},
}
#: Colours of the picture: all of a cell's weights move, or its batch-norm statistics alone.
WEIGHTS, STATISTICS = "#0072b2", "#d55e00"
DASHES = (0, (2.2, 1))
#: Left edge and width of its panels, in inches.
PANELS = ((0.95, 2.5), (4.0, 2.25))

Floats = NDArray[np.float64]


def study(super_nets: Sequence[Mapping[str, Any]], truth: Floats, free: NDArray[np.bool_]) -> dict[str, Any]:
    """All figures.

    Args:
        super_nets: Results of all runs.
        truth: Accuracies of the cells trained alone, in percent, shape ``(64,)``.
        free: Cells without pooling, shape ``(64,)``.
    """
    rows = []
    for level in dict.fromkeys(net["level"] for net in super_nets):
        group = [net for net in super_nets if net["level"] == level]
        seeds = [figures(net, truth, free) for net in group]
        row: dict[str, Any] = {"level": level, "seeds": seeds}
        row["mean"] = {name: over_seeds(name, [seed[name] for seed in seeds]) for name in seeds[0]}
        if len(group) > 1:
            between = or_none(stability, [net["snapshots"][-1] for net in group])
            row["mean"]["tau_between_seeds"] = between and between.mean
        row["published"] = dict(zip(("tau_mean", "tau_std"), PUBLISHED_SPREADS[level], strict=True))
        row["published"] |= PUBLISHED_ENDS.get(level, {})
        row["seconds_median"] = float(np.median([net["seconds"] for net in group]))
        rows.append(row)
    return {"rows": rows}


def figures(result: Mapping[str, Any], truth: Floats, free: NDArray[np.bool_]) -> dict[str, float | None]:
    """What is reported of one super-net; accuracies in percent."""
    snapshots = np.array(result["snapshots"])
    found: dict[str, float | None] = {"shared_accuracy": 100 * float(snapshots[-1].mean())}
    found["shared_accuracy_sd"] = 100 * float(snapshots[-1].std())
    for suffix, held in (("", np.ones_like(free)), ("_without_pooling", free)):
        taus = or_none(truth_taus, snapshots[:, held], truth[held])
        found[f"tau_mean{suffix}"] = None if taus is None else float(taus.mean())
        found[f"tau_std{suffix}"] = None if taus is None else float(taus.std())
        for length in (length for length in LENGTHS if length <= len(snapshots)):
            ranks = consensus_rank(snapshots[-length:, held])
            found[f"tau_consensus_{length}{suffix}"] = or_none(kendall_tau, -ranks, truth[held])
    for n in (1, 3):
        found[f"t{n}r_mean"] = float(np.mean([top_rank(snapshot, truth, n) for snapshot in snapshots]))
    if result["level"] in SHARED:
        found |= recency(snapshots, np.array(result["trained"]), np.random.default_rng(0))
    for name in ("weights", "statistics"):
        for number, scores in zip(FINE_TUNING, np.transpose(result.get(f"fine_tuned_{name}", [])), strict=False):
            found[f"tau_fine_tuned_{name}_{number}"] = or_none(kendall_tau, scores, truth)
    return found


def recency(snapshots: Floats, trained: NDArray[np.int64], rng: np.random.Generator) -> dict[str, float | None]:
    """Whether the cell that was trained last is ranked higher than it is on average, with permutation tests.

    Args:
        snapshots: Scores after every mini-batch, shape ``(N, R)``.
        trained: Cell which each of them trained, shape ``(N,)``.
        rng: Draws which cell was trained when, if that did not matter: permutations of ``trained``.
    """
    ranks = -np.stack([consensus_rank(snapshot[None]) for snapshot in snapshots])
    gains, best = ranks - ranks.mean(0), ranks == ranks.max(1, keepdims=True)
    times = np.arange(len(trained))
    draws = rng.permuted(np.tile(trained, (PERMUTATIONS, 1)), axis=1)
    higher, gained = gains[times, trained] > 0, gains[times, trained].mean()
    # the run itself is one of the orders that may have been drawn; the tolerance is for sums in another order
    p_higher = (1 + ((gains[times, draws] > 0).sum(1) >= higher.sum()).sum()) / (1 + PERMUTATIONS)
    p_gained = (1 + (gains[times, draws].mean(1) >= gained - 1e-9).sum()) / (1 + PERMUTATIONS)
    return {
        "last_trained_ranked_higher": float(higher.mean()),
        "last_trained_ranked_higher_p": float(p_higher),
        "last_trained_ranks_gained": float(gained),
        "last_trained_ranks_gained_p": float(p_gained),
        "last_trained_ranked_first": float(best[times, trained].mean()),
    }


def over_seeds(name: str, values: Sequence[float | None]) -> float | None:
    """Mean over the seeds, Fisher's combination of p-values; ``None`` if one has no value."""
    if None in values or not name.endswith("_p"):
        return mean_of(values)
    return float(combine_pvalues(values).pvalue)


def tables(result: Mapping[str, Any]) -> str:
    """All tables, in Markdown."""
    return f"{levels_table(result)}\n\n{recency_table(result)}\n\n{fine_tuning_table(result)}"


def levels_table(result: Mapping[str, Any]) -> str:
    """A line for each level, published figures beside."""
    heads = ["level", "tau after each mini-batch, mean ± sd", "published", "without pooling", "consensus of 64", "T1R"]
    heads += ["tau of two seeds", "published"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in result["rows"]:
        mean, published = row["mean"], row["published"]
        cells = [
            spread(mean["tau_mean"], mean["tau_std"]),
            spread(published["tau_mean"], published["tau_std"]),
            spread(mean["tau_mean_without_pooling"], mean["tau_std_without_pooling"]),
            number(mean.get("tau_consensus_64")),
            number(mean["t1r_mean"], 1),
            number(mean.get("tau_between_seeds")),
            number(published.get("tau_between_seeds")),
        ]
        lines.append(f"| {row['level']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def recency_table(result: Mapping[str, Any]) -> str:
    """What a mini-batch does for the rank of the cell that it trained; where all cells share one super-net."""
    heads = ["order", "ranked higher than on average", "p", "ranks gained", "p", "ranked first"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    names = ("ranked_higher", "ranked_higher_p", "ranks_gained", "ranks_gained_p", "ranked_first")
    for row in result["rows"]:
        if row["level"] in SHARED:
            found = [(name, row["mean"][f"last_trained_{name}"]) for name in names]
            cells = [probability(value) if name.endswith("_p") else number(value, 2) for name, value in found]
            lines.append(f"| {row['level']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def fine_tuning_table(result: Mapping[str, Any]) -> str:
    """Tau after so many mini-batches of every cell alone; empty without the level that is fine-tuned."""
    lines = [f"| mini-batches | {' | '.join(map(str, FINE_TUNING))} |", "|---" * (1 + len(FINE_TUNING)) + "|"]
    for name, taus in fine_tuned(result).items():
        lines.append(f"| {name} | " + " | ".join(number(tau) for tau in taus) + " |")
    return "\n".join(lines)


def fine_tuned(result: Mapping[str, Any]) -> dict[str, list[float | None]]:
    """Tau by mini-batches, of all weights of a cell and of batch-norm statistics alone."""
    means = [row["mean"] for row in result["rows"] if row["level"] == FINE_TUNED]
    kinds = {"all weights": "weights", "batch-norm statistics only": "statistics"}
    return {
        name: [means[0][f"tau_fine_tuned_{kind}_{number}"] for number in FINE_TUNING]
        for name, kind in kinds.items()
        if means
    }


def draw(result: Mapping[str, Any]) -> Figure:
    """Tau of every level beside the published one, and tau after fine-tuning."""
    rows = result["rows"]
    width, panel, bottom = 6.4, max(1.5, 0.2 * len(rows)), 0.5
    handles = [
        line_sample(WEIGHTS, "all weights"),
        line_sample(STATISTICS, "batch-norm statistics only"),
        line_sample(INK, "published", DASHES),
    ]
    legend = legend_height(len(handles), width)
    height = 0.35 + panel + bottom + legend
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    places = [(left / width, (legend + bottom) / height, size / width, panel / height) for left, size in PANELS]
    levels, tuning = (figure.add_axes(place) for place in places)
    for place, row in enumerate(rows):
        taus = [seed["tau_mean"] for seed in row["seeds"] if seed["tau_mean"] is not None]
        levels.plot(taus, [place] * len(taus), "o", color=WEIGHTS, markersize=4.5, alpha=0.75, markeredgewidth=0)
        published = row["published"]["tau_mean"]
        levels.plot([published] * 2, [place - 0.4, place + 0.4], color=INK, linestyle=DASHES, linewidth=1.4)
    levels.set_yticks(range(len(rows)), [row["level"] for row in rows])
    levels.set_ylim(len(rows) - 0.5, -0.5)
    for taus, colour in zip(fine_tuned(result).values(), (WEIGHTS, STATISTICS), strict=False):
        tuning.plot(FINE_TUNING, np.array(taus, float), "o-", color=colour, markersize=3.5)
    plain(levels, "How weights are shared", "tau with stand-alone accuracy")
    plain(tuning, "Fine-tuning each cell", "mini-batches of its own")
    add_legend(figure, handles)
    return figure


def plain(axes: Axes, title: str, across_label: str) -> None:
    """Axes in the manner of the package's pictures."""
    axes.set_title(title, loc="left", size=10, weight="bold", color=INK)
    axes.set_xlabel(across_label, size=8, color=INK)
    axes.tick_params(labelsize=7.5, color=STRUCTURE)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def spread(mean: float | None, deviation: float | None) -> str:
    """A mean and its deviation."""
    return "" if mean is None or deviation is None else f"{mean:.3f} ± {deviation:.3f}"


def number(value: float | None, digits: int = 3) -> str:
    """A figure for people; empty if there is none."""
    return "" if value is None else f"{value:.{digits}f}"


def probability(value: float | None) -> str:
    """A p-value for people."""
    return "< 0.0001" if value is not None and value < 0.0001 else number(value, 4)
