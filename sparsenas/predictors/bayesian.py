"""Bayesian networks: one sampled by stochastic gradients, and one whose last layer alone is Bayesian."""

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from itertools import pairwise
from math import log
from typing import Any, cast

import torch
from torch import Tensor, nn

from sparsenas.predictors.base import Floats, Info
from sparsenas.predictors.feedforward import vector_tensors
from sparsenas.predictors.fitting import Fitting, Inputs, fit_network, predict, seeded
from sparsenas.predictors.neural import NetworkRegression
from sparsenas.spaces import Encoding, Genotype

#: Width of the three hidden layers.
WIDTH = 50
#: Logarithm of the variance of the noise, of standardised targets: where it begins, and the mean of its prior.
NOISE = log(1e-2)


class TanhNetwork(nn.Module):
    """Three hidden layers with tanh, a linear output, and the noise of the targets.

    Args:
        inputs: Size of the vectors.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        sizes = [inputs, WIDTH, WIDTH, WIDTH]
        self.features = nn.Sequential(*(m for pair in pairwise(sizes) for m in (nn.Linear(*pair), nn.Tanh())))
        self.head = nn.Linear(WIDTH, 1)
        self.log_variance = nn.Parameter(torch.tensor(NOISE))

    def forward(self, vectors: Tensor) -> Tensor:
        """Predict from vectors ``(N, inputs)``, shape ``(N,)``."""
        predicted: Tensor = self.head(self.features(vectors))[:, 0]
        return predicted


class AdaptiveSGHMC(torch.optim.Optimizer):
    r"""Stochastic-gradient Hamiltonian Monte Carlo that scales each weight by its gradients during burn-in.

    With the gradient :math:`g` of the energy of one item, and running means of it and its square :math:`v`, a step is

    .. math:: m \leftarrow (1 - \alpha) m - \epsilon^2 g / \sqrt{v} + \mathcal N(0,
        2 \alpha \epsilon^2 / (N \sqrt{v}) - \epsilon^4 / N^2), \quad w \leftarrow w + m

    Args:
        parameters: What is sampled.
        items: ``N``, number of items of the data.
        lr: Square root :math:`\epsilon` of the step size.
        burn_in: Steps in which scales adapt.
        decay: Friction :math:`\alpha`.

    Source: Chen et al., Stochastic Gradient Hamiltonian Monte Carlo (ICML 2014); adaptation of Springenberg et al.,
        Bayesian Optimization with Robust Bayesian Neural Networks (NeurIPS 2016), equations 7 to 10.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], items: int, lr: float = 1e-2, burn_in: int = 10, decay: float = 0.05
    ) -> None:
        super().__init__(parameters, {"items": items, "lr": lr, "burn_in": burn_in, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Draw the next state of the chain, with noise of torch's global random state."""
        for group in self.param_groups:
            for parameter in group["params"]:
                self._move(parameter, self.state[parameter], group)

    def _move(self, parameter: nn.Parameter, state: dict[str, Any], group: dict[str, Any]) -> None:
        items, lr, burn_in, decay = (group[name] for name in ("items", "lr", "burn_in", "decay"))
        gradient = parameter.grad
        if gradient is None:  # a weight that the energy does not depend on
            return
        if not state:
            state.update(step=0, window=torch.ones_like(parameter), mean=torch.ones_like(parameter))
            state.update(square=torch.ones_like(parameter), momentum=torch.zeros_like(parameter))
        window, mean, square, momentum = (state[name] for name in ("window", "mean", "square", "momentum"))
        state["step"] += 1
        if state["step"] <= burn_in:
            share = 1 / (window + 1)
            window += 1 - window * mean**2 / (square + 1e-16)
            mean += share * (gradient - mean)
            square += share * (gradient**2 - square)
        scale = 1 / (square.sqrt() + 1e-16)
        variance = 2 * decay * lr**2 / items * scale - lr**4 / items**2
        noise = variance.clamp_min(1e-16).sqrt() * torch.randn_like(parameter)
        momentum += noise - lr**2 * scale * gradient - decay * momentum
        parameter.add_(momentum)


class SampledRegression(NetworkRegression):
    """The mean over networks of a chain of :class:`AdaptiveSGHMC`.

    Args:
        encoding: Encoding of the space.
        steps: Steps of the chain.
        burn_in: Steps of the burn-in, of which no network is kept.
        every: Steps from one kept network to the next.
        seed: Seeds weights, batches and noise.
    """

    def __init__(self, encoding: Encoding, steps: int = 100, burn_in: int = 10, every: int = 5, seed: int = 0) -> None:
        super().__init__(encoding, one_hot_tensors, tanh_network, Fitting(epochs=1, batch_size=20), seed=seed)
        self.steps, self.burn_in, self.every = steps, burn_in, every

    def _learn(self, inputs: Inputs, targets: Tensor, generator: torch.Generator) -> list[nn.Module]:
        with seeded(generator):
            network = self.network(inputs)
        count, kept, done = len(targets), [], 0
        optimizer = AdaptiveSGHMC(network.parameters(), count, burn_in=self.burn_in)

        def keep(*_: Any) -> None:
            nonlocal done
            done += 1
            if self.burn_in < done <= self.steps and (done - self.burn_in) % self.every == 0:
                kept.append(deepcopy(network))

        optimizer.register_step_post_hook(keep)
        options = replace(self.options, epochs=-(-self.steps // self.options.steps(count)))
        fit_network(network, inputs, targets, options, partial(energy, items=count), generator, optimizer)
        return kept


def energy(network: TanhNetwork, inputs: Inputs, targets: Tensor, items: int) -> Tensor:
    """Compute the negative log-posterior for each item of the data, from a batch, up to a constant.

    Priors are normal: for weights with variance ``1 / inputs`` of their layer, so that no layer begins saturated; for
    biases with 1; for the logarithm of the variance of the noise with 1, around :data:`NOISE`.
    """
    likelihood: Tensor = ((network(*inputs) - targets) ** 2 / network.log_variance.exp() + network.log_variance).mean()
    prior: Tensor = (network.log_variance - NOISE) ** 2
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            prior = prior + layer.in_features * (layer.weight**2).sum() + (layer.bias**2).sum()
    return (likelihood + prior / items) / 2


class LastLayerRegression(NetworkRegression):
    """Bayesian linear regression on the last hidden layer of a network."""

    _linear: Any

    def _fit(self, genotypes: Sequence[Genotype], targets: Floats, info: Info) -> None:
        from sklearn.linear_model import BayesianRidge

        super()._fit(genotypes, targets, info)
        self._linear = BayesianRidge().fit(self._basis(genotypes, info), (targets - self._mean) / self._scale)

    def _query(self, genotypes: Sequence[Genotype], info: Info) -> Floats:
        predicted: Floats = self._linear.predict(self._basis(genotypes, info))
        return self._mean + self._scale * predicted

    def _basis(self, genotypes: Sequence[Genotype], info: Info) -> Floats:
        found: Floats = (
            predict(cast(TanhNetwork, self._networks[0]).features, self._inputs(genotypes, info)).double().numpy()
        )
        return found


def one_hot_tensors(encoding: Encoding, genotypes: Sequence[Genotype]) -> Inputs:
    """Encode genotypes as vectors of decisions, shape ``(N, D)``."""
    return vector_tensors(encoding, genotypes, "one_hot")


def tanh_network(inputs: Inputs) -> TanhNetwork:
    """Make a network for vectors."""
    return TanhNetwork(inputs[0].shape[1])


def bohamiann(encoding: Encoding, seed: int = 0) -> SampledRegression:
    """Make the Bayesian network BOHAMIANN.

    Source: Springenberg et al., Bayesian Optimization with Robust Bayesian Neural Networks (NeurIPS 2016); White et
        al. (NeurIPS 2021).
    """
    return SampledRegression(encoding, seed=seed)


def dngo(encoding: Encoding, seed: int = 0) -> LastLayerRegression:
    """Make DNGO: basis functions of a network, and a Bayesian linear regression on them.

    Source: Snoek et al., Scalable Bayesian Optimization Using Deep Neural Networks (ICML 2015); White et al. (NeurIPS
        2021).

    Differs: the precisions of noise and weights maximise the evidence. The study averages over samples of them.
    """
    return LastLayerRegression(
        encoding, one_hot_tensors, tanh_network, Fitting(epochs=500, batch_size=10, lr=1e-2), seed=seed
    )
