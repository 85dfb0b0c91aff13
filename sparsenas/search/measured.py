"""Measured search: sparse coding over what can be measured of architectures without training a super-net."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sparsenas.complexity import candidate_costs
from sparsenas.errors import CheckpointError, ConfigError
from sparsenas.networks import NormOptions, StemName, SuperNet
from sparsenas.search.base import SearchModule
from sparsenas.search.measuring import LEAST, Conclusion, Measuring, MeasuringRun
from sparsenas.search.rules import SupportRules
from sparsenas.spaces import DartsSpace, SearchSpace, Support
from sparsenas.sparse_coding import Constraints


class MeasuredSearch(SearchModule):
    r"""Measure architectures, recover a sparse code of what was measured, measure what it proposes, conclude.

    The measurements are ``b``, the measured architectures in terms of shared atoms are the dictionary ``A``, and the
    code ``z`` says what each atom is worth: :math:`b \approx A z`. Measuring steps, by which ``b`` and ``A`` grow, and
    recoveries take turns. All happens inside the band of nearly the largest size that the rules leave open, where size
    says little.

    Which signals rank architectures in a space is not known beforehand: those that are noise, or that the others
    contradict, are not used. The :attr:`conclusion` says which, how sure the choice is, and whether it is any better
    than the largest cell, which is given back if not.

    No super-net is trained. The first batches are kept as images to measure with; from then on, every training batch
    stands for one measured architecture, and the run ends with the last one. A trained network follows by
    :class:`~sparsenas.training.StandAloneTraining`.

    Args:
        image_shape: ``(C, H, W)`` of the images; the command line takes it from the data.
        num_classes: Number of classes; the command line takes it from the data.
        space: Search space.
        channels: Channels of the measured networks' first cell. Measure at the size of the wanted network.
        cells: Cells of the measured networks.
        stem: Kind of stem.
        norms: Batch-norm options of the cells.
        measuring: What is measured, of how many architectures, and what is made of it.
        rules: What may not be found.
        seed: Seeds architectures, weights and the bootstrap.

    Attributes:
        conclusion: What was found under the search's own rules, and how sure that is; ``None`` until the end.

    Raises:
        ConfigError: If options contradict each other, or the images are too small.
        RecoveryError: If no architecture keeps the rules.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        space: SearchSpace = DartsSpace(),  # noqa: B008 - immutable
        channels: int = 16,
        cells: int = 8,
        stem: StemName = "cifar",
        norms: NormOptions = NormOptions(track=False),  # noqa: B008 - frozen
        measuring: Measuring = Measuring(),  # noqa: B008 - frozen
        rules: SupportRules = SupportRules(),  # noqa: B008 - frozen
        seed: int = 0,
    ) -> None:
        if seed < 0:
            raise ConfigError(f"seed is {seed}; use a number not below 0")
        network = SuperNet(space, image_shape, num_classes, channels, cells, stem, norms)
        super().__init__(space, network, num_classes, seed)
        self.save_hyperparameters()
        self.keep_plain_hyperparameters()
        costs = candidate_costs(network)
        constraints = rules.constraints(space, costs if rules.needs_costs else None)
        self.rules, self.measuring = rules, measuring
        self._run = MeasuringRun(space, network, costs, measuring, constraints, seed)

    @property
    def conclusion(self) -> Conclusion | None:
        """See the class."""
        return self._run.conclusion

    @property
    def support(self) -> Support:
        """The architecture found; before the end the best one so far, at the beginning the largest."""
        return self._run.support

    @property
    def shares_weights(self) -> bool:
        """See :meth:`SearchModule.shares_weights`."""
        return False

    def decide(self, constraints: Constraints | None = None) -> Support:
        """See :meth:`SearchModule.decide`.

        Under the search's own rules, what it has measured decides. Under others, the architectures of their band are
        measured now, which takes as long as a search.

        Raises:
            ConfigError: If too little was measured to decide, no signal ranks anything, or rules are new and the images
                are gone, as in a search that was read from a checkpoint.
        """
        support = self._run.conclude(constraints).support
        self.visited.update(self._run.known)
        return support

    def scores(self, constraints: Constraints | None = None) -> Mapping[Support, float]:
        """See :meth:`SearchModule.scores`."""
        return self._run.scores(constraints)

    def remark(self, constraints: Constraints | None = None) -> str:
        """The verdict, see :class:`~sparsenas.search.measuring.Conclusion`."""
        return self._run.conclude(constraints).verdict

    def logits(self, images: Tensor) -> Tensor:
        """Logits of the architecture found, with untrained weights."""
        logits: Tensor = self.network(images, self.support)
        return logits

    def configure_optimizers(self) -> Any:
        """One that trains nothing, as a trainer counts its steps by an optimizer."""
        return torch.optim.SGD(self.network.parameters(), lr=0.0)

    def on_train_start(self) -> None:
        """Check that the run is long enough, and refuse several processes.

        Raises:
            ConfigError: If it is not, or there are.
        """
        super().on_train_start()
        self._run.check_processes(self.trainer.world_size)
        self._run.check_length(self.trainer, self.trainer.max_epochs, "trainer.max_epochs")
        if self.batches == 0:
            self.note_recovery(None)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Keep the batch, or measure the next architecture."""
        self.batches += 1
        images, labels = batch["weights"] if isinstance(batch, Mapping) else batch
        old = self.support
        finished = self._run.take((images, labels), int(self.trainer.num_training_batches))
        self.visited.update(self._run.known)
        if self.support != old:
            self.note_recovery(old)
        if finished:
            self._finish()
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)  # for type checkers: there is one
        optimizer.step()  # of nothing, as no gradient is there; the checkpoint callback waits for a step

    def on_train_end(self) -> None:
        """A run that was cut short concludes from what it has, if that is enough."""
        if self.conclusion is None and len(self._run.known) >= LEAST:
            self.print(f"the run ended after {len(self._run.known)} of {self.measuring.total} measurements")
            self._finish()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The measurements go beside what every search keeps."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["search"]["measuring"] = self._run.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back what :meth:`on_save_checkpoint` kept.

        Raises:
            CheckpointError: If the checkpoint is not one of such a search, or was made with other signals.
        """
        super().on_load_checkpoint(checkpoint)
        if "measuring" not in checkpoint["search"]:
            raise CheckpointError("the checkpoint is one of another searcher; give one that MeasuredSearch wrote")
        self._run.load(checkpoint["search"]["measuring"])

    def progress(self) -> dict[str, str | int | float]:
        """See :meth:`SearchModule.progress`."""
        return super().progress() | self._run.progress()

    def _finish(self) -> None:
        """Say what was found, and stop the run."""
        old, conclusion = self.support, self._run.finish()
        self.measured = dict(self.scores())
        if conclusion.support != old:
            self.note_recovery(old)
        self.print(f"found: {conclusion.verdict}")
        self.trainer.should_stop = True
