"""Outputs of a network on batches, kept where they are until the end."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor


class Gathered:
    """Outputs and labels of the images that this process has seen; nothing waits for the device before the end."""

    def __init__(self) -> None:
        self._outputs: list[Tensor] = []
        self._labels: list[Tensor] = []

    def add(self, outputs: Any, batch: Any) -> None:
        """Keep a batch: outputs ``(B, K)``, and its labels; what has another form is left out."""
        labels = batch[1] if isinstance(batch, (tuple, list)) and len(batch) == 2 else None
        if not isinstance(outputs, Tensor) or not isinstance(labels, Tensor):
            return
        if outputs.ndim == 2 and len(outputs) == len(labels):
            self._outputs.append(outputs.detach())
            self._labels.append(labels)

    def all(self, trainer: pl.Trainer, loader: Any) -> tuple[Tensor, Tensor, Tensor] | None:
        """Collect the images of all processes; call it on each of them.

        Args:
            trainer: The trainer.
            loader: Loader of the batches.

        Returns:
            Places of the images ``(N,)``, ascending, outputs ``(N, K)``, and labels ``(N,)`` or ``(N, K)``, on the
            CPU; ``None`` if there were no images.
        """
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        if self._outputs:
            outputs, labels = torch.cat(self._outputs).float().cpu(), torch.cat(self._labels).cpu()
            places = getattr(getattr(loader, "sampler", None), "evaluated", None)
            if places is None:  # not of this package: every process reads each world_size-th image
                rank, size = trainer.global_rank, trainer.world_size
                places = range(rank, rank + size * len(labels), size)
            # limits of the trainer leave some out
            found = [(torch.as_tensor(places)[: len(labels)], outputs, labels)]
        if trainer.world_size > 1:
            gathered: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(gathered, found)
            found = [entry for entries in gathered for entry in entries]
        if not found:
            return None
        places, outputs, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
        order = places.argsort(stable=True)
        return places[order], outputs[order], labels[order]
