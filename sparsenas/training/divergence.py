"""The end of a run whose numbers are no longer numbers."""

from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from sparsenas.errors import DivergenceError
from sparsenas.trainer import within_epoch_checkpoint
from sparsenas.training.weights import WeightTraining


def check_finite(
    module: pl.LightningModule,
    network: nn.Module,
    training: WeightTraining,
    *metrics: str,
    found: Sequence[str] = (),
) -> None:
    """Check that logged metrics and the weights of a network are finite.

    This waits for the device, so it belongs to the end of an epoch: before checkpoints are written, so that the last
    good one stays.

    Args:
        module: Module that logs the metrics.
        network: Its network.
        training: Options of its training.
        metrics: Names of metrics; those that were not logged are skipped.
        found: What else shows that the run has diverged.

    Raises:
        DivergenceError: If one is not finite; the message says what to change, and which checkpoint is good.
    """
    trainer = module.trainer
    values = {name: float(trainer.callback_metrics[name]) for name in metrics if name in trainer.callback_metrics}
    if trainer.precision == "16-mixed":
        values.pop("train/loss", None)  # a batch may overflow without harm: its step is left out
    bad = [f"{name} is {value}" for name, value in values.items() if not isfinite(value)]
    if not weights_are_finite(network):
        bad.append("weights are not finite")
    bad += found
    if not bad:
        return
    if trainer.state.fn != "fit":
        raise DivergenceError(f"{', '.join(bad)}: the network computes no numbers; train it anew")
    last = last_checkpoint(trainer)
    kept = f"the last good checkpoint is {last}" if last else "no checkpoint had been written yet"
    raise DivergenceError(
        f"epoch {module.current_epoch + 1}: the run has diverged: {', '.join(bad)}; use a smaller learning rate "
        f"(model.training.optimizer), or a smaller training.gradient_clip above 0 (it is {training.gradient_clip:g}); "
        f"{kept}"
    )


@torch.no_grad()
def weights_are_finite(network: nn.Module) -> bool:
    """True if all weights and statistics of a network are finite."""
    tensors: Iterable[torch.Tensor] = network.state_dict().values()
    checks = [tensor.isfinite().all() for tensor in tensors if tensor.is_floating_point()]
    return not checks or bool(torch.stack(checks).all())


def last_checkpoint(trainer: pl.Trainer) -> Path | None:
    """The newest checkpoint that the callbacks of a run know of."""
    callbacks = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    names = [name for callback in callbacks for name in (callback.best_model_path, callback.last_model_path)]
    paths = [*names, trainer.ckpt_path, within_epoch_checkpoint(trainer)]
    files = [Path(path) for path in paths if path and Path(path).is_file()]
    return max(files, key=lambda path: path.stat().st_mtime_ns, default=None)
