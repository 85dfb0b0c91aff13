"""From indices to batches: datasets that read whole batches, and the order in which they are read."""

import math
import signal
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from sparsenas.data.names import Indices
from sparsenas.errors import ConfigError, DataError

#: Images ``(B, C, H, W)`` uint8 and labels ``(B,)`` int64, or ``(B, K)`` float32 of 0 and 1 if an image has several.
Batch = tuple[Tensor, Tensor]
#: Reads the batch of a :class:`Draw`.
BatchDataset = Dataset[Batch]


class Draw(NamedTuple):
    """One batch to read: positions in the dataset ``(B,)``, and the seed of its randomness (None in evaluation)."""

    indices: Indices
    entropy: tuple[int, ...] | None = None


class InMemory(BatchDataset):
    """Images ``(N, C, H, W)`` as one uint8 tensor, and their labels, ``(N,)`` or ``(N, K)``."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitem__(self, draw: Draw) -> Batch:
        """Read images and labels of one batch."""
        indices = torch.from_numpy(draw.indices)
        return self.images[indices], self.labels[indices]


class BatchSampler(Sampler[Draw]):
    """Yields batches of indices in an order that depends only on the arguments and the epoch.

    Each rank takes every ``world_size``-th index. Training shuffles, drops the remainder, and gives every rank as many.
    Evaluation keeps the order and reads every image once, in batches of nearly equal size: a small last one would have
    statistics of its own. A second pass within one epoch (of the shorter stream) has an order of its own. So a run
    resumed at any batch loses nothing.

    Args:
        indices: Positions in the dataset to draw from.
        batch_size: Images of a batch, on each rank.
        train: Shuffle and drop the last incomplete batch.
        seed: Seed of the order.
        stream: Number that tells streams of one seed apart.
        shuffle: False keeps the order fixed in training, for overfitting a few batches.
        rank: Number of this process.
        world_size: Number of processes.
    """

    def __init__(
        self,
        indices: Indices,
        batch_size: int,
        *,
        train: bool,
        seed: int = 0,
        stream: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.indices = indices
        self.batch_size = batch_size
        self.train = train
        self.shuffle = train and shuffle
        self.seed = seed
        self.stream = stream
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.passes = 0
        self._resumed: tuple[int, int, int] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Start an epoch; Lightning calls this before its first batch, also after a resume."""
        self.epoch = epoch
        self.passes = 0

    def resume(self, epoch: int, passes: int, batch: int) -> None:
        """Let the next pass begin at a batch, if it is of this epoch.

        Args:
            epoch: The epoch.
            passes: Passes of this epoch that were begun, the one that goes on included.
            batch: Batches of it that were read.
        """
        self._resumed = epoch, passes, batch

    @property
    def position(self) -> int:
        """Batch at which the next pass begins."""
        return self._resumed[2] if self._resumed is not None and self._resumed[0] == self.epoch else 0

    def __len__(self) -> int:
        """Return the number of batches on each rank."""
        if self.train:
            return len(self.indices) // self.world_size // self.batch_size
        return math.ceil(len(self.evaluated) / self.batch_size)

    @property
    def evaluated(self) -> Indices:
        """Positions that this rank evaluates, in order."""
        return self.indices[self.rank :: self.world_size]

    def __iter__(self) -> Iterator[Draw]:
        """Yield the batches of one pass.

        A generator on purpose: Lightning makes the first iterator before it calls :meth:`set_epoch`.
        """
        first = self.position
        if first and self._resumed is not None:
            self.passes = self._resumed[1] - 1
        self._resumed = None
        entropy = (self.seed, self.stream, self.epoch, self.passes)
        self.passes += 1
        if not self.train:
            yield from map(Draw, np.array_split(self.evaluated, len(self)) if len(self) else ())
            return
        order = np.random.default_rng(entropy).permutation(self.indices) if self.shuffle else self.indices
        mine = order[self.rank :: self.world_size]
        for number in range(first, len(self)):
            batch = mine[number * self.batch_size : (number + 1) * self.batch_size]
            yield Draw(batch, (*entropy, self.rank, number))


class BatchLoader:
    """Iterates over the batches of a sampler, read in this process or by workers.

    Not a ``DataLoader``, because Lightning replaces the sampler of one with several ranks and in prediction, and warns
    about few workers. It leaves other iterables alone, and still calls ``sampler.set_epoch``.

    Args:
        dataset: Reads batches; not kept under the name ``dataset``, by which Lightning would replace it.
        sampler: Order of the batches.
        num_workers: Processes that read; 0 reads in this one.
    """

    batch_sampler = None  # Lightning looks for it beside a ``sampler``

    def __init__(self, dataset: BatchDataset, sampler: BatchSampler, num_workers: int = 0) -> None:
        self.sampler = sampler
        self._read = dataset
        self._given = 0  # batches of this pass; workers have read more
        self._pin = torch.cuda.is_available()
        self.num_workers = num_workers
        self._workers: DataLoader[Batch | DataError] | None = None
        if num_workers > 0:
            self._workers = DataLoader(
                _InWorker(dataset),
                batch_size=None,
                sampler=sampler,
                num_workers=num_workers,
                collate_fn=_unchanged,
                worker_init_fn=_stay,
                persistent_workers=True,
                pin_memory=self._pin,
                generator=torch.Generator(),  # otherwise each pass would draw from the global generator
            )

    @property
    def _iterator(self) -> Any:
        """Running workers, under the name by which Lightning ends them when a run ends.

        Left to the garbage collector, each worker would take five seconds to end.
        """
        return None if self._workers is None else self._workers._iterator

    @_iterator.setter
    def _iterator(self, iterator: Any) -> None:
        if self._workers is not None:
            self._workers._iterator = iterator

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one pass; nothing is read before the first is asked for."""
        self._given = self.sampler.position
        for batch in self._pass():
            self._given += 1
            yield batch

    def _pass(self) -> Iterator[Batch]:
        if self._workers is None:
            for draw in self.sampler:
                images, labels = self._read[draw]
                yield (images.pin_memory(), labels.pin_memory()) if self._pin else (images, labels)
            return
        for batch in self._workers:
            if isinstance(batch, DataError):
                raise batch
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Say where in the epoch the reading is; Lightning keeps it in checkpoints."""
        place = {"epoch": self.sampler.epoch, "passes": self.sampler.passes, "batch": self._given}
        return place | self._sizes

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from a place of :meth:`state_dict`.

        Raises:
            ConfigError: If batches would be others.
        """
        for name, size in self._sizes.items():
            if state_dict[name] != size:
                raise ConfigError(
                    f"the checkpoint was written within an epoch, with {state_dict[name]} {name}, but now there are "
                    f"{size}: leave all as it was, or go on from a checkpoint of the end of an epoch"
                )
        self.sampler.resume(**{name: state_dict[name] for name in ("epoch", "passes", "batch")})

    @property
    def _sizes(self) -> dict[str, int]:
        sampler = self.sampler
        sizes = len(sampler.indices), sampler.batch_size, sampler.world_size
        return dict(zip(("training images", "images a batch", "processes"), sizes, strict=True))


class _InWorker(Dataset["Batch | DataError"]):
    """Returns a user's error as a value, because ``DataLoader`` would turn its message into a traceback."""

    def __init__(self, dataset: BatchDataset) -> None:
        self._read = dataset

    def __getitem__(self, draw: Draw) -> Batch | DataError:
        try:
            return self._read[draw]
        except DataError as error:
            return DataError(str(error))


def _stay(number: int) -> None:
    """Let the worker live through a SIGTERM to all processes: the main one ends its run, and then the workers.

    Otherwise the main process would meet a dead worker in the midst of a step.
    """
    del number
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _unchanged(batch: Any) -> Any:
    """Collate nothing; a function of the module, because workers may have to pickle it."""
    return batch
