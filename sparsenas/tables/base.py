"""The base of all benchmark tables."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sparsenas.errors import TableError
from sparsenas.spaces import Genotype


@dataclass(frozen=True)
class Cost:
    """Cost of a network, as its benchmark counts it: number of weights, and operations for one image."""

    parameters: int
    flops: int


class Training(NamedTuple):
    """The training behind an accuracy; ``split`` names the images of the accuracy, ``"valid"`` or ``"test"``."""

    dataset: str
    split: str
    epochs: int

    def __str__(self) -> str:
        return f"{self.dataset}/{self.split}/{self.epochs}"


class Best(NamedTuple):
    """The best network of a table, the first one of its accuracy in percent."""

    genotype: Genotype
    accuracy: float


class WrittenSpace(Protocol):
    """A search space whose genotypes the benchmark writes as text."""

    name: str

    def from_string(self, text: str) -> Genotype:
        """Read a genotype."""

    def to_string(self, genotype: Genotype) -> str:
        """Write a genotype."""


class BenchmarkTable(ABC):
    """Published results of every genotype of a space. A table of your own defines :meth:`_accuracy`, and more.

    Iteration gives the genotypes in the order of the benchmark. A method that takes a genotype raises a
    ``GenotypeError`` if it is not of the space. All raise a ``TableError`` if the table does not hold the answer; the
    message lists the possible ones.

    Args:
        name: Name for messages, e.g. the path of its file.
        space: Space of the genotypes.
        texts: The benchmark's text of each genotype, in its order.
        trainings: Trainings of which there are accuracies.

    Raises:
        TableError: If a text occurs twice.
    """

    def __init__(self, name: str, space: WrittenSpace, texts: Sequence[str], trainings: Sequence[Training]) -> None:
        self.name = name
        self.space = space
        self.texts = tuple(texts)
        self.trainings = tuple(trainings)
        self._rows = {text: row for row, text in enumerate(texts)}
        if len(self._rows) < len(texts):
            double = next(text for row, text in enumerate(texts) if self._rows[text] != row)
            raise TableError(f"{self}: {double} occurs twice; list each network once")

    def __str__(self) -> str:
        return self.name

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[Genotype]:
        return iter(self.genotypes)

    @cached_property
    def genotypes(self) -> tuple[Genotype, ...]:
        """All genotypes, in the order of the benchmark."""
        return tuple(self.space.from_string(text) for text in self.texts)

    @cached_property
    def classes(self) -> NDArray[np.int64]:
        """Numbers of the isomorphism classes of the networks, shape ``(R,)``; those of one class compute the same."""
        return np.arange(len(self))

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices that :meth:`latency` knows."""
        return ()

    @property
    def score_names(self) -> tuple[str, ...]:
        """Names of the scores that :meth:`scores` knows."""
        return tuple(self._scores)

    def row(self, genotype: Genotype) -> int:
        """Return the number of a genotype in the order of the benchmark, from 0."""
        text = self.space.to_string(genotype)
        if text not in self._rows:
            raise TableError(f"{self}: no {text}; it holds {len(self)} networks, e.g. {self.texts[0]}")
        return self._rows[text]

    def accuracy(self, genotype: Genotype, dataset: str, split: str, epochs: int) -> float:
        """Return the accuracy of a genotype in percent, the mean over the seeds of the benchmark.

        Args:
            genotype: Genotype of the space.
            dataset: Data set, see :attr:`trainings`.
            split: ``"valid"`` or ``"test"``.
            epochs: Length of the training schedule.
        """
        training = self._training(dataset, split, epochs)
        return self._accuracy(self.row(genotype), training)

    def accuracies(self, dataset: str, split: str, epochs: int) -> NDArray[np.float64]:
        """Return the accuracies of all genotypes, in the order of the benchmark, shape ``(R,)``."""
        training = self._training(dataset, split, epochs)
        return np.array([self._accuracy(row, training) for row in range(len(self))])

    def best(self, dataset: str, split: str, epochs: int) -> Best:
        """Return the genotype of highest accuracy."""
        accuracies = self.accuracies(dataset, split, epochs)
        row = int(accuracies.argmax())
        return Best(self.space.from_string(self.texts[row]), float(accuracies[row]))

    def cost(self, genotype: Genotype) -> Cost:
        """Return parameters and FLOPs of a genotype."""
        return self._cost(self.row(genotype))

    def scores(self, name: str) -> NDArray[np.float64]:
        """Return one of :attr:`score_names`, which order networks without training; shape ``(R,)``.

        More is better, or larger. It is NaN where the benchmark has no number.
        """
        if name not in self._scores:
            raise TableError(f"{self}: no score {name!r}; it has {', '.join(self.score_names) or 'none'}")
        return self._scores[name]

    @property
    def _scores(self) -> Mapping[str, NDArray[np.float64]]:
        """Scores by name; a table that has some defines this."""
        return {}

    def latency(self, genotype: Genotype, device: str) -> float:
        """Return the measured time of one forward pass on one of :attr:`devices`, in milliseconds."""
        if device not in self.devices:
            raise TableError(f"{self}: no device {device!r}; it has {', '.join(self.devices) or 'no latencies'}")
        return self._latency(self.row(genotype), device)

    def _training(self, dataset: str, split: str, epochs: int) -> Training:
        training = Training(dataset, split, epochs)
        if training not in self.trainings:
            raise TableError(
                f"{self}: no accuracy {training} (dataset/split/epochs); it has "
                + ", ".join(str(known) for known in self.trainings)
            )
        return training

    @abstractmethod
    def _accuracy(self, row: int, training: Training) -> float:
        """Return the accuracy in percent of a row, for one of :attr:`trainings`."""

    def _cost(self, row: int) -> Cost:
        """Return the cost of a row; a table that has costs defines this."""
        raise TableError(f"{self}: no costs, not of row {row} either; sparsenas.complexity counts those of a network")

    def _latency(self, row: int, device: str) -> float:
        """Return the milliseconds of a row, for one of :attr:`devices`; a table that names devices defines this."""
        raise TableError(f"{self}: no latency of row {row} on {device}")
