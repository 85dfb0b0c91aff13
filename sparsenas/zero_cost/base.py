"""What every training-free score offers."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from sparsenas.networks import DerivedNet


class ZeroCostScore(ABC):
    """A number for an untrained network, more is better. It means something beside those of other networks only.

    Scores are functions of the network and the images: what they draw, they draw from a generator of their own. The
    network is left as it was: weights, running statistics, modes and gradients.
    """

    @abstractmethod
    def __call__(self, network: DerivedNet, images: Tensor) -> float:
        """Score of a network.

        Args:
            network: With new weights.
            images: Shape ``(B, C, H, W)``, normalised as for training, ``B`` at least 2.

        Returns:
            The score; ``-inf`` for a network that gives the same output for all images, as one does whose input is cut
            off from its output. Never NaN.
        """


def without_norms(network: DerivedNet) -> DerivedNet:
    """The network with identities for batch-norms, changed in place; as untrained ones are in evaluation mode."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, _Scaled())
    return network


class _Scaled(nn.Module):
    """Stands for a batch-norm that does nothing, whose output may be scaled."""

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """Map ``x`` to itself."""
        return x if scale is None else x * scale
