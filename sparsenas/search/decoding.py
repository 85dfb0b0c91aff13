"""From a number for every candidate to the feasible support of largest sum, exactly."""

from dataclasses import replace

import torch
from torch import Tensor

from sparsenas.spaces import NONE, SearchSpace, Support
from sparsenas.sparse_coding import Constraints, RecoveryProblem


def decoding_problem(space: SearchSpace, constraints: Constraints) -> RecoveryProblem:
    """The choice of a support under rules, posed over candidates themselves: the dictionary is the identity.

    Where nodes keep fewer candidates than they have edges, ``none`` is never kept, as in DARTS.

    Raises:
        RecoveryError: If no support satisfies the rules.
    """
    blocks = space.blocks
    sizes = tuple(map(len, blocks))
    if any(len(block.edges) > space.inputs_per_node for block in blocks):
        banned = constraints.forbidden or ((),) * len(blocks)
        nothing = (tuple(i for i, c in enumerate(block.candidates) if c.primitive == NONE) for block in blocks)
        forbidden = tuple((*row, *none) for row, none in zip(banned, nothing, strict=True))
        constraints = replace(constraints, forbidden=forbidden)
    identity = torch.eye(max(sizes), dtype=torch.float64)
    dictionary = torch.stack([identity * (torch.arange(max(sizes)) < size) for size in sizes])
    return RecoveryProblem(dictionary, sizes, space.inputs_per_node, constraints)


def strongest(problem: RecoveryProblem, strengths: Tensor) -> Support:
    """The feasible support of largest total strength.

    Args:
        problem: Result of :func:`decoding_problem`.
        strengths: Strength of every candidate, shape ``(blocks, n)``, not below 0; padding is not read.
    """
    supports = problem.supports
    totals = strengths.gather(1, supports.flatten(1)).view(supports.shape).sum(2) * problem.feasible
    chosen = problem.select(totals.detach().cpu().double().numpy())
    return tuple(tuple(rows[index]) for rows, index in zip(supports.tolist(), chosen, strict=True))
