"""The common part of all competitors of a seed: images and their parts, budget, recipe and seconds."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl

from sparsenas.comparison.images.clock import Clock, TrainFor, Validation, accuracy_on
from sparsenas.comparison.plan import QUIET_TRAINER
from sparsenas.data import ImageData
from sparsenas.data.sources import PartName
from sparsenas.data.split import PartCode
from sparsenas.errors import BudgetError
from sparsenas.limits import Limits
from sparsenas.networks import NetworkConfig
from sparsenas.search import Tournament
from sparsenas.search.searcher import ImageBatch
from sparsenas.spaces import Genotype, StageSpace
from sparsenas.training import NetworkTraining, StandAloneTraining, WeightTraining

#: The genotype says the depth, the budget the width.
FILLED = NetworkConfig(channels=None, cells=None)
#: Validations of the training that counts, and the share of its time that they may take: they decide nothing.
POINTS, CURVE = 20, 0.03
#: The test may take so much longer than the validation images let expect.
SURPLUS = 1.25


class Trained(NamedTuple):
    """A training that has ended.

    Attributes:
        module: The trained module.
        epochs: Epochs, in parts of one.
    """

    module: NetworkTraining
    epochs: float


class ReadImages(NamedTuple):
    """Images that were read, as in evaluation.

    Attributes:
        batches: The images.
        images: Their number.
        seconds: Seconds of reading one.
    """

    batches: list[ImageBatch]
    images: int
    seconds: float


@dataclass
class Common:
    """The common part of all competitors of a seed.

    Attributes:
        data: Images; the seed decides which of them validate, and the order of the others.
        space: Space of what is found.
        limits: Budget.
        training: Recipe; the clock decides its seconds.
        clock: Clock of the run.
        seed: Seeds draws, weights and the order of the images.
        folder: Folder for what a search writes.
        model: Searcher of this competitor, if it is one.
        tournament: Options of its tournament, if it holds one.
        images: Images of its search, if they are divided otherwise.
    """

    data: ImageData
    space: StageSpace
    limits: Limits
    training: WeightTraining
    clock: Clock
    seed: int
    folder: Path
    model: Any = None
    tournament: Tournament | None = None
    images: ImageData | None = None

    def width(self, genotype: Genotype) -> int | None:
        """Return the width that fills the budget; ``None`` if the narrowest network breaks it, or there is none."""
        try:
            return self.limits.fill(genotype, self.data.image_shape, self.data.num_classes, FILLED)
        except BudgetError:
            return None

    def make(self, genotype: Genotype, network: NetworkConfig = FILLED) -> StandAloneTraining:
        """Make the training of a network of ours, which fills the budget.

        Args:
            genotype: Its architecture.
            network: Its size apart from the width.

        Raises:
            BudgetError: If there is no such network.
            ConfigError: If the recipe does not suit it.
        """
        pl.seed_everything(self.seed, workers=True, verbose=False)
        return StandAloneTraining(
            self.data.image_shape,
            self.data.num_classes,
            genotype.to_json(),
            network,
            self.recipe,
            self.limits,
            self.seed,
        )

    @property
    def recipe(self) -> WeightTraining:
        """The recipe, for the seconds of the run."""
        return replace(self.training, steps=None, seconds=self.clock.total)

    @cached_property
    def validation(self) -> ReadImages:
        """Validation images, read once; test images will take as long to read, one by one."""
        start = self.clock.seconds
        batches = list(self.data.evaluation_batches("val"))
        count = sum(len(labels) for _, labels in batches)
        return ReadImages(batches, count, (self.clock.seconds - start) / count)

    def train(
        self,
        module: NetworkTraining,
        seconds: Callable[[NetworkTraining], float],
        points: int,
        hear: Callable[[int, float], bool],
        most: float | None = None,
    ) -> Trained:
        """Train a network.

        Args:
            module: What trains it.
            seconds: Gives the seconds when the training starts.
            points: See :class:`Validation`.
            hear: See :class:`Validation`.
            most: See :class:`Validation`.

        Raises:
            BudgetError: If there is no time.
            DivergenceError: If it diverges.
        """
        callbacks = [TrainFor(lambda: seconds(module)), Validation(self.validation.batches, points, hear, most)]
        trainer = quiet_trainer(self.folder, callbacks, max_epochs=-1)
        trainer.fit(module, datamodule=self.data)
        return Trained(module, trainer.global_step / max(trainer.num_training_batches, 1))

    def left_to_train(self, module: NetworkTraining) -> float:
        """Compute the seconds that are left but for the tests, which are timed on the validation images.

        Raises:
            BudgetError: If they would take all of them.
        """
        read = self.validation
        start = self.clock.seconds
        accuracy_on(module, read.batches[:1])  # the first time is slower
        needed = len(read.batches) * (self.clock.seconds - start) / 3
        if needed > self.clock.left:
            raise BudgetError(
                f"classifying {read.images} validation images alone would take about {needed:.0f} s, and "
                f"{max(self.clock.left, 0):.1f} s are left; raise seconds, or lower the budget"
            )
        start = self.clock.seconds
        accuracy_on(module, read.batches)
        once = self.clock.seconds - start
        tests = _count_tests(self.data) * (once / read.images + read.seconds)
        return self.clock.left - SURPLUS * (once + tests)

    @property
    def images_hash(self) -> str:
        """Hash of the names of all images of each part, equal for all runs: archives name them by their pixels."""
        source = self.data.source
        parts: tuple[PartName, ...] = ("train", "val", "test")
        names = sorted(f"{part}/{name}" for part in parts if source.has(part) for name in source.names(part))
        return blake2b("\n".join(names).encode(errors="surrogateescape"), digest_size=6).hexdigest()

    @property
    def parts(self) -> str:
        """Hash of the parts of all images, equal for all competitors of a seed."""
        record = self.data.parts.record
        return blake2b(record.images.tobytes() + record.codes.tobytes(), digest_size=6).hexdigest()


def quiet_trainer(folder: Path, callbacks: list[pl.Callback], max_epochs: int) -> pl.Trainer:
    """Make a trainer that writes nothing but what its module does, into a folder."""
    return pl.Trainer(
        **QUIET_TRAINER,  # type: ignore[arg-type]  # of several types
        default_root_dir=folder,
        callbacks=callbacks,
        max_epochs=max_epochs,
        limit_val_batches=0,
        num_sanity_val_steps=0,
    )


def _count_tests(data: ImageData) -> int:
    """Count the test images without reading them."""
    own = data.source.has("test")
    return len(data.source.labels("test")) if own else int(np.count_nonzero(data.parts.codes == PartCode.TEST))
