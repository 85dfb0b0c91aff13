"""Tables of super-nets that were trained on other paths."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from scipy.stats import t, wilcoxon

from studies.common import Row
from studies.text import Floats, groups, markdown, mean, probability, values

HEADS = [
    "paths",
    "n",
    "tau [95 %]",
    "p",
    "tau in bands [95 %]",
    "p",
    "tau by accuracy",
    "tau with parameters",
    "bias",
    "percentile of the best (worst)",
    "updates of an architecture",
    "updates of a candidate",
    "their deviation, %",
]


def samplings(rows: Sequence[Row], benchmark: str) -> str:
    """Samplings on a benchmark; p is paired by seed with uniform paths."""
    own = [row for row in rows if row["benchmark"] == benchmark and not row["arm"].startswith("nao_")]
    return markdown(HEADS, _lines(own, "uniform"))


def restarts(rows: Sequence[Row]) -> str:
    """What begins anew with an iteration of NAO; p is paired by seed with ``carry``."""
    lines = []
    for benchmark, of in groups(rows, "benchmark").items():
        own = [row for row in of if row["arm"].startswith("nao_")]
        for line, found in zip(_lines(own, "nao_carry"), groups(own, "arm").values(), strict=True):
            lines.append([benchmark, *line, _with_worst(values(found, "found"))])
    return markdown(["benchmark", *HEADS, "percentile of what NAO finds (worst)"], lines)


def _lines(rows: Sequence[Row], against: str) -> list[list[str]]:
    arms, lines = groups(rows, "arm"), []
    for arm, of in arms.items():
        free = not of[0]["seed"]
        line = [f"*{arm}*" if free else arm.removeprefix("nao_"), "" if free else str(len(of))]
        for column in ("tau", "tau_in_bands"):
            line.append(_interval(values(of, column)))
            line.append("" if free or arm == against else _paired(of, arms[against], column))
        line += [mean(values(of, "tau_by_accuracy"), 2)]
        line += [mean(values(of, column), 2) for column in ("tau_with_parameters", "bias")]
        line.append(_with_worst(values(of, "percentile")))
        if free:
            line += [""] * 3
        else:
            line.append(f"{1 / values(of, 'paths/coverage').mean():.1f}")
            fewest, most = (values(of, f"paths/updates_{end}").mean() for end in ("min", "max"))
            line += [f"{fewest:.0f} to {most:.0f}", mean(100 * values(of, "paths/updates_cv"))]
        lines.append(line)
    return lines


def _interval(numbers: Floats) -> str:
    """Mean, and the interval in which it lies by Student's t if there are several."""
    if len(numbers) < 2:
        return mean(numbers, 2)
    half = float(t.ppf(0.975, len(numbers) - 1) * numbers.std(ddof=1) / np.sqrt(len(numbers)))
    return f"{numbers.mean():.2f} [{numbers.mean() - half:.2f}, {numbers.mean() + half:.2f}]"


def _paired(rows: Sequence[Row], others: Sequence[Row], column: str) -> str:
    by_seed = {row["seed"]: float(row[column]) for row in others}
    change = np.array([float(row[column]) - by_seed[row["seed"]] for row in rows])
    return probability(float(wilcoxon(change).pvalue)) if change.any() else "1"


def _with_worst(numbers: Floats) -> str:
    return mean(numbers, 0) + (f" ({numbers.min():.0f})" if len(numbers) > 1 else "")


TABLES: dict[str, Callable[[Sequence[Row]], str]] = {
    "nasbench201": partial(samplings, benchmark="nasbench201"),
    "nasbench_macro": partial(samplings, benchmark="nasbench_macro"),
    "restarts": restarts,
}
