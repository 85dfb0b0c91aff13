"""A ranking of predictors as a picture: the best for each budget, and what tau costs."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

from sparsenas.comparison.looks import look, set_title
from sparsenas.comparison.predictors.predictor_report import PredictorRow, best_by_regime, pareto_front
from sparsenas.drawing.style import DPI, INK, STRUCTURE, add_legend, legend_height, line_sample

# Inches.
_WIDTH, _HEIGHT = 11.0, 5.2
#: Share of the colour of a family behind text.
_PALE = 0.22


def draw_predictors(rows: Sequence[PredictorRow]) -> Figure:
    """Draw the best predictor of each budget, and the Pareto front of tau against epochs of training.

    Left: for at most so many networks to learn from, and epochs of each network that is scored, the predictor of
    highest mean tau. Right: every predictor at every size and look; those on the front are named. Colours are families.
    The figure has no window or pyplot state.
    """
    if not any(row.means for row in rows):
        figure = Figure(figsize=(_WIDTH, 1), dpi=DPI, facecolor="white")
        figure.text(0.5, 0.5, "no predictor has a ranking", ha="center", va="center", color=INK)
        return figure
    families = list(dict.fromkeys(row.family for row in rows))
    colours = {family: look(number)[0] for number, family in enumerate(families)}
    handles = [line_sample(colour, family.replace("_", " "), "solid") for family, colour in colours.items()]
    legend = legend_height(len(handles), _WIDTH)
    figure = Figure(figsize=(_WIDTH, _HEIGHT + legend), dpi=DPI, facecolor="white", layout="constrained")
    layout = figure.get_layout_engine()
    assert isinstance(layout, ConstrainedLayoutEngine)
    share = legend / (_HEIGHT + legend)
    layout.set(rect=(0, share, 1, 1 - share), wspace=0.06)
    left, right = figure.subplots(1, 2, width_ratios=(5, 6))
    for axes in (left, right):
        axes.tick_params(labelsize=8.5, labelcolor=INK, color=STRUCTURE)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(STRUCTURE)
    add_legend(figure, handles)
    _draw_regimes(left, rows, colours)
    _draw_costs(right, rows, colours)
    return figure


def _draw_regimes(axes: Axes, rows: Sequence[PredictorRow], colours: dict[str, str]) -> None:
    best = best_by_regime(rows)
    sizes, epochs = (sorted({regime[part] for regime in best}) for part in (0, 1))
    for (size, epoch), (first, *others) in best.items():
        corner = epochs.index(epoch) - 0.5, sizes.index(size) - 0.5
        axes.add_patch(
            Rectangle(corner, 1, 1, facecolor=(colours[first.family], _PALE), edgecolor="white", linewidth=2)
        )
        also = f"\n(+{len(others)})" if others else ""
        text = f"{first.name.replace('_', ' ')}\n{first.tau:.2f}{also}"
        size_of_text = 7.5 if len(epochs) <= 3 else 6.0
        axes.text(corner[0] + 0.5, corner[1] + 0.5, text, ha="center", va="center", size=size_of_text, color=INK)
    axes.set_xlim(-0.5, len(epochs) - 0.5)
    axes.set_ylim(-0.5, len(sizes) - 0.5)
    axes.set_xticks(range(len(epochs)), [str(epoch) for epoch in epochs])
    axes.set_yticks(range(len(sizes)), [str(size) for size in sizes])
    axes.set_xlabel("epochs of each network that is scored, at most", size=9, color=INK)
    axes.set_ylabel("networks trained to learn from, at most", size=9, color=INK)
    set_title(axes, "Highest mean tau within a budget (+ not told apart)")


def _draw_costs(axes: Axes, rows: Sequence[PredictorRow], colours: dict[str, str]) -> None:
    ranked = [row for row in rows if row.means]
    front = pareto_front(rows)
    costs = sorted({row.epochs for row in ranked if row.epochs})
    free = costs[0] / 2 if costs else 1.0  # where those stand that train nothing
    for row in ranked:
        axes.scatter(row.epochs or free, row.tau, s=16, color=colours[row.family], alpha=0.7, linewidth=0, zorder=3)
    places = [(row.epochs or free, row.tau) for row in front]
    if places:
        last = max([*costs, free])
        axes.step([x for x, _ in places] + [last], [y for _, y in places] + [places[-1][1]], where="post", color=INK)
    for (x, y), row in zip(places, front, strict=True):
        axes.annotate(
            row.name.replace("_", " "), (x, y), xytext=(3, 4), textcoords="offset points", size=7, color=INK, zorder=4
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.xaxis.set_minor_locator(NullLocator())
    if any(not row.epochs for row in ranked):
        axes.axvline(free * 1.3, color=STRUCTURE, linewidth=0.8, linestyle=(0, (2, 2)))
        axes.annotate(
            "no training",
            (free, 0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            size=7,
            ha="center",
            style="italic",
            color=INK,
        )
    axes.set_xlabel("epochs of training in all, to rank the networks of the test", size=9, color=INK)
    axes.set_ylabel("Kendall's tau, mean of the seeds", size=9, color=INK)
    set_title(axes, "Tau against cost, and the Pareto front")
