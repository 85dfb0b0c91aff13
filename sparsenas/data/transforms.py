"""Random changes of training images that a run asks for: RandAugment, transforms of the user, and mixed images."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor, nn

from sparsenas.errors import ConfigError

#: Images of a batch that get the same operations of RandAugment: one by one takes seven times as long.
ALIKE = 8


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and Python, from which transforms draw; they are put back."""
    with isolate_rng(include_cuda=device.type == "cuda"):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        yield


class Transforms:
    """Changes uint8 images by transforms of torchvision's kind, after RandAugment.

    Args:
        operations: Operations of RandAugment; 0 for none.
        magnitude: Their strength, in [0, 30].
        own: Further transforms, of uint8 batches ``(B, C, H, W)``.

    Source: Cubuk et al., RandAugment (CVPR Workshops 2020).

    Differs: :data:`ALIKE` images of a batch get the same operations.
    """

    def __init__(self, operations: int, magnitude: int, own: Sequence[nn.Module]) -> None:
        self._own = own
        self._randaugment: nn.Module | None = None
        if operations:
            from torchvision.transforms import v2  # who asks for none does not wait for it

            self._randaugment = v2.RandAugment(operations, magnitude)

    def __bool__(self) -> bool:
        """True if there are any."""
        return self._randaugment is not None or bool(self._own)

    def __call__(self, images: Tensor) -> Tensor:
        """Change a batch; its shape and type stay.

        Raises:
            ConfigError: If a transform refuses it, or gives something else.
        """
        if self._randaugment is not None:
            images = torch.cat([self._randaugment(part) for part in torch.split(images, ALIKE)])
        for transform in self._own:
            images = _applied(transform, images)
        return images


def _applied(transform: nn.Module, images: Tensor) -> Tensor:
    where = f"data.augmentation.transforms: {type(transform).__name__}"
    batch = f"a uint8 batch of shape {tuple(images.shape)}"
    try:
        changed: Tensor = transform(images)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{where}: does not take {batch}: {error}") from error
    if not isinstance(changed, Tensor) or changed.shape != images.shape or changed.dtype != images.dtype:
        found = f"{changed.dtype} {tuple(changed.shape)}" if isinstance(changed, Tensor) else type(changed).__name__
        raise ConfigError(f"{where}: gives {found} for {batch}; it must give the like, which is normalised later")
    return changed


class Mixing:
    """Mixes images of a batch by MixUp or CutMix, whichever is drawn if both are wanted.

    Args:
        mixup: ``alpha`` of MixUp; 0 for none.
        cutmix: ``alpha`` of CutMix; 0 for none.
        classes: Number of classes.

    Source: Zhang et al., mixup (ICLR 2018); Yun et al., CutMix (ICCV 2019), as torchvision has them: one share and one
        box a batch.
    """

    def __init__(self, mixup: float, cutmix: float, classes: int) -> None:
        self._kinds: list[nn.Module] = []
        if mixup or cutmix:
            from torchvision.transforms import v2  # as above

            wanted = ((v2.MixUp, mixup), (v2.CutMix, cutmix))
            self._kinds = [kind(alpha=alpha, num_classes=classes) for kind, alpha in wanted if alpha]

    def __bool__(self) -> bool:
        """True if images are mixed."""
        return bool(self._kinds)

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mix normalised images; labels ``(B,)`` or ``(B, classes)`` become shares of classes, ``(B, classes)``."""
        kind = self._kinds[int(torch.randint(len(self._kinds), ()))]
        mixed, shares = kind(images, labels)
        return mixed, shares
