"""Measured search: sparse coding over proxies of untrained networks, then the training of what was found."""

from collections.abc import Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import Timer
from pytorch_lightning.utilities.seed import isolate_rng

from sparsenas.errors import CheckpointError, ConfigError
from sparsenas.networks import NetworkConfig, NormOptions, SuperNet
from sparsenas.search.budget import Budget
from sparsenas.search.decoding import decoding_problem
from sparsenas.search.measured.loop import MeasuringLoop
from sparsenas.search.measured.result import MeasuredResult
from sparsenas.search.measured.score_file import NAME
from sparsenas.search.measured.survey import Measuring
from sparsenas.search.searcher import ImageBatch, Searcher
from sparsenas.spaces import DartsSpace, Genotype, SearchSpace, Support, read_genotype
from sparsenas.sparse_coding import Constraints
from sparsenas.trainer import callbacks_of, is_dry_run, run_folder
from sparsenas.training import TrainingModule, WeightTraining, keep_plain_hyperparameters


class MeasuredSearch(Searcher, TrainingModule):
    r"""Measure architectures, recover a sparse code of what was measured, measure what it proposes; train the best.

    The measurements are ``b``, and the measured architectures in terms of shared features are the dictionary ``A``. The
    code ``z`` says what each feature is worth: :math:`b \approx A z`. Measuring, by which ``b`` and ``A`` grow, and
    recoveries take turns. All happens inside the size band, the architectures of nearly the largest size that the
    budget leaves open, where size says little.

    Nobody knows beforehand which proxies rank architectures in a space. Those that are noise, or that the others
    contradict, are not used. The :attr:`result` names them, and says how sure the choice is. If it is no better than
    the largest network, the largest is given back.

    Measuring happens once, before training. It reads the first training batches of the data module, and appends every
    score to ``proxies.jsonl`` in the run's folder: what is in that file is not measured again. Then the network of the
    found genotype is trained like that of any other. With ``trainer.max_epochs: 0`` nothing is trained.

    With several processes, the first one measures, and all train what it found; only the first has the :attr:`result`.

    Lightning reads the checkpoint of ``trainer.fit(search, ckpt_path=...)`` after the measuring. To measure nothing,
    make the search with the ``genotype`` of the checkpoint, as ``load_from_checkpoint`` and the command line do.

    Args:
        image_shape: ``(C, H, W)`` of the images; the command line takes it from the data.
        num_classes: Number of classes; the command line takes it from the data.
        space: Search space.
        network: Size and norms of the network; candidates are measured at that size.
        training: Training of the found network.
        budget: Limits of what may be found.
        measuring: Options of the measuring.
        genotype: Architecture that was found before, so that nothing is measured; checkpoints hold it.
        seed: Seeds architectures, weights, the bootstrap and drop-path.

    Attributes:
        cut: True if ``measuring.seconds`` or ``trainer.max_time`` ended the measuring early.

    Raises:
        ConfigError: If options contradict each other, or the images are too small.
        RecoveryError: If no architecture keeps the budget.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        space: SearchSpace = DartsSpace(),
        network: NetworkConfig = NetworkConfig(),
        training: WeightTraining = WeightTraining(),
        budget: Budget = Budget(),
        measuring: Measuring = Measuring(),
        genotype: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(image_shape, num_classes, network, training, seed)
        self.save_hyperparameters()
        keep_plain_hyperparameters(self)
        self.space, self.budget, self.measuring = space, budget, measuring
        self.visited, self.measured, self.cut = set(), {}, False
        arguments = network.arguments(NormOptions())
        # scores are of statistics of the batch: an untrained network has no others
        arguments["norms"] = NormOptions(arguments["norms"].affine, False, arguments["norms"].append)
        self._build_target = partial(SuperNet, space, image_shape, num_classes, **arguments)
        with isolate_rng():  # the weights of the target are nobody's
            self._constraints = budget.of_network(self._build_target())
        decoding_problem(space, self._constraints)  # raises if nothing keeps the budget
        self._support: Support | None = None
        self._loop: MeasuringLoop | None = None
        self._result: MeasuredResult | None = None
        if genotype is not None:
            self._take(read_genotype(genotype))

    @property
    def support(self) -> Support:
        """The architecture found.

        Raises:
            ConfigError: If nothing has been measured yet.
        """
        if self._support is None:
            raise ConfigError("nothing has been measured yet: fit the search first")
        return self._support

    @property
    def result(self) -> MeasuredResult | None:
        """See :class:`Searcher`."""
        return self._result

    def decide(self, constraints: Constraints | None = None) -> Support:
        """See :meth:`Searcher.decide`.

        Under other rules, the architectures of their size band are measured now, which takes as long as a search.

        Raises:
            ConfigError: If too little was measured to decide, or no proxy ranks anything. A search that was read from a
                checkpoint has no images to measure under other rules.
        """
        if constraints is None or constraints == self._constraints:
            return self.support
        return self._measure(constraints).support

    def scores(self, constraints: Constraints | None = None) -> Mapping[Support, float]:
        """See :meth:`Searcher.scores`."""
        if constraints is None or constraints == self._constraints or self._loop is None:
            return self.measured
        self._measure(constraints)
        return self._loop.scores(constraints)

    def summary(self, constraints: Constraints | None = None) -> str:
        """See :meth:`Searcher.summary`."""
        own = constraints is None or constraints == self._constraints
        result = self._result if own else self._measure(constraints or self._constraints)
        return "" if result is None else result.summary

    def configure_model(self) -> None:
        """Search, unless there is an architecture already, and build its network.

        Raises:
            ConfigError: If there is no data module of sparsenas, or it has too few images.
            CheckpointError: If the folder of the run holds scores of other settings.
        """
        if self.network is not None:
            return
        folder = run_folder(self.trainer)  # on every rank
        text = self._search(folder).to_json() if self.trainer.is_global_zero else ""
        self._take(read_genotype(self.trainer.strategy.broadcast(text)))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the network of the checkpoint.

        Raises:
            CheckpointError: If the checkpoint holds no genotype.
        """
        super().on_load_checkpoint(checkpoint)
        text = checkpoint.get(self.CHECKPOINT_HYPER_PARAMS_KEY, {}).get("genotype")
        if text is None:
            raise CheckpointError("the checkpoint is not one of a measured search; give one that MeasuredSearch wrote")
        genotype = read_genotype(text)
        if self.network is None or genotype != self.genotype:
            self._result, self.measured = None, {}  # they are about another one
            self._take(genotype)

    def _search(self, folder: Path) -> Genotype:
        """Measure on this process, and choose.

        Args:
            folder: Folder of the run.
        """
        with isolate_rng():
            target = self._build_target()
        file = None if is_dry_run(self.trainer) else folder / NAME
        self._loop = MeasuringLoop(target, self.measuring, self._images(), self.seed, file)
        result = self._measure(self._constraints, self._seconds())
        self._result, self._support = result, result.support
        self.cut = self._loop.cut
        self.measured = dict(self._loop.scores(self._constraints))
        if self.cut:
            self.print(f"time was up after measuring {result.measured} networks")
        self.print(f"found: {result.summary}")
        return self.genotype

    def _measure(self, constraints: Constraints, seconds: float | None = None) -> MeasuredResult:
        """Measure under constraints, once for each."""
        if self._loop is None:
            raise ConfigError("this search has no images to measure under other rules; run it again")
        result = self._loop.run(constraints, seconds)
        self.visited.update(self._loop.known)
        return result

    def _images(self) -> list[ImageBatch]:
        """Read the first training batches, on the device of the run."""
        data: Any = getattr(self.trainer, "datamodule", None)  # set on the trainer, but not declared there
        if not hasattr(data, "training_batches"):
            raise ConfigError(
                "a measured search reads its images from a data module of sparsenas.data: give "
                "trainer.fit(search, datamodule=...)"
            )
        device = self.trainer.strategy.root_device
        return list(islice(data.training_batches(device=device), self.measuring.batches))

    def _seconds(self) -> float | None:
        """Compute the seconds for measuring, by ``measuring.seconds`` and ``trainer.max_time``; ``None`` for no end."""
        left = [self.measuring.seconds, *(timer.time_remaining() for timer in callbacks_of(self.trainer, Timer))]
        return min((seconds for seconds in left if seconds is not None), default=None)

    def _take(self, genotype: Genotype) -> None:
        """Make an architecture the one that was found."""
        self._support = self.space.support(genotype)
        self.hparams["genotype"] = genotype.to_json()
        self.build(genotype)
