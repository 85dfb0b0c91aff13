"""Everything about a derived net but its weights."""

from dataclasses import dataclass

import torch
from torch import nn

from sparsenas.networks import DerivedNet, NormOptions, ScaledBatchNorm, StemName, fuse_batchnorm
from sparsenas.networks.normalisation import AppendedNorm
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
    def of(cls, network: DerivedNet, image_shape: tuple[int, int, int], fused: bool = False) -> "Blueprint":
        """Read a blueprint off a network.

        Args:
            network: Not fused yet, without auxiliary classifier.
            image_shape: ``(C, H, W)`` of its images.
            fused: Whether it is going to be fused.
        """
        channels = _channels(network)
        return cls(
            genotype=network.genotype,
            image_shape=image_shape,
            num_classes=network.classifier.out_features,
            channels=channels,
            cells=len(network.cells),
            stem=_stem(network, channels),
            norms=_norms(network),
            fused=fused,
        )

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


def _channels(network: DerivedNet) -> int:
    """Channels of the first cell's nodes; a reducing first cell has twice as many."""
    cell_type, cell = next(network.typed_cells())
    nodes = {candidate.target for candidate in network.genotype.cell(cell_type)}
    return cell.out_channels // len(nodes) // (2 if cell_type == "reduce" else 1)


def _stem(network: DerivedNet, channels: int) -> StemName:
    if network.stem.second is not None:
        return "imagenet"
    return "small" if network.stem.out_channels[0] == channels else "cifar"


def _norms(network: DerivedNet) -> NormOptions:
    """Options that build batch-norms like the network's; where several do, any of them."""
    _, cell = next(network.typed_cells())
    inner = cell.preprocess1[-1]
    assert isinstance(inner, ScaledBatchNorm)
    return NormOptions(inner.affine, inner.track_running_stats, _appended(network))


def _appended(network: DerivedNet) -> AppendedNorm:
    """Which parameter-free operations the network ends in a batch-norm."""
    operations = [c.operation(g) for kind, c in network.typed_cells() for g in network.genotype.cell(kind)]
    ended = [type(operation.body) for operation in operations if operation.norm is not None]
    if nn.Identity in ended:
        return "pools_and_skips"
    return "pools" if nn.MaxPool2d in ended or nn.AvgPool2d in ended else "none"
