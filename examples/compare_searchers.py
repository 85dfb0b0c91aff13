"""Compare two searchers on your images, at equal cost, beside a network that people make by hand.

    python examples/compare_searchers.py photos --max_params 50000 --seconds 600 --seeds 6

A tournament measures networks in short trainings. A two-stage search trains a small super-net, and moves a sparse code
by its gradients. Both search one space and fill one budget. Search and training together have the same processor
seconds, as has ResNet-8. Without arguments it runs on the digits of scikit-learn; nothing is downloaded.

Cost: 3 runs of the seconds for each seed, on one core each; by default 9 runs of 20 seconds, some three minutes on two
cores.
Expect: a table, tests against ResNet-8, and the difference of the searchers. On the digits the tournament is about as
good as ResNet-8, near 99 %. The two-stage search is some points below: its network trains for fewer epochs. Use six
seeds or more to tell searchers apart. The same command goes on where it was stopped.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

import sparsenas
from sparsenas.comparison.images import ImageReport, paired_test
from sparsenas.errors import SparseNASError

#: The two searchers.
FIRST, SECOND = "tournament", "two_stage"
#: Fewer seeds have no interval.
FEWEST = 3
#: What is compared, as in a config of ``compare``; docs/compare.md explains it.
PLAN: dict[str, Any] = {
    "seconds": 20,
    "seeds": 3,
    "budget": {"max_params": 20_000, "max_macs": 1e6},
    "data": {"class_path": "Digits", "init_args": {"batch_size": 64}},
    "space": {"class_path": "StageSpace", "init_args": {"growths": [2.0]}},
    "training": {
        "optimizer": {
            "class_path": "torch.optim.SGD",
            "init_args": {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True},
        },
        "schedule": {"shape": "cosine", "warmup_share": 0.05},
        "label_smoothing": 0.1,
        "gradient_clip": 0.0,
    },
    "competitors": {
        "resnet8": {"reference": "resnet8"},
        FIRST: {"tournament": {"rungs": [0.03, 0.1]}},
        SECOND: {
            "search": {
                "share": 0.4,  # of the seconds; what is found is trained for the rest
                "max_epochs": 20,
                "arch_fraction": 0.5,
                "model": {
                    "class_path": "TwoStageSearch",
                    "init_args": {
                        "network": {"channels": 8, "cells": None},
                        "recovery": {"compressed_size": 4, "unit_weights": True},
                    },
                },
            }
        },
    },
}


def main(args: Sequence[str] | None = None) -> int:
    """Compare and report; a user's mistake is one line and exit code 2.

    Args:
        args: Arguments of the command line; ``None`` for those of the process.
    """
    options = parser().parse_args(args)
    try:
        with TemporaryDirectory() as folder:
            config = Path(folder) / "compare_searchers.yaml"
            config.write_text(yaml.safe_dump(PLAN, sort_keys=False), encoding="utf-8")
            report = sparsenas.compare(**vars(options), config=str(config))
    except SparseNASError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"\n{report}\n{difference(report)}")
    return 0


def difference(report: ImageReport) -> str:
    """Say how much better the first searcher was than the second, at equal seeds.

    Args:
        report: Of a comparison of both.
    """
    accuracies: dict[str, dict[int, float]] = {FIRST: {}, SECOND: {}}  # by searcher and seed, in percent
    for record in report.records:
        if record.searcher in accuracies and not record.impossible:
            accuracies[record.searcher][record.seed] = record.accuracy
    if not accuracies[FIRST].keys() & accuracies[SECOND].keys():
        return f"{FIRST} and {SECOND} have no seed in common at which both found a network"
    test = paired_test(FIRST, accuracies[FIRST], accuracies[SECOND])
    text = f"{FIRST} minus {SECOND}: {test.difference:+.2f} points over {test.runs} seed{'s' if test.runs > 1 else ''}"
    if test.runs < FEWEST or test.low is None or test.high is None:  # None if all differences are equal
        return text
    return f"{text}, 95 % interval {test.low:+.2f} to {test.high:+.2f}, p {test.p_t:.3f} of the paired t-test"


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("data", nargs="?", help="folder with a folder per class, .npz, or digits (default: digits)")
    made.add_argument("--max_params", metavar="P", type=float, help="most parameters; the only limit if given alone")
    made.add_argument("--max_macs", metavar="M", type=float, help="most multiply-accumulates of an image, likewise")
    made.add_argument("--seconds", metavar="S", type=float, help="processor seconds of a run (default: 20)")
    made.add_argument("--seeds", metavar="K", type=int, help="runs of each (default: 3)")
    made.add_argument("--jobs", metavar="N", type=int, help="runs at a time (default: one per core)")
    made.add_argument(
        "--folder",
        metavar="DIR",
        type=Path,
        default="lightning_logs/compare_searchers",
        help="of the results (default: lightning_logs/compare_searchers)",
    )
    return made


if __name__ == "__main__":
    sys.exit(main())
