"""The compressed architecture: ``b``, its dictionary, and the sparse code last recovered from it."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparsenas.search.recovery import SparseRecovery
from sparsenas.spaces import SearchSpace, Support
from sparsenas.sparse_coding import Certificate, Recovery, RecoveryProblem, architecture_weights, refit


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
