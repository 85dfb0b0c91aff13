"""Adversarial training: steps on images that were made to raise the loss."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsenas.errors import ConfigError
from sparsenas.networks import frozen_statistics
from sparsenas.training.attacks import Attack, PixelScale

#: Images ``(B, C, H, W)`` and their labels.
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Adversary(Attack):
    """The attack of a training.

    Attributes:
        replays: Steps in a row on the same images. From 2 on, this is free adversarial training: the gradient of the
            step before, which costs nothing, moves the change of the images. An epoch then takes every so-many-th of
            its batches, so that it costs what it did.

    Raises:
        ConfigError: If a number is out of range, or several steps meet several replays.

    Source: Wong et al., Fast Is Better than Free (ICLR 2020); Madry et al. (ICLR 2018); Shafahi et al., Adversarial
        Training for Free! (NeurIPS 2019).

    Differs: free training begins anew with every epoch, and a run that was stopped within one takes its next images.
        The auxiliary classifier is in the loss of an attack in free training only. With ``bf16-true`` images are
        rounded, so that changes can be a little larger.
    """

    replays: int = 1

    def __post_init__(self) -> None:
        """Check the numbers."""
        super().__post_init__()
        if self.replays < 1:
            raise ConfigError(f"training.adversary.replays is {self.replays}; use at least 1")
        if self.replays > 1 and self.steps > 1:
            raise ConfigError(
                f"training.adversary: steps is {self.steps} and replays {self.replays}; free training has one step of "
                "each replay: set steps to 1"
            )

    @property
    def step(self) -> float:
        """Length of a step, in levels; ``epsilon`` by default in free training."""
        return self.epsilon if self.replays > 1 and self.step_size is None else super().step


class AdversarialImages:
    """The images of a training under attack, and what free training remembers of them.

    Args:
        adversary: The attack; ``None`` leaves images as they are.
    """

    def __init__(self, adversary: Attack | None) -> None:
        self.adversary = adversary
        self._replays = adversary.replays if isinstance(adversary, Adversary) else 1
        self._scale: PixelScale | None = None
        self._known: tuple[Any, Any] | None = None
        self._batch: Batch | None = None
        self._point: Tensor | None = None
        self._change: Tensor | None = None
        self._replayed = 0

    def begin_epoch(self) -> None:
        """Forget the images of the last epoch."""
        self._batch = self._point = self._change = None
        self._replayed = 0

    def of(self, batch: Batch, network: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], data: Any) -> Batch:
        """Make the images of a step on the weights.

        Running statistics of the network stay as they are.

        Args:
            batch: Images and labels of the step; in free training those of an earlier one may be used instead.
            network: Whose batch-norms the attack runs through.
            loss: Loss of changed images, given the labels.
            data: Data module, which knows by what the images were normalised.

        Raises:
            ConfigError: If it does not.
        """
        if self.adversary is None:
            return batch
        images, labels = batch
        known = getattr(data, "mean", None), getattr(data, "std", None)
        if self._scale is None or known != self._known:  # another fit may have other images
            self._scale, self._known = pixel_scale(data).to(images), known
        if self._replays > 1:
            return self._replay(batch)
        start = self.adversary.start(images, self._scale)
        with frozen_statistics(network):
            change = self.adversary.change(images, lambda point: loss(point, labels), self._scale, start)
        return images + change, labels

    def learn(self) -> None:
        """Move the change of the images by the gradient of the step before; for after the backward pass."""
        point, self._point = self._point, None
        if point is None or point.grad is None or self._batch is None or self.adversary is None:
            return
        assert self._scale is not None  # as there was a point
        images = self._batch[0]
        self._change = self.adversary.stepped(images, point.detach() - images, point.grad, self._scale)

    def _replay(self, batch: Batch) -> Batch:
        assert self.adversary is not None  # checked by the only caller, as is the scale
        assert self._scale is not None
        if self._batch is None or self._replayed >= self._replays:
            self._replayed, self._batch = 0, batch
            kept = self._change
            if kept is None or kept.shape != batch[0].shape:  # the last batch may be smaller
                self._change = self.adversary.start(batch[0], self._scale)
            else:  # those of the images before, as Shafahi et al. begin
                self._change = self._scale.clamp(batch[0], kept, self.adversary.epsilon)
        self._replayed += 1
        images, labels = self._batch
        assert self._change is not None
        self._point = (images + self._change).detach().requires_grad_()
        return self._point, labels


def pixel_scale(data: Any) -> PixelScale:
    """Read off a data module what its normalised pixels mean.

    Raises:
        ConfigError: If it does not know by what it normalises.
    """
    if not (hasattr(data, "mean") and hasattr(data, "std")):
        raise ConfigError(
            "an attack needs to know what pixels are, but the data module has no mean and std per channel: use one of "
            "sparsenas.data, or leave attacks out"
        )
    return PixelScale.of(*torch.tensor([data.mean, data.std]))
