"""Operation-level early stopping: weights of an operation rest once they only learn their training images by heart."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparsenas.errors import ConfigError
from sparsenas.networks import Operation, SuperNet
from sparsenas.spaces import Support


@dataclass(frozen=True)
class OperationStop:
    """When an operation stops.

    The gradient of its weights on a weights batch is compared with that on an architecture batch. As long as the
    operation learns what both streams share, the two point the same way; when their mean cosine over a window falls
    below the threshold, its weights rest for the remainder of the search. Operations without weights, which win the
    comparison with overfitted ones, are what this guards against.

    Attributes:
        threshold: Least mean cosine.
        window: Comparisons of an operation that are averaged.
        every: Compare on every so-many-th batch; a comparison costs a forward and a backward pass.

    Raises:
        ConfigError: If a number is out of range.

    Source: Jiang et al., Operation-Level Early Stopping for Robustifying Differentiable NAS (NeurIPS 2023); threshold
        and window of the released code.

    Differs: both gradients are taken at the same weights and over all weights of an operation at once; the released
        code compares each batch with the one before, and averages cosines of slices of each weight.
    """

    threshold: float = 0.4
    window: int = 20
    every: int = 1

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not -1.0 <= self.threshold <= 1.0 or self.window < 1 or self.every < 1:
            raise ConfigError(
                f"operation_stop: threshold={self.threshold}, window={self.window}, every={self.every}; a cosine lies "
                "in [-1, 1], the others are at least 1"
            )


class StoppedOperations(nn.Module):
    """Which operations of a super-net have stopped; buffers, so that it survives a resume.

    Args:
        network: Super-net.
        rule: When an operation stops.

    Attributes:
        stopped: One entry per operation with weights, bool.
    """

    total: Tensor
    count: Tensor
    stopped: Tensor

    def __init__(self, network: SuperNet, rule: OperationStop) -> None:
        super().__init__()
        self.rule = rule
        self._held: list[list[nn.Parameter]] = []
        self._numbers: dict[tuple[int, int], list[int]] = {}  # by block and candidate
        for b, block in enumerate(network.space.blocks):
            for c, candidate in enumerate(block.candidates):
                for operation in network.operations(candidate, block.cell):
                    self._add((b, c), operation)
        operations = len(self._held)
        self.register_buffer("total", torch.zeros(operations))
        self.register_buffer("count", torch.zeros(operations, dtype=torch.int64))
        self.register_buffer("stopped", torch.zeros(operations, dtype=torch.bool))

    def _add(self, key: tuple[int, int], operation: Operation) -> None:
        weights = list(operation.parameters())
        if weights:
            self._numbers.setdefault(key, []).append(len(self._held))
            self._held.append(weights)

    @torch.no_grad()
    def compare(self, support: Support, held_out: Tensor) -> None:
        """Compare the gradients that the weights hold with those of another loss, and stop what is to stop.

        Args:
            support: What ran in both.
            held_out: Loss on the architecture batch, 0-d, with its graph.
        """
        ran = [i for b, kept in enumerate(support) for c in kept for i in self._numbers.get((b, c), ())]
        ran = [i for i in ran if all(weight.grad is not None for weight in self._held[i])]
        weights = [weight for i in ran for weight in self._held[i]]
        if not weights:
            return
        with torch.enable_grad():
            gradients = torch.autograd.grad(held_out, weights, allow_unused=True, materialize_grads=True)
        others = iter(gradients)
        for i in ran:
            own = torch.cat([weight.grad.flatten() for weight in self._held[i] if weight.grad is not None])
            other = torch.cat([next(others).flatten() for _ in self._held[i]])
            self.total[i] += torch.cosine_similarity(own, other, dim=0)
            self.count[i] += 1
        full = self.count >= self.rule.window
        self.stopped |= full & (self.total < self.rule.threshold * self.count)
        self.total[full], self.count[full] = 0.0, 0

    def weights(self) -> Iterable[nn.Parameter]:
        """Weights that rest."""
        for i in self.stopped.nonzero()[:, 0].tolist():
            yield from self._held[i]
