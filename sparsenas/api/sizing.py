"""Width that fills a budget, and epochs that fill minutes."""

import copy
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import numpy as np
import torch

from sparsenas.complexity import candidate_costs
from sparsenas.data import ImageData
from sparsenas.networks import SuperNet
from sparsenas.search import Budget
from sparsenas.spaces import SearchSpace
from sparsenas.training import TrainingModule

#: Widths that are tried.
CHANNELS = (4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96)
#: Random cells whose median size decides, and steps that are timed after one that is not.
CELLS, STEPS = 32, 5
#: Share of the time that is planned for; the rest is for validation, files and other programs.
PLANNED = 0.85
#: More epochs bring nothing, however fast they are.
MOST_EPOCHS = 200


def fitting_channels(space: SearchSpace, data: ImageData, network: Mapping[str, Any], budget: Budget) -> int:
    """Find the largest width at which half of the random cells keep the budget; the smallest if there is none.

    Args:
        space: Search space.
        data: Images of the network.
        network: Its other settings: ``cells``, ``stem``.
        budget: Limits of parameters and MACs.
    """
    rng = np.random.default_rng(0)
    supports = [space.sample_support(rng) for _ in range(CELLS)]
    fitting = CHANNELS[0]
    for channels in CHANNELS:
        costs = candidate_costs(
            SuperNet(
                space,
                data.image_shape,
                data.num_classes,
                channels=channels,
                cells=network.get("cells", 8),
                stem=network.get("stem", "cifar"),
            )
        )
        kinds = (
            (costs.parameters, costs.base_parameters, budget.max_params),
            (costs.macs, costs.base_macs, budget.max_macs),
        )
        for rows, base, limit in kinds:
            totals = [
                base + sum(row[i] for row, kept in zip(rows, support, strict=True) for i in kept)
                for support in supports
            ]
            if limit is not None and np.median(totals) > limit:
                return fitting
        fitting = channels
    return fitting


def epochs_within(model: TrainingModule, data: ImageData, seconds: float) -> int:
    """Count the epochs that fit into seconds, by timing training steps of a copy of the network; at least 1."""
    training = copy.deepcopy(model.built).train()
    images, labels = next(data.training_batches())
    optimizer = model.weight_training.optimizer(training.parameters())
    times = []
    for _ in range(STEPS + 1):
        start = perf_counter()
        logits, _ = training.forward_auxiliary(images)
        model.weight_training.loss(logits, labels).backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
        optimizer.zero_grad()
        times.append(perf_counter() - start)
    steps = len(data.parts.split.weights) // data.batch_size
    # evaluation goes forward only, which takes about a third of a step
    evaluation = len(data.parts.val.indices) / data.batch_size / 3
    epoch = float(np.median(times[1:])) * (steps + evaluation)
    torch.manual_seed(model.seed)
    return min(max(int(PLANNED * seconds / epoch), 1), MOST_EPOCHS)
