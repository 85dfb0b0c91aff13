"""Time and memory of a training step on a device, measured by some."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.nn import functional

from sparsenas.spaces import Support
from sparsenas.training import WeightTraining

#: Steps that are timed, after some that are not: the first ones choose algorithms and fill caches.
STEPS, WARM = 5, 2


@dataclass(frozen=True)
class Probe:
    """Seconds and memory of a training step.

    Attributes:
        seconds: The fastest of the timed steps, which other programs delay least.
        bytes: Memory that training holds at its peak, beside the program: weights, gradients, state of the optimizer,
            the images, and what the backward pass needs of the forward pass.
    """

    seconds: float
    bytes: int


def probe(
    network: nn.Module,
    training: WeightTraining,
    images: Tensor,
    classes: int,
    device: torch.device,
    support: Support | None = None,
) -> Probe:
    """Measure training steps of a copy of a network; nothing of it, and of no generator, changes.

    Args:
        network: A derived net, or a super-net.
        training: Options of the training.
        images: A batch, shape ``(B, C, H, W)``.
        classes: Number of classes.
        device: Where it is measured.
        support: The part of a super-net that runs.
    """
    with isolate_rng():
        network = copy.deepcopy(network).to(device).to(memory_format=torch.channels_last).train()
        images = images.to(device).contiguous(memory_format=torch.channels_last)
        labels = torch.arange(len(images), device=device) % classes
        optimizer = training.optimizer(network.parameters())
        forward: Any = getattr(network, "forward_auxiliary", None)

        def losses() -> Tensor:  # some optimizers ask for them
            logits, auxiliary = forward(images) if support is None else (network(images, support), None)
            loss = functional.cross_entropy(logits, labels)
            if auxiliary is not None:
                loss = loss + training.auxiliary_weight * functional.cross_entropy(auxiliary, labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            return loss.detach()

        def step() -> None:
            optimizer.step(losses)  # type: ignore[arg-type]  # a tensor will do

        kept = _kept_for_backward(step, {p.untyped_storage().data_ptr() for p in network.parameters()})
        seconds = min(_seconds(step, device) for _ in range(STEPS))
        state = _tensors(optimizer.state.values())
        weights = list(network.parameters())
        gradients = [p.grad for p in weights if p.grad is not None]
    return Probe(seconds, kept + sum(t.nbytes for t in (*weights, *gradients, *network.buffers(), *state, images)))


def _kept_for_backward(step: Callable[[], None], known: set[int]) -> int:
    """Bytes that a step keeps between its forward and its backward pass, beside storages that are known."""
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    for _ in range(WARM):
        sizes.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            step()
    return sum(sizes.values())


def _seconds(step: Callable[[], None], device: torch.device) -> float:
    start = perf_counter()
    step()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return perf_counter() - start


def _tensors(states: Iterable[dict[str, Any]]) -> list[Tensor]:
    return [value for state in states for value in state.values() if isinstance(value, Tensor)]
