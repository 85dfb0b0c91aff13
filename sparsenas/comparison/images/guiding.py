"""Short trainings that a predictor chooses, and that end early where their end is foreseen."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sparsenas.comparison.checks import check_whole
from sparsenas.comparison.images.clock import accuracy_on
from sparsenas.comparison.images.common import Common
from sparsenas.comparison.images.competitors import Competitor, Decision, check_share
from sparsenas.errors import ConfigError, DivergenceError, PredictorError
from sparsenas.predictors import SUITE, Feasible, GuidedStrategy, StoppingRule, make_predictor
from sparsenas.spaces import Genotype, encoding_of
from sparsenas.spaces.stage import read_chain

#: Validations of a trial, by whose curve its end is foreseen, and those after which it may be stopped.
VALIDATIONS, CHECKPOINTS = 9, (3, 5, 7)
#: Whole trials before one is stopped.
LEAST = 8
#: Draws of hyper-parameters of a regression of curves: its seconds count as those of a trial do.
DRAWS = 20


@dataclass(frozen=True)
class Guided(Competitor):
    """Trials that a predictor chooses; the best whole one is trained anew.

    Each trial is a short training of its own, by the recipe of all. Random networks come first, then those of which the
    predictor, fitted to all trials so far, expects most. While it cannot learn from these, random ones go on.

    Attributes:
        predictor: Name of a predictor that learns from genotypes alone.
        acquisition: ``mean`` takes what an ensemble expects most of, ``thompson`` also tries what it disagrees on.
        ensemble: Number of predictors, which differ by their seed.
        share: Share of the seconds for all trials.
        trial_share: Share of the seconds of a trial.
        random: Random networks before the predictor is asked.
        batch: Trials that are chosen at once.
        delta: Least probability of not beating the best trial at which one is stopped; 1 stops none.

    Raises:
        ConfigError: If an option is out of range.
        PredictorError: When it decides, before the first trial, if the library of the predictor is missing.

    Source: White et al., BANANAS (AAAI 2021); Baker et al., Accelerating Neural Architecture Search using Performance
        Prediction (2017).
    """

    predictor: str = "sparse_regression"
    acquisition: Literal["mean", "thompson"] = "mean"
    ensemble: int = 1
    share: float = 0.25
    trial_share: float = 0.015
    random: int = 4
    batch: int = 2
    delta: float = 0.95

    def __post_init__(self) -> None:
        """Check the options."""
        check_share("share", self.share)
        check_share("trial_share", self.trial_share)
        for option in ("ensemble", "random", "batch"):
            check_whole(getattr(self, option), option)
        if self.predictor not in SUITE or SUITE[self.predictor].family != "model":
            known = ", ".join(name for name, entry in SUITE.items() if entry.family == "model")
            raise ConfigError(f"predictor is {self.predictor!r}; use one that learns from genotypes: {known}")
        if self.acquisition not in ("mean", "thompson"):
            raise ConfigError(f"acquisition is {self.acquisition!r}; use mean or thompson")
        try:
            self._rule(0)
        except PredictorError as error:
            raise ConfigError(str(error)) from error

    def decide(self, common: Common) -> Decision:
        """See :meth:`Competitor.decide`."""
        encoding, rng = encoding_of(common.space), np.random.default_rng(common.seed)
        strategy = GuidedStrategy(
            Feasible(common.space, lambda genotype: common.width(genotype) is not None),
            lambda seed: make_predictor(self.predictor, encoding, seed),
            read_chain,
            self.acquisition,
            ensemble=self.ensemble,
        )
        least = strategy.make(0).least  # who lacks its library hears of it now
        rule, end = self._rule(common.seed), self.share * common.clock.total
        queue = strategy.draw([], self.random, rng)
        trained: dict[Genotype, float] = {}
        whole: dict[Genotype, float] = {}
        while queue and common.clock.seconds < end:
            genotype = queue.pop(0)
            accuracy, ended = self._try(common, genotype, rule, len(trained), end)
            if accuracy is not None:
                trained[genotype] = accuracy
            if ended and accuracy is not None:
                whole[genotype] = accuracy
            if not queue and common.clock.seconds < end:
                queue = self._propose(strategy, trained, least, int(rng.integers(2**31)))
        if not whole:
            raise ConfigError(
                f"guided: no trial came to its end within {end:g} s; raise seconds, share or the budget, or lower "
                "trial_share"
            )
        stopped = f", {len(trained) - len(whole)} stopped" if len(trained) > len(whole) else ""
        return Decision(max(whole, key=whole.__getitem__), f"{len(trained)} trials{stopped}")

    def _rule(self, seed: int) -> StoppingRule:
        return StoppingRule(self.delta, LEAST, draws=DRAWS, seed=seed)

    def _propose(
        self, strategy: GuidedStrategy, trained: dict[Genotype, float], least: int, seed: int
    ) -> list[Genotype]:
        if len(trained) >= least:
            try:
                return strategy.propose(trained, self.batch, seed)
            except PredictorError:  # nothing to learn from, such as equal accuracies
                pass
        return strategy.draw(trained, self.batch, np.random.default_rng(seed))

    def _try(
        self, common: Common, genotype: Genotype, rule: StoppingRule, number: int, end: float
    ) -> tuple[float | None, bool]:
        """Train a trial; gives its accuracy, or what was foreseen of it, and whether it came to its end."""
        curve: list[float] = []
        foreseen: list[float] = []

        def hear(point: int, accuracy: float) -> bool:
            curve.append(accuracy)
            if point in CHECKPOINTS and len(curve) == point:
                decision = rule.decide(curve, number)
                if decision is not None and decision.stop:
                    foreseen.append(decision.predicted)
            return bool(foreseen) or common.clock.seconds >= end

        seconds = self.trial_share * common.clock.total
        try:
            trained = common.train(common.make(genotype), lambda _: seconds, VALIDATIONS, hear)
        except DivergenceError:
            return 0.0, False  # so that none like it is proposed
        if foreseen:
            return foreseen[0], False
        if not trained.module.finished:
            return None, False
        accuracy = accuracy_on(trained.module, common.validation.batches)
        if len(curve) == VALIDATIONS - 1:  # short trainings may leave points out
            rule.add([*curve, accuracy])
        return accuracy, True
