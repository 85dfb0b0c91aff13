"""Trainings of entrants from rung to rung; each goes on where it stopped, from a file."""

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor

from sparsenas.checkpoints import load, pack
from sparsenas.classification import right
from sparsenas.errors import CheckpointError
from sparsenas.files import write_atomically
from sparsenas.latency.timing import times
from sparsenas.networks import DerivedNet, recalibrate, seed_draws, young_norms
from sparsenas.search.measured.history import Entrant, Measurement
from sparsenas.search.searcher import ImageBatch
from sparsenas.spaces import Genotype
from sparsenas.training import ClassificationLoss, SkippedSteps, WeightTraining
from sparsenas.training.adversarial import AdversarialImages
from sparsenas.training.pace import Pace, Work, clock_for
from sparsenas.zero_cost import ZeroCostScore

#: Parts of the validation images, on which losses are compared one by one.
PARTS = 16
#: Training images on which running statistics are taken anew before a validation.
STATISTICS = 512
#: Images on which untrained networks are scored.
SCORED = 64
#: Runs of a network by which its time is measured.
TIMED = 9
#: Stream of training images, see :mod:`sparsenas.data`.
STREAM = "search"
#: Epochs between those of a training and of its repeats.
REPEATED = 10_000


class Images(Protocol):
    """The part of a data module of :mod:`sparsenas.data` that trainings read."""

    def training_batches(self, epoch: int, stream: str, device: torch.device) -> Iterator[ImageBatch]:
        """Training batches of an epoch, augmented."""

    def evaluation_batches(self, part: Any, whole: bool) -> Iterator[ImageBatch]:
        """Batches of a part as in evaluation, all of it for every process."""


@dataclass
class Trainings:
    """Trainings of entrants as they begin in a run of the whole length, by one plain loop.

    Learning rate, augmentation, loss and optimizer are those of the training that follows. An entrant that goes on
    does so from its file, with the state of its optimizer: none is kept in memory.

    Attributes:
        build: Makes the network of an architecture, with new weights from torch's generator.
        images: The images.
        training: Options of the training; ``steps`` or ``seconds`` are those of the whole run.
        device: Where it happens.
        folder: Folder of the files; ``None`` keeps nothing, so that no entrant can go on.
        seed: Seeds the weights, one for all entrants.
        beyond: Gives ``bonus`` and ``expected`` of a measurement, from the key of an architecture and a rung.
        most: Most validation images.
        context: Runs the forward pass in the precision of the run.
        loss: Loss of the training; by default by its options, without weights of classes.
    """

    build: Callable[[str], DerivedNet]
    images: Images
    training: WeightTraining
    device: torch.device
    folder: Path | None
    seed: int
    beyond: Callable[[str, int], tuple[float, float]] = lambda key, rung: (0.0, 0.0)
    most: int = 1000
    context: Callable[[], AbstractContextManager[Any]] = nullcontext
    loss: ClassificationLoss | None = None
    _read: dict[str, list[ImageBatch]] = field(default_factory=dict, repr=False)

    def train(self, entrant: Entrant, rung: int, until: float, repeat: int = 0) -> Measurement:
        """Train an entrant until a share of the whole length is done, and validate it.

        Args:
            entrant: The entrant.
            rung: Number of the rung; above 0 it goes on from its file.
            until: Share of the length, in (0, 1).
            repeat: Above 0, train anew with other weights and images in another order, and keep nothing.

        Raises:
            CheckpointError: If its file is gone.
        """
        _, _ = self.statistics, self.validation  # they are read once, for all
        clock = clock_for(self.device, clock=self.training.clock)
        begin = clock()
        with isolate_rng():
            torch.manual_seed(int(np.random.SeedSequence((self.seed, rung, repeat)).generate_state(1)[0]))
            network = self.build(entrant.key).to(self.device).to(memory_format=torch.channels_last).train()
            state = _State(network, self.training)
            state.epoch = REPEATED * repeat
            if rung > 0:
                state.load(self._file(entrant), rung)
            finite = self._advance(state, until)
            losses, accuracy = self._validate(network) if finite else self._failed
            seconds = clock() - begin
            spent = state.charged + (state.work.steps - state.before.steps if state.by_steps else seconds)
            if self.folder is not None and finite and not repeat:
                write_atomically(self._file(entrant), state.as_bytes(rung, spent))
        bonus, expected = self.beyond(entrant.key, rung)
        return Measurement(
            entrant,
            rung,
            losses,
            accuracy,
            length=state.work.steps if state.by_steps else state.work.seconds,
            spent=spent,
            bonus=bonus,
            expected=expected,
            repeat=repeat,
        )

    def milliseconds(self, key: str) -> float:
        """Measure the time of one image in evaluation mode, the median of :data:`TIMED` runs."""
        image = self.validation[0][0][:1]
        with isolate_rng(), torch.inference_mode():
            network = self.build(key).to(self.device).to(memory_format=torch.channels_last).eval()
            return times({key: partial(network, image)}, TIMED, self.device)[key]

    def zero_cost(self, score: ZeroCostScore | None) -> Callable[[Genotype], float] | None:
        """Make the function that scores untrained networks on the first validation images; ``None`` without a score."""
        if score is None:
            return None
        images, labels = self.validation[0]

        def scored(genotype: Genotype) -> float:
            with isolate_rng(), torch.enable_grad():
                torch.manual_seed(self.seed)
                network = self.build(genotype.to_json()).to(self.device).to(memory_format=torch.channels_last)
                found = float(score(network, images[:SCORED], labels[:SCORED]))
            return found if math.isfinite(found) else -math.inf

        return scored

    def load(self, entrant: Entrant) -> dict[str, Any]:
        """Read what the training of an entrant has come to: ``network``, ``optimizer``, ``steps`` and ``seconds``."""
        return read_state(self._file(entrant))

    def forget(self, entrant: Entrant) -> None:
        """Remove the file of an entrant."""
        if self.folder is not None:
            self._file(entrant).unlink(missing_ok=True)

    @property
    def first_batch(self) -> ImageBatch:
        """The training batch with which each entrant begins."""
        return next(iter(self.images.training_batches(0, STREAM, self.device)))

    @property
    def statistics(self) -> list[ImageBatch]:
        """Training images as evaluation sees them."""
        return self._first("train", STATISTICS)

    @property
    def validation(self) -> list[ImageBatch]:
        """Validation images, of which the last batch is cut where it has too many."""
        batches = self._first("val", self.most)
        excess = sum(len(labels) for _, labels in batches) - self.most
        if excess > 0:
            images, labels = batches[-1]
            batches[-1] = images[:-excess], labels[:-excess]
        return batches

    def _first(self, part: str, most: int) -> list[ImageBatch]:
        if part not in self._read:
            batches: list[ImageBatch] = []
            for images, labels in self.images.evaluation_batches(part, whole=True):
                batches.append((images.to(self.device), labels.to(self.device)))
                if sum(len(known) for _, known in batches) >= most:
                    break
            self._read[part] = batches
        return self._read[part]

    def _file(self, entrant: Entrant) -> Path:
        if self.folder is None:
            raise CheckpointError(f"nothing was kept of {entrant.origin} {entrant.number}; it cannot go on")
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{hashlib.sha256(entrant.key.encode()).hexdigest()[:16]}.ckpt"

    def _advance(self, state: "_State", until: float) -> bool:
        """Train until a share is done; gives False after a divergence."""
        options, network, loss_of = self.training, state.network, self._loss
        pace = Pace(options, self.device, before=state.before)
        total: Tensor = torch.zeros((), device=self.device)
        steps, skipping, adversarial = 0, SkippedSteps(options), AdversarialImages(options.adversary)
        while pace.progress(steps) < until:
            batches = self.images.training_batches(state.epoch, STREAM, self.device)
            adversarial.begin_epoch()
            for number, batch in enumerate(batches):
                seed_draws(self.seed, state.epoch, number, 0, self.device)
                progress = pace.progress(steps)
                network.drop_path = options.drop_path * progress
                state.schedule(progress)
                skipping.keep(network)
                with self.context():
                    images, labels = adversarial.of(batch, network, lambda x, y: loss_of(network(x), y), self.images)
                    logits, auxiliary = network.forward_auxiliary(images)
                    loss = loss_of(logits, labels)
                    if auxiliary is not None:
                        loss = loss + options.auxiliary_weight * loss_of(auxiliary, labels)
                state.optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch's own
                adversarial.learn()
                taken = skipping.check(state.optimizer)
                if options.gradient_clip > 0:
                    torch.nn.utils.clip_grad_norm_(network.parameters(), options.gradient_clip)
                state.optimizer.step()
                total += loss.detach() if taken else 0.0
                steps += 1
                if pace.progress(steps) >= until:
                    break
            state.epoch += 1
        state.work = Work(state.before.steps + steps, pace.seconds)
        return bool(torch.isfinite(total)) and not skipping.found()

    @property
    def _loss(self) -> ClassificationLoss:
        return ClassificationLoss(self.training) if self.loss is None else self.loss

    @property
    def _failed(self) -> tuple[tuple[float, ...], float]:
        """Losses and accuracy of a training that has diverged."""
        images = sum(len(labels) for _, labels in self.validation)
        return (math.inf,) * min(PARTS, images), 0.0

    @torch.no_grad()
    def _validate(self, network: DerivedNet) -> tuple[tuple[float, ...], float]:
        """Compute the loss of each part of the validation images, and the accuracy; replace young statistics."""
        if norms := young_norms(network):
            with self.context():
                recalibrate(network, norms, (images for images, _ in self.statistics), network, lambda x: x)
        network.eval()
        found, correct = [], []
        for images, labels in self.validation:
            with self.context():
                logits = network(images).float()
            found.append(self._loss.each(logits, labels))
            correct.append(right(logits, labels))
        network.train()
        losses = torch.cat(found).double().cpu().numpy()
        if not np.isfinite(losses).all():
            return self._failed
        parts = tuple(float(part.mean()) for part in np.array_split(losses, min(PARTS, len(losses))))
        return parts, float(torch.cat(correct).float().mean())


class _State:
    """A network, its optimizer, and how far they are.

    Args:
        network: The network.
        training: Options of its training.

    Attributes:
        before: Work done before this training.
        work: All work done.
        epoch: Epoch that comes next.
        charged: Units that this training took already, if a kill came between its file and its record.
    """

    def __init__(self, network: DerivedNet, training: WeightTraining) -> None:
        self.network = network
        self.by_steps = training.steps is not None
        self.optimizer = training.optimizer(network.parameters())
        self._peaks, self._schedule = [group["lr"] for group in self.optimizer.param_groups], training.schedule
        self.before, self.work, self.epoch, self.charged = Work(), Work(), 0, 0.0

    def schedule(self, progress: float) -> None:
        """Set the learning rate that belongs to a share of the training."""
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * self._schedule.at(progress)

    def as_bytes(self, rung: int, spent: float) -> bytes:
        """Make a file of the state after a training to a rung that took so many units."""
        return pack(
            {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "steps": self.work.steps,
                "seconds": self.work.seconds,
                "epoch": self.epoch,
                "rung": rung,
                "spent": spent,
            }
        )

    def load(self, path: Path, rung: int) -> None:
        """Go on from a file, to a rung."""
        state = read_state(path)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.before, self.epoch = Work(state["steps"], state["seconds"]), state["epoch"]
        self.charged = state["spent"] if state["rung"] == rung else 0.0


def read_state(path: Path) -> dict[str, Any]:
    """Read a file of :class:`Trainings`.

    Raises:
        CheckpointError: If it is gone or damaged.
    """
    try:
        state: dict[str, Any] = load(path)
    except CheckpointError as error:
        if not path.exists():
            raise CheckpointError(
                f"{path}: is gone: the search of this folder is over. Go on from the checkpoint of the run, or choose "
                "another folder"
            ) from error
        raise CheckpointError(
            f"{path}: what was trained in the search is damaged; remove the folder of the run, and search again"
        ) from error
    return state
