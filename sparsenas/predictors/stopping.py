"""Early stopping of trainings that will hardly beat the best one so far."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from sparsenas.errors import PredictorError
from sparsenas.predictors.base import Floats
from sparsenas.predictors.regression import SHORTEST, CurveRegression, Features

#: Growth of the number of whole curves after which a regression is fitted anew.
GROWTH = 1.1


class Decision(NamedTuple):
    """Prediction for a training, and what follows from it.

    Attributes:
        predicted: Final accuracy that is expected.
        sigma: Deviation of the error of such predictions.
        probability: Probability that the final accuracy is not above the best one so far.
        stop: True if the training is to end.
    """

    predicted: float
    sigma: float
    probability: float
    stop: bool


class StoppingRule:
    r"""Stops a training if its final accuracy is below the best one so far with high probability.

    .. math:: p = \Phi\left(\frac{y_{best} - \hat y}{\sigma}\right) \ge \delta

    A regression of its own for every length predicts :math:`\hat y` from the curve so far, after those of trainings
    that went to their end. All curves have one unit, one length and one schedule of the learning rate: otherwise the
    past says nothing about the future.

    Args:
        delta: Least probability at which a training is stopped, in (0.5, 1]; 1 stops none.
        least: Whole curves before any training is stopped. Below 25 a regression predicts no better than the last
            value does.
        spared: Share of the trainings, drawn at random, that are never stopped: of survivors alone, a regression would
            learn that all end well.
        rank: A training is compared with the best one so far, or the ``rank``-th best, which stops fewer.
        features: Features of a curve, see :class:`CurveRegression`.
        draws: Random draws of its hyper-parameters.
        seed: Seeds the draws, and which trainings are spared.

    Attributes:
        curves: Whole curves so far.

    Raises:
        PredictorError: If an option is out of range.

    Source: Baker et al., Accelerating Neural Architecture Search using Performance Prediction (2017).
    """

    def __init__(
        self,
        delta: float = 0.95,
        least: int = 50,
        spared: float = 0.05,
        rank: int = 1,
        features: Features = "summary",
        draws: int = 200,
        seed: int = 0,
    ) -> None:
        if not 0.5 < delta <= 1 or not 0 <= spared < 1:
            raise PredictorError(f"delta={delta}, spared={spared}; delta lies in (0.5, 1], spared in [0, 1)")
        if least < CurveRegression.least or not 1 <= rank <= least:
            raise PredictorError(
                f"least={least}, rank={rank}; use at least {CurveRegression.least} whole curves, and a rank among them"
            )
        self.delta, self.least, self.spared, self.rank = delta, least, spared, rank
        self.features: Features = features
        self.draws, self.seed = draws, seed
        self.curves: list[Floats] = []
        self._fitted: dict[int, tuple[int, CurveRegression]] = {}
        CurveRegression(features, draws, seed)  # complains of its options now

    def add(self, curve: Sequence[float] | Floats) -> None:
        """Take note of the curve of a training that went to its end.

        Args:
            curve: Validation accuracies, one per epoch; the last one counts.

        Raises:
            PredictorError: If it is as long as no other, or holds values that are no numbers.
        """
        values = _checked(curve)
        if self.curves and len(values) != len(self.curves[0]):
            raise PredictorError(
                f"a curve has {len(values)} epochs, the others {len(self.curves[0])}; compare trainings of one length"
            )
        self.curves.append(values)

    @property
    def best(self) -> float:
        """Final accuracy of the ``rank``-th best whole curve."""
        return float(np.sort([curve[-1] for curve in self.curves])[-self.rank])

    def spares(self, number: int) -> bool:
        """Say if a training, by its number, is never stopped."""
        return bool(np.random.default_rng((self.seed, number)).random() < self.spared)

    def decide(self, curve: Sequence[float] | Floats, number: int = 0) -> Decision | None:
        """Decide on a training after some epochs.

        Args:
            curve: Its validation accuracies so far.
            number: Its number.

        Returns:
            The decision; ``None`` while there are too few whole curves, or where all of these end alike.

        Raises:
            PredictorError: If the curve is too short for a prediction, not shorter than whole ones, or holds values
                that are no numbers.
        """
        values = _checked(curve)
        if len(values) < SHORTEST:
            raise PredictorError(f"a curve of {len(values)} epochs is too short to predict from; wait for {SHORTEST}")
        if self.curves and len(values) >= len(self.curves[0]):
            raise PredictorError(f"a curve of {len(values)} epochs is whole; there is nothing to predict")
        if len(self.curves) < self.least:
            return None
        whole = np.stack(self.curves)
        if np.ptp(whole[:, -1]) == 0:
            return None
        regression = self._regression(whole, len(values))
        predicted = _within_reach(float(regression.query_curves(values[None])[0]), values, whole)
        probability = float(norm.cdf((self.best - predicted) / max(regression.sigma, 1e-12)))
        stop = self.delta < 1 and probability >= self.delta and not self.spares(number)
        return Decision(predicted, regression.sigma, probability, stop)

    def _regression(self, whole: Floats, epochs: int) -> CurveRegression:
        """Fit the regression of a length, unless hardly more is known than when it was fitted."""
        count, regression = self._fitted.get(epochs, (0, None))
        if regression is None or len(whole) >= GROWTH * count:
            regression = CurveRegression(self.features, self.draws, self.seed)
            regression.fit_curves(whole[:, :epochs], whole[:, -1])
            self._fitted[epochs] = len(whole), regression
        return regression


@dataclass(frozen=True)
class Replay:
    """Trainings of the past, one after another, as the rule would have let them run.

    Attributes:
        stopped: Which were stopped, shape ``(N,)``.
        epochs: How long each ran, shape ``(N,)``.
        predicted: What was predicted of those stopped, else NaN; shape ``(N,)``.
        final: Final accuracy of each, had it run to its end; shape ``(N,)``.
        wrong: Which were stopped though they would have been better than the best so far, shape ``(N,)``.
        whole: Epochs of a whole training.
    """

    stopped: NDArray[np.bool_]
    epochs: NDArray[np.int64]
    predicted: Floats
    final: Floats
    wrong: NDArray[np.bool_]
    whole: int

    @property
    def saved(self) -> float:
        """Share of all epochs that were not trained; whole curves that the rule learned from are counted as trained."""
        return 1 - float(self.epochs.sum()) / (len(self.epochs) * self.whole)

    @property
    def error_rate(self) -> float:
        """Share of those stopped that would have been better than the best so far; NaN if none was stopped."""
        return float(self.wrong.sum() / self.stopped.sum()) if self.stopped.any() else math.nan

    @property
    def loss(self) -> float:
        """Final accuracy of the best of all, minus that of the best that ran to its end."""
        return float(self.final.max() - self.final[~self.stopped].max())

    def __str__(self) -> str:
        """Report the calibration in a sentence."""
        return (
            f"{int(self.stopped.sum())} of {len(self.stopped)} trainings stopped, {self.saved:.0%} of epochs saved; "
            f"{int(self.wrong.sum())} of those stopped would have been the best so far; the best that ended is "
            f"{self.loss:.2f} below the best of all"
        )


def replay(curves: Floats, rule: StoppingRule, checkpoints: Iterable[int]) -> Replay:
    """Let trainings of the past run one after another under a rule.

    Args:
        curves: Whole curves in the order of the trainings, shape ``(N, epochs)``.
        rule: A rule that knows no curve yet.
        checkpoints: Epochs after which it decides.

    Raises:
        PredictorError: If the rule knows curves, or a checkpoint lies outside of the curves.
    """
    curves = np.asarray(curves, dtype=np.float64)
    when = sorted(set(checkpoints))
    if rule.curves:
        raise PredictorError("the rule knows curves already; give a new one")
    if not when or when[0] < SHORTEST or when[-1] >= curves.shape[1]:
        raise PredictorError(f"checkpoints are {when}; they lie between {SHORTEST} and {curves.shape[1] - 1}")
    count, whole = curves.shape
    stopped, epochs = np.zeros(count, dtype=bool), np.full(count, whole)
    predicted, wrong = np.full(count, np.nan), np.zeros(count, dtype=bool)
    for number, curve in enumerate(curves):
        for epoch in when:
            decision = rule.decide(curve[:epoch], number)
            if decision is not None and decision.stop:
                stopped[number], epochs[number], predicted[number] = True, epoch, decision.predicted
                wrong[number] = curve[-1] > rule.best
                break
        else:
            rule.add(curve)
    return Replay(stopped, epochs, predicted, curves[:, -1], wrong, whole)


def _within_reach(predicted: float, curve: Floats, whole: Floats) -> float:
    """Correct the prediction for a curve that is ahead of all whole ones, or behind them.

    Far from what it has learned, the regression expects the mean: the best training would be stopped. Such a curve is
    taken to end beyond all of them, too.
    """
    there, ends = whole[:, len(curve) - 1], whole[:, -1]
    if curve[-1] > there.max():
        return max(predicted, float(ends.max()))
    return min(predicted, float(ends.min())) if curve[-1] < there.min() else predicted


def _checked(curve: Sequence[float] | Floats) -> Floats:
    values = np.asarray(curve, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise PredictorError(f"a curve has shape {values.shape}, or values that are no numbers; give one per epoch")
    return values
