"""The arguments of a derived net, without its weights."""

from dataclasses import dataclass

import torch

from sparsenas.networks import DerivedNet, NormOptions, StemName, fuse_batchnorm
from sparsenas.spaces import Genotype


@dataclass(frozen=True)
class Blueprint:
    """The arguments of :class:`~sparsenas.networks.DerivedNet` for a network of the same tensors.

    ``fused`` is True if batch-norms are folded into the convolutions before them.
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
        """Describe a network that is not fused yet and has no auxiliary classifier."""
        return cls(network.genotype, norms=network.norms, fused=fused, **network.size)

    def build(self) -> DerivedNet:
        """Build the network in evaluation mode, without its weights; draw no global random numbers.

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
