"""Recalibration of batch-norms within a run, while their running statistics are young."""

from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn

from sparsenas.networks import recalibrate, young_norms

#: Images per process that are enough: a thousand, with many pixels each.
ENOUGH = 1024


class Recalibration:
    """Replace young running statistics before they are used: for a validation, and at the end of an epoch.

    Running statistics begin at mean 0 and variance 1, and follow the weights about ten batches late. So after few
    steps a trained network computes nonsense in evaluation. Until they are as old as their horizon, see
    :func:`~sparsenas.networks.horizon`, they are replaced by those of training images under the present weights. Older
    ones are left alone. Weights and random numbers stay what they would have been.

    The images are those of training, since validation images may not decide anything, but as evaluation sees them:
    crops and hidden squares shift statistics. Only data modules of sparsenas can give them so. Of others, the first
    images of each epoch are kept as they were trained on; their loaders are not read again, which could change what
    the run sees next.

    A recalibration costs one forward pass over the images of an epoch or over :data:`ENOUGH`, whichever are fewer, up
    to the end of a batch. They are read once, and kept on the CPU until all statistics are old.

    Attributes:
        done: True once statistics have been looked at after a training batch, and replaced where they were young.
    """

    def __init__(self) -> None:
        self.done = False
        self._images: list[Tensor] = []
        self._batch_size, self._epoch = 0, -1
        self._stale, self._young = False, True

    def note(self, trainer: pl.Trainer, images: Tensor) -> None:
        """Take note of a training batch."""
        self._stale, self._batch_size = True, len(images)
        if self._young and not _gives_images(trainer):
            if trainer.current_epoch != self._epoch:  # a resumed run knows the images of its own epochs only
                self._images, self._epoch = [], trainer.current_epoch
            if sum(map(len, self._images)) < ENOUGH:
                kept = images.cpu()
                if len(kept := kept[kept.isfinite().flatten(1).all(1)]):  # a run may pass over others
                    self._images.append(kept)

    def run(self, module: pl.LightningModule, network: nn.Module, trained: bool = False) -> None:
        """Recalibrate what is young, if a training batch came since the last time.

        Args:
            module: Module that is fitted; given images, it runs its network.
            network: The network.
            trained: A batch came that is not noted yet: callbacks hear of it before their module does.
        """
        trainer = module.trainer
        self._stale |= trained
        if not (self._stale and self._young and trainer.state.fn == "fit"):
            return
        norms = young_norms(network)
        self._stale, self._young, self.done = False, bool(norms), True
        if not norms:
            self._images.clear()
            return
        if _gives_images(trainer) and not self._images:
            self._images = list(self._read(trainer))
        with trainer.precision_plugin.val_step_context():
            like = next(network.parameters())
            batches = (images.to(like.device, like.dtype) for images in self._images)
            recalibrate(network, norms, batches, module, lambda x: trainer.strategy.reduce(x, reduce_op="sum"))

    def _read(self, trainer: pl.Trainer) -> Iterator[Tensor]:
        """Read as many training images as an epoch has, up to the end of a batch."""
        left = min(ENOUGH, trainer.num_training_batches * (self._batch_size or ENOUGH))
        for images, _ in _data(trainer).evaluation_batches("train"):
            yield images
            left -= len(images)
            if left <= 0:
                return


def _gives_images(trainer: pl.Trainer) -> bool:
    """Say if the data module can give training images as evaluation sees them."""
    return hasattr(_data(trainer), "evaluation_batches")


def _data(trainer: pl.Trainer) -> Any:
    return getattr(trainer, "datamodule", None)  # set on the trainer, but not declared there
