"""The budget of a search: limits on the network, forbidden primitives, caps per cell."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from sparsenas.complexity import CandidateCosts, candidate_costs
from sparsenas.errors import ConfigError
from sparsenas.latency import read_latency
from sparsenas.limits import Limits, smaller
from sparsenas.networks import SuperNet
from sparsenas.spaces import Block, SearchSpace
from sparsenas.sparse_coding import Cap, Constraints, CostLimit


@dataclass(frozen=True, kw_only=True)
class Budget(Limits):
    """Limits and rules that every searcher keeps, whatever its signal or its proxies say.

    Limits are of the found network at the size of the super-net.

    Attributes:
        max_per_cell: Most uses of a primitive in a cell type, e.g. ``{"normal": {"skip_connect": 2}}``.
        forbidden: Primitives that may not be found.

    Raises:
        ConfigError: If a limit is not positive, or only one of ``max_latency_ms`` and ``latency_table`` is set.
    """

    max_per_cell: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    forbidden: tuple[str, ...] = ()

    @property
    def needs_costs(self) -> bool:
        """True if :meth:`constraints` needs the costs of the candidates."""
        return self.max_params is not None or self.max_macs is not None

    def constraints(self, space: SearchSpace, costs: CandidateCosts | None = None) -> Constraints:
        """Put the rules of the space and these into terms of the candidates' indices.

        Args:
            space: Search space.
            costs: Costs of the candidates of ``space`` at the super-net's size; read only if :attr:`needs_costs`.

        Raises:
            ConfigError: If a named cell type or primitive is not in the space, or costs are needed and not given.
        """
        _check_primitives("budget.forbidden", self.forbidden, "the space", space.blocks)
        return Constraints(
            groups=tuple(tuple(block.edges.index(c.edge) for c in block.candidates) for block in space.blocks),
            max_per_group=1 if space.distinct_edges else None,
            forbidden=tuple(_members(block, self.forbidden) for block in space.blocks) if self.forbidden else None,
            caps=self._caps(space),
            limits=(*self._cost_limits(costs, space.name), *self._latency_limits(space)),
        )

    def of_network(self, network: SuperNet) -> Constraints:
        """Make the :meth:`constraints` of a super-net's space at its size; costs are counted only if needed.

        Raises:
            ConfigError: As :meth:`constraints`, and if the latency table is of a network of another size.
        """
        if self.latency_table is not None:
            read_latency(self.latency_table, network.space).check(network, self.latency_table)
        return self.constraints(network.space, candidate_costs(network) if self.needs_costs else None)

    def _caps(self, space: SearchSpace) -> tuple[Cap, ...]:
        """Make one cap per cell type and primitive of ``max_per_cell``."""
        caps = []
        for cell, limits in self.max_per_cell.items():
            if cell not in space.cell_types:
                raise ConfigError(
                    f"budget.max_per_cell names the cell type {cell!r}; the space has {', '.join(space.cell_types)}"
                )
            inside = {i: block for i, block in enumerate(space.blocks) if block.cell == cell}
            _check_primitives(f"budget.max_per_cell[{cell}]", limits, f"the {cell} cell", inside.values())
            for primitive, at_most in limits.items():
                members = tuple(_members(block, [primitive]) for block in space.blocks)
                caps.append(Cap(members, at_most, tuple(inside), f"budget.max_per_cell[{cell}][{primitive}]"))
        return tuple(caps)

    def _cost_limits(self, costs: CandidateCosts | None, space: str) -> tuple[CostLimit, ...]:
        """Make one limit over all blocks for each that is set."""
        if not self.needs_costs:
            return ()
        if costs is None:
            raise ConfigError(
                "budget.max_params and max_macs are limits of a network: pass costs=candidate_costs(network)"
            )
        limited = (
            ("max_params", self.max_params, costs.parameters, costs.base_parameters),
            ("max_macs", self.max_macs, costs.macs, costs.base_macs),
        )
        return tuple(
            CostLimit(
                rows, at_most, tuple(range(len(rows))), f"budget.{name}", fixed, smaller(space, name == "max_macs")
            )
            for name, at_most, rows, fixed in limited
            if at_most is not None
        )

    def _latency_limits(self, space: SearchSpace) -> tuple[CostLimit, ...]:
        """Make the limit of the latency, if there is one."""
        if self.latency_table is None or self.max_latency_ms is None:
            return ()
        table = read_latency(self.latency_table, space)
        blocks = tuple(range(len(space.blocks)))
        advice = f"{smaller(space.name)}; then measure the table anew"
        return (CostLimit(table.candidates, self.max_latency_ms, blocks, "budget.max_latency_ms", table.base, advice),)


def _members(block: Block, primitives: Collection[str]) -> tuple[int, ...]:
    return tuple(i for i, c in enumerate(block.candidates) if c.primitive in primitives)


def _check_primitives(option: str, names: Iterable[str], where: str, blocks: Iterable[Block]) -> None:
    known = {candidate.primitive for block in blocks for candidate in block.candidates}
    for name in names:
        if name not in known:
            raise ConfigError(f"{option} names the primitive {name!r}; {where} has {', '.join(sorted(known))}")
