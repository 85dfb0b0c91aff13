"""Base of the searches that compare architectures on images that train no weights."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from sparsenas.errors import ConfigError
from sparsenas.networks import SuperNet, ramped_drop_path
from sparsenas.search.base import SearchModule
from sparsenas.search.budget import Budget
from sparsenas.search.held_out import Criterion, HeldOut
from sparsenas.spaces import SearchSpace, Support
from sparsenas.training import WeightTraining


class MeasuringSearch(SearchModule):
    """Search that measures architectures on the last architecture batches it was shown.

    Args:
        space: Search space.
        network: Super-net.
        num_classes: Number of classes.
        training: Training of its weights.
        budget: Limits of what may be found.
        seed: Seeds all draws.
        criterion: By what architectures are compared.
        measure_batches: Architecture batches they are measured on.

    Raises:
        ConfigError: If a number is out of range, or paths are to be dropped where there is only one.
    """

    def __init__(
        self,
        space: SearchSpace,
        network: SuperNet,
        num_classes: int,
        training: WeightTraining,
        budget: Budget,
        seed: int,
        criterion: Criterion,
        measure_batches: int,
    ) -> None:
        if measure_batches < 1:
            raise ConfigError(f"measure_batches is {measure_batches}; use at least 1")
        super().__init__(space, network, num_classes, training, budget, seed)
        if training.drop_path > 0 and network.skeleton.single_path:
            raise ConfigError(
                f"training.drop_path is {training.drop_path}, but every layer of this space is the only way through: "
                "set it to 0"
            )
        self.criterion = criterion
        self._constraints = budget.of_network(network)
        self._held_out = HeldOut(measure_batches)

    def epoch_state(self) -> dict[str, Any]:
        """See :meth:`SearchModule.epoch_state`: the images kept so far, too."""
        return super().epoch_state() | {"held_out": self._held_out.images}

    def restore_epoch(self, state: dict[str, Any]) -> None:
        """See :meth:`SearchModule.restore_epoch`."""
        super().restore_epoch(state)
        self._held_out.restore(state["held_out"], self.device)

    def drop_rates(self, progress: float) -> float | tuple[float, ...]:
        """Drop-path probability by cell, after a share of the epochs over which it grows."""
        rate = self.weight_training.drop_path
        return ramped_drop_path(rate, len(self.network.cells), progress) if rate else 0.0

    def runner(self, support: Support, drop_rates: float | Sequence[float]) -> Callable[[Tensor], Tensor]:
        """Return what computes the logits of an architecture with the shared weights while it is trained."""
        wirings = self.network.wirings(support)

        def run(images: Tensor) -> Tensor:
            logits, _ = self.network.run(images, wirings, drop_rates)
            return logits

        return run
