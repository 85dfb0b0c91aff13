"""Signals: where the gradient of the compressed parameter ``b`` comes from."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sparsenas.errors import ConfigError
from sparsenas.networks import SuperNet, candidate_gradients, frozen_statistics
from sparsenas.search.ista_nas.architecture import CompressedArchitecture
from sparsenas.search.ista_nas.sampling import NearbySampling
from sparsenas.spaces import Block


class SignalStep(NamedTuple):
    """Loss and gradient of one architecture batch.

    Attributes:
        loss: Loss on the batch, 0-d, detached.
        gradient: Descent happens along its negative; shape of ``b``, ``(B, m)``.
    """

    loss: Tensor
    gradient: Tensor


class Signal(ABC):
    """Turns an architecture batch into a gradient of ``b``. It never touches network weights or their gradients.

    Attributes:
        every: A step is taken on every so-many-th training batch.
    """

    every: int

    #: What whoever uses it should know; printed when a search begins.
    caution = ""

    def begin(self, architecture: CompressedArchitecture) -> "Signal":
        """The signal of one search: itself, or a module that remembers what it has seen, also over a resume.

        Args:
            architecture: Compressed architecture of the search; not changed.
        """
        return self

    @abstractmethod
    def step(
        self,
        architecture: CompressedArchitecture,
        network: SuperNet,
        images: Tensor,
        criterion: Callable[[Tensor], Tensor],
        rng: np.random.Generator,
    ) -> SignalStep:
        """Loss and gradient on one batch.

        Args:
            architecture: Compressed architecture; not changed.
            network: Super-net in training mode; not changed.
            images: ``(B, C, H, W)``.
            criterion: Maps logits to the loss.
            rng: Source of all draws.
        """


@dataclass(frozen=True)
class SupportGradient(Signal):
    r"""The official signal: back-propagation through the active candidates only.

    With :math:`w = z_S + A_S^\top (b - A_S z_S)` the gradient is :math:`A_S\, \partial L / \partial w`. It lies in the
    span of the active columns.

    Warning: nothing compares an active candidate with an inactive one. On published ground truth searches with this
    signal ended no better than random cells and visited a handful of architectures (``studies/nasbench201``).
    Kept for fidelity; to find a good architecture, use :class:`~sparsenas.search.TournamentSearch`.

    Attributes:
        every: Take a step on every so-many-th training batch.

    Source: Yang et al., ISTA-NAS (NeurIPS 2020).
    """

    every: int = 1

    caution = (
        "SupportGradient compares no active candidate with an inactive one: on published benchmarks such searches end "
        "no better than random cells (studies/nasbench201). It is kept for fidelity."
    )

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_every(self.every)

    def step(
        self,
        architecture: CompressedArchitecture,
        network: SuperNet,
        images: Tensor,
        criterion: Callable[[Tensor], Tensor],
        rng: np.random.Generator,
    ) -> SignalStep:
        """See :class:`Signal`."""
        with frozen_statistics(network):
            loss = criterion(network(images, architecture.support, architecture.weights()))
        (gradient,) = torch.autograd.grad(loss, architecture.b)
        return SignalStep(loss.detach(), gradient)


@dataclass(frozen=True)
class FullGradient(Signal):
    r"""Gradient with respect to all candidates, at supports drawn around the recovered one.

    At a support :math:`S'` it takes :math:`g = \partial L / \partial z` for every candidate of every block, active or
    not, and hands on :math:`A g`: a step :math:`b \leftarrow b - \eta A g` is the step
    :math:`z \leftarrow z - \eta g` seen through :math:`b = A z`, and the recovery that follows is its proximal step.

    Attributes:
        every: Take a step on every so-many-th training batch; a step costs about one dense forward pass.
        spread: Probability with which a block's support is replaced by a uniform draw before the gradient is taken.
        swaps: Take from every entry of :math:`g` that of the active candidate on its edge, or the mean of the block's
            active ones where the edge has none: the first-order change of the loss for replacing the active candidate,
            instead of that for adding one to it. An active candidate then gets 0, and ``none`` minus the active one's.

    Differs: ISTA-NAS has no such signal; it is the plain proximal-gradient reading of its formulation.
    """

    every: int = 8
    spread: float = 0.25
    swaps: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_every(self.every)
        if not 0.0 <= self.spread <= 1.0:
            raise ConfigError(f"signal.spread is {self.spread}; a probability lies in [0, 1]")

    def step(
        self,
        architecture: CompressedArchitecture,
        network: SuperNet,
        images: Tensor,
        criterion: Callable[[Tensor], Tensor],
        rng: np.random.Generator,
    ) -> SignalStep:
        """See :class:`Signal`."""
        sampling = NearbySampling(self.spread, self.spread)
        support = sampling.draw(architecture, 0.0, rng)
        weights = architecture.weights_at(support)
        loss, gradients = candidate_gradients(network, images, criterion, support, weights)
        if self.swaps:
            rows = zip(architecture.space.blocks, gradients, support, strict=True)
            gradients = [swap_changes(block, row, kept) for block, row, kept in rows]
        return SignalStep(loss, architecture.seen(gradients))


def swap_changes(block: Block, gradient: Tensor, kept: Sequence[int]) -> Tensor:
    """First-order change of the loss for replacing an active candidate of a block by each candidate.

    Args:
        block: The block, of ``n`` candidates.
        gradient: Gradient of the loss with respect to the weight of each candidate, shape ``(n,)``.
        kept: Active candidates.

    Returns:
        Shape ``(n,)``; 0 for an active candidate that is alone on its edge. On an edge without one, against the mean of
        all active ones, as it may take the place of any.
    """
    active: dict[tuple[int, int], list[int]] = {}
    for index in kept:
        active.setdefault(block.candidates[index].edge, []).append(index)
    means = torch.stack([gradient[active.get(edge, list(kept))].mean() for edge in block.edges])
    return gradient - means[[block.edges.index(candidate.edge) for candidate in block.candidates]]


def check_every(every: int) -> None:
    """Raise :class:`ConfigError` unless steps are taken on every so-many-th batch."""
    if every < 1:
        raise ConfigError(f"signal.every is {every}; take a step on every batch (1) or less often")
