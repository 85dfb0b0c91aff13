"""What can weight sharing tell? Super-nets of 64 cells: recency, groups, fine-tuning, consensus, and tau with truth.

    SPARSENAS_DATA=... python -m studies.weight_sharing_trained.run --out runs/weight_sharing_trained

After each of the last 64 mini-batches, which train every cell once, all 64 cells are run with the shared weights on the
same validation images. Levels differ in the order in which cells are visited (one fixed cycle, or reshuffled for every
cycle) and in how many groups with weights of their own they form, similar cells or random ones; ``alone`` is a group of
each cell. At equal steps every cell is trained equally often with each level, but the weights of small groups less
often. From the last snapshot of ``reshuffled`` every cell is also trained on alone: all of it, or its running
statistics only. Truth, the published accuracy after 200 epochs of CIFAR-10, is looked up when all is measured.

Not the published setting: compare signs, not sizes. A stopped study goes on with the super-nets it lacks when it is
started again with the same ``--out``. The defaults take hours on two cores, and
``--seeds 2 --epochs 14 --cells 2 --images 500`` half an hour.
"""

import copy
import sys
from collections.abc import Iterator, Sequence
from itertools import count, islice, product
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sparsenas.data import Augmentation, NpzImages
from sparsenas.data.augment import STREAMS, Augmenter
from sparsenas.data.loading import BatchLoader
from sparsenas.errors import ConfigError
from sparsenas.networks import NormOptions, SuperNet
from sparsenas.ranking import consensus_rank, kendall_tau, top_rank, truth_taus
from sparsenas.schedules import Schedule
from sparsenas.spaces import Support, WeightSharing64Space
from sparsenas.tables import WeightSharing64Table
from studies.common import DATA_FILE, Fields, complete, main, parser

SPACE = WeightSharing64Space()
#: Labels of all cells in the order of the table.
LABELS = tuple("".join(digits) for digits in product("1234", repeat=3))
CELLS: tuple[Support, ...] = tuple(SPACE.support(SPACE.from_string(label)) for label in LABELS)
#: Cells without pooling, between which little can be told even by training each alone.
FREE = np.array(["1" not in label for label in LABELS])
TRUTH = ("cifar10", "test", 200)
CYCLE, EVAL_BATCH, PERMUTATIONS = 64, 500, 10_000
#: Mini-batches of a cell alone, and the level that it starts from.
FINE_TUNING, FINE_TUNED = (0, 1, 2, 5, 10, 20), "reshuffled"
#: Levels of which all cells share one super-net.
SHARED = ("cyclic", "reshuffled")
#: Mean and deviation of tau over the last 64 mini-batches, ten instances; which order the first two have is not said.
#: Source: Zhang et al., Deeper Insights into Weight Sharing (2020).
PUBLISHED = {
    "cyclic": (0.4988, 0.1497),
    "reshuffled": (0.4988, 0.1497),
    "random_2": (0.4577, 0.1371),
    "similar_2": (0.3425, 0.1442),
    "random_4": (0.2736, 0.1340),
    "similar_4": (0.7075, 0.0702),
    "random_8": (0.2539, 0.1462),
    "similar_8": (0.6917, 0.0457),
    "alone": (0.8032, 0.0151),
}
#: As published: momentum of SGD and of batch-norm, weight decay, and last learning rate as a share of the first.
MOMENTUM, NORM_MOMENTUM, WEIGHT_DECAY, DECAY = 0.9, 0.4, 1e-3, Schedule(final_ratio=0.04)


class Level(NamedTuple):
    """How a super-net is trained.

    Attributes:
        order: Of the cells: one cycle over and over, or another one each time.
        groups: Groups with weights of their own.
        similar: Whether a group is a slice of the labels in their order; else its members are drawn.
    """

    order: Literal["cyclic", "reshuffled"]
    groups: int = 1
    similar: bool = True


LEVELS = {
    "cyclic": Level("cyclic"),
    "reshuffled": Level("reshuffled"),
    **{f"{kind}_{m}": Level("reshuffled", m, kind == "similar") for m in (2, 4, 8) for kind in ("random", "similar")},
    "alone": Level("reshuffled", CYCLE),
}
Floats = NDArray[np.float64]
Batches = Sequence[tuple[Tensor, Tensor]]


def study(args: Sequence[str] | None = None) -> int:
    """Run what is missing, then look up truth."""
    made = parser(__doc__)
    made.add_argument("--levels", nargs="+", default=list(LEVELS), choices=LEVELS, metavar="LEVEL")
    made.add_argument("--seeds", type=int, default=3, help="super-nets per level")
    made.add_argument("--epochs", type=int, default=30, help="over the training images, of all groups together")
    made.add_argument("--channels", type=int, default=8, help="of the nodes; 16 as published")
    made.add_argument("--cells", type=int, default=3, help="of the network; 4 as published")
    made.add_argument("--batch", type=int, default=128, help="images of a mini-batch; 256 as published")
    made.add_argument("--images", type=int, default=1000, help="validation images, in batches of 500")
    made.add_argument("--last", type=int, default=CYCLE, help="mini-batches after each of which all are measured")
    made.add_argument("--lr", type=float, default=0.05, help="first learning rate; 0.025 as published")
    options = made.parse_args(args)
    settings = {
        name: getattr(options, name) for name in ("epochs", "channels", "cells", "batch", "images", "last", "lr")
    }
    jobs = [{"arm": level, "seed": seed, **settings} for seed in range(options.seeds) for level in options.levels]

    def body() -> list[Fields]:
        table = WeightSharing64Table()  # before an hour of training, not after
        nets = complete("studies.weight_sharing_trained.run", jobs, options.out, options.jobs)
        truth = table.accuracies(*TRUTH)
        rows = [{"level": net["arm"], "seed": net["seed"], **figures(net, truth)} for net in nets]
        levels = [name for name in PUBLISHED if name in options.levels]
        published = (("published", *PUBLISHED[name]) for name in levels)
        named = ("seed", "tau_mean", "tau_std")
        return rows + [
            {"level": level} | dict(zip(named, row, strict=True)) for level, row in zip(levels, published, strict=True)
        ]

    return main(body, options.out)


def run(job: Fields, folder: Path) -> Fields:
    """Train and measure."""
    torch.manual_seed(job["seed"])
    level = LEVELS[job["arm"]]
    data = NpzImages(
        DATA_FILE,
        batch_size=job["batch"],
        eval_batch_size=EVAL_BATCH,
        arch_fraction=0,
        seed=job["seed"],
        augmentation=Augmentation(padding_mode="zeros"),
    )
    steps = CYCLE * (job["epochs"] * len(data.train_dataloader()) // CYCLE)
    if not 1 <= job["last"] <= steps:
        raise ConfigError(
            f"--last is {job['last']}, --epochs {job['epochs']}; that is {steps} mini-batches in whole cycles"
        )
    batches, held_out = training_batches(data), validation_batches(data, job["images"])
    networks = [build(data, job) for _ in range(level.groups)]
    optimizers = [sgd(network) for network in networks]
    order, groups = visits(level, steps, job["seed"]), members(level, job["seed"])
    snapshots: list[Floats] = []
    for step, cell in enumerate(order):
        group = groups[cell]
        train(networks[group], optimizers[group], next(batches), CELLS[cell], job["lr"] * DECAY.factor(step, steps))
        if steps - step <= job["last"]:
            # what other groups do has not changed since the last snapshot
            moved = np.arange(CYCLE) if not snapshots else np.flatnonzero(groups == group)
            snapshots.append(snapshots[-1].copy() if snapshots else np.zeros(CYCLE))
            for own in np.unique(groups[moved]):
                measured = moved[groups[moved] == own]
                snapshots[-1][measured] = accuracies(networks[own], held_out, [CELLS[i] for i in measured])
    result: Fields = {"trained": order[-job["last"] :].tolist(), "snapshots": [row.tolist() for row in snapshots]}
    if job["arm"] == FINE_TUNED:
        following, rate = list(islice(batches, max(FINE_TUNING))), job["lr"] * DECAY.factor(steps, steps)
        for name, own_rate in (("weights", rate), ("statistics", 0.0)):
            result[f"fine_tuned_{name}"] = [
                fine_tune(networks[0], cell, following, own_rate, held_out) for cell in CELLS
            ]
    return result


def build(data: NpzImages, job: Fields) -> SuperNet:
    """A super-net as published, but for its size."""
    norms = NormOptions(affine=False, track=True, append="pools")
    network = SuperNet(SPACE, data.image_shape, data.num_classes, job["channels"], job["cells"], norms=norms)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = NORM_MOMENTUM
    return network.to(memory_format=torch.channels_last)


def sgd(network: SuperNet) -> torch.optim.SGD:
    """Its optimizer; weights that did not run have no gradient, so neither decay nor momentum moves them."""
    return torch.optim.SGD(network.parameters(), lr=0.0, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)


def training_batches(data: NpzImages) -> Iterator[tuple[Tensor, Tensor]]:
    """Augmented training batches, epoch after epoch; the same for all levels of a seed."""
    mean, std = torch.tensor([data.mean, data.std])
    loader, augmenter = data.train_dataloader(), Augmenter(data.augmentation, data.seed)
    assert isinstance(loader, BatchLoader)
    for epoch in count():
        loader.sampler.set_epoch(epoch)
        for number, (images, labels) in enumerate(loader):
            yield augmenter(images, mean, std, stream=STREAMS["weights"], epoch=epoch, batch=number), labels


def validation_batches(data: NpzImages, images: int) -> Batches:
    """So many validation images, in full batches.

    Raises:
        ConfigError: If there are fewer, or they do not fill batches.
    """
    present = len(data.parts.val.indices)
    if images % EVAL_BATCH or not 0 < images <= present:
        raise ConfigError(f"--images is {images}; give a multiple of {EVAL_BATCH}, at most {present}")
    pixels, labels = (torch.cat(parts)[:images] for parts in zip(*data.evaluation_batches("val"), strict=True))
    starts = range(0, images, EVAL_BATCH)
    return [(pixels[start : start + EVAL_BATCH], labels[start : start + EVAL_BATCH]) for start in starts]


def visits(level: Level, steps: int, seed: int) -> NDArray[np.int64]:
    """Cell that each step trains; every cycle trains each once."""
    rng = np.random.default_rng((seed, 0))
    fixed = rng.permutation(CYCLE)
    cycles = [fixed if level.order == "cyclic" else rng.permutation(CYCLE) for _ in range(steps // CYCLE)]
    return np.concatenate(cycles)


def members(level: Level, seed: int) -> NDArray[np.int64]:
    """Group of each cell; all have the same size."""
    cells = np.arange(CYCLE) if level.similar else np.random.default_rng((seed, 1)).permutation(CYCLE)
    groups = np.empty(CYCLE, np.int64)
    groups[cells] = np.arange(CYCLE) // (CYCLE // level.groups)
    return groups


def train(
    network: SuperNet, optimizer: torch.optim.SGD, batch: tuple[Tensor, Tensor], cell: Support, rate: float
) -> None:
    """One step on one cell."""
    optimizer.param_groups[0]["lr"] = rate
    optimizer.zero_grad()
    functional.cross_entropy(network(batch[0], cell), batch[1]).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


@torch.no_grad()
def accuracies(network: SuperNet, batches: Batches, cells: Sequence[Support]) -> list[float]:
    """Accuracy of every cell with the shared weights; the stem, which is most of the work, runs once for all."""
    network.eval()
    prepared = [(network.stem(images), labels) for images, labels in batches]
    found = []
    for cell in cells:
        wirings = network.wirings(cell)
        right = 0
        for trail, labels in prepared:
            for cell_type, module in network.typed_cells():
                trail = (module.output(module(trail, wirings[cell_type])),)
            right += int((network.classify(trail[0]).argmax(1) == labels).sum())
        found.append(right / sum(len(labels) for _, labels in batches))
    network.train()
    return found


def fine_tune(network: SuperNet, cell: Support, batches: Batches, rate: float, held_out: Batches) -> list[float]:
    """Accuracy of a cell after so many mini-batches of its own as :data:`FINE_TUNING` says.

    With a rate of 0 only batch-norm statistics move.
    """
    own, found = copy.deepcopy(network), []
    optimizer = sgd(own)
    for number in range(max(FINE_TUNING) + 1):
        if number in FINE_TUNING:
            found += accuracies(own, held_out, [cell])
        if number < len(batches):
            train(own, optimizer, batches[number], cell, rate)
    return found


def figures(net: Fields, truth: Floats) -> Fields:
    """What is reported of one super-net; accuracies in percent, what cannot be ranked is empty."""
    snapshots = np.array(net["snapshots"])
    found: Fields = {"shared_accuracy": 100 * float(snapshots[-1].mean())}
    for suffix, held in (("", np.ones_like(FREE)), ("_without_pooling", FREE)):
        if np.ptp(snapshots[:, held], axis=1).all():
            taus = truth_taus(snapshots[:, held], truth[held])
            found |= {f"tau_mean{suffix}": float(taus.mean()), f"tau_std{suffix}": float(taus.std())}
    found["tau_consensus_64"] = tau(-consensus_rank(snapshots[-CYCLE:]), truth)
    found["t1r_mean"] = float(np.mean([top_rank(snapshot, truth, 1) for snapshot in snapshots]))
    if net["arm"] in SHARED:
        found |= recency(snapshots, np.array(net["trained"]), np.random.default_rng(0))
    for name in ("weights", "statistics"):
        for number, scores in zip(FINE_TUNING, np.transpose(net.get(f"fine_tuned_{name}", [])), strict=False):
            found[f"tau_fine_tuned_{name}_{number}"] = tau(scores, truth)
    return found


def tau(scores: Floats, truth: Floats) -> float | str:
    """Kendall's tau; empty where all scores are equal."""
    return kendall_tau(scores, truth) if np.ptp(scores) else ""


def recency(snapshots: Floats, trained: NDArray[np.int64], rng: np.random.Generator) -> Fields:
    """Whether the cell that was trained last is ranked higher than it is on average, with permutation tests.

    Args:
        snapshots: Scores after every mini-batch, shape ``(N, R)``.
        trained: Cell which each of them trained, shape ``(N,)``.
        rng: Draws which cell was trained when, if that did not matter: permutations of ``trained``.
    """
    ranks = -np.stack([consensus_rank(snapshot[None]) for snapshot in snapshots])
    gains, times = ranks - ranks.mean(0), np.arange(len(trained))
    draws = rng.permuted(np.tile(trained, (PERMUTATIONS, 1)), axis=1)
    higher, gained = gains[times, trained] > 0, gains[times, trained].mean()
    # the run itself is one of the orders that may have been drawn; the tolerance is for sums in another order
    p_higher = (1 + ((gains[times, draws] > 0).sum(1) >= higher.sum()).sum()) / (1 + PERMUTATIONS)
    p_gained = (1 + (gains[times, draws].mean(1) >= gained - 1e-9).sum()) / (1 + PERMUTATIONS)
    return {
        "last_trained_ranked_higher": float(higher.mean()),
        "last_trained_ranked_higher_p": float(p_higher),
        "last_trained_ranks_gained": float(gained),
        "last_trained_ranks_gained_p": float(p_gained),
    }


if __name__ == "__main__":
    sys.exit(study())
