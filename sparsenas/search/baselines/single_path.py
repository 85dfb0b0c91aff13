"""Single-path one-shot search: train drawn paths, then measure architectures with the shared weights."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from sparsenas.errors import ConfigError
from sparsenas.networks import NetworkConfig, NormOptions, SuperNet, WeightMapping
from sparsenas.search.baselines.measuring import MeasuringSearch
from sparsenas.search.baselines.path_record import FIGURES, PathRecord
from sparsenas.search.baselines.paths import PathSampling, UniformPaths, union
from sparsenas.search.budget import Budget
from sparsenas.search.held_out import Criterion, score
from sparsenas.search.optimizers import step_schedules
from sparsenas.search.searcher import ImageBatch, bilevel
from sparsenas.search.selection import BestOf, Selected, Selection, TrainedSuperNet
from sparsenas.spaces import DartsSpace, SearchSpace, Support
from sparsenas.sparse_coding import Constraints
from sparsenas.training import WeightTraining, keep_plain_hyperparameters

#: As in two-stage search: weights serve many architectures.
NORMS = NormOptions(affine=False, track=False, append="pools_and_skips")


class SinglePathSearch(MeasuringSearch):
    """Train one drawn path per batch; when all epochs are over, measure architectures and keep the best.

    The architecture stream of the data trains nothing: images of its last batches are what architectures are measured
    on, all on the same. Until then the architecture is a random one.

    Args:
        image_shape: ``(C, H, W)`` of the images; the command line takes it from the data.
        num_classes: Number of classes; the command line takes it from the data.
        space: Search space.
        network: Size and norms of the super-net.
        training: Training of its weights. ``drop_path`` is the probability with which training drops what an
            operation gives to a node, all but bare identities, in the last cell at the last batch; less before that and
            above, see :func:`~sparsenas.networks.ramped_drop_path`.
        budget: Limits of what may be found; they hold for what is kept, not for what a selection measures.
        mapping: Weights that a candidate runs with.
        paths: Paths that a batch trains.
        selection: Architectures that are measured, and the choice among them.
        criterion: By what they are compared.
        measure_batches: Architecture batches they are measured on.
        seed: Seeds all draws.

    Raises:
        ConfigError: If options contradict each other or the images are too small.

    Source: Guo et al., Single Path One-Shot (ECCV 2020); Li and Talwalkar, Random Search and Reproducibility for NAS
        (UAI 2019); the heuristics of Yu et al., How to Train Your Super-Net (2020).

    Differs: code of Yu et al. for NAS-Bench-201 drops outputs of cells, with a probability that does not grow in time;
        their paper and NAO drop paths. With several processes each has images of its own, and the first one decides.
    """

    knows = frozenset({"drop_path"})
    logs_also = FIGURES

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        space: SearchSpace = DartsSpace(),
        network: NetworkConfig = NetworkConfig(),
        training: WeightTraining = WeightTraining(),
        budget: Budget = Budget(),
        mapping: WeightMapping = WeightMapping(),
        paths: PathSampling = UniformPaths(),
        selection: Selection = BestOf(),
        criterion: Criterion = "loss",
        measure_batches: int = 16,
        seed: int = 0,
    ) -> None:
        supernet = SuperNet(space, image_shape, num_classes, mapping=mapping, **network.arguments(NORMS))
        super().__init__(space, supernet, num_classes, training, budget, seed, criterion, measure_batches)
        self.save_hyperparameters()
        keep_plain_hyperparameters(self)
        self.paths, self.selection = paths, selection
        self._start = space.sample_support(self._rng)
        self._found: Support | None = None
        self._trained = TrainedSuperNet(supernet, self.score, ())
        self._draws = paths.begin(supernet, self._rng)
        self._record = PathRecord(space, paths.untrained)
        self._resumed_paths = repr(paths)

    @property
    def support(self) -> Support:
        """The architecture that was selected; a random one before."""
        return self._start if self._found is None else self._found

    def decide(self, constraints: Constraints | None = None) -> Support:
        """See :meth:`Searcher.decide`.

        Raises:
            ConfigError: If nothing was measured, or nothing that the constraints allow.
        """
        if constraints is None and self._found is not None:
            return self._found
        return self._select(constraints).support

    def logits(self, images: Tensor) -> Tensor:
        """Logits of the architecture found so far."""
        logits: Tensor = self.network(images, self.support)
        return logits

    def configure_optimizers(self) -> Any:
        """Make the optimizer of the weights, and its schedule."""
        optimizer = self.weight_training.optimizer(self.network.parameters())
        return [optimizer], [self.weight_training.schedule.scheduler(optimizer, self.trainer.max_epochs or 0)]

    def on_train_start(self) -> None:
        """Say so if another sampling goes on from here than that of the checkpoint.

        Raises:
            ConfigError: If the selection needs validation images, and there are none.
        """
        super().on_train_start()
        if self.selection.validates and next(self._validation_batches(), None) is None:
            raise ConfigError(
                "selection.finalists are measured on validation images, but the data module has none: set "
                "data.val_fraction above 0, or selection.finalists to 0"
            )
        if self._resumed_paths != repr(self.paths):
            self.print(f"the checkpoint is of {self._resumed_paths}; {self.paths} begin anew")

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """A step on the drawn paths; after the last one, the measurements."""
        weights_batch, arch_batch = bilevel(batch)
        self.batches += 1
        paths, heard = self._draws.draw(self._rng), list[Tensor]()
        adversary = self.weight_training.adversary
        if len(paths) > 1 and adversary is not None and adversary.replays > 1:
            raise ConfigError(
                f"training.adversary.replays is {adversary.replays}, but {type(self.paths).__name__} train several "
                "paths on a batch: set replays to 1"
            )
        losses = self._losses(weights_batch, paths, self.drop_rates(self.search_progress(0, batch_idx + 1)))
        if self.step_weights(_overheard(losses, heard), union(paths)):
            self._record.note(paths)
        if self._draws.hears:
            self._draws.heard(self.trainer.strategy.reduce(torch.stack(heard), reduce_op="mean").tolist())
        last_epoch = self.current_epoch + 1 == self.trainer.max_epochs
        if last_epoch and self.trainer.num_training_batches - batch_idx <= self._held_out.batches:
            self._held_out.keep(arch_batch)
        if last_epoch and self.trainer.is_last_batch:
            self._measure()

    def on_train_epoch_end(self) -> None:
        """Log the epoch and what its paths make of the run so far, and step the schedule."""
        self.log_epoch()
        self.log_dict(self._record.figures())
        step_schedules(self.trainer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the architecture found, and the draws so far, beside what every search keeps."""
        super().on_save_checkpoint(checkpoint)
        paths = {"sampling": repr(self.paths), "draws": self._draws.state_dict(), "record": self._record.state_dict()}
        checkpoint["search"] |= {"found": self._found, "paths": paths}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back the architecture found, and the draws if they are of the same sampling."""
        super().on_load_checkpoint(checkpoint)
        self._found = checkpoint["search"]["found"]
        if (paths := checkpoint["search"].get("paths")) is None:  # earlier versions knew no draws with a memory
            return
        self._record.load_state_dict(paths["record"])
        self._resumed_paths = paths["sampling"]
        if self._resumed_paths == repr(self.paths):
            self._draws.load_state_dict(paths["draws"])

    def score(self, support: Support) -> float:
        """Score an architecture with the shared weights on the held-out images; more is better."""
        return self._held_out.score(lambda images: self.network(images, support), self.criterion, self.loss)

    def _final_score(self, support: Support) -> float:
        """Score an architecture as :meth:`score` does, on all validation images."""
        return score(
            self._validation_batches(), lambda images: self.network(images, support), self.criterion, self.loss
        )

    def _validation_batches(self) -> Iterator[ImageBatch]:
        """Iterate over all validation images; every process sees all of them."""
        data: Any = getattr(self.trainer, "datamodule", None)  # set on the trainer, but not declared there
        if hasattr(data, "evaluation_batches") and data.has("val"):
            for images, labels in data.evaluation_batches("val", whole=True):
                yield images.to(self.device, self.dtype), labels.to(self.device)

    def _losses(
        self, batch: ImageBatch, paths: tuple[Support, ...], drop_rates: float | Sequence[float] = 0.0
    ) -> Iterator[Tensor]:
        for path in paths:
            run = self.runner(path, drop_rates)
            images, labels = self.under_attack(batch, self.network, run)
            logits = run(images)
            loss = self.training_loss(logits, labels)
            yield loss

    def _select(self, constraints: Constraints | None) -> Selected:
        """Decide under rules."""
        rules = self._constraints if constraints is None else constraints
        training = self.network.training
        self.network.eval()
        try:
            return self.selection.select(self._trained, rules, self.measured, self._rng)
        finally:
            self.network.train(training)

    def _measure(self) -> None:
        """Decide, and report it; with several processes, the first one decides for all."""
        final = self._final_score if self.selection.validates else None
        self._trained = TrainedSuperNet(self.network, self.score, self._held_out.images, final)
        old, self.measured = self.support, {}  # what other weights have scored
        selected: Selected = self.trainer.strategy.broadcast(self._select(None))
        self.measured, self._found = dict(selected.scores), selected.support
        self.visited |= self.measured.keys()
        self.note_recovery(old)


def _overheard(losses: Iterable[Tensor], heard: list[Tensor]) -> Iterator[Tensor]:
    """Hand losses on, one by one, and keep their numbers."""
    for loss in losses:
        heard.append(loss.detach())
        yield loss
