"""The data module that all image sources share."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import CombinedLoader

from sparsenas.checkpoints import CheckedLoading
from sparsenas.data.augment import STREAMS, Augmentation, Augmenter, normalise
from sparsenas.data.auto import AugmentationWord, BatchSizeWord, Choices
from sparsenas.data.image_files import ImageFiles
from sparsenas.data.loading import Batch, BatchLoader, BatchSampler
from sparsenas.data.part_record import PartRecord
from sparsenas.data.parts import Part, Parts
from sparsenas.data.sources import ImageSource, PartName, check_at_least, check_trained_alike
from sparsenas.data.split import Seeds, Shares
from sparsenas.data.statistics import check_statistics
from sparsenas.errors import ConfigError
from sparsenas.images import Resize
from sparsenas.texts import note


class ImageData(CheckedLoading, pl.LightningDataModule):
    """Labelled images, split, batched, augmented and normalised.

    With ``arch_fraction > 0``, training batches are ``{"weights": (images, labels), "arch": (images, labels)}``; the
    shorter stream is cycled. All other batches are ``(images, labels)``. The model gets normalised float32 images
    ``(B, C, H, W)`` in channels-last memory and int64 labels ``(B,)``. If an image has any number of labels, they are
    float32 ``(B, num_classes)``, 1 for each class of the image and 0 for others.

    All randomness follows from ``seed`` and the epoch. Only ``test`` and ``predict`` read test images.
    Evaluation mixes classes, in an order that follows from the images' names: where a network uses statistics of a
    batch, batches of one class would mislead it.

    A checkpoint keeps mean, deviation, class names and the part of every image: a restored network sees images
    normalised as in its training, and is never tested on images it was trained on. It also keeps the options, if the
    command line gave them.

    Args:
        source: Source of the images.
        batch_size: Images of a training batch, per stream and per process; ``auto`` follows from their number.
        eval_batch_size: Images of a validation, test or prediction batch, per process.
        arch_fraction: Share of the training images (after validation) that train the architecture; 0 for none.
        val_fraction: Share of the training images held out for validation; not used if the source has such a part.
        test_fraction: Share of all images held out for testing; not used if the source has such a part.
        seed: Seed of the split, the order and the augmentation.
        test_seed: Seed of the test images; apart from ``seed``, so all seeds are tested on the same images.
        augmentation: Random changes of training images: ``auto`` follows from the images, ``none`` is none; otherwise
            options of :class:`~sparsenas.data.Augmentation`.
        mean: Mean per channel of images scaled to [0, 1]; by default of the images that train something.
        std: Deviation per channel, likewise.
        num_workers: Processes that read batches; images held in memory need none.

    Attributes:
        image_shape: ``(C, H, W)``.
        num_classes: Number of classes.
        class_names: One name per label.
        multilabel: True if an image has any number of labels.
        parts: Images of each part.

    Raises:
        ConfigError: If an option is out of range.
        DataError: If the source is missing or damaged.
    """

    def __init__(
        self,
        source: ImageSource,
        batch_size: int | BatchSizeWord = 64,
        eval_batch_size: int = 256,
        arch_fraction: float = 0.5,
        val_fraction: float = 0.1,
        test_fraction: float = 0.2,
        seed: int = 0,
        test_seed: int = 0,
        augmentation: Augmentation | AugmentationWord = Augmentation(),
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self._keep_configuration()
        self.source = source
        self.image_shape = source.image_shape
        self.class_names = source.class_names
        self.num_classes = len(source.class_names)
        self.multilabel = source.multilabel
        check_at_least(1, eval_batch_size=eval_batch_size)
        check_at_least(0, seed=seed, test_seed=test_seed, num_workers=num_workers)
        check_statistics(mean, std, self.image_shape[0])
        self.parts = Parts(source, Shares(arch_fraction, val_fraction, test_fraction), Seeds(seed, test_seed))
        self._choices = Choices(augmentation, batch_size, self.parts, source)
        self.eval_batch_size = eval_batch_size
        self.seed = seed
        self.num_workers = num_workers
        self._bilevel = arch_fraction > 0
        self._given = None if mean is None or std is None else (tuple(mean), tuple(std))
        self._augmenter: Augmenter | None = None
        self._normalisation = torch.zeros(2, self.image_shape[0])  # mean and deviation; set by setup()
        self._told = False

    @property
    def augmentation(self) -> Augmentation:
        """Random changes of training images, as given or chosen."""
        return self._choices.augmentation

    @property
    def batch_size(self) -> int:
        """Images of a training batch, per stream and per process, as given or chosen."""
        return self._choices.batch_size(self._world_size)

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean per channel of images scaled to [0, 1]; computed when first needed, unless given."""
        return (self._given or self.parts.look[:2])[0]

    @property
    def std(self) -> tuple[float, ...]:
        """Deviation per channel, likewise."""
        return (self._given or self.parts.look[:2])[1]

    @property
    def eval_resize(self) -> Resize | None:
        """Recipe for the size of evaluated images, see :data:`sparsenas.images.Resize`; None if they have it."""
        return None

    def prepare_data(self) -> None:
        """Fetch what is missing, if asked to; Lightning calls this on one process."""
        self.source.prepare()

    def setup(self, stage: str) -> None:
        """Read what a stage needs, and compute what is not given.

        Raises:
            ConfigError: If a training batch is larger than its part, or the part of the stage is empty.
            DataError: If images or labels are damaged, or a class has too few images for the split.
        """
        if stage == "fit":
            self._tell(self.parts.report)
            self.parts.check_varied()
            self._check_batch_size()
            self._tell(self._choices.report)
            self._told = True
        elif stage == "validate" and not len(self.parts.val.indices):
            raise self._nothing_to_validate()
        elif stage in ("test", "predict"):
            _ = self.parts.test  # read now: a damaged part ends the run before it begins
        self._normalisation = torch.tensor([self.mean, self.std])

    def train_dataloader(self) -> CombinedLoader | BatchLoader:
        """Return one stream of batches, or two side by side."""
        self._augmenter = Augmenter(self.augmentation, self.seed, self._rank, self.num_classes)
        weights = self._loader(self.parts.weights, stream="weights")
        if not self._bilevel:
            return weights
        return CombinedLoader({"weights": weights, "arch": self._loader(self.parts.arch, "arch")}, "max_size_cycle")

    def val_dataloader(self) -> BatchLoader | list[BatchLoader]:
        """Return batches of the validation part; an empty list if there is none."""
        if len(self.parts.val.indices):
            self._tell_trained("val")
            return self._loader(self.parts.val)
        if self.trainer is not None and self.trainer.state.fn == "validate":
            raise self._nothing_to_validate()
        return []

    def test_dataloader(self) -> BatchLoader:
        """Return batches of the test part, classes mixed."""
        self._tell_trained("test")
        return self._loader(self.parts.test)

    def predict_dataloader(self) -> BatchLoader:
        """Return batches of the test part, in the order of the source; mixed for a network that needs it."""
        module = self.trainer.lightning_module if self.trainer is not None else None
        mixed = module is not None and _uses_batch_statistics(module)
        return self._loader(self.parts.test, mixed=mixed)

    def has(self, part: PartName) -> bool:
        """Return True if there are images of a part."""
        if part == "test":
            return self.parts.has_test
        return part == "train" or len(self.parts.val.indices) > 0

    def evaluation_batches(self, part: PartName, whole: bool = False) -> Iterator[Batch]:
        """Yield batches of a part as in evaluation, on the CPU, without a trainer or :meth:`setup`.

        ``"train"`` means the images that train network weights. Processes share them, unless each gets the ``whole``.

        Raises:
            ConfigError: If there are no images for testing.
            DataError: If the images or labels are damaged.
        """
        chosen = {"train": lambda: self.parts.weights, "val": lambda: self.parts.val, "test": lambda: self.parts.test}
        for images, labels in self._loader(chosen[part](), whole=whole):
            yield normalise(images, *torch.tensor([self.mean, self.std])), labels

    def training_batches(
        self, epoch: int = 0, stream: str = "weights", device: torch.device | str = "cpu"
    ) -> Iterator[Batch]:
        """Yield the training batches of weights of an epoch, augmented and normalised, all on every process.

        Args:
            epoch: Decides order and augmentation.
            stream: Name in :data:`STREAMS`, which does so, too.
            device: Where the batches are augmented.

        Raises:
            ConfigError: If a batch is larger than the training part.
            DataError: If the images or labels are damaged.
        """
        self._check_batch_size()
        augmenter = Augmenter(self.augmentation, self.seed, classes=self.num_classes)
        mean, std = torch.tensor([self.mean, self.std], device=device)
        loader = self._loader(self.parts.weights, stream=stream, whole=True)
        loader.sampler.set_epoch(epoch)
        for i, (images, labels) in enumerate(loader):
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            place = {"stream": STREAMS[stream], "epoch": epoch, "batch": i}
            yield augmenter.with_labels(images, labels, mean, std, **place)

    def state_dict(self) -> dict[str, Any]:
        """Return mean, deviation, class names, the part of every image, and what was chosen, for the checkpoint."""
        return {
            "mean": tuple(map(float, self.mean)),
            "std": tuple(map(float, self.std)),
            "class_names": tuple(map(str, self.class_names)),
            "multilabel": self.multilabel,
            "parts": self.parts.record.to_plain(),
            "choices": self._choices.to_plain(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, and tell what has changed since.

        Raises:
            DataError: If the classes differ, or one kind of images has one label each and the other any number.
        """
        check_trained_alike(self.source, state_dict)
        self._given = tuple(state_dict["mean"]), tuple(state_dict["std"])
        self._normalisation = torch.tensor(self._given)
        if "parts" in state_dict:  # checkpoints of earlier versions lack them
            self._restore_parts(PartRecord.from_plain(state_dict["parts"]))
        changed = self._choices.restore(state_dict.get("choices", {}))
        if changed and self._rank == 0:
            note(f"{self.source.name}: images are augmented as in the training so far: {changed}")

    def _restore_parts(self, record: PartRecord) -> None:
        moved = self.parts.restore(record)
        if self._rank != 0:
            return
        if changes := record.changes(self.parts.recorded_names, self.source.name):
            note(changes)
        if moved:
            note(
                f"{self.source.name}: images keep the part of the training, whatever data.seed and data.*_fraction say"
            )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment (in training only) and normalise on the device of the model."""
        if isinstance(batch, dict):
            return {name: self._finish(pair, STREAMS[name]) for name, pair in batch.items()}
        return self._finish(batch, STREAMS["weights"])

    def _tell_trained(self, part: PartName) -> None:
        """Say that images of a part were trained on."""
        trained = self.parts.trained(part)
        if trained and self._rank == 0:
            some = f"{trained[0]}{', ...' if trained[1:] else ''}"
            note(
                f"{self.source.name}: {len(trained)} {part} images were trained on, or decided something ({some}): "
                f"{part} numbers are too good"
            )

    def _nothing_to_validate(self) -> ConfigError:
        if self.parts.restored:
            return ConfigError(f"{self.source.name}: the validation images of the training are gone; bring them back")
        return ConfigError("data.val_fraction is 0, so there is nothing to validate on; set it above 0")

    def _tell(self, report: Callable[[], list[str]]) -> None:
        """Say once what was taken for images, and what was chosen for them."""
        if self._rank == 0 and not self._told:
            for line in report():
                print(f"images        {line}")  # the first row of what a fit prints; its last rows are the command's

    def _keep_configuration(self) -> None:
        """Store the options from the command line: plain values, environment variables unexpanded.

        Data modules made in Python store nothing: their options may be objects, which no checkpoint should hold.
        """
        with suppress(KeyError):  # only the command line names the class
            self.save_hyperparameters("_class_path", logger=False)
            self.save_hyperparameters(logger=False)

    def _finish(self, batch: Batch, stream: int) -> Batch:
        images, labels = batch
        mean, std = self._normalisation = self._normalisation.to(images.device)  # copies once, with the first batch
        if self.trainer is not None and self.trainer.training:
            assert self._augmenter is not None  # made with the loader of training batches
            number = self.trainer.fit_loop.batch_idx + 1  # Lightning counts a batch after it was handed over
            place = {"stream": stream, "epoch": self.trainer.current_epoch, "batch": number}
            ready, labels = self._augmenter.with_labels(images, labels, mean, std, **place)
        else:
            ready = normalise(images, mean, std)
        # Lightning has converted the batch before it was augmented, so a true precision comes last
        module = self.trainer.lightning_module if self.trainer is not None else None
        return ready if module is None else ready.to(module.dtype), labels

    def _loader(self, part: Part, stream: str | None = None, mixed: bool = True, whole: bool = False) -> BatchLoader:
        """Make the loader of a training stream, or of an evaluation part without one; a share of it, or the whole."""
        rank, processes = (0, 1) if whole else (self._rank, self._world_size)
        if stream is None and len(part.indices) < processes:
            raise ConfigError(f"{processes} processes cannot share {len(part.indices)} images; use fewer")
        sampler = BatchSampler(
            part.mixed if mixed and stream is None else part.indices,
            self._choices.batch_size(processes) if stream else self.eval_batch_size,
            train=stream is not None,
            seed=self.seed,
            stream=STREAMS[stream] if stream else 0,
            shuffle=not getattr(self.trainer, "overfit_batches", 0),  # set on the trainer, but not declared there
            rank=rank,
            world_size=processes,
        )
        held = isinstance(part.dataset, ImageFiles) and part.dataset.held
        return BatchLoader(part.dataset, sampler, 0 if held else self.num_workers)

    def _check_batch_size(self) -> None:
        processes, smallest = self._world_size, self.parts.smallest
        if self.batch_size * processes > smallest:
            raise ConfigError(
                f"data.batch_size is {self.batch_size} on {processes} process(es), more than the smallest training "
                f"part holds ({self.parts.split}); set it to at most {smallest // processes}"
            )

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer is not None else 0

    @property
    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1


def _uses_batch_statistics(module: torch.nn.Module) -> bool:
    """Say if a network is evaluated with statistics of the batch: of shared weights, or for want of its own."""
    norms = (norm for norm in module.modules() if isinstance(norm, torch.nn.modules.batchnorm._BatchNorm))
    return bool(getattr(module, "shares_weights", False)) or any(norm.running_mean is None for norm in norms)
