"""Steps on the weights that ran, without walking over all weights of the super-net."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.optim import Optimizer

from sparsenas.networks import SuperNet
from sparsenas.spaces import Support


class ActiveWeights:
    """Lets an optimizer see only the weights of a support.

    Optimizers skip weights without a gradient, but look at each of them, and so do clipping and zeroing: with many
    candidates per edge that is tens of thousands of looks for a few hundred weights that move. The result is the same.

    Args:
        network: Super-net.
        optimizer: Optimizer of its weights; may have several groups.
    """

    def __init__(self, network: SuperNet, optimizer: Optimizer) -> None:
        self._network, self._optimizer = network, optimizer
        self._group: dict[nn.Parameter, int] = {}
        self._support: Support | None = None
        self._groups: list[list[nn.Parameter]] = []

    def zero_grad(self) -> None:
        """Drop the gradients of the support that was selected last; no others have any."""
        for parameters in self._groups:
            for parameter in parameters:
                parameter.grad = None

    @contextmanager
    def only(self, support: Support) -> Iterator[None]:
        """Inside, the optimizer holds the weights of a support and of what always runs."""
        held = self._optimizer.param_groups
        if len(self._groups) != len(held):  # at first, and when a callback has added a group
            self._group = {parameter: i for i, group in enumerate(held) for parameter in group["params"]}
            self._support = None
        if support != self._support:
            self._support, self._groups = support, [[] for _ in held]
            for parameter in self._network.active_parameters(support):
                if parameter in self._group:
                    self._groups[self._group[parameter]].append(parameter)
        everything = [group["params"] for group in held]
        for group, parameters in zip(held, self._groups, strict=True):
            group["params"] = parameters
        try:
            yield
        finally:
            for group, parameters in zip(held, everything, strict=True):
                group["params"] = parameters
