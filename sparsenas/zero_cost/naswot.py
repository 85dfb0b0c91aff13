"""NASWOT: codes of rectifiers."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from sparsenas.networks import DerivedNet, batch_statistics
from sparsenas.zero_cost.base import ZeroCostScore

#: Functions that are linear on each side of their kinks; a module calls one of them.
RECTIFIERS = (functional.relu, functional.relu_, torch.relu, torch.relu_, functional.relu6, functional.hardtanh)


@dataclass(frozen=True)
class Naswot(ZeroCostScore):
    r"""Number of linear regions that an untrained network puts between images.

    :math:`\log |\det K|`, where :math:`K_{ij}` counts the rectifiers that are on, or off, for both image :math:`i` and
    image :math:`j`. All rectifiers of the network count. Zero inputs, of which none is on, agree everywhere.
    Batch-norms use batch statistics.

    Source: Mellor et al., Neural Architecture Search without Training (ICML 2021).
    """

    def __call__(self, network: DerivedNet, images: Tensor, labels: Tensor | None = None) -> float:
        """See :class:`ZeroCostScore`."""
        agreement = _Agreement(len(images))
        with torch.no_grad(), batch_statistics(network), agreement:
            logits = network(images)
        if agreement.kernel is None or bool((logits == logits[:1]).all()):
            return float("-inf")
        sign, logarithm = torch.linalg.slogdet(agreement.kernel)
        return float(logarithm) if sign > 0 else float("-inf")


class _Agreement(TorchFunctionMode):
    """Counter, for every pair of images, of the rectifiers on which they agree; shape ``(B, B)``."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self.images = images
        self.kernel: Tensor | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in RECTIFIERS and len(args[0]) == self.images:
            on = (args[0] > 0).flatten(1).float()
            off = 1 - on
            kernel = (on @ on.T + off @ off.T).double()  # counts below 2**24 are exact in float32
            self.kernel = kernel if self.kernel is None else self.kernel + kernel
        return func(*args, **(kwargs or {}))
