"""What a study of super-net training found: figures of every level, effects of every factor, tables and picture."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from scipy.stats import wilcoxon
from seeds import mean_of, or_none

from sparsenas.drawing.style import DPI, INK, STRUCTURE, add_legend, legend_height, line_sample
from sparsenas.ranking import (
    kendall_tau,
    sparse_kendall_tau,
    surpass_random,
    top_mean,
    trivial_scores,
    truth_tau_spread,
)
from sparsenas.spaces import NONE, Genotype

#: Bin of sparse tau, in percent; and items that a search keeps.
WIDTH, KEPT = 0.1, 10
#: Bands of equal counts and similar size, within which tau is taken as well.
BANDS = 8
#: Level without a change, and factors by which the picture colours and marks.
BASELINE, COLOURED = "baseline", "tracked"
COLOURS = {False: "#0072b2", True: "#d55e00"}

#: Figures of which effects are given, and their digits.
CHANGED = {"tau": 3, "tau_by_loss": 3, "tau_in_bands": 3, "tau_without_none": 3, "shared_accuracy": 2}

Row = Mapping[str, float | None]


def study(
    super_nets: Sequence[Mapping[str, Any]],
    cells: Sequence[Genotype],
    truth: Sequence[float],
    population: ArrayLike,
    sizes: Mapping[str, Sequence[float]],
) -> dict[str, Any]:
    """All figures.

    Args:
        super_nets: Results of all runs.
        cells: Cells that were measured.
        truth: Their accuracies in percent.
        population: Those of the whole space.
        sizes: What cells cost, by name; ``parameters`` among them.
    """
    rows = []
    nothing = np.array([sum(c.primitive == NONE for _, kept in cell.cells for c in kept) for cell in cells])
    for level in dict.fromkeys(net["level"] for net in super_nets):
        group = [net for net in super_nets if net["level"] == level]
        seeds = [net_figures(net, truth, population) for net in group]
        for net, seed in zip(group, seeds, strict=True):
            seed["tau_in_bands"] = tau_in_bands(net["accuracy"], truth, sizes["parameters"])
            if nothing.any():
                full = nothing == 0
                seed["tau_without_none"] = or_none(kendall_tau, np.array(net["accuracy"])[full], np.array(truth)[full])
        row: dict[str, Any] = {"level": level, "seeds": seeds}
        row["mean"] = {name: mean_of([seed[name] for seed in seeds]) for name in seeds[0]}
        # averaged before ranking, as the released code of the study does; higher than the mean of tau over seeds
        together = np.mean([net["accuracy"] for net in group], axis=0)
        row["tau_of_mean_accuracy"] = or_none(kendall_tau, together, truth)
        row["sparse_tau_of_mean_accuracy"] = or_none(sparse_kendall_tau, together, truth, WIDTH)
        row["train_seconds_median"] = float(np.median([net["train_seconds"] for net in group]))
        rows.append(row)
    baselines = {
        name: figures(scores, truth, population) | {"tau_in_bands": tau_in_bands(scores, truth, sizes["parameters"])}
        for name, scores in trivial_scores(cells, sizes).items()
    }
    result = {"cells": len(cells), "cells_by_none": np.bincount(nothing).tolist(), "rows": rows}
    result |= {"baselines": baselines, "effects": effects(rows)}
    return result | {"shared_accuracy_by_none": {str(k): by_none(super_nets, nothing, k) for k in COLOURS}}


def tau_in_bands(scores: ArrayLike, truth: Sequence[float], parameters: Sequence[float]) -> float | None:
    """Mean tau within bands of similar size: what scores know beside size."""
    order = np.argsort(parameters, kind="stable")
    bands = np.array_split(order, BANDS)
    return mean_of([or_none(kendall_tau, np.asarray(scores)[band], np.asarray(truth)[band]) for band in bands])


def by_none(super_nets: Sequence[Mapping[str, Any]], nothing: NDArray[np.int64], tracked: bool) -> list[float | None]:
    """Mean shared accuracy, in percent, of the cells with so many ``none``; of super-nets that track, or do not."""
    group = [net["accuracy"] for net in super_nets if (COLOURED in net["level"].split("+")) == tracked]
    means = [np.array(group)[:, nothing == count] if group else np.empty(0) for count in range(nothing.max() + 1)]
    return [100 * float(values.mean()) if values.size else None for values in means]


def net_figures(net: Mapping[str, Any], truth: Sequence[float], population: ArrayLike) -> dict[str, float | None]:
    """What is reported of one super-net; accuracies in percent."""
    scores = np.array(net["accuracy"])
    found = {"shared_accuracy": 100 * float(scores.mean()), "shared_accuracy_sd": 100 * float(scores.std())}
    found |= figures(scores, truth, population)
    found["tau_by_loss"] = or_none(kendall_tau, -np.array(net["loss"]), truth)
    if net["snapshots"]:
        spread = or_none(truth_tau_spread, net["snapshots"], truth, len(net["snapshots"]))
        found |= {"tau_last_mean": spread and spread.mean, "tau_last_sd": spread and spread.std}
    return found


def figures(scores: ArrayLike, truth: Sequence[float], population: ArrayLike) -> dict[str, float | None]:
    """Figures of one ranking."""
    kept = min(KEPT, len(truth))
    return {
        "tau": or_none(kendall_tau, scores, truth),
        "sparse_tau": or_none(sparse_kendall_tau, scores, truth, WIDTH),
        f"p_surpass_random_{kept}": surpass_random(scores, truth, kept, population),
        f"top_{kept}_mean": top_mean(scores, truth, kept),
    }


def effects(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What every factor changes: levels with it against those that differ in it alone, seed by seed."""
    seeds = {row["level"]: row["seeds"] for row in rows}
    found = []
    for factor in dict.fromkeys(name for level in seeds for name in level.split("+") if name != BASELINE):
        pairs = [
            pair
            for level in seeds
            if factor in level.split("+")
            for pair in zip(seeds[level], seeds.get(without(level, factor), []), strict=False)
        ]
        if pairs:
            known = [figure for figure in CHANGED if figure in pairs[0][0]]
            found.append({"factor": factor} | {figure: change(pairs, figure) for figure in known})
    return found


def change(pairs: Sequence[tuple[Row, Row]], figure: str) -> dict[str, float] | None:
    """How a figure differs in pairs; those without it are left out, and ``None`` if none has it."""
    values = [(first[figure], second[figure]) for first, second in pairs]
    known = np.array([first - second for first, second in values if first is not None and second is not None])
    if not len(known):
        return None
    return {
        "pairs": len(known),
        "lower": int((known < 0).sum()),
        "mean": float(known.mean()),
        "lowest": float(known.min()),
        "highest": float(known.max()),
        "p": float(wilcoxon(known).pvalue) if known.any() else 1.0,
    }


def without(level: str, factor: str) -> str:
    """The level that lacks one factor of another."""
    return "+".join(name for name in level.split("+") if name != factor) or BASELINE


def tables(result: Mapping[str, Any]) -> str:
    """All tables, in Markdown."""
    found = [levels_table(result), effects_table(result)]
    if len(result["cells_by_none"]) > 1:
        found.append(none_table(result))
    return "\n\n".join(found)


def levels_table(result: Mapping[str, Any]) -> str:
    """A line for each level and each baseline: mean over seeds, and lowest and highest tau."""
    kept = min(KEPT, result["cells"])
    names = ["tau", "tau_by_loss", "sparse_tau", f"p_surpass_random_{kept}", f"top_{kept}_mean", "shared_accuracy"]
    heads = ["level", "tau", "lowest, highest", "tau by loss", "sparse tau", f"P(surpass random; {kept})"]
    heads += [f"mean of top {kept}", "shared accuracy"]
    if "tau_in_bands" in result["rows"][0]["mean"]:
        names.insert(1, "tau_in_bands")
        heads.insert(3, "tau in bands of size")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in result["rows"]:
        taus = [seed["tau"] for seed in row["seeds"] if seed["tau"] is not None]
        cells = [number(name, row["mean"].get(name)) for name in names]
        cells.insert(1, f"{min(taus):.3f}, {max(taus):.3f}" if taus else "")
        lines.append(f"| {row['level'].replace('+', ', ')} | " + " | ".join(cells) + " |")
    for name, baseline in result["baselines"].items():
        cells = [number(figure, baseline.get(figure)) for figure in names]
        cells.insert(1, "")
        lines.append(f"| *{name}* | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def effects_table(result: Mapping[str, Any]) -> str:
    """A line for each factor."""
    heads = ["factor"]
    changed = [figure for figure in CHANGED if any(figure in row for row in result["effects"])]
    for figure in changed:
        heads += [f"change of {figure.replace('_', ' ')}, mean (lowest, highest)", "lower in", "p"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in result["effects"]:
        cells = []
        for figure in changed:
            found, digits = row[figure], CHANGED[figure]
            cells += (
                ["", "", ""]
                if found is None
                else [
                    "{:+.{d}f} ({:+.{d}f}, {:+.{d}f})".format(
                        found["mean"], found["lowest"], found["highest"], d=digits
                    ),
                    f"{found['lower']} of {found['pairs']}",
                    f"{found['p']:.1g}",
                ]
            )
        lines.append(f"| {row['factor']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def none_table(result: Mapping[str, Any]) -> str:
    """Shared accuracy by the number of edges that keep ``none``."""
    counts = [count for count, cells in enumerate(result["cells_by_none"]) if cells]
    lines = ["| edges with `none` | " + " | ".join(map(str, counts)) + " |", "|---" * (1 + len(counts)) + "|"]
    lines.append("| cells | " + " | ".join(str(result["cells_by_none"][count]) for count in counts) + " |")
    for key, name in (("False", "batch statistics"), ("True", "running statistics")):
        values = [result["shared_accuracy_by_none"][key][count] for count in counts]
        lines.append(f"| {name} | " + " | ".join(number("accuracy", value) for value in values) + " |")
    return "\n".join(lines)


def draw(result: Mapping[str, Any]) -> Figure:
    """Tau of every super-net, a line for each level and each baseline."""
    rows = [
        (
            row["level"].replace("+", ", "),
            COLOURS[COLOURED in row["level"].split("+")],
            [s["tau"] for s in row["seeds"]],
        )
        for row in result["rows"]
    ]
    rows += [(name, INK, [baseline["tau"]]) for name, baseline in result["baselines"].items()]
    handles = [
        line_sample(COLOURS[False], "batch statistics"),
        line_sample(COLOURS[True], "running statistics"),
        line_sample(INK, "no training"),
    ]
    width, top, bottom = 6.4, 0.1, 0.45
    legend, panel = legend_height(len(handles), width), 0.22 * len(rows)
    height = top + panel + bottom + legend
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    axes = figure.add_axes((2.1 / width, (legend + bottom) / height, 4.1 / width, panel / height))
    for place, (_, colour, taus) in enumerate(rows):
        known = [tau for tau in taus if tau is not None]
        axes.plot(known, [place] * len(known), "o", color=colour, markersize=4.5, alpha=0.75, markeredgewidth=0)
    axes.axvline(0, color=STRUCTURE, linewidth=1)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows], size=7.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("tau with the published accuracy", size=8, color=INK)
    axes.tick_params(axis="x", labelsize=7.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    add_legend(figure, handles)
    return figure


def number(name: str, value: float | None) -> str:
    """A figure for people; accuracies in percent."""
    if value is None:
        return ""
    return f"{value:.2f}" if "mean" in name or "accuracy" in name else f"{value:.3f}"
