"""Are searched cells better than random ones? Search, train everything alike, test the last weights once.

    SPARSENAS_DATA=... python -m studies.two_stage_search_quality.run --out runs/two_stage_search_quality

Nothing is chosen on test data. A stopped study goes on where it was when it is started again with the same ``--out``.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparsenas.complexity import describe
from sparsenas.files import write_atomically
from sparsenas.spaces import DartsSpace
from studies.common import DATA_FILE, Fields, complete, fit, main, parser

#: Network and schedules of the study, as options of the shipped configs.
NETWORK = ["--model.network.channels", "8", "--model.network.cells", "5", "--model.network.stem", "small"]
TRAINING = [*NETWORK, "--trainer.max_epochs", "5", "--data.batch_size", "96"]
OFFICIAL = [*NETWORK, "--trainer.max_epochs", "8", "--data", "NpzImages", "--data.path", DATA_FILE]
OFFICIAL += ["--data.batch_size", "64", "--data.arch_fraction", "0.5", "--data.augmentation.padding_mode", "zeros"]
#: Searches of the arms that search; primitives of those that draw.
SEARCHES = {
    "two-stage search, default": ["search_two_stage_cifar10_16px"],
    "two-stage search, official recipe": ["search_two_stage_ista_nas_official", *OFFICIAL],
}
DRAWN = {
    "random cells": DartsSpace(),
    "random cells of the largest primitive only": DartsSpace(primitives=("sep_conv_5x5",)),
}


def study(args: Sequence[str] | None = None) -> int:
    """Run what is missing."""
    made = parser(__doc__)
    made.add_argument("--default", type=int, default=5, help="searches with the default method")
    made.add_argument("--official", type=int, default=3, help="searches with the official recipe")
    made.add_argument("--random", type=int, default=20, help="random cells")
    made.add_argument("--largest", type=int, default=3, help="random cells of the primitive with the most parameters")
    options = made.parse_args(args)
    counts = (options.random, options.default, options.official, options.largest)
    arms = ("random cells", *SEARCHES, "random cells of the largest primitive only")
    jobs = [{"arm": arm, "seed": seed} for arm, count in zip(arms, counts, strict=True) for seed in range(count)]
    module = "studies.two_stage_search_quality.run"
    return main(lambda: complete(module, jobs, options.out, options.jobs), options.out)


def run(job: Fields, folder: Path) -> Fields:
    """Find the cell of a job, train it, test it once."""
    if job["arm"] in DRAWN:
        found: Fields = {"genotype": DRAWN[job["arm"]].sample(np.random.default_rng((job["seed"], 1))).to_json()}
    else:
        start = time.perf_counter()
        command = fit(SEARCHES[job["arm"]], folder / "search", job["seed"])
        found = {"genotype": command.model.genotype.to_json(), "visited": len(command.model.visited)}
        found["search_seconds"] = time.perf_counter() - start
    return found | train(found["genotype"], job["seed"], folder)


def train(genotype: str, seed: int, folder: Path) -> Fields:
    """Train a cell with the common recipe; test the last weights once."""
    file = folder / "genotype.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, genotype.encode())
    start = time.perf_counter()
    options = ["train_cifar10_16px", *TRAINING, "--model.genotype", str(file), "--seed_everything", str(seed)]
    command = fit(options, folder / "training")
    seconds = time.perf_counter() - start
    tested = command.trainer.test(command.model, command.datamodule, verbose=False)[0]
    size = describe(command.model.network, command.datamodule.image_shape)
    figures = {"test_acc": tested["test/acc"], "val_acc": float(command.metrics["val/acc"])}
    return figures | {"parameters": size.parameters, "macs": size.macs, "train_seconds": seconds}


if __name__ == "__main__":
    sys.exit(study())
