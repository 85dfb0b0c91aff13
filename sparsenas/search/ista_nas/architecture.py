"""The compressed architecture: ``b``, its dictionary, and the sparse code last recovered from it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsenas.search.budget import Budget
from sparsenas.search.ista_nas.recovery import SparseRecovery
from sparsenas.spaces import SearchSpace, Support
from sparsenas.sparse_coding import Constraints, Recovery, RecoveryProblem, architecture_weights, refit


class CompressedArchitecture(nn.Module):
    """State of a search: everything is a parameter or a buffer, so it survives a resume.

    Args:
        space: Search space with ``B`` blocks and support size ``s``.
        recovery: Options of the recovery.
        generator: Draws the dictionary and the initial ``b``.
        constraints: Rules of what may be recovered; ``None`` for the rules of the space alone.

    Attributes:
        b: Compressed parameter, shape ``(B, m)``, float32.
        dictionary: ``A``, shape ``(B, m, n)``, float64.
        code: Code last recovered, shape ``(B, n)``, float64.
        dense_code: The same before its truncation to the support, from which iterative solvers go on.
        indices: Its support, shape ``(B, s)``, int64.
        settled: Blocks whose code is final, shape ``(B,)``, bool.
    """

    dictionary: Tensor
    code: Tensor
    dense_code: Tensor
    indices: Tensor
    settled: Tensor

    def __init__(
        self,
        space: SearchSpace,
        recovery: SparseRecovery,
        generator: torch.Generator,
        constraints: Constraints | None = None,
    ) -> None:
        super().__init__()
        self.space = space
        self.solver, self.unit_weights = recovery.solver, recovery.unit_weights
        self._problem = recovery.problem(space, generator, constraints or Budget().constraints(space))
        self._sizes, self._constraints = self._problem.sizes, self._problem.constraints
        self._choices: list[Support] | None = None
        if any(self._constraints.forbidden or ()):
            rows = zip(self._problem.supports.tolist(), self._problem.counts, strict=True)
            self._choices = [tuple(map(tuple, supports[:count])) for supports, count in rows]
        blocks, m, n = self._problem.dictionary.shape
        std = m**-0.5 if recovery.initial_std is None else recovery.initial_std
        self.b = nn.Parameter(std * torch.randn(blocks, m, generator=generator))
        self.register_buffer("dictionary", self._problem.dictionary.clone())
        self.register_buffer("code", torch.zeros(blocks, n, dtype=torch.float64))
        self.register_buffer("dense_code", torch.zeros(blocks, n, dtype=torch.float64))
        self.register_buffer("indices", torch.zeros(blocks, space.inputs_per_node, dtype=torch.int64))
        self.register_buffer("settled", torch.zeros(blocks, dtype=torch.bool))
        self._settled_blocks: tuple[bool, ...] | None = None
        self.register_load_state_dict_post_hook(_derive_again)  # type: ignore[no-untyped-call]  # torch's own
        self.recovery: Recovery  # the code last recovered, on the CPU; kept there, so that nothing waits for a device
        self.accept(self.solver.solve(self._problem, self.b.detach(), start=self.dense_code.clone()))

    @property
    def support(self) -> Support:
        """Support of the code as plain integers, resolved once per recovery."""
        return self.recovery.indices

    @property
    def settled_blocks(self) -> tuple[bool, ...]:
        """Settled blocks as plain values, resolved when they change."""
        if self._settled_blocks is None:
            self._settled_blocks = tuple(self.settled.tolist())
        return self._settled_blocks

    def weights(self) -> Tensor:
        """Architecture weights at the recovered support, shape ``(B, s)``, differentiable in ``b``."""
        weights = architecture_weights(self.b, self.dictionary, self.code, self.indices)
        return self._scaled(weights.detach()) + (weights - weights.detach()) if self.unit_weights else weights

    def weights_at(self, support: Support) -> Tensor:
        """Least-squares weights of ``b`` at another support, shape ``(B, s)``, scaled as all are; no gradient."""
        indices = torch.tensor(support, device=self.b.device)
        code = refit(self.dictionary, self.b.detach(), indices)
        weights = code.gather(1, indices).to(self.b.dtype)
        return self._scaled(weights) if self.unit_weights else weights

    def _scaled(self, weights: Tensor) -> Tensor:
        """Scale the weights of every block to norm 1."""
        if self.space.inputs_per_node == 1:
            return torch.ones_like(weights)  # also where b points away from the one candidate that is kept
        return functional.normalize(weights, dim=1)

    def probe(self, support: Support) -> Tensor:
        r"""Equal weights of norm 1 at any support, shape ``(B, s)``, whose gradient reaches ``b`` as :math:`A_S g`.

        Trying candidates side by side at equal weights is what compares them: averaged over uniform draws, the
        gradient that ``b`` gets is proportional to that by *all* candidates, :math:`A\, \partial L / \partial z`.
        """
        indices = torch.tensor(support, device=self.b.device)
        columns = self.dictionary.gather(2, indices[:, None, :].expand(-1, self.b.shape[1], -1)).to(self.b.dtype)
        nothing = self.b - self.b.detach()
        weights: Tensor = indices.shape[1] ** -0.5 + (columns * nothing[:, :, None]).sum(1)
        return weights

    def seen(self, gradients: Sequence[Tensor], of_sizes: bool = False) -> Tensor:
        r"""Map a gradient by all candidates, per block of shape ``(n,)``, to that by ``b``: :math:`A g`, ``(B, m)``.

        A step :math:`b \leftarrow b - \eta A g` is the step :math:`z \leftarrow z - \eta g`, seen through
        :math:`b = A z`.

        Args:
            gradients: The gradient.
            of_sizes: It is that by :math:`|z|`, such as the gradient of a cost, which is that of a candidate whatever
                the sign of its weight. The sign is that of :math:`A^\top b`, unless codes are non-negative.
        """
        padded = nn.utils.rnn.pad_sequence(list(gradients), batch_first=True)
        if of_sizes and not getattr(self.solver, "nonnegative", False):
            padded = padded * (self.dictionary * self.b.detach()[:, :, None]).sum(1).sign()
        # no matrix product: under bf16-mixed autocast would round it, and its type would not fit b
        return (self.dictionary * padded[:, None, :]).sum(2).to(self.b.dtype)

    def draw(self, rng: np.random.Generator) -> Support:
        """A support drawn uniformly from those without forbidden candidates; caps and budgets do not count."""
        if self._choices is None:
            return self.space.sample_support(rng)
        return tuple(rows[rng.integers(len(rows))] for rows in self._choices)

    @torch.no_grad()
    def support_under(self, constraints: Constraints) -> Support:
        """Support of the code of the present ``b`` under other constraints, for all blocks, settled or not."""
        problem = RecoveryProblem(self.dictionary.cpu(), self._sizes, self.space.inputs_per_node, constraints)
        return self.solver.solve(problem, self.b.detach().cpu(), start=self.recovery.dense_code).indices

    @torch.no_grad()
    def solve(self) -> Recovery:
        """The code of the present ``b``; settled blocks keep theirs. Changes nothing.

        The problem is tiny, so it is solved on the CPU whatever the device of ``b``: one copy of ``B * m`` numbers.
        """
        last = self.recovery
        found = self.solver.solve(self._problem, self.b.detach().cpu(), start=last.dense_code)
        if not any(self.settled_blocks):
            return found
        settled = torch.tensor(self.settled_blocks)[:, None]
        return Recovery(
            code=torch.where(settled, last.code, found.code),
            support=torch.where(settled, last.support, found.support),
            certificate=found.certificate,
            dense_code=torch.where(settled, last.dense_code, found.dense_code),
        )

    @torch.no_grad()
    def accept(self, recovery: Recovery) -> None:
        """Make a recovered code the active one."""
        self.code.copy_(recovery.code)
        self.dense_code.copy_(recovery.dense_code)
        self.indices.copy_(recovery.support)
        self.recovery = recovery

    def recover(self) -> Recovery:
        """Solve for the code of the present ``b`` and make its support the active one."""
        recovery = self.solve()
        self.accept(recovery)
        return recovery

    def settle(self, blocks: Tensor) -> None:
        """Declare the codes of some blocks final.

        Rules over several blocks hold on: the other blocks are recovered given the supports of the settled ones.

        Args:
            blocks: Shape ``(B,)``, bool. Blocks settled before stay so.
        """
        self.settled |= blocks.to(self.settled.device)
        self._settled_blocks = None
        self._pose_problem()

    def names(self, blocks: Iterable[int]) -> str:
        """Name blocks, for messages."""
        return "; ".join(str(self.space.blocks[index]) for index in blocks)

    def count_settled(self) -> str:
        """Count the settled blocks, for messages."""
        return f"{sum(self.settled_blocks)} of {len(self.space.blocks)}"

    def optimize(self, step: Callable[[], Any]) -> None:
        """Run an optimizer's step on ``b``; the rows of settled blocks keep their values.

        Args:
            step: Changes ``b`` in place; momentum or weight decay may move rows without a gradient too.
        """
        before = self.b.detach().clone()
        step()
        with torch.no_grad():
            self.b.copy_(torch.where(self.settled[:, None], before, self.b))

    def _pose_problem(self) -> None:
        """Rebuild the recovery problem from dictionary, rules, and what has settled."""
        constraints, settled = self._constraints, self.settled_blocks
        if any(settled):
            others = constraints.forbidden or ((),) * len(settled)
            pinned = (tuple(set(range(size)) - set(kept)) for size, kept in zip(self._sizes, self.support, strict=True))
            forbidden = tuple(pin if done else row for done, pin, row in zip(settled, pinned, others, strict=True))
            constraints = replace(constraints, forbidden=forbidden)
        self._problem = RecoveryProblem(self.dictionary.cpu(), self._sizes, self.space.inputs_per_node, constraints)


def _derive_again(architecture: CompressedArchitecture, _: Any) -> None:
    """A loaded state brings its own dictionary, code and settled blocks; the certificate stays the last one."""
    code, indices, dense_code = (
        buffer.cpu().clone() for buffer in (architecture.code, architecture.indices, architecture.dense_code)
    )
    architecture.recovery = Recovery(code, indices, architecture.recovery.certificate, dense_code)
    architecture._settled_blocks = None
    architecture._pose_problem()
