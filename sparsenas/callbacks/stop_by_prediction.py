"""Early stopping of a training that will hardly beat those before it."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl

from sparsenas.errors import ConfigError, PredictorError
from sparsenas.predictors import CurveRecord, Decision, StoppingRule, append_curve, read_curves
from sparsenas.texts import note
from sparsenas.trainer import is_dry_run


class StopByPrediction(pl.Callback):
    """Stop a training whose final accuracy will hardly be above the best of those before it.

    Give the same file to all trainings of a sweep, of any networks. Each adds its learning curve at its end, and reads
    those of the others at its start. Nothing is stopped before ``least`` of them have gone to their end; those of
    another length do not count. A stopped run adds what was expected of it, which is its result for a sweep.

    Args:
        file: File of the curves, a line of JSON per training; it is made where it is not there.
        monitor: Validation metric; its last value counts.
        mode: ``max`` if more is better.
        checkpoints: Shares of the training after which it is decided.
        delta: Least probability of not being the best, at which a training is stopped.
        least: Trainings that go to their end before any is stopped.
        spared: Share of the trainings that are never stopped.
        seed: Seeds which are spared, and the regression.

    Raises:
        ConfigError: If an option is out of range.

    Source: see :class:`~sparsenas.predictors.StoppingRule`.
    """

    def __init__(
        self,
        file: str,
        monitor: str = "val/acc",
        mode: Literal["max", "min"] = "max",
        checkpoints: Sequence[float] = (0.25, 0.5, 0.75),
        delta: float = 0.95,
        least: int = 50,
        spared: float = 0.05,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if mode not in ("max", "min"):
            raise ConfigError(f"StopByPrediction: mode is {mode!r}; use max or min")
        if not checkpoints or not all(0 < share < 1 for share in checkpoints):
            raise ConfigError(f"StopByPrediction: checkpoints are {list(checkpoints)}; give shares between 0 and 1")
        try:
            self._make = partial(StoppingRule, delta, least, spared, seed=seed)
            self._rule = self._make()
        except PredictorError as error:
            raise ConfigError(f"StopByPrediction: {error}") from error
        self.file, self.monitor, self._sign = Path(file).expanduser(), monitor, 1.0 if mode == "max" else -1.0
        self.checkpoints = tuple(checkpoints)
        self._curve: list[float] = []
        self._length = self._number = 0
        self._decision: Decision | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forget the curve of an earlier fit; that of a checkpoint is restored after this."""
        if stage == "fit":
            self._curve = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the curves of earlier trainings.

        Raises:
            ConfigError: If the length of the training is not known.
            PredictorError: If the file is not one of learning curves.
        """
        if is_dry_run(trainer):
            return
        every = trainer.check_val_every_n_epoch or 0
        if not (trainer.max_epochs or 0) > 0 or every < 1:
            raise ConfigError(
                "StopByPrediction: the number of validations is not known: set trainer.max_epochs, and "
                "trainer.check_val_every_n_epoch at least 1"
            )
        self._length, self._decision = (trainer.max_epochs or 0) // every, None
        self._rule = self._make()
        records = read_curves(self.file)
        self._number = len(records)
        whole = [record.curve for record in records if record.predicted is None]
        for curve in whole:
            if len(curve) == self._length:
                self._rule.add([self._sign * value for value in curve])
        if (others := len(whole) - len(self._rule.curves)) and trainer.is_global_zero:
            note(f"{self.file}: {others} trainings of another length than {self._length} validations are left out")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add a value to the curve, and stop the training if it is time.

        Raises:
            ConfigError: If the metric is not logged.
        """
        if trainer.sanity_checking or is_dry_run(trainer) or trainer.state.fn != "fit":
            return
        if self.monitor not in trainer.callback_metrics:
            logged = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
            raise ConfigError(f"StopByPrediction: monitor is {self.monitor!r}, but {logged} is logged")
        self._curve.append(float(trainer.callback_metrics[self.monitor]))
        epochs = {round(share * self._length) for share in self.checkpoints}
        if len(self._curve) not in epochs or not 3 <= len(self._curve) < self._length:
            return
        decision = self._decide() if trainer.is_global_zero else None
        decision = trainer.strategy.broadcast(decision)  # files may differ by now, and processes stop together
        if decision is not None and decision.stop:
            self._decision, trainer.should_stop = decision, True
            if trainer.is_global_zero:
                note(
                    f"stopped after {len(self._curve)} of {self._length} validations: {self.monitor} would end at "
                    f"{self._sign * decision.predicted:.4f} ± {decision.sigma:.4f}, and not beat "
                    f"{self._sign * self._rule.best:.4f} with a probability of {decision.probability:.1%}"
                )

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the curve to the file, if the training went to its end or was stopped by prediction."""
        if is_dry_run(trainer) or not trainer.is_global_zero or trainer.interrupted:
            return
        decision = self._decision
        if decision is None and len(self._curve) != self._length:
            return
        predicted = None if decision is None else self._sign * decision.predicted
        try:
            append_curve(self.file, CurveRecord(tuple(self._curve), predicted))
        except OSError as error:  # the training is worth more
            note(f"{self.file}: cannot be written ({error.strerror}); this training is not kept for the others")

    def state_dict(self) -> dict[str, Any]:
        """Return the curve so far, for the checkpoint."""
        return {"curve": list(self._curve)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the curve of the checkpoint."""
        self._curve = list(state_dict["curve"])

    def _decide(self) -> Decision | None:
        return self._rule.decide([self._sign * value for value in self._curve], self._number)
