"""Networks whose accuracies are known, by which predictors are judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsenas.errors import ConfigError
from sparsenas.spaces import Encoding, Genotype, encoding_of
from sparsenas.tables import BenchmarkTable, PublishedScores, Training

Floats = NDArray[np.float64]

#: Info that is a learning curve; all other is one number of a network.
CURVES = ("train_loss", "val_loss", "val_accuracy")


class Look(NamedTuple):
    """A look at learning curves.

    Attributes:
        epoch: Epoch up to which they are known.
        columns: Number of their points up to there.
        spent: Epochs of training that it takes to know those of a network.
        apart: Those among them that are no part of the whole training, so that networks to learn from take them too.
    """

    epoch: int
    columns: int
    spent: int
    apart: int = 0


class Split(NamedTuple):
    """Networks to learn from, of which smaller sizes are a beginning, and networks to predict."""

    learn: NDArray[np.int64]
    test: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class KnownNetworks:
    """Facts about ``R`` networks: their accuracies, curves and scores.

    Attributes:
        genotypes: The networks.
        encoding: Encoding of their space.
        targets: Final accuracies in percent, shape ``(R,)``.
        epochs: Epochs of the training behind them.
        classes: Number of the isomorphism class of each network, shape ``(R,)``.
        curves: Learning curves by name, each of shape ``(R, T)``.
        looks: Where predictors may look at the curves.
        scores: What is known of networks before they are trained, by name, each of shape ``(R,)``.
    """

    genotypes: tuple[Genotype, ...]
    encoding: Encoding
    targets: Floats
    epochs: int
    classes: NDArray[np.int64]
    curves: Mapping[str, Floats]
    looks: tuple[Look, ...]
    scores: Mapping[str, Floats]

    def __len__(self) -> int:
        """Number of networks."""
        return len(self.genotypes)

    def info(self, names: frozenset[str], rows: NDArray[np.int64], look: Look | None) -> dict[str, Floats]:
        """Take what a predictor may know of networks.

        Args:
            names: What it requires.
            rows: Numbers of the networks.
            look: How far the curves are known; ``None`` for not at all.

        Returns:
            Curves of shape ``(N, columns)``, scores of shape ``(N, 1)``.
        """
        known = self.curves if look is not None else {}
        found = {name: known[name][rows, : look.columns] for name in names if name in known and look is not None}
        found |= {name: self.scores[name][rows, None] for name in names if name in self.scores}
        whole = "epochs" in names & self.known
        return found | ({"epochs": np.full((len(rows), 1), float(self.epochs))} if whole else {})

    @property
    def known(self) -> frozenset[str]:
        """Names of all that is known of the networks; no ``epochs``, where points of curves are not one epoch each."""
        whole = not any(look.apart for look in self.looks)
        return frozenset({*self.curves, *self.scores, *(("epochs",) if whole else ())})

    def split(self, learn: int, test: int, seed: int) -> Split:
        """Draw networks uniformly, of which no two are isomorphic.

        Args:
            learn: Number of networks to learn from.
            test: Number of networks to predict.
            seed: Seed of the draw.

        Raises:
            ConfigError: If there are too few.
        """
        order = np.random.default_rng(seed).permutation(len(self))
        _, first = np.unique(self.classes[order], return_index=True)
        rows = order[np.sort(first)]
        if len(rows) < learn + test:
            raise ConfigError(
                f"sizes: {learn} networks to learn from and {test} to predict are more than the {len(rows)} that differ"
            )
        return Split(rows[test : test + learn], rows[:test])


def networks_of_table(table: BenchmarkTable, training: Training, early: Sequence[int]) -> KnownNetworks:
    """Take networks from a published table.

    Early accuracies are of shorter trainings, each one from the start: to know several takes the epochs of all.

    Args:
        table: The table.
        training: Accuracies that judge.
        early: Epochs of shorter trainings, on the same images.

    Raises:
        SparseNASError: If the table does not hold them, or its space has no encoding.
    """
    if list(early) != sorted(set(early)) or (early and early[-1] >= training.epochs):
        raise ConfigError(f"early is {list(early)}; name ascending epochs below the {training.epochs} of the accuracy")
    columns = [table.accuracies(training.dataset, training.split, epochs) for epochs in early]
    return KnownNetworks(
        genotypes=table.genotypes,
        encoding=encoding_of(table.space),
        targets=table.accuracies(*training),
        epochs=training.epochs,
        classes=table.classes,
        curves={"val_accuracy": np.stack(columns, 1)} if columns else {},
        looks=tuple(
            Look(epochs, number, sum(early[:number]), sum(early[:number]))
            for number, epochs in enumerate(early, start=1)
        ),
        scores={name: ranked_last(table.scores(name)) for name in table.score_names},
    )


def networks_with_scores(networks: KnownNetworks, published: PublishedScores) -> KnownNetworks:
    """Keep the networks of a whole table of which others have published scores.

    Args:
        networks: All networks of the benchmark, in its order.
        published: Scores of some of them.

    Raises:
        ConfigError: If the networks are of another benchmark.
    """
    rows = published.rows
    if rows.max() >= len(networks) or any(
        networks.genotypes[row] != genotype for row, genotype in zip(rows, published.genotypes, strict=True)
    ):
        raise ConfigError("published_scores: they are of NAS-Bench-201, and the table is another one")
    return replace(
        networks,
        genotypes=published.genotypes,
        targets=networks.targets[rows],
        classes=networks.classes[rows],
        curves={name: curve[rows] for name, curve in networks.curves.items()},
        scores={name: ranked_last(scores) for name, scores in published.scores.items()},
    )


def ranked_last(scores: Floats) -> Floats:
    """Give networks without a score, which have no path from input to output, one below all others.

    As :class:`sparsenas.predictors.MeasuredScore` does, it is lower by the range of the others; 0 if there are none.
    """
    known = scores[np.isfinite(scores)]
    if not len(known):
        return np.zeros_like(scores)
    return np.where(np.isfinite(scores), scores, known.min() - (np.ptp(known) or 1.0))
