"""The data module that all image sources share."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import CombinedLoader

from sparsenas.data.augment import Augmentation, Augmenter, normalise
from sparsenas.data.loading import Batch, BatchLoader, BatchSampler
from sparsenas.data.parts import Part, Parts
from sparsenas.data.sources import ImageSource, check_at_least
from sparsenas.data.statistics import check_statistics
from sparsenas.errors import ConfigError

#: Streams of training batches; the numbers keep their randomness apart.
STREAMS = {"weights": 0, "arch": 1}


class ImageData(pl.LightningDataModule):
    """Labelled images, split, batched, augmented and normalised.

    With ``arch_fraction > 0`` a training batch is ``{"weights": (images, labels), "arch": (images, labels)}``, the
    shorter stream being cycled; otherwise, and in evaluation, it is ``(images, labels)``. The model receives images as
    normalised float32 ``(B, C, H, W)`` in channels-last memory and labels as int64 ``(B,)``.

    Everything random follows from ``seed`` and the epoch, and nothing from the global generators. Images of the test
    part are read by ``test`` and ``predict`` only.

    Args:
        source: Where the images come from.
        batch_size: Images of a training batch, per stream and per process.
        eval_batch_size: Images of a validation, test or prediction batch, per process.
        arch_fraction: Share of the training images (after validation) that train the architecture; 0 for none.
        val_fraction: Share of the training images held out for validation; not used where the source has such a part.
        test_fraction: Share of all images set aside for testing; not used where the source has such a part.
        seed: Seed of the split, the order and the augmentation.
        test_seed: Seed by which test images are set aside; apart from ``seed``, so that test accuracies of different
            seeds are over the same images.
        crop_padding: Black pixels added on each side before a random image-sized window is cut out; by default an
            eighth of the smaller side; 0 for no crop.
        flip: Mirror training images left to right at random.
        cutout: Side in pixels of the square hidden at random in training images; 0 for none.
        mean: Mean per channel of images scaled to [0, 1]; by default of the images that train something.
        std: Deviation per channel, likewise.
        num_workers: Processes that read batches; images held in memory need none.

    Attributes:
        image_shape: ``(C, H, W)``.
        num_classes: Number of classes.
        class_names: One name per label.
        augmentation: What happens to training images.
        parts: Which images are where.

    Raises:
        ConfigError: If an option is out of range.
        DataError: If the source is missing or damaged.
    """

    def __init__(
        self,
        source: ImageSource,
        batch_size: int = 64,
        eval_batch_size: int = 256,
        arch_fraction: float = 0.5,
        val_fraction: float = 0.1,
        test_fraction: float = 0.2,
        seed: int = 0,
        test_seed: int = 0,
        crop_padding: int | None = None,
        flip: bool = True,
        cutout: int = 0,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.source = source
        self.image_shape = source.image_shape
        self.class_names = source.class_names
        self.num_classes = len(source.class_names)
        if crop_padding is None:
            crop_padding = min(self.image_shape[1:]) // 8
        for option, value, least in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("seed", seed, 0),
            ("test_seed", test_seed, 0),
            ("crop_padding", crop_padding, 0),
            ("cutout", cutout, 0),
            ("num_workers", num_workers, 0),
        ):
            check_at_least(option, value, least)
        check_statistics(mean, std, self.image_shape[0])
        self.parts = Parts(
            source,
            arch_fraction=arch_fraction,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            seed=seed,
            test_seed=test_seed,
        )
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.seed = seed
        self.augmentation = Augmentation(crop_padding, flip, cutout)
        self.num_workers = num_workers
        self._bilevel = arch_fraction > 0
        self._given = None if mean is None or std is None else (tuple(mean), tuple(std))
        self._augmenter = Augmenter(self.augmentation, seed)
        self._normalisation = torch.zeros(2, self.image_shape[0])  # mean and deviation, known from setup on

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean per channel of images scaled to [0, 1]; computed when first asked for, unless given."""
        return (self._given or self.parts.statistics)[0]

    @property
    def std(self) -> tuple[float, ...]:
        """Deviation per channel, likewise."""
        return (self._given or self.parts.statistics)[1]

    def prepare_data(self) -> None:
        """Fetch what is missing, if asked to; Lightning calls this on one process."""
        self.source.prepare()

    def setup(self, stage: str) -> None:
        """Read what a stage needs, and compute mean and deviation unless they are given.

        Images for testing are read by ``"test"`` and ``"predict"`` only.

        Args:
            stage: ``"fit"``, ``"validate"``, ``"test"`` or ``"predict"``.

        Raises:
            ConfigError: If a training batch is larger than its part, or the part of the stage is empty.
            DataError: If the images or labels are damaged, or a class has too few images for the split.
        """
        if stage == "fit":
            self._check_batch_size()
        elif stage == "validate" and not len(self.parts.val[1]):
            raise ConfigError("data.val_fraction is 0, so there is nothing to validate on; set it above 0")
        elif stage in ("test", "predict"):
            _ = self.parts.test  # reads it, so that a damaged part ends the run before it begins
        self._normalisation = torch.tensor([self.mean, self.std])

    def train_dataloader(self) -> CombinedLoader | BatchLoader:
        """One stream of batches, or two side by side."""
        self._augmenter = Augmenter(self.augmentation, self.seed, self._rank)
        weights = self._loader(self.parts.weights, stream="weights")
        if not self._bilevel:
            return weights
        return CombinedLoader({"weights": weights, "arch": self._loader(self.parts.arch, "arch")}, "max_size_cycle")

    def val_dataloader(self) -> BatchLoader | list[BatchLoader]:
        """Batches of the validation part; an empty list, which means no validation, when there is none."""
        return self._loader(self.parts.val) if len(self.parts.val[1]) else []

    def test_dataloader(self) -> BatchLoader:
        """Batches of the test part, in order."""
        return self._loader(self.parts.test)

    def predict_dataloader(self) -> BatchLoader:
        """Batches of the test part, in order."""
        return self._loader(self.parts.test)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment (in training only) and normalise, on the device where the model is.

        Args:
            batch: ``(images, labels)`` with uint8 images, or a dict of such pairs.
            dataloader_idx: Not used.
        """
        if isinstance(batch, dict):
            return {name: self._finish(pair, STREAMS[name]) for name, pair in batch.items()}
        return self._finish(batch, STREAMS["weights"])

    def _finish(self, batch: Batch, stream: int) -> Batch:
        images, labels = batch
        self._normalisation = self._normalisation.to(images.device)  # copies once, with the first batch
        mean, std = self._normalisation
        if self.trainer is not None and self.trainer.training:
            return self._augmenter(images, mean, std, stream=stream, epoch=self.trainer.current_epoch), labels
        return normalise(images, mean, std), labels

    def _loader(self, part: Part, stream: str | None = None) -> BatchLoader:
        """Loader of a training stream, or of an evaluation part when ``stream`` is ``None``."""
        dataset, indices = part
        sampler = BatchSampler(
            indices,
            self.batch_size if stream else self.eval_batch_size,
            train=stream is not None,
            seed=self.seed,
            stream=STREAMS[stream] if stream else 0,
            shuffle=not getattr(self.trainer, "overfit_batches", 0),  # set on the trainer, but not declared there
            rank=self._rank,
            world_size=self._world_size,
        )
        return BatchLoader(dataset, sampler, self.num_workers)

    def _check_batch_size(self) -> None:
        split, processes = self.parts.split, self._world_size
        smallest = min(len(split.weights), len(split.arch)) if self._bilevel else len(split.weights)
        if self.batch_size * processes > smallest:
            raise ConfigError(
                f"data.batch_size is {self.batch_size} on {processes} process(es), more than the smallest training "
                f"part holds ({split}); set it to at most {smallest // processes}"
            )

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer is not None else 0

    @property
    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1
