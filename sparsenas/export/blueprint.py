"""The arguments of a derived net, without its weights."""

from dataclasses import dataclass

import torch

from sparsenas.errors import ExportError
from sparsenas.networks import DerivedNet, NormOptions, StemName, fuse_batchnorm
from sparsenas.spaces import Genotype

#: Ratio of the numbers of a network to those of the file of its weights: without batch-norms it has fewer.
LARGER = 6


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
            network = self._network()
        return fuse_batchnorm(network) if self.fused else network.eval()

    def check_size(self, tensors: int, numbers: int) -> None:
        """Check, without memory for it, that the network can be that of a file with so many tensors and numbers.

        Raises:
            ExportError: If it is far larger.
            ConfigError, GenotypeError: See :meth:`build`.
        """
        if self.cells > tensors:
            raise ExportError(f"{self.cells} cells, but the file of weights has {tensors} tensors")
        if any(":" in candidate.primitive for _, candidates in self.genotype.cells for candidate in candidates):
            return  # the user's own primitives are trusted, and may look at their numbers
        with torch.device("meta"):
            wanted = sum(tensor.numel() for tensor in self._network().state_dict().values())
        if wanted > LARGER * max(numbers, 1):
            raise ExportError(f"a network of {wanted:,} numbers, but the file of weights has {numbers:,}")

    def _network(self) -> DerivedNet:
        return DerivedNet(
            self.genotype,
            self.image_shape,
            self.num_classes,
            channels=self.channels,
            cells=self.cells,
            stem=self.stem,
            norms=self.norms,
        )
