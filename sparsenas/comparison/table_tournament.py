"""Tournaments judged by published tables: a short training is looked up, so that a search takes milliseconds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sparsenas.errors import ConfigError, TableError
from sparsenas.search.measured.governor import Governor
from sparsenas.search.measured.history import History, Measurement, scores
from sparsenas.search.measured.plan import Field, Plan, Tournament
from sparsenas.search.measured.proposals import Expected, Proposer
from sparsenas.spaces import Genotype
from sparsenas.spaces.features import describe

Floats = NDArray[np.float64]

#: Slack of a share of the length, so that what it just allows is not lost by rounding.
SLACK = 1e-9
#: Least variance by which a code is thought to miss architectures, in squared deviations between them.
SURE = 0.05
NOTHING = "nothing was measured; give the search more epochs"


@dataclass(frozen=True, eq=False)
class EarlyValues:
    """The part that a searcher may see of a table: accuracies after short trainings, and no final one.

    Attributes:
        keys: Key of each architecture, ``R``; no two are equal.
        accuracies: Validation accuracy in percent after the training of each rung, shape ``(R, J)``.
        epochs: Epochs that a measurement at each rung takes, beyond what was trained before, ``J``. Where every rung
            is a training of its own, these are all of its epochs.

    Raises:
        TableError: If shapes disagree, an accuracy lies outside of 0 to 100, or a key occurs twice.
    """

    keys: Sequence[str]
    accuracies: Floats
    epochs: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the numbers."""
        expected = (len(self.keys), len(self.epochs))
        if self.accuracies.shape != expected:
            raise TableError(f"accuracies have shape {self.accuracies.shape}; {expected} fits the keys and the epochs")
        if not ((self.accuracies >= 0) & (self.accuracies <= 100)).all():
            raise TableError("an accuracy lies outside of 0 to 100 percent, or is not finite")
        if not self.epochs or min(self.epochs) <= 0:
            raise TableError(f"epochs are {self.epochs}; give a positive number for each rung")
        if len(self._rows) < len(self.keys):
            raise TableError("a key occurs twice; list each architecture once")

    @cached_property
    def _rows(self) -> Mapping[str, int]:
        return {key: row for row, key in enumerate(self.keys)}

    def row(self, key: str) -> int:
        """Number of an architecture in the order of the keys.

        Raises:
            TableError: If the table does not hold it.
        """
        if key not in self._rows:
            raise TableError(f"the table holds no early values of {key}")
        return self._rows[key]

    def rungs(self, length: float) -> tuple[float, ...]:
        """Share of a length in epochs after which entrants are compared, for each rung."""
        return tuple((np.cumsum(self.epochs) / length).tolist())


def most_entrants(epochs: Sequence[float], keep: float, search: float) -> int:
    """Count the entrants whose halving fits into so many epochs.

    Args:
        epochs: Epochs of a measurement at each rung.
        keep: Share of the entrants of a rung that goes on; a single one does not, as it has won already.
        search: Epochs for searching.

    Returns:
        The largest number; 0 if not even one measurement fits.
    """
    most = 0
    while _halving_epochs(epochs, keep, most + 1) <= search:
        most += 1
    return most


def hold(
    early: EarlyValues,
    seeds: Sequence[tuple[str, str]],
    length: float,
    governor: Governor,
    keep: float = 0.34,
    proposer: Proposer | None = None,
    proposals: int = 0,
    rounds: int = 1,
) -> History:
    """Hold a tournament whose trainings are looked up.

    Nothing but the early values is read. Seeds are measured in their order: a code may propose others, but what it
    expects of them changes no order, as each expectation is a standard normal score.

    Args:
        early: Early values of all architectures.
        seeds: Keys and origins of those who enter at the start.
        length: Epochs of search and final training together.
        governor: Ends the search.
        keep: Share of the entrants of a rung that may go on.
        proposer: Recovers codes and decodes them to keys of the table, their JSON text; ``None`` for no proposals.
        proposals: Most proposals of a round.
        rounds: Rounds of proposals.

    Returns:
        All measurements. Their losses are errors in [0, 1], their lengths and what they spent are in epochs.

    Raises:
        ConfigError: If nobody enters, or a number is out of range.
        TableError: If the table does not hold who enters.
    """
    if not seeds:
        raise ConfigError("nobody enters this tournament; name at least one seed")
    most = proposals if proposer is not None else 0
    options = Tournament(
        rungs=early.rungs(length), random=0, rounds=rounds if most else 0, proposals=most, keep=keep, governor=governor
    )
    plan, history = Plan(options, Field(seeds, _remembered(proposer), _neutral), length), History()
    so_far = np.cumsum(early.epochs).tolist()
    while (task := plan.next(history)) is not None:
        accuracy = float(early.accuracies[early.row(task.entrant.key), task.rung]) / 100
        spent = early.epochs[task.rung]
        history.add(Measurement(task.entrant, task.rung, (1 - accuracy,), accuracy, so_far[task.rung], spent))
    return history


def winner(history: History) -> str:
    """Key of the winner of a tournament.

    Raises:
        ConfigError: If nothing was measured.
    """
    leader = history.leader()
    if leader is None:
        raise ConfigError(NOTHING)
    return leader.entrant.key


@dataclass(frozen=True)
class Readings:
    """Winners among those measured at the first rung, by three ways of reading the measurements.

    Attributes:
        measured: The best measured.
        code: The one of which the recovered code expects most. A code smooths noise over what shares decisions.
        both: The one of largest mean, given its measurement and the code, see :func:`read_first_rung`.
    """

    measured: str
    code: str
    both: str


def read_first_rung(history: History, proposer: Proposer, reliability: float = 0.6) -> Readings:
    r"""Name winners by the measurements of the first rung; nobody wins who was not measured.

    A normal score :math:`s` has the variance :math:`v_s = 1 - \rho^2` that is not of the architecture. The code misses
    scores that it has not seen by a mean square :math:`e`, so it misses architectures by :math:`v_c = e - v_s`. The
    mean of an architecture, given both, is :math:`(s / v_s + p / v_c) / (1 / v_s + 1 / v_c)` with :math:`p` from the
    code.

    Args:
        history: Measurements, at least one.
        proposer: Recovers the code.
        reliability: Correlation :math:`\rho` of the rung with the end.

    Raises:
        ConfigError: If nothing was measured.
    """
    ranked = history.ranked(0)  # the first of equal ones is the best measured
    if not ranked:
        raise ConfigError(NOTHING)
    keys, code = [measurement.entrant.key for measurement in ranked], proposer.recover(history.at(0))
    if code.fit is None:
        return Readings(keys[0], keys[0], keys[0])
    described = [describe(Genotype.from_json(key)) for key in keys]
    predicted, score = code.expect(described, described), scores(ranked)
    noise = 1 - reliability**2
    missed = max(code.doubt**2 - noise, SURE)
    together = (score / noise + predicted / missed) / (1 / noise + 1 / missed)
    return Readings(keys[0], keys[int(predicted.argmax())], keys[int(together.argmax())])


def share_for(search: float, length: float) -> Governor:
    """Make a governor that gives so many epochs of a length to searching, whatever that brings."""
    share = search / length * (1 + SLACK)
    return Governor(share=share, most=share)


def _halving_epochs(epochs: Sequence[float], keep: float, entrants: int) -> float:
    """Epochs of a whole halving of so many entrants, as :class:`Plan` makes it."""
    total, going_on = entrants * epochs[0], entrants
    for cost in epochs[1:]:
        going_on = max(1, round(keep * going_on))
        if going_on < 2:
            break
        total += going_on * cost
    return total


def _neutral(measured: Sequence[Measurement], keys: Sequence[str]) -> list[Expected]:
    """Expect the same of all."""
    del measured
    return [Expected(0.0, 1.0) for _ in keys]


def _remembered(proposer: Proposer | None) -> Callable[[Sequence[Measurement], set[str], int], Sequence[str]]:
    """Propose from measurements; the plan asks again for each proposal of a round, and is told the same."""
    memory: dict[int, list[str]] = {}

    def propose(measured: Sequence[Measurement], taken: set[str], count: int) -> Sequence[str]:
        if proposer is None:
            return []
        if len(measured) not in memory:
            memory[len(measured)] = [genotype.to_json() for genotype in proposer.propose(measured, taken, count)]
        return memory[len(measured)]

    return propose
