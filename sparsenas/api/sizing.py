"""Epochs that fill minutes."""

import copy
from time import perf_counter

import numpy as np
import torch

from sparsenas.data import ImageData
from sparsenas.training import TrainingModule

#: Steps that are timed, after one that is not.
STEPS = 5
#: Share of the time that is planned for; the rest is for validation, files and other programs.
PLANNED = 0.85
#: More epochs bring nothing, however fast they are.
MOST_EPOCHS = 200


def epochs_within(model: TrainingModule, data: ImageData, seconds: float) -> int:
    """Count the epochs that fit into seconds, by timing training steps of a copy of the network; at least 1."""
    training = copy.deepcopy(model.built).train()
    images, labels = next(data.training_batches())
    optimizer = model.weight_training.optimizer(training.parameters())
    times = []
    for _ in range(STEPS + 1):
        start = perf_counter()
        logits, _ = training.forward_auxiliary(images)
        model.loss(logits, labels).backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
        optimizer.zero_grad()
        times.append(perf_counter() - start)
    steps = len(data.parts.split.weights) // data.batch_size
    # evaluation goes forward only, which takes about a third of a step
    evaluation = len(data.parts.val.indices) / data.batch_size / 3
    epoch = float(np.median(times[1:])) * (steps + evaluation)
    torch.manual_seed(model.seed)
    return min(max(int(PLANNED * seconds / epoch), 1), MOST_EPOCHS)
