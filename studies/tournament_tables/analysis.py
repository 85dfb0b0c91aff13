"""Tables of the tournaments that published tables judge."""

from collections.abc import Mapping, Sequence

import numpy as np

from studies.common import Row
from studies.text import Floats, groups, markdown, mean, number, values

#: Data sets of NAS-Bench-201 by their columns.
DATA = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "ImageNet16-120": "ImageNet16-120"}
#: Fixed share of the epochs by the name of its arm.
FIXED = "share "


def with_error(numbers: Floats, digits: int = 1) -> str:
    """Mean and its standard error; the mean alone of one number."""
    if len(numbers) < 2:
        return mean(numbers, digits)
    return f"{mean(numbers, digits)} ± {number(float(numbers.std(ddof=1) / np.sqrt(len(numbers))), digits)}"


def of_part(rows: Sequence[Row], part: str) -> list[Row]:
    """Rows of a part of the study."""
    return [row for row in rows if row["part"] == part]


def by_seed(rows: Sequence[Row], column: str) -> Floats:
    """Mean over all caps for each seed."""
    return np.array([values(of, column).mean() for of in groups(rows, "seed").values()])


def cells(rows: Sequence[Row]) -> str:
    """NAS-Bench-201: mean percentile of winners over all caps, and the most epochs of a search and its winner."""
    lines = []
    for arm, of in groups(of_part(rows, "201"), "arm").items():
        line = [*_named(arm, of), f"{200 + values(of, 'spent').max():.0f}"]
        lines.append([*line, *(with_error(by_seed(of, column)) for column in DATA)])
    return markdown(["search", "seeds", "epochs in all", *DATA.values()], lines)


def caps(rows: Sequence[Row]) -> str:
    """NAS-Bench-201: mean percentile over the three data sets under each cap."""
    part, lines = of_part(rows, "201"), []
    for arm, of in groups(part, "arm").items():
        found = [np.mean([values(under, column).mean() for column in DATA]) for under in groups(of, "among").values()]
        lines.append([_named(arm, of)[0], *(number(float(value)) for value in found)])
    return markdown(["search", *groups(part, "among")], lines)


def macro(rows: Sequence[Row]) -> str:
    """NAS-Bench-Macro: mean percentile of winners under each cap and over all, and the mean accuracy."""
    part, lines = of_part(rows, "macro"), []
    for arm, of in groups(part, "arm").items():
        found = [mean(values(under, "percentile")) for under in groups(of, "among").values()]
        line = [*_named(arm, of), *found, with_error(by_seed(of, "percentile"))]
        lines.append([*line, mean(by_seed(of, "accuracy"), 2)])
    return markdown(["search", "seeds", *groups(part, "among"), "mean", "accuracy, %"], lines)


def short(rows: Sequence[Row]) -> str:
    """NAS-Bench-101: final accuracy, and the gain over whole trainings of equal epochs, in pairs of equal seeds."""
    part = of_part(rows, "101")
    arms = groups(part, "arm")
    places = [(among, total) for among in groups(part, "among") for total in groups(part, "total")]
    heads, lines = ["search"], []
    for among, total in places:
        heads += [f"{among}, {total} epochs", "gain"]
    for arm, of in arms.items():
        line = [arm]
        for among, total in places:
            own, whole = (_column(some, among, total, "accuracy") for some in (of, next(iter(arms.values()))))
            line += [mean(own, 2), _difference(own - whole) if (own != whole).any() else ""]
        lines.append(line)
    return markdown(heads, lines)


def governor(rows: Sequence[Row]) -> str:
    """The governor beside the best fixed share: the regret in points, and the share that each spends on searching."""
    arms = groups(of_part(rows, "governor"), "arm")
    weighing = ("Governor()", "measured")
    heads = ["among", "epochs", "best share", "its accuracy, %"]
    heads += [f"{head}{arm}" for arm in weighing for head in ("regret of ", "share of ")]
    lines = []
    for among, total in _places(rows):
        share, accuracy = _best(arms, among, total, "accuracy")
        line = [among, total, share, mean(accuracy, 2)]
        for arm in weighing:
            spent = _column(arms[arm], among, total, "spent").mean() / float(total)
            line += [_difference(accuracy - _column(arms[arm], among, total, "accuracy")), f"{spent:.2f}"]
        share, accuracy = _best(arms, among, total, "flat")
        line += [share, _difference(accuracy - _column(arms[weighing[0]], among, total, "flat"))]
        lines.append(line)
    return markdown([*heads, "best share, flat", "regret of Governor(), flat"], lines)


def expected(rows: Sequence[Row]) -> str:
    """Regret in points against the best fixed share, for each slope that a governor expects."""
    arms, places = groups(of_part(rows, "governor"), "arm"), _places(rows)
    lines = []
    for arm, of in arms.items():
        if not arm.startswith(FIXED):
            regret = [_best(arms, *place, "accuracy")[1] - _column(of, *place, "accuracy") for place in places]
            lines.append([arm, *(f"{part.mean():.2f}" for part in regret), f"{np.mean(regret):.2f}"])
    return markdown(["expects", *(f"{among}, {total}" for among, total in places), "mean"], lines)


def _named(arm: str, rows: Sequence[Row]) -> list[str]:
    """Name, in italics if it costs no search, and number of seeds."""
    return [arm, str(len(groups(rows, "seed")))] if rows[0]["seed"] else [f"*{arm}*", ""]


def _places(rows: Sequence[Row]) -> list[tuple[str, str]]:
    part = of_part(rows, "governor")
    return [(among, total) for among in groups(part, "among") for total in groups(part, "total")]


def _best(arms: Mapping[str, Sequence[Row]], among: str, total: str, column: str) -> tuple[str, Floats]:
    """The best fixed share and its numbers."""
    found = {arm: _column(of, among, total, column) for arm, of in arms.items() if arm.startswith(FIXED)}
    best = max(found, key=lambda arm: found[arm].mean())
    return best.removeprefix(FIXED), found[best]


def _column(rows: Sequence[Row], among: str, total: str, column: str) -> Floats:
    return values([row for row in rows if row["among"] == among and row["total"] == total], column)


def _difference(numbers: Floats) -> str:
    """Mean of differences and its standard error."""
    error = f" ± {numbers.std(ddof=1) / np.sqrt(len(numbers)):.2f}" if len(numbers) > 1 else ""
    return f"{numbers.mean():+.2f}{error}"
