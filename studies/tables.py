"""Make every table of the studies' pages from their runs.

    python -m studies.tables [--check] [STUDY ...]

A table stands in ``studies/STUDY/README.md`` between ``<!-- table: NAME -->`` and ``<!-- end of table -->``. With
``--check`` nothing is written, and the exit code is 1 if a page differs from its runs.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import combine_pvalues, mannwhitneyu, wilcoxon

from studies.common import Row, read_runs
from studies.path_sampling import analysis as path_sampling
from studies.predictors import analysis as predictors
from studies.robust import analysis as robust
from studies.stage_space import analysis
from studies.text import Floats, groups, markdown, mean, number, probability, spread, values
from studies.tournament import analysis as tournament
from studies.tournament_tables import analysis as tournaments

FOLDER = Path(__file__).parent
MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end of table -->)", flags=re.DOTALL)


def compared(rows: Sequence[Row], against: Sequence[str], uncapped: bool = False) -> str:
    """Searchers and, in italics, baselines that cost nothing: mean percentile among the feasible under each cap.

    ``p`` is two-sided and over all caps: of Wilcoxon's signed-rank test of the runs' means against the number of a
    baseline, of Mann and Whitney's test against the runs of a searcher.
    """
    caps = groups(rows, "cap")
    runs = {name: run_means(of) for name, of in groups(rows, "searcher").items()}
    heads = ["searcher", "runs", *(["accuracy, no cap (worst)"] if uncapped else [])]
    heads += [f"{float(cap) / 1e6:.3g} M" if cap else "no cap" for cap in caps]
    heads += ["mean", "worst run", *(f"p: {name}" for name in against)]
    lines = []
    for name, of in groups(rows, "searcher").items():
        free = not of[0]["seed"]
        line = [f"*{name}*" if free else name, "" if free else str(len(runs[name]))]
        if uncapped:
            accuracies = values(groups(of, "cap")[""], "accuracy")
            line.append(mean(accuracies) + ("" if free else f" ({accuracies.min():.1f})"))
        line += [mean(values(part, "percentile")) for part in groups(of, "cap").values()]
        line += [mean(runs[name]), "" if free else number(float(runs[name].min()))]
        line += ["" if free or other == name else probability(test(runs[name], runs[other])) for other in against]
        lines.append(line)
    return markdown(heads, lines)


def run_means(rows: Sequence[Row], column: str = "percentile") -> Floats:
    """Mean over the caps of each run, rounded so that equal ones compare equal."""
    return np.array([round(float(values(of, column).mean()), 4) for of in groups(rows, "seed").values()])


def test(own: Floats, other: Floats) -> float:
    """Two-sided p-value against one number, or against other runs; 1 where nothing differs."""
    if len(other) == 1:
        change = np.round(own - other, 3)  # so that equal distances above and below are equal
        return float(wilcoxon(change).pvalue) if change.any() else 1.0
    return float(mannwhitneyu(own, other).pvalue) if np.ptp([*own, *other]) else 1.0


def cells(rows: Sequence[Row], against: str = "", seconds: Sequence[str] = ()) -> str:
    """Networks that were trained alike: accuracy on test images, in percent, and what it cost."""
    arms, lines = groups(rows, "arm"), []
    losses = any(row.get("val_loss") for row in rows)
    for name, of in arms.items():
        accuracies = 100 * values(of, "test_acc")
        line = [name, str(len(of)), spread(accuracies), f"{accuracies.min():.1f} to {accuracies.max():.1f}"]
        line += [f"{np.median(values(of, 'parameters')) / 1e3:.0f} k"]
        line += [f"{np.median(found):.0f}" if len(found := values(of, kind)) else "" for kind in seconds]
        line += [mean(values(of, "val_loss"), 3)] if losses else []
        if against:
            chance = 100 * values(arms[against], "test_acc")
            line += ["" if name == against else probability(float(mannwhitneyu(accuracies, chance).pvalue))]
        lines.append(line)
    heads = ["cells", "n", "test accuracy, %", "lowest to highest", "parameters, median"]
    heads += [f"{kind.replace('_', ' ')}, median" for kind in seconds]
    heads += ["validation loss"] if losses else []
    return markdown([*heads, *([f"p: {against}"] if against else [])], lines)


#: Columns of super-nets, and their digits.
SUPERNET = {"tau": 3, "tau_by_loss": 3, "tau_in_bands": 3, "tau_without_none": 3, "shared_accuracy": 1}


def supernets(rows: Sequence[Row]) -> str:
    """Means over the seeds of each level, and, in italics, rankings of the same cells without training."""
    known = [name for name in SUPERNET if len(values(rows, name))]
    heads = ["level", "lowest and highest tau", *(name.replace("_", " ") for name in known)]
    lines, several = [], len(groups(rows, "set")) > 2
    for of in (level for kind in groups(rows, "set").values() for level in groups(kind, "level").values()):
        kind = f" ({of[0]['set']})" if several and of[0]["set"] else ""
        name, taus = of[0]["level"].replace("+", ", ") + kind, values(of, "tau")
        extremes = f"{taus.min():.3f}, {taus.max():.3f}" if of[0]["seed"] else ""
        found = [mean(values(of, column), SUPERNET[column]) for column in known]
        lines.append([name if of[0]["seed"] else f"*{name}*", extremes, *found])
    return markdown(heads, lines)


def effects(rows: Sequence[Row]) -> str:
    """What a factor changes, in pairs of super-nets of one set and seed that differ in nothing else."""
    nets = {(row["set"], frozenset(row["level"].split("+")) - {"baseline"}, row["seed"]): row for row in rows}
    factors = dict.fromkeys((row["set"], name) for row in rows for name in row["level"].split("+") if row["seed"])
    heads, lines = ["factor"], []
    known = [name for name in SUPERNET if len(values(rows, name))]
    for column in known:
        heads += [f"change of {column.replace('_', ' ')}", "lower in", "p"]
    for kind, factor in factors:
        pairs = [
            (row, nets[kind, level - {factor}, seed])
            for (of, level, seed), row in nets.items()
            if of == kind and factor in level and (kind, level - {factor}, seed) in nets
        ]
        line = [f"{factor} ({kind})" if kind and len(groups(rows, "set")) > 2 else factor]
        for column in known:
            both = [(row, other) for row, other in pairs if row[column] and other[column]]
            change = np.array([float(row[column]) - float(other[column]) for row, other in both])
            line += (
                [
                    f"{change.mean():+.{SUPERNET[column]}f}",
                    f"{(change < 0).sum()} of {len(change)}",
                    probability(float(wilcoxon(change).pvalue)),
                ]
                if len(change)
                else [""] * 3
            )
        if pairs:
            lines.append(line)
    return markdown(heads, lines)


def snapshots(rows: Sequence[Row]) -> str:
    """Rankings of the 64 cells of the published table: tau in subsets, and true ranks of what is ranked first."""
    columns = {"tau": 3, "tau_without_pooling": 3, "tau_with_pooling": 3, "across": 3, "t1r": 1, "t3r": 1}
    lines = []
    for name, of in groups(rows, "ranking").items():
        found = [spread(values(of, column), digits) for column, digits in columns.items()]
        if of[0]["tau_sd"]:
            found[0] += f" ± {float(of[0]['tau_sd']):.3f}"
        lines.append([name, *found])
    heads = ["ranking", "tau, all 64", "27 without pooling", "37 with", "across", "T1R", "T3R"]
    return markdown(heads, lines)


def sharing(rows: Sequence[Row]) -> str:
    """Super-nets of 64 cells, by how weights are shared, published figures beside."""
    lines = []
    for name, of in groups(rows, "level").items():
        own, (published,) = of[:-1], of[-1:]
        line = [name, str(len(own))]
        for suffix in ("", "_without_pooling"):
            deviation = float(np.mean(values(own, f"tau_std{suffix}")))
            line.append(f"{mean(values(own, f'tau_mean{suffix}'), 3)} ± {deviation:.3f}")
        line.insert(3, f"{float(published['tau_mean']):.3f} ± {float(published['tau_std']):.3f}")
        lines.append([*line, mean(values(own, "tau_consensus_64"), 3), mean(values(own, "t1r_mean"))])
    heads = ["level", "seeds", "tau after each mini-batch", "published", "without pooling", "consensus of 64", "T1R"]
    return markdown(heads, lines)


def recency(rows: Sequence[Row]) -> str:
    """What a mini-batch does for the rank of the cell that it trained; p of several seeds by Fisher's method."""
    lines = []
    for name, of in groups(rows, "level").items():
        line = [name]
        for column, digits in (("last_trained_ranked_higher", 2), ("last_trained_ranks_gained", 1)):
            found = values(of, f"{column}_p")
            if len(found):
                line += [mean(values(of, column), digits), probability(float(combine_pvalues(found).pvalue))]
        if len(line) > 1:
            lines.append(line)
    return markdown(["order", "ranked higher than on average", "p", "ranks gained", "p"], lines)


def fine_tuning(rows: Sequence[Row]) -> str:
    """Tau after so many mini-batches of every cell alone."""
    counts = ("0", "1", "2", "5", "10", "20")
    kinds = {"weights": "all weights", "statistics": "batch-norm statistics only"}
    lines = [
        [name, *(mean(values(rows, f"tau_fine_tuned_{kind}_{count}"), 3) for count in counts)]
        for kind, name in kinds.items()
    ]
    return markdown(["mini-batches", *counts], lines)


#: The tables of every study by the names of their markers.
TABLES: dict[str, dict[str, Callable[[Sequence[Row]], str]]] = {
    "nasbench201": {"searchers": partial(compared, against=["random cell", "most parameters"], uncapped=True)},
    "shared_weights_nasbench_macro": {"arms": partial(compared, against=["most parameters", "paired_losses"])},
    "one_stage_quality": {"runs": partial(cells, against="random cells", seconds=["seconds"])},
    "two_stage_search_quality": {"cells": partial(cells, against="random cells", seconds=["search_seconds"])},
    "capped_quality": {"cells": partial(cells, against="random cells")},
    "path_sampling": path_sampling.TABLES,
    "predictors": predictors.TABLES,
    "quickstart": {"runs": cells},
    "robust": robust.TABLES,
    "stage_space": {
        "competitors": analysis.competitors,
        "variance": analysis.variance,
        "decisions": analysis.decisions,
        "early": analysis.early,
    },
    "tournament_tables": {
        "cells": tournaments.cells,
        "caps": tournaments.caps,
        "macro": tournaments.macro,
        "short": tournaments.short,
        "governor": tournaments.governor,
        "expected": tournaments.expected,
    },
    "supernet_nasbench201": {"levels": supernets, "effects": effects},
    "supernet_nasbench_macro": {"levels": supernets},
    "tournament": {
        "competitors": tournament.competitors,
        "longest": tournament.longest,
        "predicted": tournament.predicted,
        "hindsight": tournament.hindsight,
        "early": tournament.early,
        "lengths": tournament.lengths,
        "priors": tournament.priors,
    },
    "weight_sharing_64": {"rankings": snapshots},
    "weight_sharing_trained": {"levels": sharing, "recency": recency, "fine-tuning": fine_tuning},
}


def page(study: str) -> tuple[str, str]:
    """The page of a study as it is, and with its tables made from its runs."""
    text = (FOLDER / study / "README.md").read_text(encoding="utf-8")
    rows, tables = read_runs(FOLDER / study / "runs.csv.gz"), TABLES[study]
    marked = [name for _, name, _ in MARKED.findall(text)]
    if sorted(marked) != sorted(tables):
        raise ValueError(f"{study}/README.md has the tables {marked}, but there are {list(tables)}")
    return text, MARKED.sub(lambda match: f"{match[1]}{tables[match[2]](rows)}\n{match[3]}", text)


def main(args: Sequence[str] | None = None) -> int:
    """Write the tables of some studies, or of all."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("studies", nargs="*", metavar="STUDY", help="all, if none is named")
    made.add_argument("--check", action="store_true", help="write nothing; fail if a page differs from its runs")
    options = made.parse_args(args)
    differing = []
    for study in options.studies or TABLES:
        before, after = page(study)
        if before != after:
            differing.append(study)
            if not options.check:
                (FOLDER / study / "README.md").write_text(after, encoding="utf-8")
    if differing:
        print(f"{'differ from their runs' if options.check else 'written'}: {', '.join(differing)}")
    return int(options.check and bool(differing))


if __name__ == "__main__":
    sys.exit(main())
