"""Tables of the study: competitors, where the variance is, which decisions explain it, what short trainings tell."""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.stats import kendalltau, spearmanr
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sparsenas.spaces import Genotype
from sparsenas.spaces.stage import DEFAULT_TYPES, read_chain
from studies.common import Row
from studies.text import Floats, groups, markdown, mean, number, spread, values

#: Columns of validation accuracies within a training.
EARLY = ("1/8", "1/4", "1/2")
#: A decision is shown whose rank correlation has a smaller p-value, or that the LASSO keeps.
NOTABLE = 0.05
#: Networks that are no references.
OTHERS = {"random": "24 random networks", "darts": "4 random DARTS cells"}


def competitors(rows: Sequence[Row]) -> str:
    """Test accuracy of references, random networks and cells, the best first; one seed of each random network."""
    arms = {name: groups(first_seeds(of), "data") for name, of in groups(rows, "arm").items()}
    data = list(groups(rows, "data"))
    heads = [
        "network",
        *(f"{name}, % (runs)" for name in data),
        "lowest to highest",
        "parameters",
        "MACs",
        "ms",
        "epochs",
    ]
    lines = []
    for name, parts in sorted(arms.items(), key=lambda arm: -float(values(arm[1][data[0]], "accuracy").mean())):
        of = parts[data[0]]
        accuracies = values(of, "accuracy")
        found = [f"{spread(values(parts[d], 'accuracy'))} ({len(parts[d])})" if d in parts else "" for d in data]
        costs = [f"{np.mean(values(of, 'parameters')) / 1e3:.1f} k", f"{np.mean(values(of, 'macs')) / 1e6:.2f} M"]
        times = [mean(values(of, "milliseconds"), 2), mean(values(of, "epochs"), 0)]
        extremes = f"{accuracies.min():.1f} to {accuracies.max():.1f}"
        lines.append([OTHERS.get(name, name), *found, extremes, *costs, *times])
    return markdown(heads, lines)


def variance(rows: Sequence[Row]) -> str:
    """Deviations between networks and between seeds of one, of those with several seeds."""
    heads = ["data", "networks", "sd between networks", "sd between seeds", "sd of 24 random networks, one seed each"]
    lines = []
    for data, of in groups(rows, "data").items():
        drawn = [row for row in of if row["arm"] == "random"]
        runs = [values(group, "accuracy") for group in groups(drawn, "network").values()]
        several = [run for run in runs if len(run) > 1]
        within = float(np.mean([run.var(ddof=1) for run in several]))
        seeds = float(np.mean([len(run) for run in several]))
        between = max(float(np.var([run.mean() for run in several], ddof=1)) - within / seeds, 0)
        single = values(first_seeds(drawn), "accuracy").std(ddof=1)
        lines.append([data, str(len(several)), number(between**0.5, 2), number(within**0.5, 2), number(single, 2)])
    return markdown(heads, lines)


def decisions(rows: Sequence[Row]) -> str:
    """Rank correlations of decisions with test accuracies, and their LASSO: points for one deviation of each."""
    parts = {data: first_seeds(group) for data, group in groups(random(rows), "data").items()}
    names = list(features(next(iter(parts.values()))[0]))
    columns, explained = [], []
    for of in parts.values():
        matrix = np.array([list(features(row).values()) for row in of])
        accuracies = values(of, "accuracy")
        model = make_pipeline(StandardScaler(), LassoCV(cv=LeaveOneOut(), max_iter=100_000))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            unseen: Floats = cross_val_predict(model, matrix, accuracies, cv=LeaveOneOut())
            columns.append(model.fit(matrix, accuracies)[-1].coef_)
        errors = ((accuracies - unseen) ** 2).sum() / ((accuracies - accuracies.mean()) ** 2).sum()
        explained.append(f"{1 - errors:.2f}")
    lines = []
    for index, name in enumerate(names):
        found = [spearmanr([features(row)[name] for row in of], values(of, "accuracy")) for of in parts.values()]
        kept = [f"{column[index]:+.1f}" if abs(column[index]) >= 0.05 else "" for column in columns]
        if any(kept) or any(rank.pvalue < NOTABLE for rank in found):
            pairs = zip(found, kept, strict=True)
            lines.append([name, *(cell for rank, points in pairs for cell in (f"{rank.statistic:+.2f}", points))])
    heads = [f"{data}: {kind}" for data in parts for kind in ("rho", "LASSO")]
    last = [cell for share in explained for cell in ("", share)]
    return markdown(["decision", *heads], [*lines, ["*R² of networks left out*", *last]])


def early(rows: Sequence[Row]) -> str:
    """Rank correlation of validation accuracies within the training with the test accuracy at its end."""
    heads = ["data", "among"]
    heads += [f"{share} of the training: {kind}" for share in EARLY for kind in ("rho", "tau")]
    heads += ["test accuracy of the first by 1/8, 1/4, 1/2", "best"]
    lines = []
    for data, of in groups(rows, "data").items():
        known = [row for row in of if row["arm"] != "darts"]
        for name, chosen in (("random", first_seeds(random(known))), ("random and references", first_seeds(known, 1))):
            accuracies = values(chosen, "accuracy")
            line, tops = [data, f"{len(chosen)} {name}"], []
            for share in EARLY:
                found = values(chosen, share)
                line += [f"{rank(found, accuracies).statistic:.2f}" for rank in (spearmanr, kendalltau)]
                tops.append(f"{accuracies[found.argmax()]:.1f}")
            lines.append([*line, ", ".join(tops), f"{accuracies.max():.1f}"])
    return markdown(heads, lines)


def random(rows: Sequence[Row]) -> list[Row]:
    """Those of random networks."""
    return [row for row in rows if row["arm"] == "random"]


def first_seeds(rows: Sequence[Row], most: int | None = None) -> list[Row]:
    """Runs of the first seed of each random network, and of others all or so many."""
    kept = []
    for of in groups(rows, "data").values():
        for network in groups(of, "network").values():
            kept += network[: 1 if network[0]["arm"] == "random" else most]
    return kept


def features(row: Row) -> dict[str, float]:
    """Counts of the decisions of a network, and what it uses of the budget."""
    chain = read_chain(Genotype.from_json(row["genotype"]))
    layers = [layer for stage in chain.stages for layer in stage.layers]
    counts: dict[str, float] = {"layers": len(layers)}
    counts |= {f"layers of {name}": sum(layer.type == name for layer in layers) for name in DEFAULT_TYPES}
    counts |= {f"layers of stage {number}": len(stage.layers) for number, stage in enumerate(chain.stages, start=1)}
    counts["max-pools, not strides"] = sum(layer.down == "max_pool" for layer in layers)
    counts |= {f"growth of stage {number}": stage.growth for number, stage in enumerate(chain.stages, start=1)}
    return counts | {name: float(row[name]) for name in ("parameters", "macs", "channels")}
