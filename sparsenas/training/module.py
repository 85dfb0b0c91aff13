"""Training of the network of one genotype: what it has beyond others."""

from collections.abc import Mapping
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from sparsenas.errors import ConfigError
from sparsenas.networks import DerivedNet, NetworkConfig, NormOptions, seed_draws
from sparsenas.spaces import Genotype
from sparsenas.trainer import is_within_epoch
from sparsenas.training.initial_weights import size_of
from sparsenas.training.network_training import NetworkTraining, one_stream
from sparsenas.training.weights import WeightTraining


def keep_plain_hyperparameters(module: pl.LightningModule) -> None:
    """Drop objects from the stored hyper-parameters; the command line stores their plain configuration instead.

    A checkpoint with objects in it could not be read back safely (``weights_only=True``).
    """
    for name in [name for name, value in module.hparams.items() if not _is_plain(value)]:
        del module.hparams[name]


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(v) for v in value.values())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, (bool, int, float, str))


class TrainingModule(NetworkTraining):
    """Base of the modules that train the network of one genotype.

    Args:
        image_shape: ``(C, H, W)`` of the images.
        num_classes: Number of classes.
        network: Size and norms of the network.
        training: Training of the network.
        seed: Seeds drop-path, anew at every epoch, so that a resumed run repeats an uninterrupted one.

    Attributes:
        network: The network; ``None`` until :meth:`build`.

    Raises:
        ConfigError: If the seed is negative.
    """

    network: DerivedNet | None

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        network: NetworkConfig,
        training: WeightTraining,
        seed: int,
    ) -> None:
        super().__init__(image_shape, num_classes, training, seed)
        self.config = network

    def build(self, genotype: Genotype) -> None:
        """Build the network of a genotype, with new weights.

        Raises:
            ConfigError: If the images are too small, or the training does not fit the network.
        """
        drop_path = self.weight_training.drop_path
        network = DerivedNet(
            genotype,
            self.image_shape,
            self.num_classes,
            auxiliary=self.weight_training.auxiliary_weight > 0,
            **self.config.arguments(NormOptions()),
        )
        if drop_path > 0 and network.skeleton.single_path:
            raise ConfigError(
                f"training.drop_path is {drop_path}, but every layer of this network is the only way through: set it "
                "to 0"
            )
        # channels_last is about twice as fast for these convolutions on CPUs, and what tensor cores want
        self.network = network.to(memory_format=torch.channels_last)

    @property
    def built(self) -> DerivedNet:
        """See :class:`NetworkTraining`."""
        return cast(DerivedNet, super().built)

    def deployable(self) -> DerivedNet:
        """See :class:`NetworkTraining`; without the auxiliary classifier."""
        network = cast(DerivedNet, super().deployable())
        network.auxiliary = None
        return network

    def on_train_epoch_start(self) -> None:
        """Set this epoch's drop-path probability."""
        super().on_train_epoch_start()
        self.built.drop_path = self.weight_training.drop_path * self.progress

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the draws of the network."""
        super().on_train_batch_start(batch, batch_idx)
        seed_draws(self.seed, self.current_epoch, batch_idx, self.global_rank, self.device)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Cross-entropy, plus the auxiliary classifier's."""
        images, labels = self.under_attack(one_stream(batch), self.built, self.built)
        logits, auxiliary = self.built.forward_auxiliary(images)
        loss = self.logged_loss(logits, labels)
        if auxiliary is not None:
            loss = loss + self.weight_training.auxiliary_weight * self.loss(auxiliary, labels)
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the size of the network, and the drop-path probability of an epoch that is not over."""
        super().on_save_checkpoint(checkpoint)
        if self.network is not None:
            checkpoint["network_size"] = size_of(self.network)
        if is_within_epoch(self.trainer):
            checkpoint["epoch_state"]["drop_path"] = float(self.built.drop_path)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the drop-path probability of an epoch that began before."""
        super().on_load_checkpoint(checkpoint)
        if self.network is not None and (state := checkpoint.get("epoch_state")):
            self.network.drop_path = state["drop_path"]
