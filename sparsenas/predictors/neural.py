"""Regression of the accuracy with small networks of PyTorch, whatever encoding they read."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sparsenas.predictors.base import Floats, Info, Predictor
from sparsenas.predictors.fitting import Fitting, Inputs, Loss, fit_network, predict, seeded, squared_error
from sparsenas.spaces import Encoding, Genotype

#: Encodes genotypes for a network.
Encode = Callable[[Encoding, Sequence[Genotype]], Inputs]


class NetworkRegression(Predictor):
    """A network on encoded genotypes, or the mean of several; targets are standardised while it learns.

    Args:
        encoding: Encoding of the space.
        encode: Encodes ``N`` genotypes as tensors, which are arguments of the network.
        network: Makes a network for such tensors, with outputs ``(N,)``.
        options: Options of the training.
        loss: Loss of a batch.
        ensemble: Number of networks.
        seed: Seeds weights, orders and dropout.
    """

    least = 2

    def __init__(
        self,
        encoding: Encoding,
        encode: Encode,
        network: Callable[[Inputs], nn.Module],
        options: Fitting,
        loss: Loss = squared_error,
        ensemble: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.encoding, self.encode, self.network, self.options = encoding, encode, network, options
        self.loss, self.ensemble, self.seed = loss, ensemble, seed
        self._networks: list[nn.Module] = []
        self._mean, self._scale = 0.0, 1.0

    def _fit(self, genotypes: Sequence[Genotype], targets: Floats, info: Info) -> None:
        self._mean, self._scale = float(targets.mean()), float(targets.std())
        standard = torch.as_tensor((targets - self._mean) / self._scale, dtype=torch.float32)
        generator = torch.Generator().manual_seed(self.seed)
        self._networks = self._learn(self._inputs(genotypes, info), standard, generator)

    def _query(self, genotypes: Sequence[Genotype], info: Info) -> Floats:
        inputs = self._inputs(genotypes, info)
        outputs: Floats = np.mean([predict(network, inputs).double().numpy() for network in self._networks], axis=0)
        return self._mean + self._scale * outputs

    def _inputs(self, genotypes: Sequence[Genotype], info: Info) -> Inputs:
        """Encode networks, of which something is known beside."""
        return self.encode(self.encoding, genotypes)

    def _learn(self, inputs: Inputs, targets: Tensor, generator: torch.Generator) -> list[nn.Module]:
        """Fit networks to standardised targets ``(N,)``; the mean of their outputs is the prediction."""
        networks = []
        for _ in range(self.ensemble):
            with seeded(generator):
                network = self.network(inputs)
            fit_network(network, inputs, targets, self.options, self.loss, generator)
            networks.append(network)
        return networks
