"""Genotypes as sequences of decisions, from which they can be read back."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsenas.errors import ConfigError, GenotypeError
from sparsenas.spaces.base import SearchSpace
from sparsenas.spaces.genotype import Genotype
from sparsenas.spaces.topology import Block

#: Token before the first one of a sequence; it is none of its tokens.
START = 0

Tokens = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Part:
    """The tokens of a block.

    Attributes:
        block: The block.
        first: Place of its first token.
        each: Tokens of a kept candidate: its edge and its primitive, or its primitive only.
        edges: Number of each candidate's edge, shape ``(n,)``.
        primitives: Token of each candidate's primitive, shape ``(n,)``.
        numbers: Candidate of an edge and of the token of a primitive, -1 where there is none, shape ``(>E, tokens)``.
    """

    block: Block
    first: int
    each: int
    edges: Tokens
    primitives: Tokens
    numbers: Tokens

    def kept(self, tokens: Tokens) -> Tokens:
        """Find the candidates of whole pairs, shape ``(N, number of pairs)``; -1 where there is none."""
        slots = tokens.reshape(len(tokens), tokens.shape[1] // self.each, self.each)
        edges = slots[:, :, 0] - 1 if self.each == 2 else self.edge(np.arange(slots.shape[1]))
        found: Tokens = self.numbers[edges, slots[:, :, -1]]
        return found

    def edge(self, slots: Tokens | int) -> Tokens:
        """Give the edges of slots where no token says them: those of the block in their order, or its only one."""
        return np.minimum(slots, len(self.block.edges) - 1)


class DecisionSequence:
    """Writes the genotypes of a space as sequences of tokens, and reads them back.

    For each block, and each candidate that it keeps, there is a token of the edge and one of the primitive. The edge is
    left out where the block keeps a candidate on each of its edges, or has a single one. Tokens are :data:`START`, then
    the edges of a block by their number, then the primitives.

    Args:
        space: The space.

    Attributes:
        length: Number of tokens of a sequence, ``L``.
        tokens: Size of the vocabulary.

    Raises:
        ConfigError: If the space is not made of blocks.

    Source: Luo et al., Neural Architecture Optimization (NeurIPS 2018), for cells with two inputs of a node.

    Differs: lengths, vocabulary and mask follow from the blocks; there, they are written for one space. Where a node
        keeps all its edges, none is named.
    """

    def __init__(self, space: SearchSpace) -> None:
        if not isinstance(space, SearchSpace):
            raise ConfigError(
                f"decision sequence: {type(space).__name__} is not made of blocks that keep a fixed number of "
                "candidates; use a space that is, such as NasBench201Space"
            )
        self.space = space
        kept, distinct = space.inputs_per_node, space.distinct_edges
        named = {block: len(block.edges) > (kept if distinct else 1) for block in space.blocks}
        most = max((len(block.edges) for block in space.blocks if named[block]), default=0)
        names = dict.fromkeys(c.primitive for block in space.blocks for c in block.candidates)
        words = {name: number for number, name in enumerate(names, start=START + 1 + most)}
        self.length, self.tokens = 0, START + 1 + most + len(words)
        self._parts: list[_Part] = []
        for block in space.blocks:
            numbers = {edge: number for number, edge in enumerate(block.edges)}
            edges = np.array([numbers[c.edge] for c in block.candidates])
            primitives = np.array([words[c.primitive] for c in block.candidates])
            # the last row is that of START, which names the edge -1
            table = np.full((max(len(numbers) + 1, self.tokens), self.tokens), -1)
            table[edges, primitives] = range(len(block))
            self._parts.append(_Part(block, self.length, 1 + named[block], edges, primitives, table))
            self.length += kept * (1 + named[block])

    def write(self, genotype: Genotype) -> Tokens:
        """Write a genotype, shape ``(L,)``; a ``GenotypeError`` if it is not of the space."""
        written = []
        for part, kept in zip(self._parts, self.space.support(genotype), strict=True):
            pairs = np.stack([START + 1 + part.edges, part.primitives], axis=1)
            written.append(pairs[list(kept), -part.each :].ravel())
        return np.concatenate(written)

    def read(self, tokens: Tokens) -> Genotype:
        """Read a genotype, the inverse of :meth:`write`; the candidates of a block may come in any order.

        Args:
            tokens: The sequence, shape ``(L,)``.

        Raises:
            GenotypeError: If that is no sequence of the space; the message says where.
        """
        if tokens.shape != (self.length,) or not self._known(tokens):
            raise GenotypeError(
                f"tokens {tokens.tolist()}: give {self.length} tokens from {START + 1} to {self.tokens - 1}"
            )
        support = []
        for part in self._parts:
            inside = tokens[None, part.first : part.first + part.each * self.space.inputs_per_node]
            (kept,) = part.kept(inside).tolist()
            if -1 in kept:
                raise GenotypeError(f"tokens {inside[0].tolist()} at {part.first} name no candidates of {part.block}")
            support.append(tuple(sorted(kept)))
        genotype = self.space.genotype(tuple(support))
        self.space.validate(genotype)
        return genotype

    def allowed(self, prefix: Tokens) -> NDArray[np.bool_]:
        """Mark the tokens that may follow, so that each sequence written under this mask is one of the space.

        Every prefix can be completed, and every sequence of the space can be written.

        Args:
            prefix: The first ``l < L`` tokens of ``N`` sequences, written under this mask, shape ``(N, l)``.

        Returns:
            True for each token that may be the next one, shape ``(N, tokens)``.

        Raises:
            GenotypeError: If nothing can follow, as the sequence is at its end or was not written under this mask.
        """
        if prefix.ndim != 2 or prefix.shape[1] >= self.length or not self._known(prefix):
            raise GenotypeError(
                f"prefix of shape {prefix.shape}: give shape (N, l) with l < {self.length}, of tokens from {START + 1} "
                f"to {self.tokens - 1}"
            )
        part = next(part for part in reversed(self._parts) if part.first <= prefix.shape[1])
        inside = prefix[:, part.first :]
        slot, half = divmod(inside.shape[1], part.each)
        kept = part.kept(inside[:, : slot * part.each])
        # what two kept candidates must not share: their edge, or all
        key = part.edges if self.space.distinct_edges else np.arange(len(part.block))
        free = (key[None, :, None] != key[kept][:, None]).all(2) & (kept >= 0).all(1, keepdims=True)
        if half or part.each == 1:
            free &= part.edges == (inside[:, -1:] - 1 if half else part.edge(slot))
        words = part.primitives if half or part.each == 1 else START + 1 + part.edges
        mask: NDArray[np.bool_] = (free[:, :, None] & (words[:, None] == np.arange(self.tokens))).any(1)
        if not mask.any(1).all():
            row = int(mask.any(1).argmin())
            raise GenotypeError(f"nothing can follow the tokens {prefix[row].tolist()}: they are of no sequence")
        return mask

    def permuted(self, tokens: Tokens, rng: np.random.Generator) -> Tokens:
        """Draw anew the order in which the kept candidates of each block are written; the genotypes stay the same.

        Without tokens for edges the order is fixed, as on NAS-Bench-201, and nothing changes.

        Args:
            tokens: Sequences, shape ``(N, L)``.
            rng: Draws the orders, one for each sequence and block.

        Returns:
            Sequences, shape ``(N, L)``.
        """
        changed, kept = tokens.copy(), self.space.inputs_per_node
        for part in self._parts:
            if part.each == 2 or not self.space.distinct_edges:
                span = slice(part.first, part.first + kept * part.each)
                orders = rng.permuted(np.tile(np.arange(kept), (len(tokens), 1)), axis=1)
                slots = tokens[:, span].reshape(len(tokens), kept, part.each)
                changed[:, span] = np.take_along_axis(slots, orders[:, :, None], axis=1).reshape(len(tokens), -1)
        return changed

    def _known(self, tokens: Tokens) -> bool:
        """Say if all are tokens that a sequence may hold."""
        return bool(((tokens > START) & (tokens < self.tokens)).all())
