"""Agreement of the processes of a search on what it found."""

import zlib

import pytorch_lightning as pl
import torch

from sparsenas.errors import RecoveryError
from sparsenas.spaces import Support


def check_agreement(trainer: pl.Trainer, support: Support) -> None:
    """Check that all processes have the same support; all of them call this.

    With different ones they would go on training without a word, each of equal weights another network.

    Raises:
        RecoveryError: If they do not.
    """
    if trainer.world_size == 1:
        return
    mine = torch.tensor(zlib.crc32(repr(support).encode()), device=trainer.strategy.root_device)
    total = trainer.strategy.reduce(mine.clone(), reduce_op="sum")
    if int(total) != trainer.world_size * int(mine):
        raise RecoveryError(
            "processes have found different architectures, so that their weights would mean different networks; go on "
            "from the last checkpoint, and report this"
        )
