"""A cell: the graph that a network repeats. It holds any set of candidates and runs those of a wiring."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, reduce
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsenas.networks.operations import Operation
from sparsenas.spaces import Candidate


class Term(NamedTuple):
    """One summand of a node: ``scale * operation(state of source)``."""

    source: int
    key: str
    scale: Tensor | None


#: Terms of every computed node, in node order. Plain Python: the forward pass branches on integers only.
Wiring = tuple[tuple[Term, ...], ...]


def candidate_key(candidate: Candidate) -> str:
    """Return the name of a candidate's operation inside a cell; the same in super-net and derived net."""
    return f"{candidate.source}_{candidate.target}_{candidate.primitive.replace('.', '-')}"


def wire(
    candidates: Iterable[Candidate], scales: Sequence[Tensor] | None = None, keys: Sequence[str] | None = None
) -> Wiring:
    """Make the wiring of a cell that runs exactly ``candidates``.

    Args:
        candidates: In any order; a node sums them in ascending order, so that results agree everywhere to the last bit.
        scales: One 0-d tensor per candidate; ``None`` for no scaling.
        keys: Name of the operation of each candidate; ``None`` for its own.
    """
    terms: dict[int, list[Term]] = {}
    for i, candidate in sorted(enumerate(candidates), key=lambda pair: pair[1]):
        key = candidate_key(candidate) if keys is None else keys[i]
        term = Term(candidate.source, key, None if scales is None else scales[i])
        terms.setdefault(candidate.target, []).append(term)
    return tuple(map(tuple, terms.values()))


def drop_path(x: Tensor, probability: float | Tensor) -> Tensor:
    """Zero whole samples of ``x`` with ``probability`` (0-d, if it is a tensor) and rescale the others.

    Source: Larsson et al., FractalNet (ICLR 2017), as used by NASNet and DARTS.
    """
    keep = 1.0 - probability
    mask = torch.empty(x.shape[0], 1, 1, 1, dtype=x.dtype, device=x.device).bernoulli_(keep)
    return x * (mask / keep)


def ramped_drop_path(probability: float, cells: int, progress: float) -> tuple[float, ...]:
    r"""Compute the drop-path probability of every cell: it grows with depth and time.

    .. math:: p_l = \frac{l + 1}{L}\, \frac{t + 1}{T}\, p

    Args:
        probability: ``p``, that of the last cell at the end.
        cells: ``L``; ``l`` counts from 0.
        progress: Share of the steps that is done with this one, ``(t + 1) / T``.

    Source: code of Luo et al., NAO (NeurIPS 2018); there ``p`` is 1 minus a keep probability.
    """
    return tuple((depth + 1) / cells * progress * probability for depth in range(cells))


def seed_draws(seed: int, epoch: int, batch: int, rank: int, device: torch.device) -> None:
    """Seed what a network draws in a batch of an epoch, so that a run that goes on from there repeats another one.

    Each process, by its number ``rank``, draws differently.
    """
    value = _first_seed(seed, epoch, rank) + batch
    # not torch.manual_seed: in a process without a GPU it keeps every call for one that may yet come
    torch.default_generator.manual_seed(value)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(value)


@lru_cache(maxsize=16)
def _first_seed(*words: int) -> int:
    """Make the seed of the first batch of an epoch; the others count on, as a sequence for each would cost more."""
    return int(np.random.SeedSequence(words).generate_state(1)[0])


class Cell(nn.Module):
    """A cell: one module per input, and operations between nodes.

    Args:
        preprocess: One module per input, the oldest input first.
        operations: Operations by candidate, in the order in which they were made; all give ``channels``.
        channels: Channels of every computed node.
        concatenates: Concatenate all computed nodes to the output; else the output is the last one.
        partial: Operations work on the first of so many parts of the channels. The other parts pass every edge
            unchanged, weighted by the sum of the weights on the edge; they are max-pooled where operations halve the
            resolution. The node shuffles the parts into each other. Source: Xu et al., PC-DARTS (ICLR 2020), section
            3.2.

    Attributes:
        num_inputs: Input nodes; they are numbered first.
        out_channels: Channels of the output.
        sums_inputs: Run an operation that several terms of a node name once, on the sum of their sources.
    """

    def __init__(
        self,
        preprocess: Sequence[nn.Module],
        operations: Mapping[Candidate, Operation],
        channels: int,
        concatenates: bool,
        partial: int = 1,
    ) -> None:
        super().__init__()
        self.num_inputs = len(preprocess)
        self._preprocess = tuple(f"preprocess{i}" for i in range(self.num_inputs))
        for name, module in zip(self._preprocess, preprocess, strict=True):
            self.add_module(name, module)
        self.operations = nn.ModuleDict({candidate_key(c): operation for c, operation in operations.items()})
        self.concatenates = concatenates
        self.partial = partial
        self.sums_inputs = False
        self.out_channels = channels * (len({c.target for c in operations}) if concatenates else 1)

    def operation(self, candidate: Candidate) -> Operation:
        """Return the operation that the cell holds for a candidate."""
        return self.named(candidate_key(candidate))

    def named(self, key: str) -> Operation:
        """Return an operation by its name."""
        operation = self.operations[key]
        assert isinstance(operation, Operation)  # for type checkers: a module dict forgets it
        return operation

    def forward(
        self, inputs: Sequence[Tensor], wiring: Wiring, drop_path_probability: float | Tensor = 0.0
    ) -> list[Tensor]:
        """Compute the states of all nodes, the preprocessed inputs first."""
        drops = isinstance(drop_path_probability, Tensor) or drop_path_probability > 0.0  # a tensor's value would wait
        states: list[Tensor] = [getattr(self, name)(x) for name, x in zip(self._preprocess, inputs, strict=True)]
        for terms in wiring:
            if self.partial > 1:
                states.append(self._partial_node(states, terms))
                continue
            sources = states
            if self.sums_inputs:
                sources, terms = _summed(states, terms)
            total: Tensor | None = None
            for source, key, scale in terms:
                operation = self.operations[key]
                y = operation(sources[source], scale)
                if drops and not operation.is_identity:
                    y = drop_path(y, drop_path_probability)
                total = y if total is None else total + y
            assert total is not None  # a node without terms has no place in a wiring
            states.append(total)
        return states

    def _partial_node(self, states: Sequence[Tensor], terms: Iterable[Term]) -> Tensor:
        """Compute a node whose edges mix a part of the channels."""
        mixed: list[Tensor] = []
        passed: list[Tensor] = []
        for source, edge in groupby(terms, key=lambda term: term.source):
            width = states[source].shape[1] // self.partial
            part, rest = states[source].split([width, (self.partial - 1) * width], dim=1)
            weight: Tensor | float = 0.0
            for _, key, scale in edge:
                mixed.append(self.operations[key](part, scale))
                weight = weight + (1.0 if scale is None else scale)
            if mixed[-1].shape[2:] != rest.shape[2:]:
                rest = functional.max_pool2d(rest, 2, ceil_mode=True)
            passed.append(weight * rest)
        return functional.channel_shuffle(torch.cat([_sum(mixed), _sum(passed)], dim=1), self.partial)

    def output(self, states: list[Tensor]) -> Tensor:
        """Return the output of the cell, given the states of its nodes."""
        return torch.cat(states[self.num_inputs :], dim=1) if self.concatenates else states[-1]


def _summed(states: Sequence[Tensor], terms: Iterable[Term]) -> tuple[list[Tensor], tuple[Term, ...]]:
    """Sum the sources of terms that name one operation; return the sums and one term for each."""
    read: dict[str, list[Tensor]] = {}
    for source, key, _ in terms:
        read.setdefault(key, []).append(states[source])
    return [_sum(tensors) for tensors in read.values()], tuple(Term(i, key, None) for i, key in enumerate(read))


def _sum(terms: Sequence[Tensor]) -> Tensor:
    return reduce(torch.add, terms)
