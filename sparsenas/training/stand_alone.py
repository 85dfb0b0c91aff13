"""Train the derived net of a genotype from scratch."""

from torch import Tensor

from sparsenas.errors import ConfigError
from sparsenas.limits import Limits
from sparsenas.networks import NetworkConfig
from sparsenas.spaces import read_genotype
from sparsenas.training.adversarial import pixel_scale
from sparsenas.training.initial_weights import read_initial_weights, size_of
from sparsenas.training.module import TrainingModule, keep_plain_hyperparameters
from sparsenas.training.robustness import Attacks, RobustAccuracy
from sparsenas.training.weights import WeightTraining


class StandAloneTraining(TrainingModule):
    """Train one genotype's network on its own; its accuracy is the stand-alone accuracy.

    Args:
        image_shape: ``(C, H, W)`` of the images; the command line takes it from the data.
        num_classes: Number of classes; the command line takes it from the data.
        genotype: File written by a search, a published name such as ``darts_v2``, a reference network such as
            ``resnet8``, or the text itself. The checkpoint keeps the text, so the file is not needed again.
        network: Size and norms of the network; without ``channels``, the width that fills the budget.
        training: Training of the network.
        budget: Limits of the network.
        seed: Seeds drop-path, anew at every epoch, so that a resumed run repeats an uninterrupted one.
        init_weights: Folder of an export, or checkpoint of a training or a tournament, with whose weights the training
            begins. The network is then the one of the weights, whatever ``genotype`` and ``network`` say. Its
            classifier begins anew if there are other classes than it has outputs.
        attacks: Attacks under which a test reports accuracies, too; ``null`` for none.

    Raises:
        GenotypeError: If the genotype cannot be read.
        ConfigError: If a number is out of range, the images are too small, or the network breaks the budget.

    Source: evaluation recipe of Liu et al., DARTS (ICLR 2019), which ISTA-NAS and its baselines share.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        genotype: str,
        network: NetworkConfig = NetworkConfig(channels=36, cells=20),
        training: WeightTraining = WeightTraining(drop_path=0.2, auxiliary_weight=0.4),
        budget: Limits = Limits(),
        seed: int = 0,
        init_weights: str | None = None,
        attacks: Attacks | None = None,
    ) -> None:
        weights = None if init_weights is None else read_initial_weights(init_weights)
        self.genotype = read_genotype(genotype) if weights is None else weights.genotype
        sized = budget.sized(self.genotype, image_shape, num_classes, network if weights is None else weights.network)
        super().__init__(image_shape, num_classes, sized, training, seed)
        self.save_hyperparameters()
        self.hparams["genotype"] = self.genotype.to_json()
        self.hparams.pop("attacks", None)  # a checkpoint would decide how it is tested
        keep_plain_hyperparameters(self)
        self.build(self.genotype)
        self.robustness = None if attacks is None else RobustAccuracy(attacks, seed)
        self._begins = ""
        if weights is not None:
            whole = weights.put_into(self.built)
            self._begins = f"begins with the weights of {init_weights}{'' if whole else ', and a new classifier'}"
            # a checkpoint has later weights, and is read when these are gone
            self.hparams["init_weights"], self.hparams["network"] = None, size_of(self.built)

    def on_fit_start(self) -> None:
        """Say what the training begins with."""
        super().on_fit_start()
        if self._begins:
            self.print(self._begins)

    def on_test_start(self) -> None:
        """Say what attacks do.

        Raises:
            ConfigError: If the images have several labels, or the data module does not know what pixels are.
        """
        if self.robustness is None:
            return
        if self.multilabel:
            raise ConfigError("model.attacks needs images of one label each, but these have several: leave it out")
        self._scale = pixel_scale(self.data_module).to(next(self.parameters()))
        for attack in self.robustness.attacks.named.values():
            self.print(f"attack        {attack}")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """See :class:`NetworkTraining`; accuracies under attack, too."""
        logits = super().test_step(batch, batch_idx)
        if self.robustness is not None:
            images, labels = batch
            number = batch_idx * self.trainer.world_size + self.global_rank
            self.robustness.update(self.built, images, labels, self.loss.unsmoothed, self._scale, number)
            for name, accuracy in self.robustness.items():
                self.log(f"test/{name}", accuracy, on_step=False, on_epoch=True)
        return logits
