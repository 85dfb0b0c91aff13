"""Tables of the predictors of accuracy."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from scipy.stats import wilcoxon

from studies.common import Row
from studies.text import Floats, groups, markdown, probability, spread, values

#: Searches that guided ones are compared with, and the loop of AceNAS that others are.
AGAINST = ("random", "regularized evolution")
BASE = "AceNAS, squared error"


def of_part(rows: Sequence[Row], part: str) -> list[Row]:
    """Rows of a part of the study."""
    return [row for row in rows if row["part"] == part]


def ranked(rows: Sequence[Row], part: str) -> str:
    """Tau at every size; at the largest, other figures and seconds. Best first."""
    own = of_part(rows, part)
    sizes = sorted({int(row["size"]) for row in own})
    kinds = groups([{**row, "kind": f"{row['arm']}|{row['epoch']}"} for row in own], "kind")
    lines = {}
    for kind, of in kinds.items():
        name, epoch = kind.split("|")
        by_size = groups(of, "size")
        taus = [values(by_size.get(str(size), []), "tau") for size in sizes]
        last = next(
            (by_size[str(size)] for size in reversed(sizes) if len(values(by_size.get(str(size), []), "tau"))), []
        )
        if not last:
            continue
        figures = [spread(values(last, "ndcg_10"), 2), spread(values(last, "regret_10"), 2)]
        seconds = [
            f"{np.median(values(last, column)) * scale:.2f}"
            for column, scale in (("fit_seconds", 1), ("query_seconds", 1e3))
        ]
        line = [name, epoch, str(len(values(last, "tau"))), *(spread(found, 2) for found in taus), *figures, *seconds]
        lines[kind] = float(values(last, "tau").mean()), line
    heads = [
        "predictor",
        "epochs",
        "seeds",
        *(f"n = {size}" for size in sizes),
        "NDCG@10",
        "regret@10",
        "fit, s",
        "query, ms",
    ]
    return markdown(heads, [line for _, line in sorted(lines.values(), key=lambda found: -found[0])])


def guided(rows: Sequence[Row]) -> str:
    """Regret after so many trainings, and its p-values against searches without a predictor, paired by seed."""
    own = of_part(rows, "guided")
    looks = sorted({int(name.partition("_")[2]) for name in own[0] if name.startswith("test_")})
    arms, lines = groups(own, "arm"), []
    heads = ["search", "seeds"]
    for look in looks:
        heads += [f"regret after {look}, median (mean)", *(f"p: {name}" for name in AGAINST)]
    for arm, of in arms.items():
        line = [arm, str(len(of))]
        for look in looks:
            regrets = values(of, f"regret_{look}")
            line.append(f"{np.median(regrets):.3f} ({regrets.mean():.3f})")
            line += [
                _p(regrets, values(arms[name], f"regret_{look}")) if arm not in AGAINST else "" for name in AGAINST
            ]
        lines.append([*line, spread(values(of, f"test_{looks[-1]}"), 2)])
    return markdown([*heads, f"test accuracy after {looks[-1]}, %"], lines)


def acenas(rows: Sequence[Row]) -> str:
    """AceNAS' loop with other losses: how well it ranks the best of all cells, paired by seed."""
    arms, lines = groups(of_part(rows, "acenas"), "arm"), []
    columns = {"ndcg_10": 3, "regret_10": 3, "regret": 3, "tau": 3}
    for arm, of in arms.items():
        line = [arm, str(len(of))]
        for column, digits in columns.items():
            own, other = values(of, column), values(arms[BASE], column)
            line.append(spread(own, digits))
            if column in ("ndcg_10", "regret_10"):
                line.append("" if arm == BASE else _p(own, other))
        lines.append([*line, f"{values(of, 'trained').mean():.0f}"])
    heads = ["ranker", "seeds", "NDCG@10", "p", "regret@10", "p", "regret of all trained", "tau", "cells trained"]
    return markdown(heads, lines)


def halving(rows: Sequence[Row]) -> str:
    """What halving finds, by the last value or by what is predicted; as many epochs of whole trainings beside it."""
    arms, lines = groups(of_part(rows, "halving"), "arm"), []
    for arm, of in arms.items():
        regrets = values(of, "regret")
        against = [
            "" if arm == name else _p(regrets, values(arms[name], "regret")) for name in ("random", "last value")
        ]
        trained = f"{values(of, 'trained').mean():.2f}"
        lines.append([arm, str(len(of)), f"{np.median(regrets):.3f} ({regrets.mean():.3f})", *against, trained])
    heads = ["compared by", "seeds", "regret, median (mean)", "p: random", "p: last value", "whole trainings"]
    return markdown(heads, lines)


def shared(rows: Sequence[Row], pool: str) -> str:
    """What is known of networks before they are trained, of a whole pool."""
    lines = [
        [arm, str(len(of)), spread(values(of, "tau"), 2), spread(values(of, "spearman"), 2)]
        for arm, of in groups(of_part(rows, f"shared_{pool}"), "arm").items()
    ]
    return markdown(["known", "super-nets", "tau", "Spearman"], lines)


def weak(rows: Sequence[Row], pool: str) -> str:
    """Rankers that learn weak labels first, at every size, and what a loop within the pool finds."""
    own, loops = of_part(rows, f"weak_{pool}"), groups(of_part(rows, f"loop_{pool}"), "arm")
    sizes, lines = sorted({int(row["size"]) for row in own}), []
    for arm, of in loops.items():
        by_size = groups([row for row in own if row["arm"] == arm], "size")
        taus = [spread(found, 2) if len(found := values(by_size.get(str(size), []), "tau")) else "" for size in sizes]
        regrets = values(of, "regret")
        p = "" if arm == "random" else _p(regrets, values(loops["random"], "regret"))
        line = [arm, str(len(of)), *taus, f"{np.median(regrets):.2f} ({regrets.mean():.2f})", p]
        lines.append([*line, f"{values(of, 'trained').mean():.0f}"])
    heads = ["ranker", "seeds", *(f"tau, n = {size}" for size in sizes), "regret of the loop, median (mean)"]
    return markdown([*heads, "p: random", "networks trained"], lines)


def _p(own: Floats, other: Floats) -> str:
    """Wilcoxon's test of pairs of seeds, with the sign of the change; empty where seeds differ."""
    if len(own) != len(other) or len(own) < 2:
        return ""
    change = own - other
    if not change.any():
        return "equal"
    return f"{'lower' if change.mean() < 0 else 'higher'}, {probability(float(wilcoxon(change).pvalue))}"


TABLES: dict[str, Callable[[Sequence[Row]], str]] = {
    **{part: partial(ranked, part=part) for part in ("nasbench201", "zero_cost", "darts_curves", "nasbench101")},
    "halving": halving,
    "pool_darts": partial(ranked, part="pool_darts"),
    **{f"shared_{pool}": partial(shared, pool=pool) for pool in ("darts", "stage")},
    **{f"weak_{pool}": partial(weak, pool=pool) for pool in ("darts", "stage")},
    "guided": guided,
    "acenas": acenas,
}
