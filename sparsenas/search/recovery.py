"""How, and how often, the compressed parameter is turned back into a sparse code."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import torch

from sparsenas.complexity import CandidateCosts
from sparsenas.errors import ConfigError, RecoveryError
from sparsenas.spaces import Block, SearchSpace
from sparsenas.sparse_coding import (
    Budget,
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
        unit_weights: Scale the architecture weights of every block to norm 1, the norm of drawn supports. Else nodes
            would change their size from batch to batch, and with the length of ``b``. The gradient stays the same.
        every_n_steps: Recover after so many training steps; ``None`` recovers at the end of every epoch.
        max_per_cell: At most so many of a primitive in a cell type, e.g. ``{"normal": {"skip_connect": 2}}``.
        forbidden: Primitives that may not be recovered.
        max_params: Most parameters of the recovered network at the size of the super-net, auxiliary head not counted.
        max_flops: Most multiply-adds of the same for one image; the field's tables call them FLOPs.

    Raises:
        ConfigError: If a number is not positive.
    """

    solver: Solver = field(default_factory=ExactSolver)
    dictionary: DictionaryKind = "low_coherence"
    compressed_size: int = 8
    initial_std: float | None = None
    unit_weights: bool = False
    every_n_steps: int | None = 8
    max_per_cell: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    forbidden: tuple[str, ...] = ()
    max_params: float | None = None
    max_flops: float | None = None

    def __post_init__(self) -> None:
        """Check the numbers that no later check sees."""
        if self.every_n_steps is not None and self.every_n_steps < 1:
            raise ConfigError(
                f"recovery.every_n_steps is {self.every_n_steps}; use at least 1, or null for every epoch"
            )
        if self.initial_std is not None and not self.initial_std > 0:
            raise ConfigError(f"recovery.initial_std is {self.initial_std}; use a positive number, or null")
        for name, limit in (("max_params", self.max_params), ("max_flops", self.max_flops)):
            if limit is not None and not (limit > 0 and math.isfinite(limit)):
                raise ConfigError(f"recovery.{name} is {limit}; use a positive number, or null for no limit")

    @property
    def needs_costs(self) -> bool:
        """Whether :meth:`problem` needs the costs of the candidates."""
        return self.max_params is not None or self.max_flops is not None

    def problem(
        self, space: SearchSpace, generator: torch.Generator, costs: CandidateCosts | None = None
    ) -> RecoveryProblem:
        """The recovery problem of a space with a dictionary drawn from ``generator``.

        Args:
            space: Search space.
            generator: Draws the dictionary.
            costs: Costs of the candidates of ``space`` at the super-net's size; read only if :attr:`needs_costs`.

        Raises:
            ConfigError: If a named cell type or primitive is not in the space, or costs are needed and not given.
            RecoveryError: If ``compressed_size`` is too small, or no support satisfies the constraints; the message
                names the option and the smallest value that it could have.
        """
        sizes = tuple(len(block) for block in space.blocks)
        least = max(min(2 * space.inputs_per_node, size) for size in sizes)
        if self.compressed_size < least:
            raise RecoveryError(
                f"recovery.compressed_size is {self.compressed_size}; codes with {space.inputs_per_node} non-zeros "
                f"cannot be told apart below {least}"
            )
        dictionary = make_dictionary(self.dictionary, sizes, self.compressed_size, generator)
        return RecoveryProblem(dictionary, sizes, space.inputs_per_node, self._constraints(space, costs))

    def _constraints(self, space: SearchSpace, costs: CandidateCosts | None) -> Constraints:
        _check_primitives("recovery.forbidden", self.forbidden, "the space", space.blocks)
        return Constraints(
            groups=tuple(tuple(block.edges.index(c.edge) for c in block.candidates) for block in space.blocks),
            max_per_group=1 if space.distinct_edges else None,
            forbidden=tuple(_members(block, self.forbidden) for block in space.blocks) if self.forbidden else None,
            caps=self._caps(space),
            budgets=self._budgets(costs),
        )

    def _caps(self, space: SearchSpace) -> tuple[Cap, ...]:
        """One cap per cell type and primitive of ``max_per_cell``."""
        caps = []
        for cell, limits in self.max_per_cell.items():
            if cell not in space.cell_types:
                raise ConfigError(
                    f"recovery.max_per_cell names the cell type {cell!r}; the space has {', '.join(space.cell_types)}"
                )
            inside = {i: block for i, block in enumerate(space.blocks) if block.cell == cell}
            _check_primitives(f"recovery.max_per_cell[{cell}]", limits, f"the {cell} cell", inside.values())
            for primitive, at_most in limits.items():
                members = tuple(_members(block, [primitive]) for block in space.blocks)
                caps.append(Cap(members, at_most, tuple(inside), f"recovery.max_per_cell[{cell}][{primitive}]"))
        return tuple(caps)

    def _budgets(self, costs: CandidateCosts | None) -> tuple[Budget, ...]:
        """One budget over all blocks for each limit that is set."""
        if not self.needs_costs:
            return ()
        if costs is None:
            raise ConfigError(
                "recovery.max_params and max_flops are limits of a network: pass costs=candidate_costs(network)"
            )
        limited = (
            ("max_params", self.max_params, costs.parameters, costs.base_parameters),
            ("max_flops", self.max_flops, costs.multiply_adds, costs.base_multiply_adds),
        )
        return tuple(
            Budget(rows, at_most, tuple(range(len(rows))), f"recovery.{name}", fixed)
            for name, at_most, rows, fixed in limited
            if at_most is not None
        )


def _members(block: Block, primitives: Collection[str]) -> tuple[int, ...]:
    return tuple(i for i, c in enumerate(block.candidates) if c.primitive in primitives)


def _check_primitives(option: str, names: Iterable[str], where: str, blocks: Iterable[Block]) -> None:
    known = {candidate.primitive for block in blocks for candidate in block.candidates}
    for name in names:
        if name not in known:
            raise ConfigError(f"{option} names the primitive {name!r}; {where} has {', '.join(sorted(known))}")
