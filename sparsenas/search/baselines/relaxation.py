"""Continuous relaxations: mixtures over the candidates of an edge, as DARTS and its descendants search."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sparsenas.errors import ConfigError
from sparsenas.search.decoding import decoding_problem, strongest
from sparsenas.spaces import SearchSpace, Support
from sparsenas.sparse_coding import Constraints


class Mixture(NamedTuple):
    """Candidates of a forward pass, and their weights.

    Attributes:
        support: Candidates per block; more than a genotype keeps.
        weights: Their weights, one row per block, differentiable in the parameters of the architecture.
    """

    support: Support
    weights: tuple[Tensor, ...]


class RelaxedArchitecture(nn.Module):
    """One parameter per candidate and one per edge.

    Args:
        space: Search space; the candidates of a block are its edges times its primitives, edges outermost.
        constraints: Rules of what may be found.
        generator: Draws the initial parameters, normal with standard deviation 1e-3.

    Attributes:
        alpha: Parameters of the candidates, shape ``(E, K)``, the edges of all blocks one after another. Edges of fewer
            primitives than others have some that are not read.
        beta: Parameters of the edges, shape ``(E,)``.
        kept_share: Share of the edges of its block that a genotype keeps, for each edge, shape ``(E,)``.
    """

    kept_share: Tensor

    def __init__(
        self,
        space: SearchSpace,
        constraints: Constraints,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.space = space
        edges = [(block.cell, candidate.edge) for block in space.blocks for candidate in block.candidates]
        distinct = list(dict.fromkeys(edges))
        self._primitives = [edges.count(edge) for edge in distinct]
        if edges != [edge for edge, k in zip(distinct, self._primitives, strict=True) for _ in range(k)]:
            raise ConfigError(f"the space {space.name!r} has edges in several blocks; mixtures need each in one")
        most = max(self._primitives)
        self.alpha = nn.Parameter(1e-3 * torch.randn(len(distinct), most, generator=generator))
        self._missing = torch.arange(most) >= torch.tensor(self._primitives)[:, None]
        self.beta = nn.Parameter(1e-3 * torch.randn(len(distinct), generator=generator))
        targets = [(cell, edge[1]) for cell, edge in distinct]
        numbers = {target: number for number, target in enumerate(dict.fromkeys(targets))}
        self._target = torch.tensor([numbers[target] for target in targets])
        self._edges_of_block = [len(block.edges) for block in space.blocks]
        shares = [min(space.inputs_per_node / count, 1.0) for count in self._edges_of_block]
        share = torch.tensor(np.repeat(shares, self._edges_of_block), dtype=self.alpha.dtype)
        self.register_buffer("kept_share", share, persistent=False)
        self.everything: Support = tuple(tuple(range(len(block))) for block in space.blocks)
        self._problem = decoding_problem(space, constraints)

    @property
    def logits(self) -> Tensor:
        """``alpha`` with the least number where an edge has no candidate, so that its probability is zero."""
        if not self._missing.any():
            return self.alpha
        return self.alpha.masked_fill(self._missing.to(self.alpha.device), torch.finfo(self.alpha.dtype).min)

    def rows(self, values: Tensor) -> tuple[Tensor, ...]:
        """One value per candidate, shape ``(E, K)``, as one row per block."""
        rows = [row[:k] for row, k in zip(values.unbind(), self._primitives, strict=True)]
        stops = np.cumsum(self._edges_of_block).tolist()
        return tuple(torch.cat(rows[i - k : i]) for i, k in zip(stops, self._edges_of_block, strict=True))

    def support(self, picked: Sequence[int]) -> Support:
        """One candidate on every edge, given its position among those of the edge."""
        kept, edge = [], 0
        for count in self._edges_of_block:
            sizes = self._primitives[edge : edge + count]
            starts = [sum(sizes[:i]) for i in range(count)]
            kept.append(tuple(start + picked[edge + i] for i, start in enumerate(starts)))
            edge += count
        return tuple(kept)

    def edge_probabilities(self) -> Tensor:
        """Softmax of ``beta`` over the edges that enter the same node, shape ``(E,)``."""
        same = self._target[:, None] == self._target[None, :]
        scores = self.beta.expand(len(self.beta), -1).masked_fill(~same.to(self.beta.device), -torch.inf)
        return scores.softmax(1).diagonal()

    def keep(self, strength: Tensor, constraints: Constraints | None = None) -> Support:
        """The feasible support of largest total strength.

        Where nodes keep fewer candidates than they have edges this is the rule of DARTS: the strongest primitive of an
        edge counts for it, and the strongest edges stay. ``none`` is never kept in such a space.

        Args:
            strength: Strength of every candidate, shape ``(E, K)``, positive.
            constraints: Instead of the architecture's own.
        """
        problem = self._problem if constraints is None else decoding_problem(self.space, constraints)
        rows = [row.detach().double().cpu() for row in self.rows(strength)]
        return strongest(problem, nn.utils.rnn.pad_sequence(rows, batch_first=True))


class Relaxation(ABC):
    """Turns parameters of an architecture into weights of a forward pass, and strengths of candidates."""

    @abstractmethod
    def mixture(self, architecture: RelaxedArchitecture, progress: float, rng: np.random.Generator) -> Mixture:
        """Candidates of a forward pass, and their weights.

        Args:
            architecture: Its parameters.
            progress: Share of the search that is done, in [0, 1].
            rng: Source of all draws.
        """

    def strength(self, architecture: RelaxedArchitecture) -> Tensor:
        """Strengths that decide which candidates are kept, shape ``(E, K)``: their probabilities."""
        return architecture.logits.softmax(1)

    def kept(self, architecture: RelaxedArchitecture) -> tuple[Tensor, ...]:
        """Probability with which each candidate is kept, one row per block, differentiable.

        It is that of the primitive times the share of edges that a node keeps, all of which are thought to be alike.
        """
        return architecture.rows(architecture.logits.softmax(1) * architecture.kept_share[:, None])


@dataclass(frozen=True)
class SoftmaxRelaxation(Relaxation):
    """Every candidate runs, weighted by the softmax over the primitives of its edge.

    Source: Liu et al., DARTS (ICLR 2019), equation 2.
    """

    def mixture(self, architecture: RelaxedArchitecture, progress: float, rng: np.random.Generator) -> Mixture:
        """See :class:`Relaxation`."""
        return Mixture(architecture.everything, architecture.rows(self.strength(architecture)))


@dataclass(frozen=True)
class EdgeNormalizedRelaxation(Relaxation):
    """The same times the softmax over the edges of the node: steadier where only a part of the channels is mixed.

    Source: Xu et al., PC-DARTS (ICLR 2020), equation 4.
    """

    def mixture(self, architecture: RelaxedArchitecture, progress: float, rng: np.random.Generator) -> Mixture:
        """See :class:`Relaxation`."""
        return Mixture(architecture.everything, architecture.rows(self.strength(architecture)))

    def strength(self, architecture: RelaxedArchitecture) -> Tensor:
        """Probability of the primitive times that of its edge."""
        return architecture.logits.softmax(1) * architecture.edge_probabilities()[:, None]

    def kept(self, architecture: RelaxedArchitecture) -> tuple[Tensor, ...]:
        """See :class:`Relaxation`; edges are kept by their probability, and at most once."""
        share = (architecture.space.inputs_per_node * architecture.edge_probabilities()).clamp(max=1.0)
        return architecture.rows(architecture.logits.softmax(1) * share[:, None])


@dataclass(frozen=True)
class GumbelRelaxation(Relaxation):
    """One drawn candidate runs on every edge; its gradient is that of the softened draw.

    Attributes:
        tau_start: Temperature at the beginning.
        tau_end: Temperature at the end; it falls linearly.

    Raises:
        ConfigError: If a temperature is not positive.

    Source: Dong and Yang, GDAS (CVPR 2019), equations 3 to 5.

    Differs: the released code also adds the weights of candidates that were not drawn, which are zero, to the node, so
        that their gradient is the sum of the node's; here only the drawn one has a gradient, through the softmax.
    """

    tau_start: float = 10.0
    tau_end: float = 0.1

    def __post_init__(self) -> None:
        """Check the temperatures."""
        if not (self.tau_start > 0 and self.tau_end > 0):
            raise ConfigError(
                f"relaxation.tau_start is {self.tau_start}, tau_end {self.tau_end}; temperatures are positive"
            )

    def mixture(self, architecture: RelaxedArchitecture, progress: float, rng: np.random.Generator) -> Mixture:
        """See :class:`Relaxation`."""
        alpha = architecture.logits
        noise = torch.from_numpy(rng.gumbel(size=tuple(alpha.shape))).to(alpha)
        tau = self.tau_start + (self.tau_end - self.tau_start) * progress
        soft = ((alpha.log_softmax(1) + noise) / tau).softmax(1)
        drawn = soft.argmax(1, keepdim=True)
        chosen = soft.gather(1, drawn)
        weights = 1.0 + (chosen - chosen.detach())
        support = architecture.support(drawn[:, 0].tolist())
        return Mixture(support, tuple(torch.split(weights[:, 0], [len(kept) for kept in support])))
