"""What can weight sharing tell? Super-nets of 64 cells: recency, groups, fine-tuning, consensus, and tau with truth.

    SPARSENAS_DATA=... python benchmarks/weight_sharing.py --out runs/weight_sharing

After each of the last 64 mini-batches, which train every cell once, all 64 cells are run with the shared weights on the
same validation images. Levels differ in the order in which cells are visited (one fixed cycle, or reshuffled for every
cycle) and in how many groups with weights of their own they form, similar cells or random ones; ``alone`` is a group of
each cell. At equal steps every cell is trained equally often with each level, but the weights of small groups less
often. From the last snapshot of ``reshuffled`` every cell is also trained on alone: all of it, and, to tell what that
owes to batch-norm, its running statistics only. Truth, the published accuracy after 200 epochs of CIFAR-10, is looked
up when all is measured.

Not the published setting: images of 16x16, 8 channels, 3 cells, and a fortieth of the images seen. Published figures
stand beside to compare signs, not sizes. All that was measured goes to ``super_nets.json``, figures and picture of it
to ``weight_sharing_trained.json`` and ``.png``. A run that was stopped goes on with the super-nets it lacks when it is
started again with the same ``--out``. By the time of single steps, the defaults take two hours on two cores, and
``--seeds 2 --epochs 14 --cells 2 --images 500`` half an hour.
"""

import argparse
import copy
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import count, islice, product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from weight_sharing_report import CYCLE, FINE_TUNED, FINE_TUNING, NAME, draw, study, tables

from sparsenas.data import NpzImages
from sparsenas.data.augment import Augmenter
from sparsenas.data.base import STREAMS
from sparsenas.drawing import save_figure
from sparsenas.errors import ConfigError, SparseNASError
from sparsenas.files import write_atomically
from sparsenas.networks import NormOptions, SuperNet
from sparsenas.schedules import Decay
from sparsenas.spaces import Support, WeightSharing64Space
from sparsenas.tables import WeightSharing64Table

SPACE = WeightSharing64Space()
#: Labels of all cells in the order of the table.
LABELS = tuple("".join(digits) for digits in product("1234", repeat=3))
CELLS: tuple[Support, ...] = tuple(SPACE.support(SPACE.from_string(label)) for label in LABELS)
#: Cells without pooling, between which little can be told even by training each alone.
FREE = np.array(["1" not in label for label in LABELS])
TRUTH = ("cifar10", "test", 200)
DATA_FILE = "${SPARSENAS_DATA}/cifar10_12k_16px.npz"
EVAL_BATCH = 500
#: As published: momentum of SGD and of batch-norm, weight decay, and last learning rate as a share of the first.
MOMENTUM, NORM_MOMENTUM, WEIGHT_DECAY, DECAY = 0.9, 0.4, 1e-3, Decay(final_ratio=0.04)


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
    **{
        f"{kind}_{m}": Level("reshuffled", m, kind == "similar")
        for m in (2, 4, 8, 16, 32)
        for kind in ("random", "similar")
    },
    "alone": Level("reshuffled", CYCLE),
}
DEFAULT = ("cyclic", "reshuffled", "random_2", "similar_2", "random_4", "similar_4", "random_8", "similar_8", "alone")
Floats = NDArray[np.float64]
Batches = Sequence[tuple[Tensor, Tensor]]


class Job(NamedTuple):
    """One super-net, or one for each group.

    Attributes:
        level: Name in :data:`LEVELS`.
        seed: Of weights, images, order and groups.
        epochs: Over the training images; the last incomplete cycle over the cells is left out.
        channels: Of the nodes.
        cells: Of the network.
        batch: Images of a mini-batch.
        images: Validation images.
        last: Mini-batches after each of which all cells are measured.
        lr: First learning rate.
        statistics: Batch-norm statistics in evaluation: running ones as published, or those of the batch.
    """

    level: str
    seed: int
    epochs: int
    channels: int
    cells: int
    batch: int
    images: int
    last: int
    lr: float
    statistics: str


def main(args: Sequence[str] | None = None) -> int:
    """Run what is missing, then report all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of all results; nothing is written elsewhere")
    parser.add_argument("--levels", nargs="+", default=DEFAULT, choices=LEVELS, metavar="LEVEL")
    parser.add_argument("--seeds", type=int, default=3, help="super-nets per level")
    parser.add_argument("--epochs", type=int, default=30, help="over the training images, of all groups together")
    parser.add_argument("--channels", type=int, default=8, help="of the nodes; 16 as published")
    parser.add_argument("--cells", type=int, default=3, help="of the network; 4 as published")
    parser.add_argument("--batch", type=int, default=128, help="images of a mini-batch; 256 as published")
    parser.add_argument("--images", type=int, default=1000, help="validation images, in batches of 500")
    parser.add_argument("--last", type=int, default=CYCLE, help="mini-batches after each of which all are measured")
    parser.add_argument("--lr", type=float, default=0.05, help="first learning rate; 0.025 as published")
    parser.add_argument("--statistics", choices=("running", "batch"), default="running", help="of batch-norm when run")
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    options = parser.parse_args(args)
    try:
        if "SPARSENAS_DATA" not in os.environ:
            raise ConfigError("set SPARSENAS_DATA to the folder of cifar10_12k_16px.npz and weight_sharing_64.csv.gz")
        table = WeightSharing64Table()  # before an hour of training, not after; truth is looked up at the end
        options.out.mkdir(parents=True, exist_ok=True)
        settings = [getattr(options, name) for name in Job._fields[2:]]
        jobs = [Job(level, seed, *settings) for seed in range(options.seeds) for level in options.levels]
        run_all(jobs, options.out, options.jobs)
        report([load(options.out, job) for job in jobs], table, options.out)
    except SparseNASError as error:
        print(f"weight_sharing: error: {error}", file=sys.stderr)
        return 2
    return 0


def run_all(jobs: Sequence[Job], out: Path, workers: int) -> None:
    """Run the jobs that have no result yet, in processes of their own."""
    missing = [job for job in jobs if not (result_file(out, job).is_file() and load(out, job))]
    print(f"{len(jobs) - len(missing)} of {len(jobs)} are done; running {len(missing)} in {workers} processes")
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(run, job, out) for job in missing]
        try:
            for future in as_completed(futures):
                result = future.result()
                accuracy, seconds = np.mean(result["snapshots"][-1]), f"{result['seconds']:.0f} s"
                print(f"{result['level']}-{result['seed']}: shared accuracy {accuracy:.4f}, {seconds}", flush=True)
        finally:  # after an error the super-nets not begun yet are left for the next start
            pool.shutdown(cancel_futures=True)


def run(job: Job, out: Path) -> dict[str, Any]:
    """Train and measure; the result goes to a file."""
    torch.set_num_threads(1)
    torch.manual_seed(job.seed)
    start, level = time.perf_counter(), LEVELS[job.level]
    data = NpzImages(DATA_FILE, batch_size=job.batch, eval_batch_size=EVAL_BATCH, arch_fraction=0, seed=job.seed)
    steps = CYCLE * (job.epochs * len(data.train_dataloader()) // CYCLE)
    if not 1 <= job.last <= steps:
        raise ConfigError(f"--last is {job.last}, --epochs {job.epochs}; that is {steps} mini-batches in whole cycles")
    batches, held_out = training_batches(data), validation_batches(data, job.images)
    networks = [build(data, job) for _ in range(level.groups)]
    optimizers = [sgd(network) for network in networks]
    order, groups = visits(level, steps, job.seed), members(level, job.seed)
    snapshots: list[Floats] = []
    for step, cell in enumerate(order):
        group = groups[cell]
        train(networks[group], optimizers[group], next(batches), CELLS[cell], job.lr * DECAY.factor(step, steps))
        if steps - step <= job.last:
            # what other groups do has not changed since the last snapshot
            moved = np.arange(CYCLE) if not snapshots else np.flatnonzero(groups == group)
            snapshots.append(snapshots[-1].copy() if snapshots else np.zeros(CYCLE))
            for own in np.unique(groups[moved]):
                measured = moved[groups[moved] == own]
                snapshots[-1][measured] = accuracies(networks[own], held_out, [CELLS[i] for i in measured])
    result: dict[str, Any] = {
        **job._asdict(),
        "steps": steps,
        "trained": order[-job.last :].tolist(),
        "snapshots": [snapshot.tolist() for snapshot in snapshots],
    }
    if job.level == FINE_TUNED:
        following, rate = list(islice(batches, max(FINE_TUNING))), job.lr * DECAY.factor(steps, steps)
        for name, own_rate in (("weights", rate), ("statistics", 0.0)):
            result[f"fine_tuned_{name}"] = [
                fine_tune(networks[0], cell, following, own_rate, held_out) for cell in CELLS
            ]
    result["seconds"] = time.perf_counter() - start
    write_atomically(result_file(out, job), json.dumps(result).encode())
    return result


def build(data: NpzImages, job: Job) -> SuperNet:
    """A super-net as published, but for its size."""
    norms = NormOptions(affine=False, track=job.statistics == "running", append="pools")
    network = SuperNet(SPACE, data.image_shape, data.num_classes, job.channels, job.cells, norms=norms)
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
    for epoch in count():
        loader.sampler.set_epoch(epoch)
        for images, labels in loader:
            yield augmenter(images, mean, std, stream=STREAMS["weights"], epoch=epoch), labels


def validation_batches(data: NpzImages, images: int) -> Batches:
    """So many validation images, in full batches.

    Raises:
        ConfigError: If there are fewer, or they do not fill batches.
    """
    wanted = images // EVAL_BATCH
    batches = [batch for batch in islice(data.evaluation_batches("val"), wanted) if len(batch[1]) == EVAL_BATCH]
    if images != EVAL_BATCH * max(len(batches), 1):
        raise ConfigError(f"--images is {images}; give a multiple of {EVAL_BATCH}, at most as many as there are")
    return batches


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
    functional.cross_entropy(network(batch[0], cell), batch[1]).backward()
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


def report(results: Sequence[dict[str, Any]], table: WeightSharing64Table, out: Path) -> None:
    """Look up truth, print the tables, and write them, all figures, and the picture."""
    result = study(results, table.accuracies(*TRUTH), FREE)
    print(tables(result))
    print("Published figures are of 32x32 images, 16 channels, 4 cells and 200 epochs: compare signs, not sizes.")
    for name, content in ((NAME, result), ("super_nets", {"labels": LABELS, "super_nets": results})):
        write_atomically(out / f"{name}.json", (json.dumps(content, indent=1) + "\n").encode())
    save_figure(draw(result), out / f"{NAME}.png")


def result_file(out: Path, job: Job) -> Path:
    """Where the result of a job goes."""
    return out / f"{job.level}-{job.seed}.result.json"


def load(out: Path, job: Job) -> dict[str, Any]:
    """Result of a finished job.

    Raises:
        ConfigError: If it is of other options.
    """
    result: dict[str, Any] = json.loads(result_file(out, job).read_text(encoding="utf-8"))
    if {name: result[name] for name in job._fields} != job._asdict():
        raise ConfigError(f"{result_file(out, job)} is of other options; give these an --out of their own")
    return result


if __name__ == "__main__":
    sys.exit(main())
