"""The run in TensorBoard's HParams tab."""

from typing import Any, Literal

import pytorch_lightning as pl

from sparsenas.callbacks.tensorboard import tensorboard_loggers, trained_batches
from sparsenas.complexity import count_parameters
from sparsenas.errors import ConfigError
from sparsenas.search import Searcher, SearchModule


class HParamsSummary(pl.Callback):
    """Log hyper-parameters and final metrics to TensorBoard's HParams tab at the end of the fit.

    The metric is that of ``monitor`` at the end, whose chart is there already. What is one number for a run is a column
    beside the hyper-parameters, and no chart: ``best_<monitor>``, ``parameters`` of the network (of a search: the
    derived net at the searched size), ``training_batches``, and of a search ``visited`` architectures. Set the logger's
    ``default_hp_metric: false``; else the tab also shows a column ``hp_metric`` of -1.

    Args:
        monitor: Validation metric.
        mode: ``"max"`` if larger values are better, else ``"min"``.

    Raises:
        ConfigError: If ``mode`` is neither ``"max"`` nor ``"min"``.
    """

    def __init__(self, monitor: str = "val/acc", mode: Literal["max", "min"] = "max") -> None:
        super().__init__()
        if mode not in ("max", "min"):
            raise ConfigError(f"HParamsSummary.mode is {mode!r}; use 'max' or 'min'")
        self.monitor = monitor
        self.mode = mode
        self._best: float | None = None
        self._last: float | None = None

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the best value."""
        if trainer.sanity_checking or self.monitor not in trainer.callback_metrics:
            return
        self._last = float(trainer.callback_metrics[self.monitor])
        better = max if self.mode == "max" else min
        self._best = self._last if self._best is None else better(self._best, self._last)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log parameters, facts and the metric together."""
        loggers = tensorboard_loggers(trainer)
        if not loggers or self._last is None:
            return
        facts = self._facts(trainer, pl_module)
        for logger in loggers:
            # entries with a leading underscore are Lightning's own, e.g. the name of the class to build
            params = {name: value for name, value in logger.hparams.items() if not name.startswith("_")}
            logger.log_hyperparams({**params, **facts}, {self.monitor: self._last}, step=trained_batches(trainer))

    def state_dict(self) -> dict[str, Any]:
        """Return the best and the last value."""
        return {"best": self._best, "last": self._last}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._best, self._last = state_dict["best"], state_dict["last"]

    def _facts(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, float]:
        facts = {"training_batches": float(trained_batches(trainer))}
        if self._best is not None:
            facts[f"best_{self.monitor.replace('/', '_')}"] = self._best
        if isinstance(pl_module, SearchModule):
            facts["parameters"] = float(count_parameters(pl_module.network.untrained(pl_module.genotype)))
        else:
            facts["parameters"] = float(count_parameters(pl_module))
        if isinstance(pl_module, Searcher):
            facts["visited"] = float(len(pl_module.visited))
        return facts
