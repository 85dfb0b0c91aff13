"""Everything about a derived net but its weights."""

from dataclasses import dataclass

import torch

from sparsenas.networks import DerivedNet, NormOptions, StemName, fuse_batchnorm
from sparsenas.spaces import Genotype


@dataclass(frozen=True)
class Blueprint:
    """The arguments that build a derived net of the same tensors.

    Attributes:
        genotype: Architecture.
        image_shape: ``(C, H, W)`` of the images.
        num_classes: Number of classes.
        channels: Channels of the first cell's nodes.
        cells: Number of cells.
        stem: Kind of stem.
        norms: Batch-norm options.
        fused: Whether batch-norms are folded into the convolutions before them.
    """

    genotype: Genotype
    image_shape: tuple[int, int, int]
    num_classes: int
    channels: int
    cells: int
    stem: StemName
    norms: NormOptions
    fused: bool = False

    @classmethod
    def of(cls, network: DerivedNet, fused: bool = False) -> "Blueprint":
        """Blueprint of a network.

        Args:
            network: Not fused yet, without auxiliary classifier.
            fused: Whether it is going to be fused.
        """
        return cls(network.genotype, norms=network.norms, fused=fused, **network.size)

    def build(self) -> DerivedNet:
        """The network, in evaluation mode, with weights that are yet to be loaded; draws no global random numbers.

        Raises:
            ConfigError: If a size is impossible, or a primitive is unknown.
            GenotypeError: If the genotype is no network.
        """
        with torch.random.fork_rng(devices=[]):
            network = DerivedNet(
                self.genotype,
                self.image_shape,
                self.num_classes,
                channels=self.channels,
                cells=self.cells,
                stem=self.stem,
                norms=self.norms,
            )
        return fuse_batchnorm(network) if self.fused else network.eval()
