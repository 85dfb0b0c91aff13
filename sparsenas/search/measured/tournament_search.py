"""Tournament search: a seeded, sparse-coded tournament whose winner trains on."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch
from pytorch_lightning.callbacks import Timer

from sparsenas.errors import BudgetError, CheckpointError, ConfigError, DivergenceError
from sparsenas.networks import DerivedNet, NetworkConfig, NormOptions
from sparsenas.search.budget import Budget
from sparsenas.search.measured.crew import Crew
from sparsenas.search.measured.field import Entry
from sparsenas.search.measured.holding import hold
from sparsenas.search.measured.plan import Plan, Tournament
from sparsenas.search.measured.record_file import NAME, RecordFile, settings_of
from sparsenas.search.measured.standing import TournamentResult, make_standing
from sparsenas.search.measured.trainings import Trainings
from sparsenas.search.searcher import Searcher
from sparsenas.spaces import Genotype, SearchSpace, StageSpace, Support, read_genotype
from sparsenas.sparse_coding import Constraints
from sparsenas.trainer import callbacks_of, is_dry_run, run_folder
from sparsenas.training import TrainingModule, WeightTraining, keep_plain_hyperparameters
from sparsenas.training.pace import Work, clock_for, continued

#: Folder of what entrants have learned, inside that of the run.
FOLDER = "entrants"
#: Share of ``trainer.max_time`` that is planned for: the clock of the trainer counts files and validations, too.
PLANNED = 0.9


class TournamentSearch(Searcher, TrainingModule):
    r"""Let networks compete in short trainings, recover a code of what decides, measure what it proposes; train on.

    References that people make by hand, and draws, enter. All begin as the final training does. Their paired losses are
    the measurements ``b``; their decisions are the dictionary ``A``; the code ``z`` that group-sparse recovery finds
    names further ones, see :class:`Proposer`. The best go on from rung to rung, each from where it stopped, and the
    winner trains to the end with the weights that it has. So one run gives architecture and weights, and the length of
    the training is that of everything: with ``training.seconds: 180``, search and training take 180 seconds.
    A governor weighs whether searching further is worth more than training longer, see :class:`Governor`.

    Every measurement is appended to ``tournament.jsonl`` in the run's folder, and none is made again. Several processes
    of one machine train an entrant each at the same time, see :class:`Crew`; of several machines, the first process
    searches. All train what was found.

    Args:
        image_shape: ``(C, H, W)`` of the images; the command line takes it from the data.
        num_classes: Number of classes; the command line takes it from the data.
        space: Search space; codes are decoded in staged and in small ones, others get draws only. By default stages.
        network: Size and norms of the network; without ``channels``, the width fills the budget.
        training: Training of the network; ``seconds`` or ``steps`` is the length of search and training together.
        budget: Limits of the network.
        tournament: Options of the tournament.
        genotype: Architecture that was found before, so that nothing is searched; checkpoints hold it.
        seed: Seeds draws, weights and drop-path.

    Attributes:
        result: Result of the tournament; ``None`` before it.

    Raises:
        ConfigError: If options contradict each other.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        space: SearchSpace | None = StageSpace(),
        network: NetworkConfig = NetworkConfig(channels=None, cells=None),
        training: WeightTraining = WeightTraining(seconds=60.0),
        budget: Budget = Budget(),
        tournament: Tournament = Tournament(),
        genotype: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(image_shape, num_classes, network, training, seed)
        self.save_hyperparameters()
        keep_plain_hyperparameters(self)
        if training.by_epochs:
            raise ConfigError(
                "training: a tournament needs the length of search and training together: set training.seconds or "
                "training.steps"
            )
        self.space = StageSpace.for_images(image_shape) if space is None else space
        self.budget, self.tournament = budget, tournament
        self.visited: set[Support] = set()
        self.measured: dict[Support, float] = {}
        self.entry = Entry(self.space, image_shape, num_classes, network, budget, tournament, seed)
        self._genotype: Genotype | None = None
        self._result: TournamentResult | None = None
        self._optimizer_state: Mapping[str, Any] | None = None
        self._skipped = 0.0  # of the length: what others trained
        self._asked = self._length
        if genotype is not None:
            self._take(read_genotype(genotype))

    @property
    def genotype(self) -> Genotype:
        """The architecture found, which may be a reference outside of the space.

        Raises:
            ConfigError: If nothing has been found yet.
        """
        if self._genotype is None:
            raise ConfigError("nothing has been measured yet: fit the search first")
        return self._genotype

    @property
    def support(self) -> Support:
        """The architecture found, as a support of the space.

        Raises:
            ConfigError: If nothing has been found yet.
            GenotypeError: If it is a reference that is not in the space.
        """
        return self.space.support(self.genotype)

    @property
    def trained(self) -> float:
        """Units for which what was found has trained so far, in the search and since."""
        return self.progress * self._length - self._skipped

    @property
    def result(self) -> TournamentResult | None:
        """See :class:`Searcher`."""
        return self._result

    def decide(self, constraints: Constraints | None = None) -> Support:
        """See :meth:`Searcher.decide`.

        Raises:
            ConfigError: If other rules are given: all who competed filled this budget.
        """
        if constraints is not None:
            raise ConfigError("a tournament is held under one budget; search again under the other rules")
        return self.support

    def summary(self, constraints: Constraints | None = None) -> str:
        """See :meth:`Searcher.summary`."""
        return "" if self._result is None else self._result.summary

    def configure_model(self) -> None:
        """Search, unless there is an architecture already, and take up the training of the winner.

        Raises:
            ConfigError: If there is no data module of sparsenas, or it has too few images.
            CheckpointError: If the folder of the run holds measurements of other settings.
            DivergenceError: If all networks have diverged.
        """
        if self.network is not None:
            return
        self.prepare_loss()  # callbacks that average weights call this before setup
        folder = run_folder(self.trainer)  # on every rank
        found = self._search(folder) if self.trainer.is_global_zero else self._help(folder)
        found = self.trainer.strategy.broadcast(found)
        self._take(read_genotype(found["genotype"]))
        if "state" in found:
            self.built.load_state_dict(found["state"]["network"])
            self._optimizer_state = found["state"]["optimizer"]
        self._before, self._skipped = Work(*found["before"]), found["skipped"]
        self._lengthen(found["length"])

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Make the optimizer, which goes on where the search stopped."""
        optimizer = super().make_optimizer()
        if self._optimizer_state is not None:
            peaks = [group["lr"] for group in optimizer.param_groups]
            optimizer.load_state_dict(dict(self._optimizer_state))
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak
        return optimizer

    def train_for(self, seconds: float) -> None:
        """See :class:`TrainingModule`: the schedule goes on from the share that is done."""
        length = self.weight_training.seconds or 0.0
        done = min(self._before.seconds / length, 1.0) if length else 0.0
        own = self._before.seconds - self._skipped
        self._before, length = continued(done, seconds, self._before, steps=False)
        self._skipped = self._before.seconds - own
        self.weight_training = replace(self.weight_training, steps=None, seconds=length)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the length of the training, which the search has changed, and what of it was done in the search."""
        super().on_save_checkpoint(checkpoint)
        training = self.weight_training
        checkpoint["tournament"] = {
            "length": training.seconds if training.steps is None else training.steps,
            "steps_before": self._before.steps,
            "skipped": self._skipped,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the network of the checkpoint, and go on with its length.

        Raises:
            CheckpointError: If the checkpoint is not one of a tournament.
        """
        text, own = checkpoint.get(self.CHECKPOINT_HYPER_PARAMS_KEY, {}).get("genotype"), checkpoint.get("tournament")
        if text is None or own is None:
            raise CheckpointError("the checkpoint is not one of a tournament; give one that TournamentSearch wrote")
        genotype = read_genotype(text)
        if self.network is None or genotype != self._genotype:
            self._result = None  # it is about another one
            self._take(genotype)
        self._optimizer_state = None  # the checkpoint has a later one
        self._before, self._skipped = Work(float(own["steps_before"])), float(own["skipped"])
        kept = checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY].get("training", {})  # of the command line
        unit = "steps" if self.weight_training.seconds is None else "seconds"
        before = kept.get(unit) if isinstance(kept, Mapping) else None
        self._lengthen(own["length"] + (0.0 if before is None else self._asked - float(before)))
        super().on_load_checkpoint(checkpoint)

    def on_fit_end(self) -> None:
        """Remove what the search has kept of the winner, once it is trained."""
        folder = run_folder(self.trainer)  # on every rank
        if self.finished and self.trainer.is_global_zero and not is_dry_run(self.trainer):
            with suppress(OSError):
                rmtree(folder / FOLDER)

    def _search(self, folder: Path) -> dict[str, Any]:
        """Hold the tournament on this process; gives the winner, and what it has learned."""
        if is_dry_run(self.trainer):  # no file may be written, and nothing is worth comparing
            key, origin = self.entry.seeds[0]
            self.print(f"a dry run searches nothing; it trains {origin}")
            return {"genotype": key, "before": Work(), "length": self._length, "skipped": 0.0}
        with self._crew(folder) as crew:
            return self._hold(crew, folder)

    def _hold(self, crew: Crew, folder: Path) -> dict[str, Any]:
        clock = clock_for(self.trainer.strategy.root_device, clock=self.weight_training.clock)
        begin, trainings, training = clock(), crew.trainings, crew.trainings.training
        settings = settings_of(self.space, self.config, self.budget, self.tournament, self.weight_training, trainings)
        file = RecordFile(folder / NAME, settings)
        length = training.seconds or float(training.steps or 0)
        self.entry.zero_cost = trainings.zero_cost(self.tournament.filter)
        plan, before = Plan(self.tournament, self.entry.field, length), file.history.spent
        self.print(self.entry.announcement(plan, "s" if training.steps is None else " steps"))
        hold(plan, file, crew)
        history = file.history
        leader = history.leader()
        if history.measurements and leader is None:
            raise DivergenceError(
                f"all {len(history.entrants)} networks have diverged within {self.tournament.rungs[0]:.1%} of the "
                "training: use a smaller learning rate (model.training.optimizer), or training.gradient_clip above 0"
            )
        labels = torch.cat([labels for _, labels in trainings.validation])
        unit = "seconds" if training.steps is None else "steps"
        self._result = make_standing(self.entry, plan, history, labels, unit, trainings.milliseconds)
        self.print(f"found: {self._result.summary}")
        spent = before + clock() - begin if training.steps is None else history.spent
        winner = self._result.found
        found: dict[str, Any] = {"genotype": winner.genotype.to_json(), "before": Work(), "skipped": 0.0}
        found["length"] = length - spent
        if leader is not None:
            found["state"] = trainings.load(leader.entrant)
            work = Work(found["state"]["steps"], found["state"]["seconds"])
            done = leader.length / length
            counts = training.steps is not None
            found["before"], found["length"] = continued(done, length - spent, work, counts)
            found["skipped"] = found["before"][0 if counts else 1] - leader.length
        if length - spent <= 0:
            raise BudgetError(
                f"searching took {spent:.3g} of {length:.3g} {unit}, and nothing is left for the training: raise the "
                "length, or lower tournament.rungs"
            )
        return found

    def _help(self, folder: Path) -> dict[str, Any]:
        """Train what the first process asks for, on another one; gives nothing, as that one knows what was found."""
        if is_dry_run(self.trainer):
            _ = self.entry.seeds  # if there are none, all say so
        elif self.trainer.num_nodes == 1:
            self._crew(folder).help()
        return {}

    def _crew(self, folder: Path) -> Crew:
        """Processes that search: all of one machine, and of several only the first, as they share no folder."""
        trainings = Trainings(
            self.build_for,
            self._images(),
            self.training_of_search(),
            self.trainer.strategy.root_device,
            folder / FOLDER,
            self.seed,
            self._beyond,
            self.tournament.images,
            self.trainer.precision_plugin.train_step_context,
            self.loss,
        )
        size = self.trainer.world_size if self.trainer.num_nodes == 1 else 1
        return Crew(trainings, self.tournament.rungs, self.trainer.global_rank, size)

    def build_for(self, key: str) -> DerivedNet:
        """Make the network of an architecture, with new weights."""
        genotype = read_genotype(key)
        config = self.entry.sized(genotype)
        return DerivedNet(
            genotype,
            self.image_shape,
            self.num_classes,
            auxiliary=self.weight_training.auxiliary_weight > 0,
            **config.arguments(NormOptions()),
        )

    def _beyond(self, key: str, rung: int) -> tuple[float, float]:
        """See :class:`Trainings`; a bonus is for equal seconds, which mean unequal steps."""
        (expected,) = self.entry.proposer.expect([], [key])
        macs = 1 if self.weight_training.steps is not None else self.entry.cost(read_genotype(key)).macs
        return self.tournament.beyond(rung, macs, expected.mean if self.entry.learned else 0.0)

    def training_of_search(self) -> WeightTraining:
        """The training with its length, which ``trainer.max_time`` may shorten."""
        left = [timer.time_remaining() for timer in callbacks_of(self.trainer, Timer)]
        seconds = min((PLANNED * value for value in left if value is not None), default=None)
        training = self.weight_training
        if seconds is not None and training.seconds is not None and seconds < training.seconds:
            return replace(training, seconds=seconds)
        return training

    def _images(self) -> Any:
        data: Any = getattr(self.trainer, "datamodule", None)  # set on the trainer, but not declared there
        if not hasattr(data, "training_batches"):
            raise ConfigError(
                "a tournament reads its images from a data module of sparsenas.data: give trainer.fit(search, "
                "datamodule=...)"
            )
        if not data.has("val"):
            raise ConfigError("a tournament compares networks on validation images: set data.val_fraction above 0")
        return data

    @property
    def _length(self) -> float:
        training = self.weight_training
        return float(training.steps or 0) if training.seconds is None else training.seconds

    def _lengthen(self, length: float) -> None:
        by_steps = self.weight_training.steps is not None
        change = {"steps": max(round(length), 1)} if by_steps else {"seconds": length}
        self.weight_training = replace(self.weight_training, **change)

    def _take(self, genotype: Genotype) -> None:
        """Make an architecture the one that was found."""
        self._genotype = genotype
        self.hparams["genotype"] = genotype.to_json()
        self.config = self.entry.sized(genotype)
        self.build(genotype)
