"""What every training-free score offers."""

from abc import ABC, abstractmethod

from torch import Tensor

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
            network: With new weights; its batch-norms use batch statistics, whatever their options say.
            images: Shape ``(B, C, H, W)``, normalised as for training, ``B`` at least 2.

        Returns:
            The score; ``-inf`` for a network that gives the same output for all images, as one does whose input is cut
            off from its output. Never NaN.
        """
