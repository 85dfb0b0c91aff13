"""One run on images: decide on an architecture, train it for the rest of the seconds, test it once."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import pytorch_lightning as pl
import torch

from sparsenas.classification import guessing
from sparsenas.comparison.executors.process import processor_name
from sparsenas.comparison.images.clock import Clock, accuracy_on
from sparsenas.comparison.images.common import CURVE, POINTS, Common
from sparsenas.comparison.images.competitors import Decision
from sparsenas.comparison.images.contest import make_attacks, make_competitor
from sparsenas.comparison.images.finished import ImageRecord
from sparsenas.comparison.images.holding import Held
from sparsenas.comparison.images.making import parse_run
from sparsenas.comparison.images.searching import Search
from sparsenas.comparison.jobs import serve
from sparsenas.complexity import describe
from sparsenas.errors import BudgetError, DivergenceError
from sparsenas.limits import Limits
from sparsenas.spaces import Genotype
from sparsenas.training import NetworkTraining, TrainingModule
from sparsenas.training.adversarial import pixel_scale
from sparsenas.training.robustness import accuracies_under_attack

#: Timed runs of one image, after some that are not.
TIMED, WARMUP = 50, 5


def compete(searcher: str, seed: int, digest: str, settings: Mapping[str, Any]) -> ImageRecord:
    """Make one run; see :class:`sparsenas.comparison.PlannedRun`.

    The clock starts when all is imported and the settings are read, before the images are.

    Raises:
        SparseNASError: If the images cannot be read, or settings that are not the competitor's own are wrong.
    """
    options = settings["options"]
    competitor = make_competitor(settings["kind"], options, searcher)
    shared = {name: settings[name] for name in ("data", "space", "training", "seconds")}
    own: dict[str, Any] = {}
    if isinstance(competitor, Search):
        own = {"model": competitor.model, "arch_fraction": competitor.arch_fraction}
    elif isinstance(competitor, Held):
        own = {"tournament": competitor.options}
    competitor.load()
    make = parse_run({**shared, **own}, seed)
    with TemporaryDirectory() as folder:
        clock = Clock(settings["seconds"])
        pl.seed_everything(seed, workers=True, verbose=False)
        made = make()
        common = Common(
            made.data,
            made.space,
            Limits(**settings["budget"]),
            made.training,
            clock,
            seed,
            Path(folder),
            getattr(made, "model", None),
            getattr(made, "tournament", None),
            getattr(made, "images", None),
        )
        common.data.setup("fit")
        parts, images = common.parts, common.images_hash
        try:
            found = _result(competitor.decide(common), common, settings.get("attacks"))
        except BudgetError as error:  # other errors are mistakes, and no result
            found = {"impossible": str(error), "seconds": clock.seconds}
        except DivergenceError as error:
            found = _at_chance(common, str(error))
        if found.get("diverged") and settings.get("attacks") is not None:  # a guess is the same under attack
            named = make_attacks(settings["attacks"], "attacks").named
            found["under_attack"] = dict.fromkeys(named, found["accuracy"])
        return ImageRecord(searcher=searcher, seed=seed, digest=digest, parts=parts, images=images, **found)


def _result(decision: Decision, common: Common, attacks: Mapping[str, Any] | None) -> dict[str, Any]:
    """Train and test what was decided; gives the fields of the record."""
    clock, curve = common.clock, []
    deciding = clock.seconds

    def hear(_: int, accuracy: float) -> bool:
        curve.append((clock.seconds, 100 * accuracy))
        return False

    module = decision.training(common)
    try:
        trained = common.train(module, common.left_to_train, POINTS, hear, CURVE)
    except DivergenceError as error:
        return _facts(module, decision.genotype) | _at_chance(common, str(error), deciding)
    validation = accuracy_on(module, common.validation.batches)
    curve.append((clock.seconds, 100 * validation))
    batches = list(common.data.evaluation_batches("test"))
    test = accuracy_on(module, batches)
    seconds, under_attack = clock.seconds, dict[str, float]()
    if attacks is not None:
        made, scale = make_attacks(attacks, "attacks"), pixel_scale(common.data)
        found = accuracies_under_attack(module, batches, made, module.loss.unsmoothed, scale, common.seed)
        under_attack = {name: 100 * accuracy for name, accuracy in found.items()}
    return _facts(module, decision.genotype) | {
        "seconds": seconds,
        "accuracy": 100 * test,
        "validation": 100 * validation,
        "deciding": deciding,
        "epochs": trained.epochs,
        "tested": sum(len(labels) for _, labels in batches),
        "curve": tuple(curve),
        "remark": decision.remark,
        "under_attack": under_attack,
    }


def _facts(module: NetworkTraining, genotype: Genotype | None) -> dict[str, Any]:
    """Facts about a network that its weights do not change; gives fields of the record."""
    network = module.deployable()
    size = describe(network, module.image_shape)
    return {
        "genotype": "" if genotype is None else genotype.to_json(),
        "channels": module.config.channels if isinstance(module, TrainingModule) else 0,
        "parameters": size.parameters,
        "macs": size.macs,
        "milliseconds": _milliseconds(network, module.image_shape),
    }


def _at_chance(common: Common, why: str, deciding: float | None = None) -> dict[str, Any]:
    """The fields of a run that has diverged: left out, it would flatter what is hard to train."""
    labels = torch.cat([labels for _, labels in common.validation.batches])
    chance, seconds = 100 * guessing(labels, common.data.num_classes), common.clock.seconds
    return {
        "seconds": seconds,
        "accuracy": chance,
        "validation": chance,
        "deciding": seconds if deciding is None else deciding,
        "epochs": 0.0,
        "curve": ((seconds, chance),),
        "remark": f"counts as chance: {why}",
        "diverged": True,
    }


@torch.no_grad()
def _milliseconds(network: torch.nn.Module, image_shape: tuple[int, int, int]) -> float:
    """Time one image, alone in its batch."""
    image = torch.randn(1, *image_shape).to(memory_format=torch.channels_last)
    times = []
    for _ in range(WARMUP + TIMED):
        start = process_time()
        network(image)
        times.append(process_time() - start)
    return 1e3 * median(times[WARMUP:])


def main() -> None:
    """Make a run for another process."""
    serve(lambda job: asdict(compete(**job)) | {"processor": processor_name()})
