"""Exploration of a one-stage search: which support a batch runs, with which weights, and what ``b`` hears of it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from sparsenas.errors import ConfigError
from sparsenas.search.ista_nas.advantage import LossAdvantage
from sparsenas.search.ista_nas.architecture import CompressedArchitecture
from sparsenas.search.ista_nas.sampling import NearbySampling, RecoveredSampling, Sampling, UniformSampling
from sparsenas.spaces import Support


@dataclass(frozen=True)
class Exploration:
    r"""Supports of the batches of the search phase, and the signal that ``b`` gets from them.

    Attributes:
        sampling: Support that a batch runs. Drawn candidates enter with equal weights, so that batches compare them;
            ``RecoveredSampling`` is the official choice, which compares nothing. Draws leave out forbidden primitives,
            but know nothing of caps and limits.
        signal: Source of the gradient of ``b``. ``gradient``: the loss, through the weights of the support. ``loss``:
            the loss itself. All candidates that ran, with equal weights, answer for how their batch went against the
            batches before, :math:`b \leftarrow b - \eta\, \frac{L - \bar L}{\sigma} A_S 1`; over uniform draws
            this regresses the loss on the candidates.

    Raises:
        ConfigError: If the signal compares drawn candidates and the sampling draws none.
    """

    sampling: Sampling = NearbySampling()
    signal: Literal["gradient", "loss"] = "gradient"

    def __post_init__(self) -> None:
        """Check that both fit together."""
        if self.signal == "loss" and isinstance(self.sampling, RecoveredSampling):
            raise ConfigError(
                "exploration.signal is loss, which compares drawn candidates, but RecoveredSampling draws none; use "
                "NearbySampling or UniformSampling, or the signal gradient"
            )


class Explorer(nn.Module):
    """Tries candidates, one support per batch.

    Args:
        exploration: Options.
    """

    def __init__(self, exploration: Exploration) -> None:
        super().__init__()
        self.sampling, self.signal = exploration.sampling, exploration.signal
        self.advantage = LossAdvantage()

    def draw(self, architecture: CompressedArchitecture, progress: float | None, rng: np.random.Generator) -> Support:
        """Support of the next batch; settled blocks keep theirs.

        Args:
            architecture: State of the search.
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
            support: Support that ran.
            loss: Mean over all processes, 0-d, without gradient. Successive calls compare it with those before.
        """
        ran = architecture.probe(support) * ~architecture.settled[:, None]
        nothing: Tensor = self.advantage(loss) * (ran - ran.detach()).sum()
        return nothing
