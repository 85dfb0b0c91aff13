"""Learn what to expect of the decisions of staged networks from data sets, and from all but one of them.

    python -m studies.tournament.prior

Reads the trainings of studies/tournament and of studies/stage_space. Writes the prior that is shipped, learned on all
data sets, and ``priors/DATA.json``, learned without one, by which that one is judged. Validation decides alone.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, rankdata

import sparsenas.search.measured
from sparsenas.search.measured.prior import Prior
from sparsenas.spaces import Genotype, StageSpace
from sparsenas.spaces.features import Dictionary, Floats, describe
from sparsenas.sparse_coding import GroupRegression
from studies.common import Row, read_runs

HERE = Path(__file__).parent
SHIPPED = Path(sparsenas.search.measured.__file__).parent / "prior_stage.json"
#: Data sets, and the smaller side of their images in pixels.
SIDES = {
    "cifar10_12k_16px": 16,
    "fashion_mnist_6k": 28,
    "eurosat_5k_16px": 16,
    "spoken_digits_3k": 32,
    "pneumonia_3k": 28,
    "gtsrb_2k_24px": 24,
}
#: Seconds of most trainings.
SHORT = 45.0
#: Least and largest width of what is expected of a feature.
LEAST, MOST = 0.15, 0.6


class Network(NamedTuple):
    """A network that was trained: its data set, the study, its architecture, and its score among those."""

    data: str
    study: str
    genotype: Genotype
    score: float


def networks() -> list[Network]:
    """All networks that were trained, with scores of their validation at the end, in deviations between networks.

    Few were trained for longer; their losses are compared in deviations of those of 45 seconds.
    """
    found: list[Network] = []
    every = read_runs(HERE / "short_trainings.csv.gz")
    short, longer = ([row for row in every if (float(row["seconds"]) > SHORT) == after] for after in (False, True))
    stage = [row for row in read_runs(HERE.parent / "stage_space" / "runs.csv.gz") if row["arm"] != "darts"]
    for data in SIDES:
        rows = [row for row in short if row["data"] == data]
        found += _scored(data, "short", [(row["genotype"], -float(row["loss 1.000"])) for row in rows])
        unit = float(np.std([_log_loss(row) for row in rows]))
        for row in longer:
            if row["data"] == data:
                found.append(Network(data, "long", Genotype.from_json(row["genotype"]), -_log_loss(row) / unit))
        by_network: dict[str, list[float]] = {}
        for row in stage:
            if row["data"] == data:
                by_network.setdefault(row["genotype"], []).append(float(row["validation"]))
        found += _scored(data, "stage", [(text, float(np.mean(values))) for text, values in by_network.items()])
    return found


def learn(given: Sequence[Network], source: str) -> Prior:
    """Learn a prior: one code for all data sets, and as widths what codes without one of them differ by."""
    described = [describe(network.genotype, SIDES[network.data]) for network in given]
    dictionary = Dictionary(described)
    rows, scores = dictionary.rows(described), np.array([network.score for network in given])
    part = np.array([f"{network.data} {network.study}" for network in given])
    for name in set(part):  # only differences within a data set mean something
        rows[part == name] -= rows[part == name].mean(0)
        scores[part == name] -= scores[part == name].mean()
    sets = sorted({network.data for network in given})

    def code(left_out: str | None) -> Floats:
        kept = np.array([network.data != left_out for network in given])
        fit = GroupRegression().fit_groups(rows[kept], scores[kept], dictionary.groups, dictionary.weights)
        return fit.code

    spread = np.std([code(name) for name in sets], axis=0) * (len(sets) - 1) ** 0.5  # the jackknife
    widths = np.clip(spread, LEAST, MOST)
    return Prior(StageSpace.name, dictionary.named(code(None)), dictionary.named(widths), source)


def main() -> None:
    """Write all priors."""
    given = networks()
    SHIPPED.write_text(learn(given, f"{len(given)} networks on {len(SIDES)} data sets").to_json(), encoding="utf-8")
    (HERE / "priors").mkdir(exist_ok=True)
    for data in SIDES:
        others = [network for network in given if network.data != data]
        prior = learn(others, f"{len(others)} networks, none on {data}")
        (HERE / "priors" / f"{data}.json").write_text(prior.to_json(), encoding="utf-8")


def _log_loss(row: Row) -> float:
    return float(np.log(float(row["loss 1.000"])))


def _scored(data: str, study: str, values: list[tuple[str, float]]) -> Iterator[Network]:
    scores = norm.ppf((rankdata([value for _, value in values]) - 0.5) / max(len(values), 1))
    for (text, _), score in zip(values, scores, strict=True):
        yield Network(data, study, Genotype.from_json(text), float(score))


if __name__ == "__main__":
    main()
