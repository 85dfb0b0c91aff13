"""Graph convolutions on architectures with operations on vertices."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from sparsenas.predictors.fitting import Fitting, Inputs
from sparsenas.predictors.neural import NetworkRegression
from sparsenas.spaces import Encoding, Genotype


def graph_tensors(encoding: Encoding, genotypes: Sequence[Genotype]) -> Inputs:
    """Encode genotypes as graphs.

    Returns:
        Operations as one-hot features ``(N, V, F)``, adjacency with self-loops ``(N, V, V)``, and ones for vertices
        ``(N, V)``. A smaller graph ends with vertices without features, each alone.
    """
    size, kinds = encoding.vertices, np.eye(len(encoding.operations), dtype=np.float32)
    features = np.zeros((len(genotypes), size, len(kinds)), dtype=np.float32)
    adjacency = np.tile(np.eye(size, dtype=np.float32), (len(genotypes), 1, 1))
    vertices = np.zeros((len(genotypes), size), dtype=np.float32)
    for row, genotype in enumerate(genotypes):
        graph = encoding.graph(genotype)
        count = len(graph.operations)
        features[row, :count] = kinds[graph.operations]
        adjacency[row, :count, :count] += graph.adjacency
        vertices[row, :count] = 1
    return torch.from_numpy(features), torch.from_numpy(adjacency), torch.from_numpy(vertices)


class DirectedGraphNetwork(nn.Module):
    """Graph convolutions along and against the edges, and the mean over vertices.

    Args:
        features: Number of features of a vertex.
        layers: Number of convolutions.
        width: Width of each.
        head: Width of the layer before the output.
        dropout: Share of values that are dropped in training.
    """

    def __init__(self, features: int, layers: int = 4, width: int = 144, head: int = 128, dropout: float = 0.1) -> None:
        super().__init__()
        sizes = [features, *[width] * layers]
        # both directions of a layer are one product
        products = [nn.Linear(before, 2 * after, bias=False) for before, after in pairwise(sizes)]
        for layer in products:
            for half in layer.weight.chunk(2):
                nn.init.xavier_uniform_(half.data)
        self.weights = nn.ModuleList(products)
        self.dropout = nn.Dropout(dropout)
        self.hidden, self.output = nn.Linear(width, head, bias=False), nn.Linear(head, 1, bias=False)

    def forward(self, features: Tensor, adjacency: Tensor, vertices: Tensor) -> Tensor:
        """Predict from :func:`graph_tensors`, shape ``(N,)``."""
        along = adjacency / adjacency.sum(2, keepdim=True)
        against = adjacency.mT / adjacency.mT.sum(2, keepdim=True)
        for layer in self.weights:
            first, second = layer(features).chunk(2, dim=2)
            features = self.dropout((torch.relu(along @ first) + torch.relu(against @ second)) / 2)
        # vertices that are none have no features, and no bias gives them any
        pooled = features.sum(1) / vertices.sum(1, keepdim=True)
        predicted: Tensor = self.output(self.dropout(self.hidden(pooled)))[:, 0]
        return predicted


class GlobalNodeNetwork(nn.Module):
    """Graph convolutions with batch-norm, and a global vertex that gathers from all others and is read at the end.

    Args:
        features: Number of features of a vertex.
        layers: Number of convolutions.
        width: Width of each.
    """

    def __init__(self, features: int, layers: int = 4, width: int = 64) -> None:
        super().__init__()
        sizes = [features + 1, *[width] * layers]
        self.weights = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(layers))
        self.output = nn.Linear(width, 1)

    def forward(self, features: Tensor, adjacency: Tensor, vertices: Tensor) -> Tensor:
        """Predict from :func:`graph_tensors`, shape ``(N,)``."""
        # one more vertex, with a feature of its own; it hears all vertices and itself, and is heard by none
        features, incoming = nn.functional.pad(features, (0, 1, 0, 1)), nn.functional.pad(adjacency.mT, (0, 1, 0, 1))
        features[:, -1, -1], incoming[:, -1, -1], incoming[:, -1, :-1] = 1, 1, vertices
        for layer, norm in zip(self.weights, self.norms, strict=True):
            features = torch.relu(norm(layer(incoming @ features).mT).mT)
        predicted: Tensor = self.output(features[:, -1])[:, 0]
        return predicted


def gcn(encoding: Encoding, seed: int = 0) -> NetworkRegression:
    """Make the graph network of Wen et al. with the settings of the study.

    Source: Wen et al., Neural Predictor for Neural Architecture Search (ECCV 2020); White et al. (NeurIPS 2021).
    """
    return NetworkRegression(
        encoding,
        graph_tensors,
        lambda inputs: DirectedGraphNetwork(inputs[0].shape[2]),
        Fitting(epochs=300, batch_size=7, lr=1e-4, weight_decay=3e-4, cosine=True, drop_last=True),
        seed=seed,
    )


def bonas(encoding: Encoding, seed: int = 0) -> NetworkRegression:
    """Make the graph network of BONAS.

    Source: Shi et al., Bridging the Gap between Sample-based and One-shot Neural Architecture Search with BONAS
        (NeurIPS 2020); White et al. (NeurIPS 2021).

    Differs: the learning rate is 1e-3 and a batch has 16 networks. The study has 1e-4 and 128, with gradients that add
        up over all steps; with zeroed ones it hardly learns. Chosen on held-out folds. Weights begin as PyTorch's.
    """
    return NetworkRegression(
        encoding,
        graph_tensors,
        lambda inputs: GlobalNodeNetwork(inputs[0].shape[2]),
        Fitting(epochs=100, batch_size=16, lr=1e-3, cosine=True),
        seed=seed,
    )
