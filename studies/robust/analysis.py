"""Tables of searches under adversarial training, and of what they found, under attack."""

from collections.abc import Callable, Sequence

from scipy.stats import mannwhitneyu

from studies.common import Row
from studies.text import groups, markdown, probability, spread, values

TRAINED, CHANCE = "trained: ", "trained: random cell"


def bounds(rows: Sequence[Row]) -> str:
    """Sizes, shares of operations without weights, and weights of the objectives in the last epoch."""
    heads = [
        "parameters",
        "searches",
        "expected in the end",
        "of the found cell",
        "pools and skips, normal",
        "reduction",
    ]
    lines = []
    for arm, of in groups([row for row in rows if not row["arm"].startswith(TRAINED)], "arm").items():
        line = [arm, str(len(of)), *(spread(values(of, name), 0) for name in ("expected", "parameters"))]
        line += [spread(100 * values(of, f"bare_{cell}"), 0) + " %" for cell in ("normal", "reduce")]
        line += [spread(values(of, name), 2) for name in ("loss", "resource")]
        lines.append(line)
    return markdown([*heads, "weight of the loss", "of the size"], lines)


def attacked(rows: Sequence[Row]) -> str:
    """Accuracies on test images, in percent; p of Mann and Whitney's test against random cells."""
    arms = groups([row for row in rows if row["arm"].startswith(TRAINED)], "arm")
    lines = []
    for arm, of in arms.items():
        line = [arm.removeprefix(TRAINED), str(len(of)), spread(values(of, "parameters"), 0)]
        line += [spread(100 * values(of, name)) for name in ("acc", "acc_fgsm", "acc_pgd_10", "acc_pgd_50")]
        own, chance = values(of, "acc_pgd_50"), values(arms[CHANCE], "acc_pgd_50")
        lines.append([*line, "" if arm == CHANCE else probability(float(mannwhitneyu(own, chance).pvalue))])
    return markdown(["network", "n", "parameters", "clean", "FGSM", "PGD-10", "PGD-50", "p, PGD-50"], lines)


TABLES: dict[str, Callable[[Sequence[Row]], str]] = {"bounds": bounds, "attacked": attacked}
