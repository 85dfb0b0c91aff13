"""The base of all zero-cost scores."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from sparsenas.networks import DerivedNet


class ZeroCostScore(ABC):
    """A number for an untrained network, more is better. It has a meaning only beside those of other networks.

    Scores are functions of the network, the images and their labels; random draws come from a generator of their own.
    They leave weights, running statistics, modes and gradients of the network as they were.
    """

    @abstractmethod
    def __call__(self, network: DerivedNet, images: Tensor, labels: Tensor | None = None) -> float:
        """Score a network.

        Args:
            network: Network with new weights.
            images: Shape ``(B, C, H, W)``, normalised as for training, ``B`` at least 2.
            labels: Class of each image, shape ``(B,)``; 0 and 1 for each label, shape ``(B, classes)``, of images with
                any number of them. Only scores by the gradient of the loss read them.

        Returns:
            The score; ``-inf`` for a network with the same output for all images, e.g. without a path. Never NaN.

        Raises:
            ConfigError: If the score needs labels and there are none.
        """


def without_norms(network: DerivedNet) -> DerivedNet:
    """Replace batch-norms by identities in place, as untrained ones are in evaluation mode."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, _Scaled())
    return network


class _Scaled(nn.Module):
    """Identity in the place of a batch-norm; its output may be scaled."""

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """Map ``x`` to itself."""
        return x if scale is None else x * scale
