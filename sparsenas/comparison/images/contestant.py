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

from sparsenas.comparison.images.clock import Clock, accuracy_on
from sparsenas.comparison.images.common import POINTS, Common
from sparsenas.comparison.images.contest import make_competitor
from sparsenas.comparison.images.finished import ImageRecord
from sparsenas.comparison.images.making import parse_run
from sparsenas.comparison.pool import serve
from sparsenas.complexity import describe
from sparsenas.errors import DataError, SparseNASError
from sparsenas.limits import Limits

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
    own = {name: options[name] for name in ("model", "arch_fraction") if name in options}
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
            getattr(made, "images", None),
        )
        common.data.setup("fit")
        parts = common.parts
        try:
            found = _result(competitor.decide(common), common)
        except DataError:  # of all competitors: no result of this one
            raise
        except SparseNASError as error:
            found = {"impossible": str(error), "seconds": clock.seconds}
        return ImageRecord(searcher=searcher, seed=seed, digest=digest, parts=parts, **found)


def _result(decision: Any, common: Common) -> dict[str, Any]:
    """Train and test what was decided; gives the fields of the record."""
    clock, curve = common.clock, []
    deciding = clock.seconds

    def hear(_: int, accuracy: float) -> bool:
        curve.append((clock.seconds, 100 * accuracy))
        return False

    trained = common.train(decision.genotype, common.left_to_train, POINTS, hear, decision.network)
    module = trained.module
    validation = accuracy_on(module, common.validation.batches)
    curve.append((clock.seconds, 100 * validation))
    test = accuracy_on(module, list(common.data.evaluation_batches("test")))
    seconds = clock.seconds
    network = module.deployable()
    size = describe(network, module.image_shape)
    return {
        "seconds": seconds,
        "genotype": decision.genotype.to_json(),
        "channels": module.config.channels,
        "parameters": size.parameters,
        "macs": size.macs,
        "accuracy": 100 * test,
        "validation": 100 * validation,
        "deciding": deciding,
        "epochs": trained.epochs,
        "milliseconds": _milliseconds(network, module.image_shape),
        "curve": tuple(curve),
        "remark": decision.remark,
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
    serve(lambda job: asdict(compete(**job)))
