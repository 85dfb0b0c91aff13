"""Derivative of the loss by every candidate's weight, at the cost of one dense forward pass."""

from collections.abc import Callable

import torch
from torch import Tensor

from sparsenas.errors import ConfigError
from sparsenas.networks.cell import Cell
from sparsenas.networks.normalisation import frozen_statistics
from sparsenas.networks.supernet import SuperNet
from sparsenas.spaces import Block, Support


def candidate_gradients(
    network: SuperNet,
    images: Tensor,
    criterion: Callable[[Tensor], Tensor],
    support: Support,
    weights: Tensor | None,
) -> tuple[Tensor, list[Tensor]]:
    r"""Compute the gradient of the loss by the code ``z`` over all candidates, at one support.

    A node is :math:`x_i = \sum_j z_j\, o_j(x_{source(j)})`, so :math:`\partial L / \partial z_j = \langle \partial L /
    \partial x_i,\ o_j(x_{source(j)}) \rangle`, summed over the cells of the type. It is exact also for candidates
    outside the support: they run forward only, without a graph. No gradient of a network weight is computed.

    Args:
        network: Super-net; batch-norm statistics are left as they are.
        images: ``(B, C, H, W)``.
        criterion: Maps logits to the loss, a 0-d tensor.
        support: Support at which the gradient is taken.
        weights: Architecture weights there, shape ``(blocks, s)``; ``None`` for ones.

    Returns:
        The loss (detached), and per block the gradient, shape ``(n,)``.

    Raises:
        ConfigError: If candidates do not have operations of their own.
    """
    if not network.mapping.plain:
        raise ConfigError(
            "gradients of all candidates need operations of their own; leave mapping.operations, mapping.kernels and "
            "mapping.norm_sets at their defaults"
        )
    if weights is None:  # multiplying by one keeps a node that is a bare skip apart from the node it copies
        weights = torch.ones(len(support), len(support[0]), dtype=images.dtype, device=images.device)
    traces: list[list[Tensor]] = []
    with frozen_statistics(network):
        logits, _ = network.run(images, network.wirings(support, weights), trace=traces)
        loss = criterion(logits)
        nodes = [node for states in traces for node in states[network.skeleton.num_inputs :]]
        # a support may leave the output of a cell unused: the gradient there is zero
        gradients = iter(torch.autograd.grad(loss, nodes, allow_unused=True, materialize_grads=True))
        totals = [torch.zeros(len(block), device=images.device) for block in network.space.blocks]
        with torch.no_grad():
            for (cell_type, cell), states in zip(network.typed_cells(), traces, strict=True):
                by_node = {node: next(gradients) for node in range(cell.num_inputs, len(states))}
                for block, total in zip(network.space.blocks, totals, strict=True):
                    if block.cell == cell_type:
                        total += _inner_products(cell, block, states, by_node)
    return loss.detach(), totals


def _inner_products(cell: Cell, block: Block, states: list[Tensor], by_node: dict[int, Tensor]) -> Tensor:
    """Multiply every candidate's output with the gradient of its target node, shape ``(n,)``."""
    products = (by_node[c.target] * cell.operation(c)(states[c.source]) for c in block.candidates)
    return torch.stack([torch.sum(product, dtype=torch.float32) for product in products])
