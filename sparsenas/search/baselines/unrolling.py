"""The gradient of the architecture through one step of the weights: second-order DARTS."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Loss = Callable[[], Tensor]

#: Length of the finite difference, in units of the weights: the 0.01 of the DARTS code.
STEP = 0.01


def unrolled_gradient(
    weights_loss: Loss,
    arch_loss: Loss,
    weights: Sequence[nn.Parameter],
    arch: Sequence[nn.Parameter],
    optimizer: Optimizer,
    step: float = STEP,
) -> tuple[Tensor, list[Tensor]]:
    r"""Gradient of :math:`L_{arch}(\theta'(\alpha), \alpha)` with :math:`\theta' = \theta - \xi u(\alpha)`.

    :math:`u` is the step that ``optimizer`` would take next: the gradient of ``weights_loss``, plus weight decay, plus
    momentum times its buffer. By the chain rule the gradient is

    .. math:: \partial_\alpha L_{arch} - \xi\, \partial^2_{\alpha\theta} L_{weights}\; \partial_{\theta'} L_{arch}

    whose second term is a central difference along :math:`v = \partial_{\theta'} L_{arch}`, so that no graph of a graph
    is needed: four passes instead of one. Nothing is changed: weights are put back to the last bit.

    Args:
        weights_loss: Loss on the weights batch, called at shifted weights.
        arch_loss: Loss on the architecture batch, called at the unrolled weights.
        weights: Weights of the network; those without a gradient stay where they are.
        arch: Parameters of the architecture.
        optimizer: SGD of the weights, of which rate, decay, momentum and buffers are read.
        step: Length of the shift ``step * v / |v|`` of the weights.

    Returns:
        The loss at the unrolled weights, detached, and one gradient per parameter of ``arch``.

    Source: Liu et al., DARTS (ICLR 2019), equations 6 to 8; momentum and decay as in the released code.
    """
    moves = _next_moves(weights_loss, weights, optimizer)
    kept = [weight.detach().clone() for weight in weights]
    try:
        with torch.no_grad():
            for weight, move in zip(weights, moves, strict=True):
                weight.sub_(move)
        loss = arch_loss()
        gradients = _gradients(loss, [*arch, *weights])
        direct, along = gradients[: len(arch)], gradients[len(arch) :]
        length = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(along)))
        shift = step / length.clamp_min(torch.finfo(length.dtype).tiny)
        sides = []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                for weight, before, direction in zip(weights, kept, along, strict=True):
                    weight.copy_(before + sign * shift * direction)
            sides.append(_gradients(weights_loss(), arch))
    finally:
        with torch.no_grad():
            for weight, before in zip(weights, kept, strict=True):
                weight.copy_(before)
    rate = optimizer.param_groups[0]["lr"]
    curvature = [(plus - minus) / (2 * shift) for plus, minus in zip(*sides, strict=True)]
    return loss.detach(), [first - rate * second for first, second in zip(direct, curvature, strict=True)]


def _next_moves(loss: Loss, weights: Sequence[nn.Parameter], optimizer: Optimizer) -> list[Tensor]:
    """Compute what the optimizer's next step would subtract from each weight, without dampening and Nesterov."""
    groups = {weight: group for group in optimizer.param_groups for weight in group["params"]}
    moves = []
    for weight, gradient in zip(weights, _gradients(loss(), weights), strict=True):
        group = groups[weight]
        move = gradient + group["weight_decay"] * weight.detach()
        buffer = optimizer.state[weight].get("momentum_buffer") if weight in optimizer.state else None
        if buffer is not None:
            move = move + group["momentum"] * buffer
        moves.append(group["lr"] * move)
    return moves


def _gradients(loss: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Gradients; zero for what did not run."""
    return list(torch.autograd.grad(loss, list(parameters), allow_unused=True, materialize_grads=True))
