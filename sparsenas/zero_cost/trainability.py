"""Trainability: preservation of the size of gradients from block to block."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sparsenas.errors import ConfigError
from sparsenas.networks import DerivedNet, batch_statistics
from sparsenas.zero_cost.base import ZeroCostScore


@dataclass(frozen=True)
class Trainability(ZeroCostScore):
    r"""Preservation of the size of gradients on their way through the blocks of an untrained network.

    .. math:: \frac{1}{L} \sum_l \left( 2 - \sigma_l - \frac{1}{\sigma_l} \right)

    :math:`\sigma_l` is the largest singular value of the mean, over images and positions, of :math:`(J_l^\top
    \epsilon)\, \epsilon^\top`. :math:`J_l` is the Jacobian of block :math:`l`, :math:`\epsilon` are random signs. The
    score is largest, 0, where no block makes gradients larger or smaller. Blocks are cells, seen from the cell before;
    in a chain they are its layers without identities. Batch-norms use batch statistics.

    Attributes:
        seed: Seed of the signs.

    Raises:
        ConfigError: If the seed is negative.

    Source: Lee and Ham, AZ-NAS: Assembling Zero-Cost Proxies for Network Architecture Search (CVPR 2024), and its code;
    one of four scores there.

    Differs: weights are those of the network, where the code draws them anew. A block of NAS-Bench-201 that halves the
    resolution is part of the cell behind it. A cell that returns its input is the worst, as in the code, but an
    identity in a chain is not a layer.
    """

    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; use a number not below 0")

    @torch.enable_grad()
    def __call__(self, network: DerivedNet, images: Tensor, labels: Tensor | None = None) -> float:
        """See :class:`ZeroCostScore`."""
        generator = torch.Generator().manual_seed(self.seed)
        terms = []
        with batch_statistics(network):
            for source, output in network.blocks(images):
                signs = torch.randint(0, 2, output.shape, generator=generator).to(output) * 2 - 1
                gain = block_gain(source, output, signs)
                if gain is None or not gain > 0:
                    return float("-inf")
                terms.append(2 - gain - 1 / gain)
        return sum(terms) / len(terms) if terms else float("-inf")


def block_gain(source: Tensor, output: Tensor, signs: Tensor) -> float | None:
    r"""Compute :math:`\sigma` of a block; ``None`` if its output does not depend on its source, or is the same.

    Args:
        source: Shape ``(B, C, H, W)``, requires a gradient.
        output: Made of it, shape ``(B, D, ceil(H / s), ceil(W / s))``.
        signs: 1 and -1, shape of the output.
    """
    if not output.requires_grad:
        return None
    (gradient,) = torch.autograd.grad(output, source, signs, allow_unused=True)
    if gradient is None or (gradient.shape == signs.shape and torch.equal(gradient, signs)):
        return None
    stride = -(-gradient.shape[2] // signs.shape[2])
    if stride > 1:
        # one more channel for every position within a stride
        right, down = (-size % stride for size in (gradient.shape[3], gradient.shape[2]))
        gradient = functional.pixel_unshuffle(functional.pad(gradient, (0, right, 0, down)), stride)
    before, behind = (t.permute(0, 2, 3, 1).flatten(0, 2) for t in (gradient, signs))
    return float(torch.linalg.matrix_norm(before.T @ behind / len(behind), 2))
