"""Train the derived net of a genotype from scratch."""

import copy
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn import functional

from sparsenas.errors import ConfigError
from sparsenas.metrics import MeanLoss, accuracy
from sparsenas.networks import DerivedNet, NormOptions, StemName, seed_drop_path
from sparsenas.spaces import read_genotype

Stage = Literal["train", "val", "test"]


class StandAloneTraining(pl.LightningModule):
    """Train one genotype's network on its own; its accuracy is the stand-alone accuracy.

    Args:
        image_shape: ``(C, H, W)`` of the images; the command line takes it from the data.
        num_classes: Number of classes; the command line takes it from the data.
        genotype: File written by a search, a published name such as ``darts_v2``, or the text itself. The checkpoint
            keeps the text, so the file is not needed again.
        channels: Channels of the first cell.
        cells: Number of cells.
        stem: Kind of stem.
        norms: Batch-norm options of the cells.
        auxiliary_weight: Weight of the auxiliary classifier's loss; 0 builds none.
        drop_path: Drop-path probability that is grown towards linearly: epoch ``k`` of ``E`` has ``k / E`` of it.
        label_smoothing: Label smoothing of the training loss.
        optimizer: Makes the optimizer.
        scheduler: Makes the learning-rate schedule, stepped once per epoch.
        seed: Seeds drop-path, anew at every epoch, so that a resumed run repeats an uninterrupted one.

    Raises:
        GenotypeError: If the genotype cannot be read.
        ConfigError: If a number is out of range, or the images are too small.

    Source: evaluation recipe of Liu et al., DARTS (ICLR 2019), which ISTA-NAS and its peers share.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        genotype: str,
        channels: int = 36,
        cells: int = 20,
        stem: StemName = "cifar",
        norms: NormOptions = NormOptions(),  # noqa: B008 - frozen
        auxiliary_weight: float = 0.4,
        drop_path: float = 0.2,
        label_smoothing: float = 0.0,
        optimizer: OptimizerCallable = lambda p: torch.optim.SGD(p, lr=0.025, momentum=0.9, weight_decay=3e-4),
        scheduler: LRSchedulerCallable | None = None,
        seed: int = 0,
    ) -> None:
        if auxiliary_weight < 0 or seed < 0 or not 0.0 <= drop_path < 1.0 or not 0.0 <= label_smoothing < 1.0:
            raise ConfigError(
                f"auxiliary_weight={auxiliary_weight}, seed={seed}, drop_path={drop_path}, "
                f"label_smoothing={label_smoothing}; the first two are at least 0, the others lie in [0, 1)"
            )
        super().__init__()
        self.genotype = read_genotype(genotype)
        self.save_hyperparameters()
        self.hparams["genotype"] = self.genotype.to_json()
        for name in ("norms", "optimizer", "scheduler"):
            # the command line stores their plain configuration; objects could not be read back safely
            if not isinstance(self.hparams.get(name), dict):
                self.hparams.pop(name, None)
        network = DerivedNet(
            self.genotype, image_shape, num_classes, channels, cells, stem, auxiliary_weight > 0, norms
        )
        if drop_path > 0 and network.skeleton.single_path:
            raise ConfigError(
                f"drop_path is {drop_path}, but every layer of this network is the only way through it: set drop_path 0"
            )
        self.network = network.to(memory_format=torch.channels_last)
        self.auxiliary_weight = auxiliary_weight
        self.drop_path = drop_path
        self.label_smoothing = label_smoothing
        self.optimizer, self.scheduler = optimizer, scheduler
        self.seed = seed
        self.losses = torch.nn.ModuleDict({f"{stage}_loss": MeanLoss() for stage in ("train", "val", "test")})
        self.accuracies = torch.nn.ModuleDict(
            {f"{stage}_acc": accuracy(num_classes) for stage in ("train", "val", "test")}
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(B, classes)``."""
        logits: Tensor = self.network(images)
        return logits

    def deployable(self) -> DerivedNet:
        """The trained network for use: a copy in evaluation mode, without auxiliary classifier.

        In evaluation mode its logits are those of :meth:`forward`.
        """
        network = copy.deepcopy(self.network)
        network.auxiliary = None
        return network.eval()

    def configure_optimizers(self) -> Any:
        """The optimizer and, if asked for, its schedule by epoch."""
        optimizer = self.optimizer(self.network.parameters())
        return [optimizer], [] if self.scheduler is None else [self.scheduler(optimizer)]

    def on_fit_start(self) -> None:
        """Check that the end of the drop-path ramp is known.

        Raises:
            ConfigError: If it is not.
        """
        if self.drop_path > 0 and not (self.trainer.max_epochs or 0) > 0:
            raise ConfigError(
                "trainer.max_epochs is not set, but drop_path grows over the epochs: set it, or drop_path 0"
            )

    def on_train_epoch_start(self) -> None:
        """Set this epoch's drop-path probability and seed its draws, different on every rank."""
        self.network.drop_path = self.drop_path * self.current_epoch / max(self.trainer.max_epochs or 1, 1)
        seed_drop_path(self.seed, self.current_epoch, self.global_rank)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Cross-entropy, plus the auxiliary classifier's."""
        if not isinstance(batch, (tuple, list)):
            raise ConfigError("stand-alone training needs one stream of training images: set data.arch_fraction to 0")
        images, labels = batch
        logits, auxiliary = self.network.forward_auxiliary(images)
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        self._log(logits, labels, loss.detach(), "train")
        if auxiliary is not None:
            loss = loss + self.auxiliary_weight * functional.cross_entropy(
                auxiliary, labels, label_smoothing=self.label_smoothing
            )
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Loss and accuracy."""
        self._evaluate(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Loss and accuracy."""
        self._evaluate(batch, "test")

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Class probabilities, shape ``(B, classes)``."""
        logits: Tensor = self(batch[0])
        return logits.softmax(1)

    def _evaluate(self, batch: tuple[Tensor, Tensor], stage: Stage) -> None:
        images, labels = batch
        logits = self(images)
        self._log(logits, labels, functional.cross_entropy(logits, labels), stage)

    def _log(self, logits: Tensor, labels: Tensor, loss: Tensor, stage: Stage) -> None:
        metrics: dict[str, Any] = {  # a ModuleDict does not know that it holds metrics
            f"{stage}/loss": self.losses[f"{stage}_loss"],
            f"{stage}/acc": self.accuracies[f"{stage}_acc"],
        }
        metrics[f"{stage}/loss"].update(loss, len(labels))
        metrics[f"{stage}/acc"].update(logits.detach(), labels)
        self.log_dict(metrics, on_step=False, on_epoch=True, prog_bar=stage != "train")
