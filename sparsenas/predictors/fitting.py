"""The training of all neural predictors: one loop on tensors that fit in memory, with seeded draws."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

#: What networks take: tensors of one first dimension, each an argument of ``forward``.
Inputs = tuple[Tensor, ...]
#: Loss of a network on a batch of inputs and targets, a scalar.
Loss = Callable[[Any, Inputs, Tensor], Tensor]
#: Most inputs of one forward pass of :func:`predict`.
CHUNK = 1024


@dataclass(frozen=True)
class Fitting:
    """Options of :func:`fit_network`.

    Attributes:
        epochs: Passes over the data.
        batch_size: Size of a batch; with less data, all of it.
        lr: Learning rate of Adam.
        betas: Its decay rates.
        weight_decay: Its L2 penalty.
        cosine: True if the learning rate falls to 0 along a cosine, epoch by epoch.
        clip: Largest norm of a gradient; ``None`` for any.
        drop_last: True if an epoch leaves out an incomplete last batch.
    """

    epochs: int
    batch_size: int
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    cosine: bool = False
    clip: float | None = None
    drop_last: bool = False

    def steps(self, count: int) -> int:
        """Count the batches of an epoch over ``count`` items."""
        size = min(self.batch_size, count)
        return count // size if self.drop_last else -(-count // size)


@contextmanager
def seeded(generator: torch.Generator) -> Iterator[None]:
    """Let modules, which draw from the global random state only, draw from a generator; leave that state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        yield


def squared_error(network: nn.Module, inputs: Inputs, targets: Tensor) -> Tensor:
    """Compute the mean squared error, a :data:`Loss`."""
    return nn.functional.mse_loss(network(*inputs), targets)


def fit_network(
    network: nn.Module,
    inputs: Inputs,
    targets: Tensor,
    options: Fitting,
    loss: Loss,
    generator: torch.Generator,
    optimizer: torch.optim.Optimizer | None = None,
) -> None:
    """Train a network, with its data in an order drawn anew for each epoch.

    Args:
        network: Trained in place.
        inputs: Tensors of first dimension ``N``.
        targets: First dimension ``N``.
        options: Options of the training.
        loss: Loss of a batch. For a gradient of scores without a loss, give their sum weighted by it.
        generator: Draws orders, and what modules such as dropout draw.
        optimizer: In place of Adam, whose options are then without effect.

    Source: settings of White et al. (NeurIPS 2021) and its code.

    Differs: gradients are zeroed before each step; that code lets those of some predictors add up.
    """
    count = len(targets)
    size, steps = min(options.batch_size, count), options.steps(count)
    if optimizer is None:
        optimizer = torch.optim.Adam(
            network.parameters(), options.lr, options.betas, weight_decay=options.weight_decay, fused=True
        )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs) if options.cosine else None
    network.train()
    with seeded(generator):
        for _ in range(options.epochs):
            order = torch.randperm(count)
            shuffled, aims = tuple(tensor[order] for tensor in inputs), targets[order]
            for batch in (slice(step * size, (step + 1) * size) for step in range(steps)):
                optimizer.zero_grad()
                torch.autograd.backward(loss(network, tuple(tensor[batch] for tensor in shuffled), aims[batch]))
                if options.clip is not None:
                    nn.utils.clip_grad_norm_(network.parameters(), options.clip)
                optimizer.step()
            if schedule is not None:
                schedule.step()


def predict(network: nn.Module, inputs: Inputs) -> Tensor:
    """Compute the outputs of a network in evaluation mode, first dimension that of the inputs."""
    network.eval()
    with torch.inference_mode():
        chunks = zip(*(torch.split(tensor, CHUNK) for tensor in inputs), strict=True)
        return torch.cat([network(*chunk) for chunk in chunks])
