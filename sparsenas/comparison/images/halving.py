"""Asynchronous successive halving over the space, by Optuna."""

from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from sparsenas.comparison.checks import check_whole
from sparsenas.comparison.images.clock import accuracy_on
from sparsenas.comparison.images.common import Common
from sparsenas.comparison.images.competitors import Competitor, Decision, check_share
from sparsenas.errors import ConfigError, DivergenceError
from sparsenas.spaces import Genotype, StageSpace

if TYPE_CHECKING:
    from optuna import Trial


#: Most validations that decide: ten times as often as in the training that counts is too often.
MOST_RUNGS = 6


class Heard(NamedTuple):
    """Rung that a trial reached, and its validation accuracy there; further ones are greater."""

    point: int
    accuracy: float


@dataclass(frozen=True)
class Asha(Competitor):
    """Random trials that stop early if others are ahead; the best of the longest ones is trained anew.

    Each trial is a training of its own at equal cost, by the recipe of all. After ``1 / factor^(rungs - 1)`` of it, and
    after ``factor`` times as much again and again, it goes on only in the best ``1 / factor`` of those that came there.

    Attributes:
        share: Share of the seconds for all trials.
        trial_share: Share of the seconds of a trial that is not stopped.
        factor: See above.
        rungs: Number of validations that decide, the end included.

    Raises:
        ConfigError: If a number is out of range.

    Source: Li et al., ASHA (MLSys 2020), as pruner of Akiba et al., Optuna (KDD 2019).
    """

    share: float = 0.25
    trial_share: float = 0.03
    factor: int = 3
    rungs: int = 3

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_share("share", self.share)
        check_share("trial_share", self.trial_share)
        check_whole(self.factor, "factor", least=2)
        if check_whole(self.rungs, "rungs") > MOST_RUNGS:
            raise ConfigError(
                f"rungs is {self.rungs}; use at most {MOST_RUNGS}: each validates {self.factor} times as often"
            )

    def load(self) -> None:
        """See :meth:`Competitor.load`."""
        load_optuna()

    def decide(self, common: Common) -> Decision:
        """See :meth:`Competitor.decide`."""
        optuna = load_optuna()
        study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.RandomSampler(seed=common.seed),
            pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=self.factor),
        )
        end = self.share * common.clock.total
        heard: dict[int, tuple[Heard, Genotype]] = {}
        whole, trials = 0, 0
        while common.clock.seconds < end:
            trial = study.ask()
            genotype = _suggested(trial, common.space)
            if common.width(genotype) is None:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                continue
            trials += 1
            last = self._try(common, trial, genotype, end)
            if last is not None:
                heard[trial.number] = last, genotype
            if last is not None and last.point == self._points:
                study.tell(trial, last.accuracy)
                whole += 1
            else:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        if not heard:
            raise ConfigError(
                f"asha: {trials} trials began within {end:g} s, and none came to its first validation; raise seconds, "
                "share or the budget, or lower trial_share"
            )
        _, genotype = max(heard.values(), key=lambda entry: entry[0])
        return Decision(genotype, f"{trials} trials, {whole} of them whole")

    @property
    def _points(self) -> int:
        return int(self.factor ** (self.rungs - 1))

    def _try(self, common: Common, trial: "Trial", genotype: Genotype, end: float) -> Heard | None:
        """Train a trial; gives what was heard last, if anything."""
        found: list[Heard] = []

        def hear(point: int, accuracy: float) -> bool:
            found.append(Heard(point, accuracy))
            trial.report(accuracy, point)
            return bool(trial.should_prune()) or common.clock.seconds >= end

        seconds = self.trial_share * common.clock.total
        try:
            trained = common.train(common.make(genotype), lambda _: seconds, self._points, hear)
        except DivergenceError:
            return None
        if trained.module.finished:
            found.append(Heard(self._points, accuracy_on(trained.module, common.validation.batches)))
        return found[-1] if found else None


def load_optuna() -> ModuleType:
    """Import Optuna, and make it quiet.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "asha needs Optuna, which is not installed: pip install 'sparsenas[compare]', or leave asha out"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    module: ModuleType = optuna
    return module


def _suggested(trial: "Trial", space: StageSpace) -> Genotype:
    """Draw the one candidate of every block."""
    kept = []
    for block in space.blocks:
        names = [candidate.primitive for candidate in block.candidates]
        kept.append((names.index(trial.suggest_categorical(f"{block.cell}.{block.node}", names)),))
    return space.genotype(tuple(kept))
