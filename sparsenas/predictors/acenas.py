"""AceNAS' ranker: a graph network, pre-trained on cheap labels and fine-tuned to rank the best networks first."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from sparsenas.errors import PredictorError
from sparsenas.predictors.base import Floats, Info, Predictor
from sparsenas.predictors.fitting import Fitting, Inputs, fit_network, predict, seeded, squared_error
from sparsenas.predictors.graphs import graph_tensors
from sparsenas.predictors.lambda_rank import RankBy, lambda_gradients
from sparsenas.ranking import relevance
from sparsenas.spaces import Encoding, Genotype

#: Labels of the pre-training. The first one that is given begins the fine-tuning.
LABELS = ("shared_accuracy", "parameters", "flops")
#: Graph convolutions, their width, vertices that the pooling keeps of each graph, and the size of the code.
LAYERS, WIDTH, KEPT, CODE = 4, 64, 10, 128
#: Options of the pre-training and of the fine-tuning.
PRETRAINING = Fitting(epochs=300, batch_size=20, lr=1e-3, cosine=True, drop_last=True)
FINE_TUNING = Fitting(epochs=300, batch_size=20, lr=1e-3, weight_decay=5e-4, cosine=True, drop_last=True)


class GraphEncoder(nn.Module):
    """Graph convolutions along the edges, sort pooling, and a linear layer over the graphs of all parts.

    Args:
        features: Number of features of a vertex.
        parts: Number of graphs beside each other.

    Source: Zhang et al., AceNAS (2021); sort pooling of Zhang et al., An End-to-End Deep Learning Architecture for
        Graph Classification (AAAI 2018).
    """

    def __init__(self, features: int, parts: int = 1) -> None:
        super().__init__()
        self.parts = parts
        sizes = [features, *[WIDTH] * LAYERS]
        convolutions = [nn.Linear(*pair) for pair in pairwise(sizes)]
        for layer in convolutions:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.weights = nn.ModuleList(convolutions)
        # convolutions whose windows are a vertex, and all that the pooling leaves
        self.vertex, self.whole = nn.Linear(WIDTH, WIDTH // 2), nn.Linear(WIDTH // 2 * (KEPT // 2), WIDTH)
        self.fuse = nn.Linear(parts * WIDTH, CODE)

    def forward(self, features: Tensor, adjacency: Tensor, vertices: Tensor) -> Tensor:
        """Encode :func:`graph_tensors`, shape ``(N, CODE)``."""
        incoming = adjacency.sum(1).rsqrt()[:, :, None] * adjacency.mT * adjacency.sum(2).rsqrt()[:, None]
        for layer in self.weights:
            features = torch.relu(incoming @ layer(features))
        last = features[:, :, -1].masked_fill(vertices == 0, -1.0)  # others are not negative
        nodes = (features * vertices[:, :, None]).reshape(-1, last.shape[1] // self.parts, features.shape[2])
        order = last.reshape(nodes.shape[:2]).argsort(dim=1, descending=True, stable=True)[:, :KEPT]
        pooled = nodes.gather(1, order[:, :, None].expand(-1, -1, nodes.shape[2]))
        pooled = nn.functional.pad(pooled, (0, 0, 0, KEPT - pooled.shape[1]))
        halves = torch.relu(self.vertex(pooled)).reshape(len(pooled), KEPT // 2, 2, -1).amax(2)
        codes: Tensor = self.fuse(torch.relu(self.whole(halves.flatten(1))).reshape(len(vertices), -1))
        return codes


class Heads(nn.Module):
    """An encoder with a head for each label.

    Args:
        encoder: Gives codes.
        heads: Number of labels.
    """

    def __init__(self, encoder: nn.Module, heads: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(CODE, CODE), nn.ReLU(), nn.Dropout(0.5), nn.Linear(CODE, 1)) for _ in range(heads)
        )

    def forward(self, *inputs: Tensor) -> Tensor:
        """Predict all labels, shape ``(N, heads)``."""
        codes = self.encoder(*inputs)
        return torch.cat([head(codes) for head in self.heads], 1)


class AceNasRanker(Predictor):
    """A graph network that learns an order; its scores have no unit, unless the loss is the squared error.

    Args:
        encoding: Encoding of the space.
        loss: ``"lambda_rank"``, or ``"mse"`` on standardised targets.
        rank_by: See :func:`lambda_gradients`.
        pretraining: Options of :meth:`pretrain`.
        fine_tuning: Options of :meth:`fit`.
        seed: Seeds weights, orders and dropout.

    Source: Zhang et al., AceNAS: Learning to Rank Ace Neural Architectures with Weak Supervision of Weight Sharing
        (2021), and its code.

    Differs: the fine-tuning has a fixed number of epochs. The code stops by the NDCG of the networks learned from,
        which does not tell when it overfits. The learning rate is 1e-3, not 5e-3, with which some networks die and give
        all architectures one score; chosen on held-out folds.
    """

    least = 2

    def __init__(
        self,
        encoding: Encoding,
        loss: Literal["lambda_rank", "mse"] = "lambda_rank",
        rank_by: RankBy = "predicted",
        pretraining: Fitting = PRETRAINING,
        fine_tuning: Fitting = FINE_TUNING,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if loss not in ("lambda_rank", "mse") or rank_by not in ("predicted", "target"):
            raise PredictorError(
                f"loss is {loss!r} and rank_by {rank_by!r}; use lambda_rank or mse, and predicted or target"
            )
        self.encoding, self.loss, self.rank_by, self.seed = encoding, loss, rank_by, seed
        self.pretraining, self.fine_tuning = pretraining, fine_tuning
        self._start: dict[str, Tensor] | None = None
        self._network: Any = None
        self._mean, self._scale = 0.0, 1.0

    def pretrain(self, genotypes: Sequence[Genotype], labels: Mapping[str, Floats]) -> None:
        """Learn cheap labels of networks, from which every later :meth:`fit` begins.

        The head of the shared accuracy is kept, or without it that of the parameters, else of the FLOPs.

        Args:
            genotypes: The networks, ``N`` of them; none has been trained.
            labels: Some of :data:`LABELS` by name, shapes ``(N,)``.

        Raises:
            PredictorError: If there is no such label, one is unknown, or its values do not differ, are no numbers, or
                do not fit the networks.
        """
        unknown = sorted(set(labels) - set(LABELS))
        if unknown or not labels:
            given = ", ".join(unknown) or "none"
            raise PredictorError(f"pretrain: labels are {given}; give some of {', '.join(LABELS)}")
        columns = []
        for name in (name for name in LABELS if name in labels):
            values = np.asarray(labels[name], dtype=np.float64)
            if values.shape != (len(genotypes),) or not np.isfinite(values).all() or len(set(values.tolist())) < 2:
                raise PredictorError(
                    f"pretrain: {name} has shape {values.shape}; give each of the {len(genotypes)} genotypes a number, "
                    "not all the same"
                )
            columns.append((values - values.mean()) / values.std())
        generator = torch.Generator().manual_seed(self.seed)
        network = self._new(len(columns), generator)
        targets = torch.as_tensor(np.stack(columns, 1), dtype=torch.float32)
        fit_network(
            network, graph_tensors(self.encoding, genotypes), targets, self.pretraining, squared_error, generator
        )
        del network.heads[1:]
        self._start = network.state_dict()

    def refit(self, genotypes: Sequence[Genotype], targets: Floats, info: Info) -> None:
        """Go on from the weights of the last fit, if there is one; arguments and errors are those of :meth:`fit`."""
        start = self._start
        if self._network is not None:
            self._start = self._network.state_dict()
        try:
            self.fit(genotypes, targets, info)
        finally:
            self._start = start

    def _fit(self, genotypes: Sequence[Genotype], targets: Floats, info: Info) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        network = self._new(1, generator)
        if self._start is not None:
            network.load_state_dict(self._start)
        if self.loss == "mse":
            self._mean, self._scale = float(targets.mean()), float(targets.std())
            aims = (targets - self._mean) / self._scale
        else:
            aims = relevance(targets)
        column = torch.as_tensor(aims, dtype=torch.float32)[:, None]
        loss = squared_error if self.loss == "mse" else self._lambda_rank
        fit_network(network, graph_tensors(self.encoding, genotypes), column, self.fine_tuning, loss, generator)
        self._network = network

    def _query(self, genotypes: Sequence[Genotype], info: Info) -> Floats:
        outputs = predict(self._network, graph_tensors(self.encoding, genotypes))[:, 0].double().numpy()
        return np.asarray(self._mean + self._scale * outputs)

    def _new(self, heads: int, generator: torch.Generator) -> Heads:
        with seeded(generator):
            return Heads(GraphEncoder(len(self.encoding.operations), self.encoding.parts), heads)

    def _lambda_rank(self, network: nn.Module, inputs: Inputs, relevances: Tensor) -> Tensor:
        """Compute a scalar whose gradients of the scores are those of LambdaRank."""
        scores: Tensor = network(*inputs)[:, 0]
        return (lambda_gradients(scores, relevances[:, 0], self.rank_by).to(scores.dtype) * scores).sum()
