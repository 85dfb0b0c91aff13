"""A cell: the graph that is repeated. It holds any set of candidates and runs those it is told to."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sparsenas.networks.normalisation import NormOptions
from sparsenas.networks.operations import Operation, make_operation, reduce_norm, relu_conv_norm
from sparsenas.spaces import Candidate


class Term(NamedTuple):
    """One summand of a node: ``scale * operation(state of source)``."""

    source: int
    key: str
    scale: Tensor | None


#: Terms of every computed node, in node order. Plain Python: the forward pass branches on integers only.
Wiring = tuple[tuple[Term, ...], ...]


def candidate_key(candidate: Candidate) -> str:
    """Name of the candidate's operation inside a cell; the same in super-net and derived net."""
    return f"{candidate.source}_{candidate.target}_{candidate.primitive.replace('.', '-')}"


def wire(candidates: Iterable[Candidate], scales: Sequence[Tensor] | None = None) -> Wiring:
    """Wiring of a cell that runs exactly ``candidates``.

    Args:
        candidates: In any order; a node sums them in ascending order, so that results agree everywhere to the last bit.
        scales: One 0-d tensor per candidate; ``None`` for no scaling.
    """
    terms = [
        (candidate.target, Term(candidate.source, candidate_key(candidate), None if scales is None else scales[i]))
        for i, candidate in sorted(enumerate(candidates), key=lambda pair: pair[1])
    ]
    return tuple(tuple(term for _, term in node) for _, node in groupby(terms, key=lambda pair: pair[0]))


def drop_path(x: Tensor, probability: float) -> Tensor:
    """Zero whole samples of ``x`` with ``probability`` and rescale the others.

    Source: Larsson et al., FractalNet (ICLR 2017), as used by NASNet and DARTS.
    """
    keep = 1.0 - probability
    mask = torch.empty(x.shape[0], 1, 1, 1, dtype=x.dtype, device=x.device).bernoulli_(keep)
    return x * (mask / keep)


def seed_drop_path(seed: int, epoch: int, rank: int) -> None:
    """Seed the draws of :func:`drop_path` for an epoch, so that a resumed run repeats an uninterrupted one.

    Args:
        seed: Of the run.
        epoch: Counted from 0.
        rank: Number of this process; each draws differently.
    """
    torch.manual_seed(int(np.random.SeedSequence((seed, epoch, rank)).generate_state(1)[0]))


class Cell(nn.Module):
    """A cell with two inputs; its output is the concatenation of its computed nodes.

    Args:
        candidates: Candidates the cell holds operations for.
        in_channels: Channels of the two inputs, the older one first.
        channels: Channels of every node.
        reduction: Whether edges from the inputs have stride 2.
        input_reduced: Whether the newer input has half the resolution of the older one.
        norms: Batch-norm options.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        in_channels: tuple[int, int],
        channels: int,
        reduction: bool,
        input_reduced: bool,
        norms: NormOptions,
    ) -> None:
        super().__init__()
        older, newer = in_channels
        match_older = reduce_norm if input_reduced else relu_conv_norm
        self.preprocess0 = match_older(older, channels, norms)
        self.preprocess1 = relu_conv_norm(newer, channels, norms)
        self.operations = nn.ModuleDict(
            {
                candidate_key(c): make_operation(c.primitive, channels, 2 if reduction and c.source < 2 else 1, norms)
                for c in candidates
            }
        )
        self.out_channels = channels * len({c.target for c in candidates})

    def operation(self, candidate: Candidate) -> Operation:
        """The operation that the cell holds for a candidate."""
        operation = self.operations[candidate_key(candidate)]
        assert isinstance(operation, Operation)  # for type checkers: a module dict forgets it
        return operation

    def forward(self, older: Tensor, newer: Tensor, wiring: Wiring, drop_path_probability: float = 0.0) -> list[Tensor]:
        """States of all nodes, the two preprocessed inputs first."""
        states = [self.preprocess0(older), self.preprocess1(newer)]
        for terms in wiring:
            total: Tensor | None = None
            for source, key, scale in terms:
                operation = self.operations[key]
                y = operation(states[source], scale)
                if drop_path_probability > 0.0 and not operation.is_identity:
                    y = drop_path(y, drop_path_probability)
                total = y if total is None else total + y
            assert total is not None  # a node without terms has no place in a wiring
            states.append(total)
        return states
