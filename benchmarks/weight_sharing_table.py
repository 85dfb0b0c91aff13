"""What 128 snapshots of one super-net tell about 64 cells, from the published table alone: no training.

    SPARSENAS_DATA=... python benchmarks/weight_sharing_table.py --out docs/studies

Compares with stand-alone accuracy (200 epochs of CIFAR-10, means over ten seeds): a stand-alone training of every cell,
drawn with the published mean and deviation; each snapshot of the shared accuracies; their consensus; and rankings that
cost nothing. All of it over all cells, among the 27 without pooling, among the others, and across the two. Prints the
tables of ``docs/studies/weight_sharing_64.md`` and writes ``weight_sharing_64.json`` and ``weight_sharing_64.png``,
within half a minute.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sparsenas.complexity import candidate_costs
from sparsenas.drawing import save_figure
from sparsenas.drawing.style import DPI, INK, STRUCTURE, add_legend, legend_height, line_sample
from sparsenas.errors import SparseNASError
from sparsenas.files import write_atomically
from sparsenas.networks import NormOptions, SuperNet
from sparsenas.ranking import consensus_rank, kendall_tau, stability, top_rank, trivial_scores, truth_taus
from sparsenas.tables import WeightSharing64Table

NAME = "weight_sharing_64"
TRUTH = ("cifar10", "test", 200)
#: Trainings of every cell are drawn in groups of as many as the publication compares.
GROUPS, RUNS = 30, 10
#: Length of the consensus, in snapshots; 64 is one cycle over all cells.
LENGTHS = (1, 2, 4, 8, 16, 32, 64, 96, 128)
CYCLE = 64
#: Published figures, over ten instances: tau with truth, ranks T1R and T3R, and tau of instances with each other.
#: Source: Zhang et al., Deeper Insights into Weight Sharing (2020).
PUBLISHED: dict[str, dict[str, tuple[float, ...]]] = {
    "one training": {"tau": (0.7985, 0.0257), "T1R": (4.80, 3.84), "T3R": (1.60, 0.92), "S": (0.7120, 0.6650, 0.8191)},
    "one super-net, last 64 mini-batches": {"tau": (0.4988, 0.1497)},
    "one super-net, last 10 epochs": {
        "tau": (0.5053, 0.1399),
        "T1R": (15.20, 6.98),
        "T3R": (13.20, 7.44),
        "S": (0.5310, 0.0918, 0.8752),
    },
    "ten super-nets, other seeds": {
        "tau": (0.4567, 0.1478),
        "T1R": (18.50, 1.20),
        "T3R": (17.60, 0.49),
        "S": (0.5415, 0.2471, 0.7977),
    },
    "ten super-nets, order reshuffled": {
        "tau": (0.5108, 0.0665),
        "T1R": (15.60, 8.48),
        "T3R": (11.20, 5.55),
        "S": (0.4403, 0.0764, 0.7163),
    },
}
#: Colours of the subsets in the figure, and dashes of the training that they are compared with.
COLOURS = {"all": "#0072b2", "no pooling": "#d55e00"}
DASHES = (0, (5, 1.6))

Floats = NDArray[np.float64]


def main(args: Sequence[str] | None = None) -> int:
    """Compute all figures, print the tables, write JSON and picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="existing folder of the two files")
    options = parser.parse_args(args)
    try:
        result = study(WeightSharing64Table())
        write_atomically(options.out / f"{NAME}.json", (json.dumps(result, indent=1) + "\n").encode())
        save_figure(draw(result), options.out / f"{NAME}.png")
    except SparseNASError as error:
        print(f"weight_sharing_table: error: {error}", file=sys.stderr)
        return 2
    print(rankings_table(result), published_table(result), sep="\n\n")
    return 0


def study(table: WeightSharing64Table) -> dict[str, Any]:
    """All figures of a table, rounded to four digits."""
    truth = table.accuracies(*TRUTH)
    free = np.array(["1" not in text for text in table.texts])
    subsets = {"all": np.ones_like(free), "no pooling": free, "pooling": ~free}
    runs = np.random.default_rng(0).normal(truth, table.deviations, (GROUPS, RUNS, len(truth)))
    costs = {"parameters": parameters(table)}
    scores: dict[str, Floats] = {
        "one training": runs.reshape(-1, len(truth)),
        "one snapshot": table.snapshots,
        "mean accuracy of all snapshots": table.snapshots.mean(0)[None],
    }
    scores |= {name: values[None] for name, values in trivial_scores(table, costs).items()}
    found: dict[str, Any] = {"steps": [int(table.steps[0]), int(table.steps[-1])], "trainings": GROUPS * RUNS}
    found["subsets"] = {
        name: subset_figures({of: rows[:, held] for of, rows in scores.items()}, truth[held], runs[..., held])
        for name, held in subsets.items()
    }
    ranked = scores | {"consensus of all snapshots": -consensus_rank(table.snapshots)[None]}
    found["across"] = {of: spread([across(row, free) for row in rows]) for of, rows in ranked.items()}
    found["repetition"] = repetition(table.snapshots)
    return found


def parameters(table: WeightSharing64Table) -> Floats:
    """Parameters of every cell's network, at the published size."""
    network = SuperNet(table.space, (3, 32, 32), 10, 16, 4, norms=NormOptions(affine=False, append="pools"))
    costs = candidate_costs(network)
    (of_candidates,) = costs.parameters
    kept = [table.space.support(genotype)[0] for genotype in table]
    return np.array([costs.base_parameters + sum(of_candidates[i] for i in indices) for indices in kept], float)


def subset_figures(scores: Mapping[str, Floats], truth: Floats, runs: Floats) -> dict[str, Any]:
    """Figures of some cells alone; ranks are among them."""
    snapshots = scores["one snapshot"]
    ranked = {**scores, "consensus of all snapshots": -consensus_rank(snapshots)[None]}
    groups = [stability(ten) for ten in runs]
    return {
        "cells": len(truth),
        "accuracy": [round(float(truth.min()), 2), round(float(truth.max()), 2)],
        # where a score is the same for all cells, as the edges without pooling are, it ranks nothing
        "rankings": {name: against(rows, truth) for name, rows in ranked.items() if np.ptp(rows, axis=1).all()},
        "stability": {
            "trainings": [round(float(np.mean(figures)), 4) for figures in zip(*groups, strict=True)],
            "snapshots": [round(figure, 4) for figure in stability(snapshots)],
        },
        "snapshot_taus": [round(float(tau), 4) for tau in truth_taus(snapshots, truth)],
        "consensus": {
            str(length): spread([kendall_tau(-ranks, truth) for ranks in moving_consensus(snapshots, length)])
            for length in LENGTHS
        },
    }


def against(rows: Floats, truth: Floats) -> dict[str, dict[str, float]]:
    """Tau and top ranks of rankings, shape ``(N, R)``."""
    return {
        "tau": spread(truth_taus(rows, truth)),
        "T1R": spread([top_rank(row, truth, 1) for row in rows]),
        "T3R": spread([top_rank(row, truth, 3) for row in rows]),
    }


def spread(values: Sequence[float] | Floats) -> dict[str, float]:
    """Mean, deviation and extremes."""
    figures = {"mean": np.mean(values), "std": np.std(values), "min": np.min(values), "max": np.max(values)}
    return {name: round(float(figure), 4) for name, figure in figures.items()}


def across(scores: Floats, free: NDArray[np.bool_]) -> float:
    """Pairs of a cell without and one with pooling: the share that puts the former first, minus the opposite one."""
    return float(np.sign(scores[free][:, None] - scores[~free]).mean())


def moving_consensus(snapshots: Floats, length: int) -> list[Floats]:
    """Mean ranks over every stretch of so many consecutive snapshots."""
    return [consensus_rank(snapshots[end - length : end]) for end in range(length, len(snapshots) + 1)]


def repetition(snapshots: Floats) -> dict[str, float]:
    """Correlation of a snapshot with one so many mini-batches later, by that number.

    Of what remains when every cell's and every snapshot's mean is taken off, so that neither better cells nor better
    moments count.
    """
    rest = snapshots - snapshots.mean(1, keepdims=True)
    rest -= rest.mean(0)
    lags = (1, 2, 4, 8, 16, 32, 48, CYCLE - 1, CYCLE, CYCLE + 1)
    return {str(lag): round(float(np.corrcoef(rest[:-lag].ravel(), rest[lag:].ravel())[0, 1]), 4) for lag in lags}


def rankings_table(result: Mapping[str, Any]) -> str:
    """Rankings beside each other, in Markdown."""
    lines = [
        "| ranking | all 64 | 27 without pooling | 37 with | across | T1R | T3R | T1R of the 27 |",
        "|---" * 8 + "|",
    ]
    subsets = result["subsets"]
    order = ("one training", "one snapshot", "mean accuracy of all snapshots", "consensus of all snapshots")
    for name in (*order, *(name for name in subsets["all"]["rankings"] if name not in order)):
        rows = {subset: subsets[subset]["rankings"].get(name) for subset in subsets}
        cells = [number(row and row["tau"]) for row in rows.values()] + [number(result["across"][name])]
        cells += [number(rows["all"][key], 1) for key in ("T1R", "T3R")]
        cells += [number(rows["no pooling"] and rows["no pooling"]["T1R"], 1)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def published_table(result: Mapping[str, Any]) -> str:
    """Figures of the table and published ones, in Markdown."""
    found = result["subsets"]["all"]
    lines = ["| | tau | T1R | T3R | S-Tau (lowest, highest) |", "|---" * 5 + "|"]
    for name, kind in (("one training", "trainings"), ("one snapshot", "snapshots")):
        mean, highest, lowest = found["stability"][kind]
        cells = [number(found["rankings"][name]["tau"])]
        cells += [number(found["rankings"][name][key], 1) for key in ("T1R", "T3R")]
        lines.append(f"| {name}, here | {' | '.join(cells)} | {mean:.3f} ({lowest:.3f}, {highest:.3f}) |")
    for name, row in PUBLISHED.items():
        cells = [
            number(dict(zip(("mean", "std"), row[key], strict=True)), digits) if key in row else ""
            for key, digits in (("tau", 3), ("T1R", 1), ("T3R", 1))
        ]
        three = "{:.3f} ({:.3f}, {:.3f})".format(*row["S"]) if "S" in row else ""
        lines.append(f"| {name}, published | {' | '.join(cells)} | {three} |")
    return "\n".join(lines)


def number(figure: Mapping[str, float] | None, digits: int = 3) -> str:
    """A figure and, where there are several, its deviation; empty if there is none."""
    if not figure:
        return ""
    deviation = f" ± {figure['std']:.{digits}f}" if figure["std"] else ""
    return f"{figure['mean']:.{digits}f}{deviation}"


def draw(result: Mapping[str, Any]) -> Figure:
    """Tau of single snapshots as histograms, and of the consensus by its length."""
    handles = [
        line_sample(COLOURS["all"], "all 64 cells"),
        line_sample(COLOURS["no pooling"], "27 without pooling"),
        line_sample(INK, "one training of each", DASHES),
    ]
    width, panel, bottom = 6.4, 1.7, 0.5
    legend = legend_height(len(handles), width)
    height = 0.35 + panel + bottom + legend
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    places = [(left / width, (legend + bottom) / height, 2.5 / width, panel / height) for left in (0.5, 3.78)]
    histogram, curve = (figure.add_axes(place) for place in places)
    for name, colour in COLOURS.items():
        subset = result["subsets"][name]
        histogram.hist(subset["snapshot_taus"], bins=np.linspace(-0.6, 0.8, 29), color=colour, alpha=0.6)
        lengths = [int(length) for length in subset["consensus"]]
        mean, lowest, highest = ([of[key] for of in subset["consensus"].values()] for key in ("mean", "min", "max"))
        curve.plot(lengths, mean, color=colour)
        curve.fill_between(lengths, lowest, highest, color=colour, alpha=0.18, linewidth=0)
        training = subset["rankings"]["one training"]["tau"]["mean"]
        histogram.axvline(training, color=colour, linestyle=DASHES, linewidth=1.4)
        curve.axhline(training, color=colour, linestyle=DASHES, linewidth=1.4)
    plain(histogram, "Single snapshots", "tau with stand-alone accuracy", "snapshots")
    plain(curve, "Consensus of snapshots", "consecutive snapshots", "tau with stand-alone accuracy")
    curve.set_xscale("log", base=2)
    shown = [length for length in LENGTHS if length != 96]
    curve.set_xticks(shown, [str(length) for length in shown])
    curve.minorticks_off()
    add_legend(figure, handles)
    return figure


def plain(axes: Axes, title: str, across_label: str, up_label: str) -> None:
    """Axes in the manner of the package's pictures."""
    axes.set_title(title, loc="left", size=10, weight="bold", color=INK)
    axes.set_xlabel(across_label, size=8, color=INK)
    axes.set_ylabel(up_label, size=8, color=INK)
    axes.tick_params(labelsize=8, labelcolor=INK, color=STRUCTURE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(STRUCTURE)


if __name__ == "__main__":
    sys.exit(main())
