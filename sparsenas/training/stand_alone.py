"""Train the derived net of a genotype from scratch."""

from sparsenas.networks import NetworkConfig
from sparsenas.spaces import read_genotype
from sparsenas.training.module import TrainingModule, keep_plain_hyperparameters
from sparsenas.training.weights import WeightTraining


class StandAloneTraining(TrainingModule):
    """Train one genotype's network on its own; its accuracy is the stand-alone accuracy.

    Args:
        image_shape: ``(C, H, W)`` of the images; the command line takes it from the data.
        num_classes: Number of classes; the command line takes it from the data.
        genotype: File written by a search, a published name such as ``darts_v2``, or the text itself. The checkpoint
            keeps the text, so the file is not needed again.
        network: Size and norms of the network.
        training: Training of the network.
        seed: Seeds drop-path, anew at every epoch, so that a resumed run repeats an uninterrupted one.

    Raises:
        GenotypeError: If the genotype cannot be read.
        ConfigError: If a number is out of range, or the images are too small.

    Source: evaluation recipe of Liu et al., DARTS (ICLR 2019), which ISTA-NAS and its baselines share.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        genotype: str,
        network: NetworkConfig = NetworkConfig(channels=36, cells=20),
        training: WeightTraining = WeightTraining(drop_path=0.2, auxiliary_weight=0.4),
        seed: int = 0,
    ) -> None:
        super().__init__(image_shape, num_classes, network, training, seed)
        self.genotype = read_genotype(genotype)
        self.save_hyperparameters()
        self.hparams["genotype"] = self.genotype.to_json()
        keep_plain_hyperparameters(self)
        self.build(self.genotype)
