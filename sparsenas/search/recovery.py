"""How, and how often, the compressed parameter is turned back into a sparse code."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from sparsenas.errors import ConfigError, RecoveryError
from sparsenas.spaces import Block, SearchSpace
from sparsenas.sparse_coding import (
    Cap,
    Constraints,
    DictionaryKind,
    ExactSolver,
    RecoveryProblem,
    Solver,
    make_dictionary,
)


@dataclass(frozen=True)
class SparseRecovery:
    """How, and how often, ``b`` is turned back into a sparse code.

    Attributes:
        solver: Solver of the recovery problem.
        dictionary: Kind of dictionary ``A``. ``uniform`` is the official code's.
        compressed_size: Length ``m`` of ``b`` per block; at least twice the support size.
        initial_std: Standard deviation of the initial ``b``. ``None`` gives codes of norm about 1 (``m ** -0.5``).
        every_n_steps: Recover after so many training steps; ``None`` recovers at the end of every epoch.
        max_per_cell: At most so many of a primitive in each cell type, e.g. ``{"skip_connect": 2}``.
        forbidden: Primitives that may not be recovered.

    Raises:
        ConfigError: If a number is not positive.
    """

    solver: Solver = field(default_factory=ExactSolver)
    dictionary: DictionaryKind = "low_coherence"
    compressed_size: int = 8
    initial_std: float | None = None
    every_n_steps: int | None = 8
    max_per_cell: Mapping[str, int] = field(default_factory=dict)
    forbidden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the numbers that no later check sees."""
        if self.every_n_steps is not None and self.every_n_steps < 1:
            raise ConfigError(
                f"recovery.every_n_steps is {self.every_n_steps}; use at least 1, or null for every epoch"
            )
        if self.initial_std is not None and not self.initial_std > 0:
            raise ConfigError(f"recovery.initial_std is {self.initial_std}; use a positive number, or null")

    def problem(self, space: SearchSpace, generator: torch.Generator) -> RecoveryProblem:
        """The recovery problem of a space with a dictionary drawn from ``generator``.

        Raises:
            ConfigError: If a named primitive is not in the space.
            RecoveryError: If ``compressed_size`` is too small, or no support satisfies the constraints.
        """
        sizes = tuple(len(block) for block in space.blocks)
        least = max(min(2 * space.inputs_per_node, size) for size in sizes)
        if self.compressed_size < least:
            raise RecoveryError(
                f"recovery.compressed_size is {self.compressed_size}; codes with {space.inputs_per_node} non-zeros "
                f"cannot be told apart below {least}"
            )
        dictionary = make_dictionary(self.dictionary, sizes, self.compressed_size, generator)
        return RecoveryProblem(dictionary, sizes, space.inputs_per_node, self._constraints(space))

    def _constraints(self, space: SearchSpace) -> Constraints:
        known = {candidate.primitive for block in space.blocks for candidate in block.candidates}
        for name in (*self.max_per_cell, *self.forbidden):
            if name not in known:
                raise ConfigError(f"recovery names the primitive {name!r}; the space has {', '.join(sorted(known))}")
        caps = tuple(
            Cap(
                members=tuple(_members(block, {name}) for block in space.blocks),
                at_most=at_most,
                blocks=tuple(i for i, block in enumerate(space.blocks) if block.cell == cell),
                name=f"max_per_cell[{name}] in the {cell} cell",
            )
            for name, at_most in self.max_per_cell.items()
            for cell in space.cell_types
        )
        return Constraints(
            groups=tuple(tuple(c.source for c in block.candidates) for block in space.blocks),
            max_per_group=1 if space.distinct_edges else None,
            forbidden=tuple(_members(block, set(self.forbidden)) for block in space.blocks) if self.forbidden else None,
            caps=caps,
        )


def _members(block: Block, primitives: set[str]) -> tuple[int, ...]:
    return tuple(i for i, c in enumerate(block.candidates) if c.primitive in primitives)
