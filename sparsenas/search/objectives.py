"""Objectives of the steps on an architecture beside the loss: losses under attack, and costs within bounds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from sparsenas.complexity import candidate_costs
from sparsenas.errors import ConfigError
from sparsenas.latency import read_latency
from sparsenas.metrics import MeanLoss
from sparsenas.networks import SuperNet
from sparsenas.search.budget import Budget
from sparsenas.search.common_descent import common_descent
from sparsenas.spaces import Support
from sparsenas.training import Attack
from sparsenas.training.adversarial import AdversarialImages

CPU = torch.device("cpu")
#: What a network costs.
Cost = Literal["params", "macs", "latency_ms"]
#: How gradients of several objectives become one.
Combination = Literal["mgda", "fixed"]


@dataclass(frozen=True)
class Resource:
    r"""The expected cost of the network, held within bounds.

    .. math:: R(n) = \max(0, n / \text{high} - 1)^2 + \max(0, 1 - n / \text{low})^2

    It is smooth, and exactly 0 within the bounds. A lower bound keeps a search from networks without weights, which are
    easy to train.

    Attributes:
        cost: What is counted, of the network at the size of the super-net; ``latency_ms`` by ``budget.latency_table``.
        low: Least cost; ``None`` for none.
        high: Most; ``None`` for none. Unlike a limit of the budget, it may be broken.

    Raises:
        ConfigError: If a bound is not positive, the lower one is above the upper one, or there is none.

    Source: Yue et al., E2RNAS (2020), with a lower bound in its experiments.

    Differs: the cost is counted once; the released code counts it fourteen times. Bounds are on one scale for all
        networks, and the square makes the border smooth.
    """

    cost: Cost = "params"
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        """Check the bounds."""
        if self.cost not in get_args(Cost):
            raise ConfigError(f"resource.cost is {self.cost!r}; use one of {', '.join(get_args(Cost))}")
        if self.low is None and self.high is None:
            raise ConfigError("resource has neither low nor high: set one of them, or leave the resource out")
        for name, bound in (("low", self.low), ("high", self.high)):
            if bound is not None and not (isfinite(bound) and bound > 0):
                raise ConfigError(f"resource.{name} is {bound}; use a positive number, or null")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ConfigError(
                f"resource.low is {self.low:g} and resource.high {self.high:g}: no cost lies between them"
            )

    def penalty(self, cost: Tensor) -> Tensor:
        """Compute ``R`` of an expected cost, 0-d."""
        over = torch.relu(cost / self.high - 1) if self.high is not None else torch.zeros_like(cost)
        under = torch.relu(1 - cost / self.low) if self.low is not None else torch.zeros_like(cost)
        return over.square() + under.square()


@dataclass(frozen=True)
class Objectives:
    """Objectives of the steps on an architecture beside its loss, and the way in which their gradients become one.

    Attributes:
        resource: Cost of the network; ``None`` for none.
        attack: Attack under which the loss of the architecture batch counts a second time; ``None`` for none.
        combination: ``mgda`` is the direction that lowers all of them, see
            :func:`~sparsenas.search.common_descent.common_descent`; ``fixed`` adds them up.
        normalise: Divide every gradient by its norm before. A bound then counts in full as soon as it is broken.
        weights: With ``fixed``: weight of ``loss``, ``attack`` and ``resource`` by name; 1 for those that are left out.

    Raises:
        ConfigError: If there is nothing beside the loss, or weights do not fit.

    Source: Yue et al., E2RNAS (2020).
    """

    resource: Resource | None = None
    attack: Attack | None = None
    combination: Combination = "mgda"
    normalise: bool = True
    weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        if self.resource is None and self.attack is None:
            raise ConfigError(
                "architecture.objectives combines several objectives, but there is only the loss: set resource or "
                "attack, or leave objectives out"
            )
        if self.combination not in get_args(Combination):
            raise ConfigError(
                f"objectives.combination is {self.combination!r}; use one of {', '.join(get_args(Combination))}"
            )
        if self.weights is not None and self.combination != "fixed":
            raise ConfigError(f"objectives.weights are those of combination: fixed, but it is {self.combination}")
        if self.weights and not any(self.weights.get(name, 1.0) for name in self.names):
            raise ConfigError("objectives.weights are all 0, so that nothing would move: set one above")
        for name, weight in (self.weights or {}).items():
            if name not in self.names or not (isfinite(weight) and weight >= 0):
                raise ConfigError(
                    f"objectives.weights: {name} has {weight}; give {', '.join(self.names)} numbers not below 0"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the objectives, the loss first."""
        return ("loss", *(name for name in ("attack", "resource") if getattr(self, name) is not None))


class ExpectedCost:
    """The cost of a network some of whose candidates are kept with some probability.

    Args:
        resource: What is counted.
        network: Super-net, whose size counts.
        budget: Names the table of latencies.

    Raises:
        ConfigError: If it cannot be counted.
    """

    def __init__(self, resource: Resource, network: SuperNet, budget: Budget) -> None:
        rows: Sequence[Sequence[float]]
        if resource.cost == "latency_ms":
            if budget.latency_table is None:
                raise ConfigError(
                    "resource.cost is latency_ms, which needs the measured times: set budget.latency_table"
                )
            table = read_latency(budget.latency_table, network.space)
            table.check(network, budget.latency_table)
            rows, self._base = table.candidates, table.base
        else:
            costs = candidate_costs(network)
            params = resource.cost == "params"
            rows = costs.parameters if params else costs.macs
            self._base = float(costs.base_parameters if params else costs.base_macs)
        self._moved: dict[torch.device, list[Tensor]] = {}
        self._rows = [torch.tensor(row, dtype=torch.float64) for row in rows]
        if not any(bool(row.any()) for row in self._rows):
            raise ConfigError(f"resource.cost is {resource.cost}, but all candidates of {network.space.name} have none")

    def __call__(self, kept: Sequence[Tensor]) -> Tensor:
        """Compute the expected cost, 0-d, float64.

        Args:
            kept: Per block, the probability with which each candidate is kept, shape ``(n,)``.
        """
        rows = self.rows(kept[0].device)
        return self._base + torch.stack([(row * part).sum() for row, part in zip(rows, kept, strict=True)]).sum()

    def of(self, support: Support) -> float:
        """Compute the cost of one network."""
        kept = (row[list(indices)].sum() for row, indices in zip(self.rows(CPU), support, strict=True))
        return self._base + float(sum(kept))

    def rows(self, device: torch.device) -> list[Tensor]:
        """Return the costs of all candidates, per block of shape ``(n,)``; they are copied to a device once."""
        if device not in self._moved:
            self._moved[device] = [row.to(device) for row in self._rows]
        return self._moved[device]


class ObjectiveMeter(nn.Module):
    """Combines the gradients of several objectives, and keeps their figures over an epoch.

    Args:
        objectives: The objectives.
        network: Super-net.
        budget: Budget of the search.

    Raises:
        ConfigError: If the cost of a network cannot be counted.
    """

    def __init__(self, objectives: Objectives, network: SuperNet, budget: Budget) -> None:
        super().__init__()
        self.objectives = objectives
        resource = objectives.resource
        self.expected = None if resource is None else ExpectedCost(resource, network, budget)
        self.adversarial = AdversarialImages(objectives.attack)
        names = [f"weight_{name}" for name in objectives.names]
        names += [f"{name}_loss" for name in objectives.names[1:]]
        names += ["expected_cost"] if resource is not None else []
        given = objectives.weights or {}
        self.weights = torch.tensor([given.get(name, 1.0) for name in objectives.names])
        self.figures = nn.ModuleDict({name: MeanLoss() for name in names})

    def items(self) -> dict[str, MeanLoss]:
        """Figures of the epoch, by the names under which they are logged."""
        return {f"arch/{name}": self._figure(name) for name in self.figures}

    def penalty(self, kept: Sequence[Tensor]) -> Tensor:
        """Compute the penalty of the expected cost, see :class:`ExpectedCost`, and keep both."""
        assert self.objectives.resource is not None  # the caller has asked for it
        assert self.expected is not None
        cost = self.expected(kept)
        penalty = self.objectives.resource.penalty(cost)
        self._figure("expected_cost").update(cost, 1)
        self._figure("resource_loss").update(penalty, 1)
        return penalty

    def cost_gradients(self, support: Support, device: torch.device) -> list[Tensor]:
        """Compute the gradient of the penalty of one network by keeping each candidate, per block of shape ``(n,)``."""
        assert self.objectives.resource is not None  # the caller has asked for it
        assert self.expected is not None
        cost = torch.tensor(self.expected.of(support), dtype=torch.float64, requires_grad=True)
        penalty = self.objectives.resource.penalty(cost)
        (slope,) = torch.autograd.grad(penalty, cost)
        self._figure("expected_cost").update(cost, 1)
        self._figure("resource_loss").update(penalty, 1)
        return [float(slope) * row for row in self.expected.rows(device)]  # on the CPU: nothing waits

    def combine(
        self,
        loss: Tensor,
        attacked: Callable[[], tuple[Tensor, Tensor]] | None = None,
        cost: Callable[[], Tensor] | None = None,
    ) -> Tensor:
        """Combine the gradients of all objectives to one.

        Divided by their norms, they say no more how far to go: the length of the gradient of the loss does, so that
        objectives within their bounds change nothing.

        Args:
            loss: Gradient of the loss.
            attacked: Gives loss and gradient under attack; only called if they count.
            cost: Gives the gradient of the penalty, likewise.
        """
        gradients = [loss]
        if self.objectives.attack is not None:
            assert attacked is not None  # a searcher without refuses the objective
            value, gradient = attacked()
            self._figure("attack_loss").update(value, 1)
            gradients.append(gradient)
        if self.expected is not None:
            assert cost is not None
            gradients.append(cost())
        stacked = torch.stack(gradients)
        if self.objectives.combination == "mgda":
            weights, direction = common_descent(stacked, self.objectives.normalise)
        else:
            self.weights = self.weights.to(stacked)  # copies once
            weights, flat = self.weights, stacked.flatten(1)
            if self.objectives.normalise:
                norms = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
                flat = flat / torch.where(norms > 0, norms, 1.0)
            direction = (weights[:, None] * flat).sum(0).reshape(stacked.shape[1:])
        for name, weight in zip(self.objectives.names, weights, strict=True):
            self._figure(f"weight_{name}").update(weight, 1)
        if self.objectives.normalise:
            length = torch.linalg.vector_norm(loss)
            direction = direction * torch.where(length > 0, length, 1.0)
        return direction

    def _figure(self, name: str) -> MeanLoss:
        figure = self.figures[name]
        assert isinstance(figure, MeanLoss)  # which the type of the container does not tell
        return figure


def make_meter(objectives: Objectives | None, network: SuperNet, budget: Budget) -> ObjectiveMeter | None:
    """Make what combines the gradients of a search; ``None`` without objectives.

    Raises:
        ConfigError: If the cost of a network cannot be counted, or the budget is below its lower bound.
    """
    resource = None if objectives is None else objectives.resource
    if resource is not None and resource.low is not None:
        limit = getattr(budget, f"max_{resource.cost}")
        if limit is not None and limit < resource.low:
            raise ConfigError(
                f"resource.low is {resource.low:g} {resource.cost}, but the budget allows {limit:g}: lower the bound, "
                "or raise the budget"
            )
    return None if objectives is None else ObjectiveMeter(objectives, network, budget)


def figures_of(meter: ObjectiveMeter | None) -> dict[str, MeanLoss]:
    """Return the figures of an epoch by the names under which they are logged; none without objectives."""
    return {} if meter is None else meter.items()
