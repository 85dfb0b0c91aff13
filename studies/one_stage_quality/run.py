"""Does searching and training in one run beat training random cells for the same time? Test the last weights once.

    SPARSENAS_DATA=... python -m studies.one_stage_quality.run --out runs/one_stage_quality

All networks have the same size and recipe. Steps on ``b`` spend one of twelve epochs on the search; random cells train
for all of them. Nothing is chosen on test data. A stopped study goes on where it was when it is started again with the
same ``--out``.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparsenas.complexity import describe
from sparsenas.files import write_atomically
from sparsenas.spaces import DartsSpace
from studies.common import Fields, complete, fit, main, parser

RANDOM, SEARCHED = "random cells", "by steps on b: signal loss, cold start"
#: Shipped config of the arm that searches.
CONFIG = "search_one_stage_cifar10_16px"
#: Network of random cells: that of the searches.
NETWORK = ["--model.network.channels", "8", "--model.network.cells", "5", "--model.network.stem", "small"]
NETWORK += ["--model.network.norms.append", "pools_and_skips"]


def study(args: Sequence[str] | None = None) -> int:
    """Run what is missing."""
    made = parser(__doc__)
    made.add_argument("--random", type=int, default=10, help="random cells")
    made.add_argument("--one-stage", type=int, default=5, help="one-stage runs by steps on b")
    made.add_argument("--first-seed", type=int, default=0, help="of every arm")
    options = made.parse_args(args)
    counts = {RANDOM: options.random, SEARCHED: options.one_stage}
    jobs = [{"arm": arm, "seed": options.first_seed + n} for arm, count in counts.items() for n in range(count)]
    return main(lambda: complete("studies.one_stage_quality.run", jobs, options.out, options.jobs), options.out)


def run(job: Fields, folder: Path) -> Fields:
    """Do one run, from its start to the test."""
    start = time.perf_counter()
    if job["arm"] == RANDOM:
        file = folder / "genotype.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, DartsSpace().sample(np.random.default_rng((job["seed"], 2))).to_json().encode())
        options = ["train_cifar10_16px", *NETWORK, "--model.genotype", str(file)]
        command = fit([*options, "--data.seed", str(job["seed"]), "--seed_everything", str(job["seed"])], folder)
    else:
        command = fit([CONFIG], folder, job["seed"])
    seconds, metrics = time.perf_counter() - start, command.metrics
    if "test/acc" not in metrics:  # some runs test their network by themselves
        metrics |= command.trainer.test(command.model, command.datamodule, verbose=False)[0]
    size = describe(command.model.deployable(), command.datamodule.image_shape)
    found = {"test_acc": float(metrics["test/acc"]), "val_acc": float(metrics["val/acc"])}
    found |= {"parameters": size.parameters, "macs": size.macs, "seconds": seconds}
    return found | {"genotype": command.model.genotype.to_json()}


if __name__ == "__main__":
    sys.exit(study())
