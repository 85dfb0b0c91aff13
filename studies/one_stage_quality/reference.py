"""Train a plain chain of five 3x3 convolutions for 60 CPU-seconds, on the images of the study; one row a seed.

    SPARSENAS_DATA=... OMP_NUM_THREADS=1 python -m studies.one_stage_quality.reference --seeds 3

It is what somebody would write by hand: 16-16-32-32-64 channels, batch-norm, max-pooling, SGD with a cosine over the
seconds. Nothing was chosen by test accuracy. Rows go to standard output, as CSV in the columns of ``runs.csv.gz``.
"""

import argparse
import csv
import math
import os
import sys
from itertools import pairwise
from time import process_time

import torch
from torch import nn
from torch.nn import functional

from sparsenas.complexity import describe
from sparsenas.data import Augmentation, NpzImages
from sparsenas.data.augment import Augmenter
from sparsenas.data.loading import BatchLoader

ARM = "by hand: plain chain of five convolutions, 60 CPU-seconds"
SECONDS, RATE = 60.0, 0.1


def network(classes: int) -> nn.Module:
    """Five convolutions with batch-norm, two poolings, a linear classifier."""
    layers: list[nn.Module] = []
    for position, (before, after) in enumerate(pairwise((3, 16, 16, 32, 32, 64))):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if position in (1, 3) else []
    chain = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))
    return chain.to(memory_format=torch.channels_last)


def run(seed: int) -> dict[str, object]:
    """Train with one seed, and test the last weights once."""
    torch.manual_seed(seed)
    path = os.path.expandvars("${SPARSENAS_DATA}/cifar10_12k_16px.npz")
    black = Augmentation(padding_mode="zeros")
    data = NpzImages(path, batch_size=64, augmentation=black, arch_fraction=0.0, seed=seed)
    chain = network(data.num_classes)
    optimizer = torch.optim.SGD(chain.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4, nesterov=True)
    start, epoch, done = process_time(), 0, 0.0
    loader = data.train_dataloader()
    assert isinstance(loader, BatchLoader)  # for type checkers: there is one stream
    augment, mean, std = Augmenter(data.augmentation, seed), torch.tensor(data.mean), torch.tensor(data.std)
    while done < 1:
        loader.sampler.set_epoch(epoch)
        for number, (images, labels) in enumerate(loader):
            done = (process_time() - start) / SECONDS
            if done >= 1:
                break
            optimizer.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * done)) / 2
            images = augment(images, mean, std, stream=0, epoch=epoch, batch=number)
            loss = functional.cross_entropy(chain(images), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            optimizer.step()
        epoch += 1
    seconds, size = process_time() - start, describe(chain, data.image_shape)
    chain.eval()
    accuracy = {}
    with torch.inference_mode():
        for part in ("val", "test"):
            right = [chain(images).argmax(1) == labels for images, labels in data.evaluation_batches(part)]
            accuracy[f"{part}_acc"] = round(float(torch.cat(right).float().mean()), 6)
    sizes = {"parameters": size.parameters, "macs": size.macs, "seconds": round(seconds, 3)}
    return {"arm": ARM, "seed": seed, "test_acc": accuracy["test_acc"], "val_acc": accuracy["val_acc"], **sizes}


def main() -> None:
    """Write one row for each seed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 on")
    rows = map(run, range(parser.parse_args().seeds))
    columns = ["arm", "seed", "test_acc", "val_acc", "parameters", "macs", "seconds", "genotype", "summary"]
    writer = csv.DictWriter(sys.stdout, columns)
    writer.writeheader()
    writer.writerows(rows)


if __name__ == "__main__":
    main()
