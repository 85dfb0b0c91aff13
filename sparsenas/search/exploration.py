"""Exploration of a one-stage search: which support a batch runs, with which weights, and what ``b`` hears of it."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from sparsenas.errors import ConfigError
from sparsenas.search.advantage import LossAdvantage
from sparsenas.search.architecture import CompressedArchitecture
from sparsenas.search.sampling import RecoveredSampling, Sampling, UniformSampling
from sparsenas.spaces import Support


class Exploration(nn.Module):
    """Tries candidates, one support per batch.

    Args:
        sampling: Which support a batch runs.
        signal: What moves ``b``: the ``gradient`` of the loss, or the ``loss`` itself.

    Raises:
        ConfigError: If the signal compares drawn candidates and the sampling draws none.
    """

    def __init__(self, sampling: Sampling, signal: Literal["gradient", "loss"]) -> None:
        super().__init__()
        if signal == "loss" and isinstance(sampling, RecoveredSampling):
            raise ConfigError(
                "signal is loss, which compares drawn candidates, but RecoveredSampling draws none; use NearbySampling "
                "or UniformSampling, or the signal gradient"
            )
        self.sampling, self.signal = sampling, signal
        self.advantage = LossAdvantage()

    def draw(self, architecture: CompressedArchitecture, progress: float | None, rng: np.random.Generator) -> Support:
        """Support of the next batch; settled blocks keep theirs.

        Args:
            architecture: What has been found so far.
            progress: Share of the search phase after warm-up that is done, in [0, 1]; ``None`` in warm-up, whose draws
                are uniform.
            rng: Source of all draws.
        """
        sampling = UniformSampling() if progress is None else self.sampling
        drawn = sampling.draw(architecture, progress or 0.0, rng)
        blocks = zip(architecture.settled_blocks, architecture.support, drawn, strict=True)
        return tuple(old if settled else new for settled, old, new in blocks)

    def weights(self, architecture: CompressedArchitecture, support: Support) -> Tensor:
        """Architecture weights of a drawn support, shape ``(B, s)``; with the signal ``gradient``, ``b`` gets theirs.

        Blocks that were drawn anew have equal weights of norm 1, the others those of ``b``; with the signal ``loss``
        only settled blocks have those of ``b``.
        """
        probe, weights = architecture.probe(support), architecture.weights()
        if self.signal == "loss":
            return torch.where(architecture.settled[:, None], weights, probe).detach()
        drawn = [[old != new] for old, new in zip(architecture.support, support, strict=True)]
        return torch.where(torch.tensor(drawn, device=weights.device), probe, weights)

    def charge(self, architecture: CompressedArchitecture, support: Support, loss: Tensor) -> Tensor:
        """Zero, whose gradient by ``b`` makes the candidates that ran answer for the loss of their batch.

        Args:
            architecture: Holds ``b``; settled blocks hear nothing.
            support: What ran.
            loss: Mean over all processes, 0-d, without gradient. Successive calls compare it with those before.
        """
        ran = architecture.probe(support) * ~architecture.settled[:, None]
        nothing: Tensor = self.advantage(loss) * (ran - ran.detach()).sum()
        return nothing
