"""One run of two phases: the search, then the training of what was found."""

from typing import Any

from sparsenas.schedules import Stretch
from sparsenas.search.base import SearchModule
from sparsenas.search.ista_nas.phases import Phases
from sparsenas.search.optimizers import ArchitectureTraining
from sparsenas.training.continuation import planned_length, rejoin_schedule


class PhasedSearch(SearchModule):
    """A search whose network is trained on, with schedules of its own, once the architecture is fixed.

    Attributes:
        phases: Lengths of the two phases.
        arch_training: Training of the architecture in the first.
        search_end: Epochs of the search phase; ``None`` as long as it lasts.
        trained_epochs: Epochs of the training phase that are over.
    """

    phases: Phases
    arch_training: ArchitectureTraining
    search_end: int | None = None
    trained_epochs = 0
    _planned: float | None = None

    @property
    def searching(self) -> bool:
        """True in the search phase."""
        return self.search_end is None

    @property
    def finished(self) -> bool:
        """True after the last epoch of the training phase."""
        return self.search_end is not None and self.trained_epochs >= self.train_length()

    @property
    def drop_path_now(self) -> float:
        """Drop-path probability of the present epoch: 0 in the search phase, then ``k / E`` in epoch ``k`` of ``E``."""
        if self.search_end is None:
            return 0.0
        return self.weight_training.drop_path * (self.current_epoch - self.search_end) / self.train_length()

    @property
    def shares_weights(self) -> bool:
        """See :meth:`SearchModule.shares_weights`."""
        return not self.trained_epochs

    @property
    def moves_architecture(self) -> bool:
        """True in the search phase after warm-up."""
        return self.searching and self.current_epoch >= self.arch_training.warmup_epochs

    def stretches(self) -> list[Stretch]:
        """See :meth:`SearchModule.stretches`."""
        searching = self.phases.search_stretches(self.arch_training) if self.searching else []
        return [*searching, Stretch("training.schedule", self.weight_training.schedule, self.train_length())]

    def train_length(self) -> int:
        """Count the epochs of the training phase; before the search has ended, the fewest."""
        return self.phases.train_length(self.search_end, self.trainer.max_epochs or 0)

    def weight_rate(self, epoch: int) -> float:
        """Share of the peak learning rate of the weights."""
        if self.search_end is None or epoch < self.search_end:
            return self.phases.search_schedule.factor(epoch, self.phases.search_epochs)
        return self.weight_training.schedule.factor(epoch - self.search_end, self.train_length())

    def on_train_start(self) -> None:
        """Let the learning rate of a resumed training phase join the schedule of its present length."""
        super().on_train_start()
        if self.searching or self.phases.train_epochs is not None:
            return  # the length of the run is not that of the schedule
        if said := rejoin_schedule(self.trainer, self.weight_training, self._planned):
            self.print(said)

    def on_test_start(self) -> None:
        """Say what accuracies of an unfinished search are worth."""
        if not self.trained_epochs:
            self.print(
                "no epoch of the training phase is over: weights are shared by many architectures, and the statistics "
                "of each batch are used"
            )

    def on_predict_start(self) -> None:
        """See :meth:`on_test_start`."""
        self.on_test_start()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The phase goes beside the counters."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["search"] |= {"search_end": self.search_end, "trained_epochs": self.trained_epochs}
        checkpoint["planned_length"] = planned_length(self.trainer, self.weight_training)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back what :meth:`on_save_checkpoint` kept."""
        super().on_load_checkpoint(checkpoint)
        state = checkpoint["search"]
        self.search_end, self.trained_epochs = state["search_end"], state["trained_epochs"]
        self._planned = checkpoint.get("planned_length")
