"""What do short trainings and decisions tell about the end of a training of equal seconds?

    SPARSENAS_DATA=... python -m studies.tournament.short_trainings --out DIR [--seconds 45] [--networks vgg_like ...]

Networks, five references and others that change a few decisions of them, are trained for 45 processor seconds on six
data sets, and some for 180. Validation losses on the way and at the end are kept. The test accuracy is
noted beside them, and decides nothing. A stopped study goes on when it is started again with the same ``--out``. Its
``runs.csv.gz`` becomes ``short_trainings.csv.gz`` of this folder.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from sparsenas.comparison.images.clock import accuracy_on
from sparsenas.data import NpzImages
from sparsenas.limits import Limits
from sparsenas.networks import DerivedNet, NetworkConfig, NormOptions
from sparsenas.schedules import Schedule
from sparsenas.search.measured.history import Entrant
from sparsenas.search.measured.trainings import Trainings
from sparsenas.spaces import REFERENCES, Genotype, read_genotype
from sparsenas.spaces.stage import stage_genotype
from sparsenas.training import WeightTraining
from studies.common import Fields, complete, main, parser
from studies.tournament.prior import SIDES

LIMITS = Limits(max_params=40_000, max_macs=2e6)
#: Shares of the seconds after which networks are validated.
SHARES = (1 / 96, 1 / 24, 1 / 12, 1 / 6, 1 / 4, 1 / 2, 1.0)
_CONV, _POOL = "conv_3x3", "conv_3x3/max_pool"
#: Networks by name: references, and others that differ from one in a decision.
NETWORKS: dict[str, Genotype] = {
    **{name: REFERENCES[name].genotype for name in ("plain_cnn", "vgg_like", "resnet8_max_pool", "ds_cnn", "resnet8")},
    "vgg_without_stage1": stage_genotype(_CONV, (2, [_POOL, _CONV]), (2, [_POOL])),
    "strided_plain": stage_genotype(f"{_CONV}/stride", (2, [_POOL]), (2, [_POOL])),
    "strided_vgg": stage_genotype(f"{_CONV}/stride", (1, [_CONV]), (2, [_POOL, _CONV]), (2, [_POOL])),
    "plain_of_three": stage_genotype(_CONV, (2, [_POOL]), (2, [_POOL]), (1, [_POOL])),
    "vgg_of_one": stage_genotype(_CONV, (1, [_CONV]), (2, [_POOL]), (2, [_POOL])),
    "vgg_of_four": stage_genotype(_CONV, (1, [_CONV]), (2, [_POOL, _CONV]), (2, [_POOL]), (1, [_POOL])),
    "vgg_slow_growth": stage_genotype(_CONV, (1, [_CONV]), (1.5, [_POOL, _CONV]), (1.5, [_POOL, _CONV])),
    "vgg_residual": stage_genotype(_CONV, (2, [_POOL, "residual_3x3"]), (2, [_POOL])),
    "vgg_separable": stage_genotype(_CONV, (2, [_POOL, _CONV]), (2, ["sep_conv_3x3/max_pool", "sep_conv_3x3"])),
    "vgg_growth_1.5": stage_genotype(_CONV, (2, [_POOL, _CONV]), (1.5, [_POOL])),
    "pairs_growth_1.5": stage_genotype(_CONV, (1.5, [_POOL, _CONV]), (1.5, [_POOL, _CONV])),
    "pairs_of_three": stage_genotype(_CONV, (1.5, [_POOL, _CONV]), (1.5, [_POOL, _CONV]), (1.5, [_POOL, _CONV])),
    "plain_residual": stage_genotype(_CONV, (2, [_POOL]), (2, ["residual_3x3/max_pool"])),
    "plain_5x5": stage_genotype(_CONV, (2, ["conv_5x5/max_pool"]), (2, [_POOL])),
}


def study(args: Sequence[str] | None = None) -> int:
    """Run what is missing."""
    made = parser(__doc__)
    made.add_argument("--seconds", type=float, default=45.0)
    made.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    options = made.parse_args(args)
    jobs = [
        {"data": data, "arm": name, "seed": 0, "seconds": options.seconds}
        for name in options.networks
        for data in SIDES
    ]
    return main(lambda: complete("studies.tournament.short_trainings", jobs, options.out, options.jobs), options.out)


def run(job: Fields, folder: Path) -> Fields:
    """Train one network; gives its row."""
    torch.set_num_threads(1)
    data, genotype = job["data"], NETWORKS[job["arm"]]
    images = NpzImages(f"${{SPARSENAS_DATA}}/{data}.npz", batch_size=64, val_fraction=0.1, arch_fraction=0.0)
    config = NetworkConfig(cells=None)
    channels = LIMITS.fill(genotype, images.image_shape, images.num_classes, replace(config, channels=None))

    def build(key: str) -> DerivedNet:
        size = replace(config, channels=channels).arguments(NormOptions())
        return DerivedNet(read_genotype(key), images.image_shape, images.num_classes, **size)

    trainings = Trainings(build, images, recipe(job["seconds"]), torch.device("cpu"), folder, seed=job["seed"])
    entrant = Entrant(0, genotype.to_json(), job["arm"])
    row: Fields = {"channels": channels}
    sized = replace(config, channels=channels)
    cost, _ = LIMITS.cost(genotype, images.image_shape, images.num_classes, sized)
    row |= {"parameters": cost.parameters, "macs": cost.macs}
    for rung, share in enumerate(SHARES):
        measured = trainings.train(entrant, rung, share)
        row |= {f"loss {share:.3f}": measured.loss, f"accuracy {share:.3f}": measured.accuracy}
    network = build(entrant.key)
    network.load_state_dict(trainings.load(entrant)["network"])
    trainings.forget(entrant)
    row["test accuracy"] = accuracy_on(network, list(images.evaluation_batches("test")))
    row["genotype"] = entrant.key
    return row


def recipe(seconds: float) -> WeightTraining:
    """The recipe of all trainings."""
    return WeightTraining(
        optimizer=lambda parameters: torch.optim.SGD(parameters, 0.1, 0.9, weight_decay=5e-4, nesterov=True),
        schedule=Schedule(warmup_share=0.05),
        label_smoothing=0.1,
        gradient_clip=0.0,
        seconds=seconds,
    )


if __name__ == "__main__":
    sys.exit(study())
