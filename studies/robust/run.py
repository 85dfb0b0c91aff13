"""What does a lower bound of the expected size do to a search under adversarial training, and do its cells hold?

    python -m studies.robust.run --out runs/robust

Every search is one of ``search_e2rnas_digits``, but for its objectives or its adversary. What is found is then trained
by ``train_adversarial_digits`` at the width that fills 30,000 parameters, beside random cells and networks by hand. A
stopped study goes on where it was.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from sparsenas.complexity import count_parameters
from sparsenas.search import Resource
from sparsenas.search.objectives import ExpectedCost
from sparsenas.spaces import DartsSpace
from studies.common import Fields, complete, fit, main, parser

OBJECTIVES = "--model.architecture.objectives"
#: Options of every arm.
ARMS = {
    "no bound, clean training": f"{OBJECTIVES} null --model.training.adversary null",
    "no bound": f"{OBJECTIVES} null",
    **{f"at least {low}": f"{OBJECTIVES}.resource.low {low}" for low in (14000, 17000, 20000)},
    "at least 17000, not normalised": f"{OBJECTIVES}.normalise false",
}
#: Arms whose cells are trained, and networks by hand.
TRAINED, BY_HAND = ("no bound", "at least 17000", "at least 20000"), ("resnet8", "vgg_like")
TRAINING = (
    "--model.network.channels null --model.budget.max_params 30000 --trainer.max_epochs 15 --model.training.drop_path 0"
)
SPACE = DartsSpace(nodes=2)
#: Primitives without weights.
BARE = ("max_pool_3x3", "avg_pool_3x3", "skip_connect")


def study(args: Sequence[str] | None = None) -> int:
    """Run what is missing."""
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, default=5, help="searches of each arm")
    options = made.parse_args(args)
    jobs = [{"arm": arm, "seed": seed, "genotype": ""} for seed in range(options.seeds) for arm in ARMS]

    def body() -> list[Fields]:
        rows = complete("studies.robust.run", jobs, options.out, options.jobs)
        trained = [
            {"arm": f"trained: {row['arm']}", "seed": row["seed"], "genotype": row["found"]}
            for row in rows
            if row["arm"] in TRAINED
        ]
        for seed in range(options.seeds):
            drawn = SPACE.sample(np.random.default_rng(1000 + seed)).to_json()
            trained += [{"arm": f"trained: {name}", "seed": seed, "genotype": name} for name in BY_HAND]
            trained.append({"arm": "trained: random cell", "seed": seed, "genotype": drawn})
        rows += complete("studies.robust.run", trained, options.out, options.jobs)
        return [{key: value for key, value in row.items() if key != "found"} for row in rows]

    return main(body, options.out)


def run(job: Fields, folder: Path) -> Fields:
    """Search, and describe the cells; or train, and test under attack."""
    if job["genotype"]:
        return train(job, folder)
    command = fit(["search_e2rnas_digits", *ARMS[job["arm"]].split()], folder, job["seed"])
    search, figures = command.model, command.trainer.callback_metrics
    with torch.no_grad():
        expected = ExpectedCost(Resource(low=1), search.network, search.budget)
        cost = float(expected(search.relaxation.kept(search.architecture)))
    found: Fields = {"expected": cost, "parameters": count_parameters(search.network.untrained(search.genotype))}
    found["found"] = search.genotype.to_json()
    for cell, connections in search.genotype.cells:
        found[f"bare_{cell}"] = sum(connection.primitive in BARE for connection in connections) / len(connections)
    if "arch/weight_loss" in figures:
        found |= {name: float(figures[f"arch/weight_{name}"]) for name in ("loss", "resource")}
    return found


def train(job: Fields, folder: Path) -> Fields:
    """Train a network, and test it under attack."""
    size = "--model.network.cells null --model.network.stem cifar" if job["genotype"] in BY_HAND else ""
    genotype = job["genotype"]
    if genotype not in BY_HAND:  # the command line would read its text as settings
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "genotype.json").write_text(genotype, encoding="utf-8")
        genotype = str(folder / "genotype.json")
    options = ["train_adversarial_digits", "--model.genotype", genotype, *TRAINING.split(), *size.split()]
    command = fit(options, folder, job["seed"])
    (figures,) = command.trainer.test(command.model, command.datamodule, verbose=False)
    names = ("acc", "acc_fgsm", "acc_pgd_10", "acc_pgd_50")
    return {name: figures[f"test/{name}"] for name in names} | {"parameters": count_parameters(command.model.built)}


if __name__ == "__main__":
    sys.exit(study())
