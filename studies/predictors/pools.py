"""Networks that are drawn uniformly from two spaces and trained here: pools by which predictors are judged.

    SPARSENAS_DATA=... python -m studies.predictors.pools --out runs/pools [--networks 60]

Cells of the DARTS space with two nodes, and chains of the stage space. Each network is trained from scratch for a few
epochs. Its curves, scores before training, and accuracies with the shared weights of super-nets are kept in
``pool_darts.npz`` and ``pool_stage.npz``, as `rank-predictors` reads them. The test accuracy is noted, and judges
nothing. A stopped study goes on when it is started again with the same ``--out``.
"""

import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch

from sparsenas.comparison.images.clock import accuracy_on
from sparsenas.comparison.plan import QUIET_TRAINER
from sparsenas.complexity import network_cost
from sparsenas.data import Augmentation, NpzImages
from sparsenas.networks import NetworkConfig
from sparsenas.schedules import Schedule
from sparsenas.search import ArchitectureTraining, BestOf, RelaxedSearch, SharedAccuracy, SinglePathSearch
from sparsenas.spaces import DartsSpace, Genotype, SearchSpace, StageSpace, draw_distinct
from sparsenas.training import StandAloneTraining, WeightTraining
from sparsenas.zero_cost import Fisher, GradNorm, Grasp, JacobianCovariance, Naswot, Snip, SynFlow, Zen, ZeroCostScore
from studies.common import DATA_FILE, Fields, complete, main, parser

MODULE = "studies.predictors.pools"
#: Epochs of a training, and networks that a process trains.
EPOCHS, BLOCK = 6, 5
#: Networks whose weak labels an encoder learns.
WEAK = 300
#: Scores of untrained networks.
ZERO_COST: dict[str, ZeroCostScore] = {
    "fisher": Fisher(),
    "grad_norm": GradNorm(),
    "grasp": Grasp(),
    "jacobian_covariance": JacobianCovariance(),
    "naswot": Naswot(),
    "snip": Snip(),
    "synflow": SynFlow(),
    "zen": Zen(),
}


class Pool(NamedTuple):
    """A space, the size of its networks, and its kinds of super-nets with the epochs of their training."""

    space: SearchSpace
    network: NetworkConfig
    supernets: dict[str, int]


POOLS = {
    "darts": Pool(DartsSpace(nodes=2), NetworkConfig(channels=6, cells=3, stem="small"), {"rsws": 40, "one_shot": 12}),
    "stage": Pool(
        StageSpace(layers=2, types=["conv_3x3", "residual_3x3", "sep_conv_3x3", "fused_mbconv_k3_e2"], growths=[1.5]),
        NetworkConfig(channels=12, cells=None),
        {"rsws": 40},
    ),
}
#: Curves by the names of info, and by those of logs.
CURVES = {"train_loss": "train/loss", "val_loss": "val/loss", "val_accuracy": "val/acc"}


def study(args: Sequence[str] | None = None) -> int:
    """Train what is missing."""
    made = parser(__doc__)
    made.add_argument("--networks", type=int, default=60, help="of each space")
    made.add_argument("--seeds", type=int, default=2, help="super-nets of each kind")
    options = made.parse_args(args)
    count = options.networks
    jobs: list[Fields] = [
        {"arm": arm, "seed": first // BLOCK, "first": first, "count": min(BLOCK, count - first)}
        for first in range(0, count, BLOCK)
        for arm in POOLS
    ]
    jobs += [
        {"arm": arm, "seed": seed, "supernet": kind, "count": count}
        for seed in range(options.seeds)
        for arm, pool in POOLS.items()
        for kind in pool.supernets
    ]
    jobs += [{"arm": arm, "seed": 0, "scores": True, "count": count} for arm in POOLS]

    def body() -> list[Fields]:
        done = complete(MODULE, jobs, options.out, options.jobs)
        return [row for arm in POOLS for row in gather(arm, [job for job in done if job["arm"] == arm], options.out)]

    return main(body, options.out)


def members(arm: str, count: int) -> list[Genotype]:
    """Draw the networks of a pool; more of them begin with fewer."""
    return draw_distinct(POOLS[arm].space, count, np.random.default_rng(0))


def images(seed: int = 0, arch_fraction: float = 0.0) -> NpzImages:
    """5,000 images to train on, 5,000 to validate, 2,000 to test."""
    return NpzImages(
        DATA_FILE,
        batch_size=64,
        eval_batch_size=500,
        val_fraction=0.5,
        arch_fraction=arch_fraction,
        seed=seed,
        augmentation=Augmentation(crop_padding=2, padding_mode="zeros", flip=True),
    )


def recipe(rate: float = 0.1) -> WeightTraining:
    """The recipe of all trainings."""
    return WeightTraining(
        optimizer=lambda parameters: torch.optim.SGD(parameters, rate, 0.9, weight_decay=5e-4, nesterov=True),
        schedule=Schedule(),
        gradient_clip=5.0,
        drop_path=0.0,
        auxiliary_weight=0.0,
    )


def fit(module: pl.LightningModule, data: NpzImages, epochs: int, *callbacks: pl.Callback) -> pl.LightningModule:
    """Train, and write nothing."""
    trainer = pl.Trainer(
        max_epochs=epochs,
        callbacks=list(callbacks),
        **QUIET_TRAINER,  # type: ignore[arg-type]  # of several types
    )
    trainer.fit(module, datamodule=data)
    return module


class CurveKeeper(pl.Callback):
    """Keeps what is logged at the end of every epoch."""

    def __init__(self) -> None:
        self.curves: dict[str, list[float]] = {name: [] for name in CURVES}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep it."""
        del pl_module
        for name, logged in CURVES.items():
            self.curves[name].append(float(trainer.callback_metrics[logged]))


def run(job: Fields, folder: Path) -> Fields:
    """Do a job."""
    del folder
    torch.set_num_threads(1)
    torch.manual_seed(job["seed"])
    if "supernet" in job:
        return supernet(job)
    return scores(job) if "scores" in job else trainings(job)


def trainings(job: Fields) -> Fields:
    """Train some networks of a pool."""
    pool, first = POOLS[job["arm"]], job["first"]
    rows: list[dict[str, Any]] = []
    for number, genotype in enumerate(members(job["arm"], first + job["count"])[first:], start=first):
        torch.manual_seed(number)
        data, keeper = images(), CurveKeeper()
        module = StandAloneTraining(
            data.image_shape, data.num_classes, genotype.to_json(), pool.network, recipe(), seed=number
        )
        fit(module, data, EPOCHS, keeper)
        test = accuracy_on(module, list(data.evaluation_batches("test")))
        rows.append({"number": number, "genotype": genotype.to_json(), "test": test, **keeper.curves})
    return {"rows": rows}


def supernet(job: Fields) -> Fields:
    """Train a super-net; measure the pool and the weak networks with its weights.

    `rsws` trains one uniformly drawn network per batch, `one_shot` the even mixture of all candidates.
    """
    pool, kind, seed = POOLS[job["arm"]], job["supernet"], job["seed"]
    data, epochs, started = images(seed, arch_fraction=0.1), pool.supernets[kind], process_time()
    common = (data.image_shape, data.num_classes, pool.space, pool.network, recipe(0.05))
    search: SinglePathSearch | RelaxedSearch
    if kind == "rsws":
        search = SinglePathSearch(*common, selection=BestOf(1), measure_batches=1, seed=seed)
    else:
        search = RelaxedSearch(*common, architecture=ArchitectureTraining(at_rest, warmup_epochs=epochs - 1), seed=seed)
    fit(search, data, epochs)
    trained = process_time() - started
    measure = SharedAccuracy(search, islice(data.evaluation_batches("val"), 2))
    weak = [measure(genotype) for genotype in drawn(job["arm"], job["count"])]
    return {"shared": weak[: job["count"]], "weak": weak[job["count"] :], "seconds": trained}


def at_rest(parameters: Iterable[Any]) -> torch.optim.Optimizer:
    """An optimizer that moves next to nothing, so that the mixture stays even."""
    return torch.optim.SGD(parameters, lr=1e-12)


def scores(job: Fields) -> Fields:
    """Score untrained networks of the pool, and count the sizes of these and of the weak networks."""
    pool, data, networks = POOLS[job["arm"]], images(), drawn(job["arm"], job["count"])
    batch, labels = next(data.training_batches())
    found: dict[str, list[float]] = {name: [] for name in ZERO_COST}
    for number, genotype in enumerate(networks[: job["count"]]):
        torch.manual_seed(number)
        module = StandAloneTraining(data.image_shape, data.num_classes, genotype.to_json(), pool.network, recipe())
        for name, score in ZERO_COST.items():
            found[name].append(score(module.built, batch, labels))
    width = pool.network.channels or 0
    sizes = [network_cost(each, data.image_shape, data.num_classes, width, pool.network) for each in networks]
    return {**found, "parameters": [size.parameters for size in sizes], "flops": [size.macs for size in sizes]}


def drawn(arm: str, count: int) -> list[Genotype]:
    """Draw the pool, and behind it networks that nobody trains, with which an encoder may learn weak labels."""
    return members(arm, count + WEAK)


def gather(arm: str, done: Sequence[Fields], folder: Path) -> list[Fields]:
    """Write the file of a pool, and that of its weak labels; gives a row of each network."""
    rows = [row for job in done for row in job.get("rows", ())]
    known, nets = next(job for job in done if "scores" in job), [job for job in done if "supernet" in job]
    count = len(rows)
    shared = {f"{net['supernet']}_{net['seed']}": net for net in nets}
    sizes = {name: np.array(known[name]) for name in ("parameters", "flops")}
    pool: Fields = {
        "genotypes": [row["genotype"] for row in rows],
        "curves": 100 * np.array([row["val_accuracy"] for row in rows]),
        **{name: [row[name] for row in rows] for name in ("train_loss", "val_loss")},
        **{name: known[name] for name in ZERO_COST},
        **{name: values[:count] for name, values in sizes.items()},
        "shared_accuracy": shared["rsws_0"]["shared"],
        **{name: net["shared"] for name, net in shared.items()},
    }
    weak: Fields = {
        "genotypes": [genotype.to_json() for genotype in drawn(arm, count)[count:]],
        **{name: net["weak"] for name, net in shared.items()},
        **{name: values[count:] for name, values in sizes.items()},
    }
    np.savez_compressed(folder / f"pool_{arm}.npz", **pool)
    np.savez_compressed(folder / f"weak_{arm}.npz", **weak)
    return [
        *({"pool": arm, **{name: net[name] for name in ("supernet", "seed", "seconds")}} for net in nets),
        *({"pool": arm, **{name: row[name] for name in ("number", "test", "genotype")}} for row in rows),
    ]


if __name__ == "__main__":
    sys.exit(study())
