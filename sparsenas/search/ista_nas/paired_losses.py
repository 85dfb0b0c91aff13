"""A signal that measures: losses of two drawn architectures on the same images, regressed on what they differ in."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor, nn

from sparsenas.errors import ConfigError
from sparsenas.networks import SuperNet, frozen_statistics
from sparsenas.search.ista_nas.architecture import CompressedArchitecture
from sparsenas.search.ista_nas.signals import Signal, SignalStep, check_every
from sparsenas.spaces import SearchSpace, Support


@dataclass(frozen=True)
class PairedLosses(Signal):
    r"""Recursive least squares on losses of pairs: sparse coding over measurements, while the super-net trains.

    Two supports are drawn and run on the same images with shared weights, without gradients. With :math:`d` the second
    minus the first as vectors of candidates, and :math:`y` the first minus the second loss, :math:`y \approx z^\top d`
    says what every candidate is worth. Each pair improves the estimate,

    .. math:: k = \frac{P d}{\lambda + d^\top P d}, \quad z \leftarrow z + k (y - d^\top z), \quad
        P \leftarrow \frac{P - k d^\top P}{\lambda},

    and the gradient is that of :math:`\tfrac12 \lVert b - A \tilde z \rVert^2`, where :math:`\tilde z` is, block by
    block, the worth above the worst candidate at norm 1. What images do to both losses cancels.

    Attributes:
        every: Take a pair on every so-many-th training batch; it costs two forward passes.
        memory: :math:`\lambda`, in (0, 1]: below 1, older pairs fade, as the weights they were measured with have
            changed. They do only as far as the trace of :math:`P` is below that at the beginning: what no pair asks
            about would otherwise be forgotten without end.
        prior: Variance of a worth before anything is known.

    Raises:
        ConfigError: If a number is out of range.

    Source: recursive least squares with forgetting, as in Haykin, Adaptive Filter Theory, chapter on the RLS algorithm.

    Differs: of several processes, each has an estimate of its own, of the same pairs on other images; ``b`` gets their
        mean.
    """

    every: int = 1
    memory: float = 0.998
    prior: float = 1.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_every(self.every)
        if not 0.0 < self.memory <= 1.0 or not self.prior > 0.0:
            raise ConfigError(
                f"signal.memory is {self.memory}, signal.prior is {self.prior}; the first lies in (0, 1], the "
                "second is positive"
            )

    def begin(self, architecture: CompressedArchitecture) -> Signal:
        """See :class:`Signal`: one that remembers."""
        return _Regression(self, architecture.space)

    def step(
        self,
        architecture: CompressedArchitecture,
        network: SuperNet,
        images: Tensor,
        criterion: Callable[[Tensor], Tensor],
        rng: np.random.Generator,
    ) -> SignalStep:
        """See :class:`Signal`: the step of a search that begins."""
        return self.begin(architecture).step(architecture, network, images, criterion, rng)


class _Regression(nn.Module, Signal):
    """The estimate of one search; its buffers survive a resume.

    Args:
        options: The signal.
        space: Search space, of ``N`` candidates in all blocks together.
    """

    worth: Tensor
    covariance: Tensor

    def __init__(self, options: PairedLosses, space: SearchSpace) -> None:
        super().__init__()
        self.options, self.every = options, options.every
        self._sizes = [len(block) for block in space.blocks]
        self._offsets = [0, *accumulate(self._sizes)]
        self.register_buffer("worth", torch.zeros(self._offsets[-1], dtype=torch.float64))
        self.register_buffer("covariance", options.prior * torch.eye(self._offsets[-1], dtype=torch.float64))

    def step(
        self,
        architecture: CompressedArchitecture,
        network: SuperNet,
        images: Tensor,
        criterion: Callable[[Tensor], Tensor],
        rng: np.random.Generator,
    ) -> SignalStep:
        """See :class:`Signal`."""
        pair = [architecture.draw(rng) for _ in range(2)]
        with torch.no_grad(), frozen_statistics(network):
            first, second = (criterion(network(images, s, architecture.probe(s))) for s in pair)
        self.learn(self._vector(pair[1]) - self._vector(pair[0]), (first - second).double())
        rows = [row - row.min() for row in torch.split(self.worth, self._sizes)]
        padded = torch.nn.utils.rnn.pad_sequence([row / row.norm().clamp_min(1e-12) for row in rows], batch_first=True)
        aim = (architecture.dictionary.double() * padded[:, None, :]).sum(2)
        gradient = architecture.b.detach().double() - aim
        return SignalStep((first + second).detach() / 2, gradient.to(architecture.b.dtype))

    def learn(self, difference: Tensor, gain: Tensor) -> None:
        """One step of recursive least squares; a loss that is not finite is left out.

        Args:
            difference: ``d``, shape ``(N,)``.
            gain: ``y``, 0-d.
        """
        spread = self.covariance @ difference
        certain = torch.isfinite(gain) & (difference != 0).any()
        share = torch.where(certain, spread / (self.options.memory + difference @ spread), 0.0)
        # not a branch on the loss: that would wait for the device
        error = torch.where(certain, gain, 0.0) - difference @ self.worth
        self.worth += share * error
        known = self.covariance - torch.outer(share, spread)
        known = (known + known.T) / 2  # rounding must not make it skew
        room = self.options.prior * len(known) / known.trace()
        self.covariance.copy_(torch.where(certain, known * room.clamp(1.0, 1 / self.options.memory), self.covariance))

    def _vector(self, support: Support) -> Tensor:
        """A support as a vector of candidates, shape ``(N,)``."""
        vector = torch.zeros_like(self.worth)
        kept = [
            offset + index for offset, indices in zip(self._offsets[:-1], support, strict=True) for index in indices
        ]
        vector[kept] = 1.0
        return vector
