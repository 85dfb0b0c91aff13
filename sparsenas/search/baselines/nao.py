"""NAO: train paths of a pool, learn to predict their accuracies, and replace the pool by what is expected of more."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import inf, isfinite
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from sparsenas.errors import ConfigError, PredictorError
from sparsenas.networks import NetworkConfig, NormOptions, SuperNet
from sparsenas.predictors import NeuralArchitectureOptimizer
from sparsenas.predictors.nao import FITTING, PRETRAINING
from sparsenas.schedules import Stretch
from sparsenas.search.baselines.measuring import MeasuringSearch
from sparsenas.search.baselines.nao_options import Finals, Iterations
from sparsenas.search.baselines.path_record import FIGURES, PathRecord
from sparsenas.search.baselines.pool_paths import SizeProportionalPaths
from sparsenas.search.budget import Budget
from sparsenas.search.held_out import Criterion, best_measured
from sparsenas.search.optimizers import step_schedules
from sparsenas.search.searcher import bilevel
from sparsenas.spaces import DartsSpace, DecisionSequence, SearchSpace, Support
from sparsenas.sparse_coding import Constraints
from sparsenas.trainer import is_dry_run
from sparsenas.training import WeightTraining, keep_plain_hyperparameters

#: As in single-path search: weights serve many architectures.
NORMS = NormOptions(affine=False, track=False, append="pools_and_skips")
#: Added to the seed of weights in the finals, so that they are not those of an iteration.
FINAL = 1000


class Place(NamedTuple):
    """An epoch in the run: its stretch, an iteration or one of the finals, and how much of that is done.

    Attributes:
        final: True in the finals.
        number: Number of the iteration, or of the final.
        begun: Its epochs that are done.
        length: Its epochs.
    """

    final: bool
    number: int
    begun: int
    length: int

    @property
    def last(self) -> bool:
        """True in its last epoch."""
        return self.begun + 1 == self.length


class NaoSearch(MeasuringSearch):
    """Train paths of a pool in a super-net, and move their encodings along the gradient of a predictor.

    An iteration trains one path per batch, drawn from its pool, the larger ones more often. Then all architectures of
    this and earlier pools are measured with the shared weights, on the same architecture batches. An encoder, predictor
    and decoder learn their scores, and decode the next pool. After the last iteration, the best architectures are
    trained alone.

    ``trainer.max_epochs`` is that of all iterations, which have equal lengths, and of the finals.

    Args:
        image_shape: ``(C, H, W)`` of the images; the command line takes it from the data.
        num_classes: Number of classes; the command line takes it from the data.
        space: Search space.
        network: Size and norms of the super-net.
        training: Training of its weights; the schedule begins anew as ``iterations`` say, and with each of the finals.
            ``drop_path`` grows over each stretch, see :func:`~sparsenas.networks.ramped_drop_path`.
        budget: Limits of what may be found; they hold for what enters the finals, not for the pools.
        iterations: Pools and what they learn.
        finals: Trainings that decide.
        criterion: By what architectures are compared.
        measure_batches: Architecture batches they are measured on, the last ones of an iteration.
        seed: Seeds all draws.

    Raises:
        ConfigError: If options contradict each other, the images are too small, or the budget allows too few
            architectures of the first pool.

    Source: Luo et al., Understanding and Improving One-shot Neural Architecture Optimization (2019); Luo et al., Neural
        Architecture Optimization (NeurIPS 2018).

    Differs: every architecture is measured on the same images, not each on a batch of its own. Weights and memory of
        the optimizer begin anew if asked; in the released code only the schedule does.
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
        iterations: Iterations = Iterations(),
        finals: Finals = Finals(),
        criterion: Criterion = "accuracy",
        measure_batches: int = 16,
        seed: int = 0,
    ) -> None:
        build = partial(SuperNet, space, image_shape, num_classes, **network.arguments(NORMS))
        supernet = build()
        super().__init__(space, supernet, num_classes, training, budget, seed, criterion, measure_batches)
        self.save_hyperparameters()
        keep_plain_hyperparameters(self)
        self._build = build
        self.iterations, self.finals = iterations, finals
        fitting = replace(FITTING, epochs=iterations.encoder_epochs)
        pretraining = replace(PRETRAINING, epochs=max(iterations.encoder_epochs // 3, 1))
        self._encoder = NeuralArchitectureOptimizer(DecisionSequence(space), fitting, pretraining, seed)
        self._paths = SizeProportionalPaths(size=iterations.pool, exponent=iterations.exponent)
        self._draws = self._paths.begin(supernet, self._rng)
        allowed = sum(map(self._constraints.allows, self._draws.pool))
        if allowed < max(self.finals.count, 1):  # now, not after hours of training
            raise ConfigError(
                f"{allowed} of the {iterations.pool} architectures of the first pool keep the budget, and "
                f"{max(finals.count, 1)} are to be found: raise the budget or iterations.pool, or lower finals.count"
            )
        self._record = PathRecord(space)
        self._finalists: tuple[Support, ...] = ()
        self._trained: dict[Support, float] = {}
        self._candidate: Support | None = None  # in the finals
        self._found: Support | None = None

    @property
    def support(self) -> Support:
        """The best of the finals so far; before, the best measured with shared weights, or any of the pool."""
        return self._draws.pool[0] if self._found is None else self._found

    @property
    def shares_weights(self) -> bool:
        """See :meth:`SearchModule.shares_weights`: until the finals."""
        return not self._finalists

    def decide(self, constraints: Constraints | None = None) -> Support:
        """See :meth:`Searcher.decide`.

        Raises:
            ConfigError: If nothing was measured, or nothing that the constraints allow.
        """
        return best_measured(self._trained or self.measured, self._constraints if constraints is None else constraints)

    def logits(self, images: Tensor) -> Tensor:
        """Logits of the architecture in training in the finals; before, of the one found so far."""
        logits: Tensor = self.network(images, self._candidate or self.support)
        return logits

    def configure_optimizers(self) -> Any:
        """Make the optimizer of the weights, and its schedule, which begins anew with every stretch."""
        optimizer = self.weight_training.optimizer(self.network.parameters())
        return [optimizer], [LambdaLR(optimizer, self._factor)]

    def stretches(self) -> list[Stretch]:
        """See :meth:`SearchModule.stretches`."""
        schedule, search = self.weight_training.schedule, self._each * self.iterations.count
        first = search if self.iterations.restart == "carry" else self._each
        runs = (first, self.finals.epochs) if self.finals.count else (first,)
        return [Stretch("training.schedule", schedule, run) for run in runs]

    def on_train_start(self) -> None:
        """Check that iterations and finals fill the run, which has the length that it began with.

        Raises:
            ConfigError: If they do not, or it has another one.
        """
        if self._planned_epochs not in (None, self.trainer.max_epochs) and not is_dry_run(self.trainer):
            raise ConfigError(
                f"trainer.max_epochs is {self.trainer.max_epochs}, but the checkpoint is of a run of "
                f"{self._planned_epochs}, whose iterations have other lengths: go on with {self._planned_epochs}"
            )
        super().on_train_start()
        epochs, count, last = self.trainer.max_epochs or 0, self.iterations.count, self.finals.total
        if (epochs != self._each * count + last or self._each < 1) and not is_dry_run(self.trainer):
            raise ConfigError(
                f"trainer.max_epochs is {epochs}: the finals take {last} of them, and {count} iterations share the "
                f"rest equally; use {last} plus a multiple of {count}"
            )

    def on_train_epoch_start(self) -> None:
        """Begin with the next iteration, or the next of the finals, if it is its turn."""
        super().on_train_epoch_start()
        place = self._place(self.current_epoch)
        if place.begun or not (place.final or place.number):
            return
        self._candidate = self._finalists[place.number] if place.final else None
        if place.final or self.iterations.restart == "all":
            self.restart_weights(self._build, self.seed + place.number + FINAL * place.final)
        elif self.iterations.restart == "optimizer":
            self.trainer.optimizers[0].state.clear()

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """A step of a drawn path; after the last one of a stretch, the measurements."""
        weights_batch, arch_batch = bilevel(batch)
        self.batches += 1
        place = self._place(self.current_epoch)
        support = self._candidate or self._draws.draw(self._rng)[0]
        progress = (place.begun + (batch_idx + 1) / self.trainer.num_training_batches) / place.length
        run = self.runner(support, self.drop_rates(progress))
        images, labels = self.under_attack(weights_batch, self.network, run)
        if self.step_weights(self.training_loss(run(images), labels), support) and not place.final:
            self._record.note((support,))
        if place.last:
            self._held_out.keep(arch_batch)
            if self.trainer.is_last_batch:
                self._end(place)

    def on_train_epoch_end(self) -> None:
        """Log the epoch and what its paths make of the run so far, and step the schedule."""
        self.log_epoch()
        self.log_dict(self._record.figures())
        step_schedules(self.trainer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put pool, finals and the weights of the encoder beside what every search keeps."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["search"]["nao"] = {
            "draws": self._draws.state_dict(),
            "record": self._record.state_dict(),
            "finalists": self._finalists,
            "trained": list(self._trained.items()),
            "candidate": self._candidate,
            "found": self._found,
            "encoder": self._encoder.state_dict(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them back."""
        super().on_load_checkpoint(checkpoint)
        state = checkpoint["search"]["nao"]
        self._draws.load_state_dict(state["draws"])
        self._record.load_state_dict(state["record"])
        self._finalists, self._trained = state["finalists"], dict(state["trained"])
        self._candidate, self._found = state["candidate"], state["found"]
        self._encoder.load_state_dict(state["encoder"])

    @property
    def _each(self) -> int:
        """Epochs of an iteration."""
        return ((self.trainer.max_epochs or 0) - self.finals.total) // self.iterations.count

    def _place(self, epoch: int) -> Place:
        each, count = max(self._each, 1), self.iterations.count
        if epoch < each * count:
            return Place(False, *divmod(epoch, each), each)
        return Place(True, *divmod(epoch - each * count, self.finals.epochs), self.finals.epochs)

    def _factor(self, epoch: int) -> float:
        """Learning rate of an epoch as a share of the peak."""
        place, schedule = self._place(epoch), self.weight_training.schedule
        if place.final or self.iterations.restart != "carry":
            return schedule.factor(place.begun, place.length)
        return schedule.factor(epoch, place.length * self.iterations.count)

    def _end(self, place: Place) -> None:
        """Measure at the end of a stretch, and prepare the next one."""
        old = self._found
        if place.final:
            (self._trained[self._finalists[place.number]],) = self._scores([self._finalists[place.number]])
        else:
            archive = list(dict.fromkeys([*self.measured, *self._draws.pool]))
            self.measured = dict(zip(archive, self._scores(archive), strict=True))
            if place.number + 1 < self.iterations.count:
                self._propose()
            else:
                allowed = filter(self._constraints.allows, archive)
                best = sorted(allowed, key=self.measured.__getitem__, reverse=True)
                self._finalists = tuple(best[: self.finals.count])
        self._held_out.clear()
        self.visited |= self.measured.keys()
        self._found = self.decide()
        self.note_recovery(old)

    def _scores(self, supports: Sequence[Support]) -> list[float]:
        """Score architectures on the held-out images of the first process; one without numbers is the worst."""
        self.network.eval()
        runs = [partial(self.network.forward, support=support) for support in supports]
        scores = [self._held_out.score(run, self.criterion, self.loss) for run in runs]
        self.network.train()
        agreed: list[float] = self.trainer.strategy.broadcast(scores)
        return [score if isfinite(score) else -inf for score in agreed]

    def _propose(self) -> None:
        """Learn the scores of all architectures, and replace the pool."""
        ranked = sorted(self.measured, key=self.measured.__getitem__, reverse=True)
        best = list(map(self.space.genotype, ranked))
        finite = [support for support in ranked if isfinite(self.measured[support])]
        try:
            self._encoder.fit(list(map(self.space.genotype, finite)), np.array([self.measured[s] for s in finite]), {})
        except PredictorError as error:
            self.print(f"NAO learns nothing in this iteration, and the pool stays: {error}")
            return
        proposals = self._encoder.propose(
            best[: self.iterations.seeds],
            best,
            self.iterations.proposals,
            np.random.default_rng((self.seed, len(best))),
        )
        self.print(
            f"NAO: the next pool has {len(proposals.genotypes)} architectures: {proposals.decoded} decoded, "
            f"{proposals.mutated} mutated, {proposals.drawn} random"
        )
        self._draws = self._paths.over(tuple(map(self.space.support, proposals.genotypes)), self.network)
