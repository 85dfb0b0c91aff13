"""Rules that a recovered architecture must keep: forbidden primitives, caps per cell, budgets."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from sparsenas.complexity import CandidateCosts
from sparsenas.errors import ConfigError
from sparsenas.latency import read_latency
from sparsenas.spaces import Block, SearchSpace
from sparsenas.sparse_coding import Budget, Cap, Constraints


@dataclass(frozen=True, kw_only=True)
class SupportRules:
    """What no searcher may find, whatever its signal says.

    Attributes:
        max_per_cell: At most so many of a primitive in a cell type, e.g. ``{"normal": {"skip_connect": 2}}``.
        forbidden: Primitives that may not be found.
        max_params: Most parameters of the found network at the size of the super-net, auxiliary head not counted.
        max_flops: Most multiply-adds of the same for one image; the field's tables call them FLOPs.
        max_latency: Most milliseconds of the found network by the table ``latency``.
        latency: File of ``python -m sparsenas latency``, see :class:`~sparsenas.latency.LatencyTable`.

    Raises:
        ConfigError: If a limit is not positive, or only one of the last two is set.
    """

    max_per_cell: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    forbidden: tuple[str, ...] = ()
    max_params: float | None = None
    max_flops: float | None = None
    max_latency: float | None = None
    latency: str | None = None

    #: Name of the option that holds the rules, for messages.
    option = "rules"

    def __post_init__(self) -> None:
        """Check the numbers that no later check sees."""
        if (self.max_latency is None) != (self.latency is None):
            raise ConfigError(
                f"{self.option}.max_latency is {self.max_latency} and {self.option}.latency is {self.latency}; a limit "
                "needs a table, and a table a limit"
            )
        limits = {"max_params": self.max_params, "max_flops": self.max_flops, "max_latency": self.max_latency}
        for name, limit in limits.items():
            if limit is not None and not (limit > 0 and math.isfinite(limit)):
                raise ConfigError(f"{self.option}.{name} is {limit}; use a positive number, or null for no limit")

    @property
    def needs_costs(self) -> bool:
        """Whether :meth:`constraints` needs the costs of the candidates."""
        return self.max_params is not None or self.max_flops is not None

    def constraints(self, space: SearchSpace, costs: CandidateCosts | None = None) -> Constraints:
        """The rules of the space and these, on the indices of the candidates.

        Args:
            space: Search space.
            costs: Costs of the candidates of ``space`` at the super-net's size; read only if :attr:`needs_costs`.

        Raises:
            ConfigError: If a named cell type or primitive is not in the space, or costs are needed and not given.
        """
        _check_primitives(f"{self.option}.forbidden", self.forbidden, "the space", space.blocks)
        return Constraints(
            groups=tuple(tuple(block.edges.index(c.edge) for c in block.candidates) for block in space.blocks),
            max_per_group=1 if space.distinct_edges else None,
            forbidden=tuple(_members(block, self.forbidden) for block in space.blocks) if self.forbidden else None,
            caps=self._caps(space),
            budgets=(*self._budgets(costs), *self._latency_budget(space)),
        )

    def _caps(self, space: SearchSpace) -> tuple[Cap, ...]:
        """One cap per cell type and primitive of ``max_per_cell``."""
        caps = []
        for cell, limits in self.max_per_cell.items():
            if cell not in space.cell_types:
                raise ConfigError(
                    f"{self.option}.max_per_cell names the cell type {cell!r}; "
                    f"the space has {', '.join(space.cell_types)}"
                )
            inside = {i: block for i, block in enumerate(space.blocks) if block.cell == cell}
            _check_primitives(f"{self.option}.max_per_cell[{cell}]", limits, f"the {cell} cell", inside.values())
            for primitive, at_most in limits.items():
                members = tuple(_members(block, [primitive]) for block in space.blocks)
                caps.append(Cap(members, at_most, tuple(inside), f"{self.option}.max_per_cell[{cell}][{primitive}]"))
        return tuple(caps)

    def _budgets(self, costs: CandidateCosts | None) -> tuple[Budget, ...]:
        """One budget over all blocks for each limit that is set."""
        if not self.needs_costs:
            return ()
        if costs is None:
            raise ConfigError(
                f"{self.option}.max_params and max_flops are limits of a network: pass costs=candidate_costs(network)"
            )
        limited = (
            ("max_params", self.max_params, costs.parameters, costs.base_parameters),
            ("max_flops", self.max_flops, costs.multiply_adds, costs.base_multiply_adds),
        )
        return tuple(
            Budget(rows, at_most, tuple(range(len(rows))), f"{self.option}.{name}", fixed)
            for name, at_most, rows, fixed in limited
            if at_most is not None
        )

    def _latency_budget(self, space: SearchSpace) -> tuple[Budget, ...]:
        """The limit of the latency, if there is one."""
        if self.latency is None or self.max_latency is None:
            return ()
        table = read_latency(self.latency, space)
        blocks = tuple(range(len(space.blocks)))
        return (Budget(table.candidates, self.max_latency, blocks, f"{self.option}.max_latency", table.base),)


def _members(block: Block, primitives: Collection[str]) -> tuple[int, ...]:
    return tuple(i for i, c in enumerate(block.candidates) if c.primitive in primitives)


def _check_primitives(option: str, names: Iterable[str], where: str, blocks: Iterable[Block]) -> None:
    known = {candidate.primitive for block in blocks for candidate in block.candidates}
    for name in names:
        if name not in known:
            raise ConfigError(f"{option} names the primitive {name!r}; {where} has {', '.join(sorted(known))}")
