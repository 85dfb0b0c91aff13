"""What accuracy does the quickstart end with? Some seeds of it, each with its own search, training and test.

python -m studies.quickstart.run --out runs/quickstart
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from sparsenas.complexity import describe
from studies.common import Fields, complete, fit, main, parser

#: Options of every arm beside the shipped config.
ARMS = {"tournament": False, "tournament, another test set in each run": True}


def study(args: Sequence[str] | None = None) -> int:
    """Run what is missing."""
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, default=5, help="of each arm")
    options = made.parse_args(args)
    jobs = [{"arm": arm, "seed": seed} for arm in ARMS for seed in range(options.seeds)]
    return main(lambda: complete("studies.quickstart.run", jobs, options.out, options.jobs), options.out)


def run(job: Fields, folder: Path) -> Fields:
    """Do one run."""
    test_seed = 1 + job["seed"] if ARMS[job["arm"]] else 0
    command = fit(["quickstart", "--data.test_seed", str(test_seed)], folder, job["seed"])
    size = describe(command.model.deployable(), command.datamodule.image_shape)
    figures = {name.replace("/", "_"): float(command.metrics[name]) for name in ("test/acc", "val/acc", "val/loss")}
    figures |= {"parameters": size.parameters, "macs": size.macs}
    return figures | {"summary": command.model.summary(), "genotype": command.model.genotype.to_json()}


if __name__ == "__main__":
    sys.exit(study())
