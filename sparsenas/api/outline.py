"""Outline of a run before it begins."""

from collections.abc import Iterator

import numpy as np
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import nn

from sparsenas.api.probe import probe
from sparsenas.complexity import describe
from sparsenas.data import ImageData
from sparsenas.search import SearchModule, TournamentSearch
from sparsenas.search.measured.plan import Plan
from sparsenas.spaces import Support
from sparsenas.training import TrainingModule, WeightTraining


def outline(model: LightningModule, data: ImageData, trainer: Trainer) -> Iterator[tuple[str, str]]:
    """Say what a fit would take, by some training steps that change nothing.

    Args:
        model: Model of the fit.
        data: Its images.
        trainer: Its trainer.

    Yields:
        Names and texts: images, networks, seconds, memory.
    """
    images = len(data.parts.split.weights)
    size = data.batch_size
    steps = max(images // trainer.world_size // size, 1)  # the rest of an epoch is left out
    side = "x".join(map(str, data.image_shape[1:]))
    yield "batches", f"{size} of {images} images for training, {side} pixels: {steps} an epoch"
    network: nn.Module
    support: Support | None = None
    if isinstance(model, TournamentSearch):
        length, unit = model.weight_training.seconds, "s"
        if length is None:
            length, unit = float(model.weight_training.steps or 0), " steps"
        yield "search", model.entry.announcement(Plan(model.tournament, model.entry.field, length), unit)
        key, name = model.entry.seeds[0]
        network = model.build_for(key)
        training = model.weight_training
    elif isinstance(model, TrainingModule):
        network, name, training = model.built, "the network", model.weight_training
    elif isinstance(model, SearchModule):
        network, name, training = model.network, "a network of the super-net", model.weight_training
        support = model.space.support(model.space.sample(np.random.default_rng(model.seed)))
    else:
        return
    device = trainer.strategy.root_device
    found = probe(network, training, torch.zeros(size, *data.image_shape), data.num_classes, device, support)
    if support is None:
        name += f" ({describe(network, data.image_shape)})"
    yield "a step", f"{1e3 * found.seconds:.3g} ms for {name}"
    yield "time", _time(training, trainer, steps, found.seconds, model)
    yield "memory", f"{found.bytes / 2**20:,.0f} MiB for training, beside the program and its libraries"


def _time(training: WeightTraining, trainer: Trainer, steps: int, step: float, model: LightningModule) -> str:
    if training.seconds is not None:
        return f"{training.seconds:.3g} seconds, enough for {training.seconds / step / steps:.0f} epochs of these steps"
    if training.steps is not None:
        return f"{training.steps:,} steps, about {training.steps * step:.3g} seconds"
    epochs = trainer.max_epochs or 0
    streams = 2 if isinstance(model, SearchModule) else 1
    each = " of weights and of the architecture" if streams == 2 else ""
    return f"{epochs} epochs, about {epochs * steps * step * streams:,.3g} seconds for their steps{each}"
