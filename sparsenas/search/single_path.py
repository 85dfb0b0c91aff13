"""Single-path one-shot search: train drawn paths, then measure architectures with the shared weights."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn import functional

from sparsenas.complexity import candidate_costs
from sparsenas.errors import CheckpointError, ConfigError
from sparsenas.networks import NormOptions, StemName, SuperNet, WeightMapping, ramped_drop_path, seed_drop_path
from sparsenas.search.base import ImageBatch, SearchModule, bilevel
from sparsenas.search.held_out import HeldOut, best_measured
from sparsenas.search.measuring import Conclusion, Measuring, MeasuringRun
from sparsenas.search.optimizers import make_optimizers, step_schedules
from sparsenas.search.paths import PathSampling, UniformPaths, union
from sparsenas.search.rules import SupportRules
from sparsenas.search.selection import BestOf, Selection
from sparsenas.spaces import DartsSpace, SearchSpace, Support
from sparsenas.sparse_coding import Constraints


class SinglePathSearch(SearchModule):
    """Train one drawn path per batch; when all epochs are over, measure architectures and keep the best.

    The architecture stream of the data trains nothing: images of its last batches are what architectures are measured
    on, all on the same. Until then the architecture is a random one.

    Args:
        image_shape: ``(C, H, W)`` of the images; the command line takes it from the data.
        num_classes: Number of classes; the command line takes it from the data.
        space: Search space.
        channels: Channels of the super-net's first cell.
        cells: Cells of the super-net.
        stem: Kind of stem.
        norms: Batch-norm options of the cells.
        mapping: Which weights a candidate runs with.
        paths: Which paths a batch trains.
        untrained: Primitives that no trained path holds, e.g. ``none``; they can be found all the same.
        path_dropout: Probability with which training drops what an operation gives to a node, all but bare identities,
            in the last cell at the last batch; less before that and above, see
            :func:`~sparsenas.networks.ramped_drop_path`.
        selection: Which architectures are measured.
        measuring: Decide by a sparse code over measurements inside the band that the rules leave open, as
            :class:`~sparsenas.search.MeasuredSearch` does, instead of by the best of a selection; its signals may be
            :class:`~sparsenas.search.SharedWeights`. ``None`` for the selection.
        criterion: By what they are compared.
        measure_batches: Architecture batches they are measured on.
        rules: What may not be found; they hold for what is kept, not for what a selection measures.
        weight_optimizer: Makes the optimizer of the network weights.
        weight_scheduler: Makes its learning-rate schedule, stepped once per epoch.
        gradient_clip: Largest norm of the weights' gradient; 0 for no clipping.
        seed: Seeds all draws.

    Raises:
        ConfigError: If options contradict each other or the images are too small.

    Source: Guo et al., Single Path One-Shot (ECCV 2020); Li and Talwalkar, Random Search and Reproducibility for NAS
        (UAI 2019); the heuristics of Yu et al., How to Train Your Super-Net (2020).

    Differs: code of Yu et al. for NAS-Bench-201 drops outputs of cells, with a probability that does not grow in time;
        their paper and NAO drop paths.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        space: SearchSpace = DartsSpace(),  # noqa: B008 - immutable
        channels: int = 16,
        cells: int = 8,
        stem: StemName = "cifar",
        norms: NormOptions = NormOptions(affine=False, track=False, append="pools_and_skips"),  # noqa: B008 - frozen
        mapping: WeightMapping = WeightMapping(),  # noqa: B008 - frozen
        paths: PathSampling = UniformPaths(),  # noqa: B008 - frozen
        untrained: tuple[str, ...] = (),
        path_dropout: float = 0.0,
        selection: Selection = BestOf(),  # noqa: B008 - frozen
        measuring: Measuring | None = None,
        criterion: Literal["loss", "accuracy"] = "loss",
        measure_batches: int = 16,
        rules: SupportRules = SupportRules(),  # noqa: B008 - frozen
        weight_optimizer: OptimizerCallable = lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=3e-4),
        weight_scheduler: LRSchedulerCallable | None = None,
        gradient_clip: float = 5.0,
        seed: int = 0,
    ) -> None:
        if measure_batches < 1 or gradient_clip < 0 or seed < 0:
            raise ConfigError(
                f"measure_batches is {measure_batches}, gradient_clip is {gradient_clip}, seed is {seed}; the first is "
                "at least 1, none of the others below 0"
            )
        if not 0.0 <= path_dropout < 1.0:
            raise ConfigError(f"path_dropout is {path_dropout}; a probability below 1 is needed")
        network = SuperNet(space, image_shape, num_classes, channels, cells, stem, norms, mapping=mapping)
        if path_dropout > 0 and network.skeleton.single_path:
            raise ConfigError(
                f"path_dropout is {path_dropout}, but every layer of this space is the only way through: set it to 0"
            )
        super().__init__(space, network, num_classes, seed)
        self.save_hyperparameters()
        self.keep_plain_hyperparameters()
        self.paths, self.untrained, self.path_dropout = paths, untrained, path_dropout
        self.rules, self.selection, self.criterion = rules, selection, criterion
        costs = candidate_costs(network) if rules.needs_costs or measuring is not None else None
        self._constraints = rules.constraints(space, costs)
        self._run: MeasuringRun | None = None
        if measuring is not None and costs is not None:
            self._run = MeasuringRun(space, network, costs, measuring, self._constraints, seed, self.score)
        self.weight_optimizer, self.weight_scheduler = weight_optimizer, weight_scheduler
        self.gradient_clip = gradient_clip
        self._held_out = HeldOut(measure_batches)
        self._start = space.sample_support(self._rng)
        self._support: Support | None = None
        paths.paths(space, untrained, self._rng)  # raises if they do not fit the space

    @property
    def support(self) -> Support:
        """The best architecture that was measured; a random one before."""
        if self._support is None:
            if self.conclusion is not None:
                self._support = self.conclusion.support
            else:
                self._support = self.decide() if self.measured else self._start
        return self._support

    @property
    def conclusion(self) -> Conclusion | None:
        """What was measured, and how sure the choice is; ``None`` before the end, or where a selection decides."""
        return None if self._run is None else self._run.conclusion

    def decide(self, constraints: Constraints | None = None) -> Support:
        """See :meth:`SearchModule.decide`: the best measured architecture; with ``measuring``, of their band.

        Raises:
            ConfigError: If nothing was measured, or nothing that the constraints allow.
        """
        if self._run is None:
            return best_measured(self.measured, self._constraints if constraints is None else constraints)
        with self._evaluating():
            support = self._run.conclude(constraints).support
        self.visited.update(self._run.known)
        return support

    def scores(self, constraints: Constraints | None = None) -> Mapping[Support, float]:
        """See :meth:`SearchModule.scores`."""
        return super().scores(constraints) if self._run is None else self._run.scores(constraints)

    def remark(self, constraints: Constraints | None = None) -> str:
        """What the search says of its choice, where it was measured: the verdict of the conclusion."""
        return super().remark(constraints) if self._run is None else self._run.conclude(constraints).verdict

    def logits(self, images: Tensor) -> Tensor:
        """Logits of the architecture found so far."""
        logits: Tensor = self.network(images, self.support)
        return logits

    def configure_optimizers(self) -> Any:
        """The optimizer of the weights, and its schedule.

        Raises:
            ConfigError: If the schedule does not go by epoch.
        """
        return make_optimizers((self.network.parameters(), self.weight_optimizer, self.weight_scheduler))

    def on_train_start(self) -> None:
        """Refuse several processes where architectures are measured: each has images of its own.

        Raises:
            ConfigError: If there are.
        """
        super().on_train_start()
        if self._run is not None:
            self._run.check_processes(self.trainer.world_size)

    def on_train_epoch_start(self) -> None:
        """What is dropped depends on (seed, epoch) only, as all other draws do."""
        super().on_train_epoch_start()
        if self.path_dropout > 0 or self.network.dropout > 0:
            seed_drop_path(self.seed, self.current_epoch, self.global_rank)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """A step on the drawn paths; after the last one, the measurements."""
        weights_batch, arch_batch = bilevel(batch)
        self.batches += 1
        if self._run is not None:  # now, as it is too late when everything is trained
            self._run.check_batch(arch_batch)
        paths = self.paths.paths(self.space, self.untrained, self._rng)
        self.step_weights(
            self._losses(weights_batch, paths, self._drop_rates(batch_idx)),
            union(paths),
            self.gradient_clip,
        )
        last_epoch = self.current_epoch + 1 == self.trainer.max_epochs
        if last_epoch and self.trainer.num_training_batches - batch_idx <= self._held_out.batches:
            self._held_out.keep(arch_batch)
        if last_epoch and self.trainer.is_last_batch:
            self._measure()

    def on_train_epoch_end(self) -> None:
        """Log the epoch and step the schedule."""
        self.log_dict({"train/loss": self.train_loss, "train/acc": self.train_accuracy})
        step_schedules(self.trainer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The measurements go beside what every search keeps."""
        super().on_save_checkpoint(checkpoint)
        if self._run is not None:
            checkpoint["search"]["measuring"] = self._run.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The architecture of the checkpoint is decided anew.

        Raises:
            CheckpointError: If the checkpoint has no measurements, and the search is to decide by them.
        """
        super().on_load_checkpoint(checkpoint)
        self._support = None
        if self._run is not None:
            if "measuring" not in checkpoint["search"]:
                raise CheckpointError(
                    "the checkpoint is of a run without measurements; resume with the settings it was made with"
                )
            self._run.load(checkpoint["search"]["measuring"])

    def score(self, support: Support) -> float:
        """How good an architecture is with the shared weights on the images held out for that; more is better."""
        loss, accuracy = self._held_out.evaluate(lambda images: self.network(images, support))
        return -loss if self.criterion == "loss" else accuracy

    def _loss(self, batch: ImageBatch, path: Support) -> Tensor:
        images, labels = batch
        return functional.cross_entropy(self.network(images, path), labels)

    def _drop_rates(self, batch_idx: int) -> float | Sequence[float]:
        """Drop-path probability, by cell where there is one."""
        if not self.path_dropout:
            return 0.0
        progress = self.search_progress(0, batch_idx + 1)
        return ramped_drop_path(self.path_dropout, len(self.network.cells), progress)

    def _losses(
        self, batch: ImageBatch, paths: tuple[Support, ...], drop_rates: float | Sequence[float] = 0.0
    ) -> Iterator[Tensor]:
        images, labels = batch
        for path in paths:
            logits, _ = self.network.run(images, self.network.wirings(path), drop_rates)
            loss = functional.cross_entropy(logits, labels)
            self.train_loss.update(loss.detach(), len(labels))
            self.train_accuracy.update(logits.detach(), labels)
            yield loss

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """With the network in evaluation mode."""
        training = self.network.training
        self.network.eval()
        try:
            yield
        finally:
            self.network.train(training)

    def _measure(self) -> None:
        old = self.support
        with self._evaluating():
            if self._run is None:
                self.measured = self.selection.measure(self.space, self.score, self._rng)
            else:
                self.print(f"found: {self._run.measure_all(self._held_out.images).verdict}")
                self.measured = dict(self._run.scores())
        self._support = None
        self.visited |= self.measured.keys() if self._run is None else self._run.known.keys()
        self.note_recovery(old)
