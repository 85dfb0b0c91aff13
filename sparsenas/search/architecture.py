"""The compressed architecture: ``b``, its dictionary, and the sparse code last recovered from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparsenas.errors import ConfigError, RecoveryError
from sparsenas.spaces import Block, SearchSpace, Support
from sparsenas.sparse_coding import (
    Cap,
    Certificate,
    Constraints,
    DictionaryKind,
    ExactSolver,
    Recovery,
    RecoveryProblem,
    Solver,
    architecture_weights,
    make_dictionary,
    refit,
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


class CompressedArchitecture(nn.Module):
    """State of a search: everything is a parameter or a buffer, so it survives a resume.

    Args:
        space: Search space with ``B`` blocks and support size ``s``.
        recovery: How to recover codes.
        generator: Draws the dictionary and the initial ``b``.

    Attributes:
        b: Compressed parameter, shape ``(B, m)``, float32.
        dictionary: ``A``, shape ``(B, m, n)``, float64.
        code: Code last recovered, shape ``(B, n)``, float64.
        dense_code: The same before its truncation to the support, from which iterative solvers go on.
        indices: Its support, shape ``(B, s)``, int64.
    """

    dictionary: Tensor
    code: Tensor
    dense_code: Tensor
    indices: Tensor

    def __init__(self, space: SearchSpace, recovery: SparseRecovery, generator: torch.Generator) -> None:
        super().__init__()
        self.space = space
        self.solver = recovery.solver
        self._problem = recovery.problem(space, generator)
        blocks, m, n = self._problem.dictionary.shape
        std = m**-0.5 if recovery.initial_std is None else recovery.initial_std
        self.b = nn.Parameter(std * torch.randn(blocks, m, generator=generator))
        self.register_buffer("dictionary", self._problem.dictionary.clone())
        self.register_buffer("code", torch.zeros(blocks, n, dtype=torch.float64))
        self.register_buffer("dense_code", torch.zeros(blocks, n, dtype=torch.float64))
        self.register_buffer("indices", torch.zeros(blocks, space.inputs_per_node, dtype=torch.int64))
        self._support: Support | None = None
        self.register_load_state_dict_post_hook(_forget_derived_values)  # type: ignore[no-untyped-call]  # torch's own
        self.certificate: Certificate = self.recover().certificate

    @property
    def support(self) -> Support:
        """Support of the code as plain integers, resolved once per recovery."""
        if self._support is None:
            self._support = tuple(tuple(row) for row in self.indices.tolist())
        return self._support

    def weights(self) -> Tensor:
        """Architecture weights at the recovered support, shape ``(B, s)``, differentiable in ``b``."""
        return architecture_weights(self.b, self.dictionary, self.code, self.indices)

    def weights_at(self, support: Support) -> Tensor:
        """Least-squares weights of ``b`` at another support, shape ``(B, s)``; no gradient."""
        indices = torch.tensor(support, device=self.b.device)
        code = refit(self.dictionary, self.b.detach(), indices)
        return code.gather(1, indices).to(self.b.dtype)

    @torch.no_grad()
    def recover(self) -> Recovery:
        """Solve for the code of the present ``b`` and make its support the active one.

        The problem is tiny, so it is solved on the CPU whatever the device of ``b``: one copy of ``B * m`` numbers.
        """
        recovery = self.solver.solve(self._problem, self.b.detach().cpu(), start=self.dense_code.cpu())
        self.code.copy_(recovery.code)
        self.dense_code.copy_(recovery.dense_code)
        self.indices.copy_(recovery.support)
        self._support = None
        self.certificate = recovery.certificate
        return recovery

    def draw_nearby(self, spread: float, rng: np.random.Generator) -> Support:
        """The recovered support with every block replaced by a uniform draw with probability ``spread``."""
        drawn = self.space.sample_support(rng)
        return tuple(new if rng.random() < spread else old for old, new in zip(self.support, drawn, strict=True))


def _forget_derived_values(architecture: CompressedArchitecture, _: Any) -> None:
    """A loaded state brings its own dictionary and support."""
    architecture._support = None
    problem = architecture._problem
    architecture._problem = RecoveryProblem(
        architecture.dictionary.cpu(), problem.sizes, problem.sparsity, problem.constraints
    )
