"""Feed-forward networks on vectors of zeros and ones."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from sparsenas.errors import ConfigError
from sparsenas.predictors.fitting import Fitting, Inputs
from sparsenas.predictors.neural import NetworkRegression
from sparsenas.spaces import Encoding, Genotype
from sparsenas.spaces.encodings import VectorEncoding

#: Weight of the L1 norm of the output layer in the loss.
PENALTY = 0.2


class FeedForward(nn.Module):
    """Linear layers with ReLU between them.

    Args:
        inputs: Size of the vectors.
        layers: Number of hidden layers.
        width: Width of each.
    """

    def __init__(self, inputs: int, layers: int = 20, width: int = 20) -> None:
        super().__init__()
        sizes = [inputs, *[width] * layers]
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        self.head = nn.Linear(width, 1)
        for layer in (*self.hidden, self.head):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, vectors: Tensor) -> Tensor:
        """Predict from vectors ``(N, inputs)``, shape ``(N,)``."""
        for layer in self.hidden:
            vectors = torch.relu(layer(vectors))
        predicted: Tensor = self.head(vectors)[:, 0]
        return predicted


def absolute_error(network: FeedForward, inputs: Inputs, targets: Tensor) -> Tensor:
    """Compute the mean absolute error, with a penalty on the weights of the output layer."""
    error = nn.functional.l1_loss(network(*inputs), targets)
    return error + PENALTY * network.head.weight.abs().sum()


def vector_tensors(encoding: Encoding, genotypes: Sequence[Genotype], kind: VectorEncoding) -> Inputs:
    """Encode genotypes as vectors, shape ``(N, D)``."""
    return (torch.as_tensor(encoding.vectors(genotypes, kind), dtype=torch.float32),)


def mlp(encoding: Encoding, seed: int = 0, kind: VectorEncoding = "one_hot", ensemble: int = 1) -> NetworkRegression:
    """Make a multilayer perceptron with the settings of the study.

    Source: White et al. (NeurIPS 2021) and its code.

    Differs: targets are standardised, as those of all others. Error and penalty scale alike, so their balance stays.
    """
    return NetworkRegression(
        encoding,
        lambda encoding, genotypes: vector_tensors(encoding, genotypes, kind),
        lambda inputs: FeedForward(inputs[0].shape[1]),
        Fitting(epochs=500, batch_size=32, lr=1e-3, betas=(0.9, 0.99)),
        absolute_error,
        ensemble,
        seed,
    )


def bananas(encoding: Encoding, seed: int = 0) -> NetworkRegression:
    """Make three perceptrons on paths, or on decisions in a space that has too many paths.

    Source: White et al., BANANAS: Bayesian Optimization with Neural Architectures (AAAI 2021); settings of White et
        al. (NeurIPS 2021).
    """
    kind: VectorEncoding = "paths"
    try:
        encoding.paths(encoding.sample(np.random.default_rng(0)))
    except ConfigError:  # which names one_hot as the other encoding
        kind = "one_hot"
    return mlp(encoding, seed, kind, ensemble=3)
