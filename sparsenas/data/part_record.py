"""The parts of the images of a training: kept in its checkpoint, so that no trained image is ever tested."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sparsenas.data.names import Hashes, hashes
from sparsenas.data.split import Codes

#: Most names in a message.
SHOWN = 3


@dataclass(frozen=True)
class PartRecord:
    """Part of every image of a training.

    Attributes:
        images: Hash of each image's name, shape ``(N,)``, ascending.
        codes: Its part.
    """

    images: Hashes
    codes: Codes

    @classmethod
    def of(cls, names: Sequence[str], codes: Codes) -> "PartRecord":
        """Record the parts of named images."""
        images = hashes(names)
        order = np.argsort(images, kind="stable")
        return cls(images[order], codes[order])

    def to_plain(self) -> dict[str, torch.Tensor]:
        """Return what a checkpoint keeps."""
        return {"images": torch.from_numpy(self.images.view(np.int64)), "parts": torch.from_numpy(self.codes)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "PartRecord":
        """Read what :meth:`to_plain` returned."""
        return cls(plain["images"].numpy().view(np.uint64), plain["parts"].numpy())

    def known(self, names: Sequence[str]) -> tuple[NDArray[np.bool_], Codes]:
        """Say which images were there, and their parts; shape ``(N,)`` each."""
        if not len(self.images):
            return np.zeros(len(names), dtype=bool), np.zeros(len(names), dtype=np.uint8)
        images = hashes(names)
        found = np.searchsorted(self.images, images).clip(max=len(self.images) - 1)
        return self.images[found] == images, self.codes[found]

    def changes(self, names: Sequence[str], where: str) -> str:
        """Say what has come and gone since the training; empty if nothing has."""
        known, _ = self.known(names)
        new = [names[i] for i in np.flatnonzero(~known)[:SHOWN]]
        count, gone = int((~known).sum()), int((~np.isin(self.images, hashes(names))).sum())
        said = []
        if count:
            said.append(f"{count} of {len(names)} images are new ({', '.join(new)}{', ...' if count > SHOWN else ''})")
        if gone:
            said.append(f"{gone} images are gone")
        if not said:
            return ""
        rest = "renamed ones may have been trained on" if count and gone else "all others keep their part"
        return f"{where}: since the training, {' and '.join(said)}; {rest}"
