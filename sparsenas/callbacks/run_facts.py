"""Facts of a run, from its trainer, model and images, as plain data for its report."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import nn

from sparsenas.complexity import describe
from sparsenas.drawing import picture_size
from sparsenas.errors import CheckpointError
from sparsenas.latency.timing import times
from sparsenas.reporting import Evaluation, NetworkRow
from sparsenas.search import OneStageSearch, Searcher, SearchModule, TournamentResult, TournamentSearch
from sparsenas.spaces import REFERENCES
from sparsenas.trainer import best_checkpoint
from sparsenas.training import NetworkTraining

#: Runs whose median is the time of an image.
TIMED = 9


def asked(trainer: pl.Trainer, model: pl.LightningModule, data: Any) -> Iterator[tuple[str, str]]:
    """Yield name and value of what a run was asked for, as far as model and data say it."""
    yield "method", type(model).__name__
    space, budget = getattr(model, "space", None), getattr(model, "budget", None)
    if space is not None:
        yield "search space", space.name
    elif (reference := _reference(model)) is not None:
        yield "network", f"{reference}, made by hand"
    if budget is not None:
        yield "budget", str(budget) or "no limit"
    if length := _length(trainer, model):
        yield "length", length
    if data is not None and hasattr(data, "source"):
        yield "images", data.source.name
        yield "image shape", "x".join(map(str, data.image_shape))
        yield "batch size", str(data.batch_size)
    if hasattr(model, "seed"):
        yield "seed", str(model.seed)
    processes = f", {trainer.world_size} processes" if trainer.world_size > 1 else ""
    yield "device", f"{trainer.strategy.root_device.type}{processes}, precision {trainer.precision}"


def _reference(model: Any) -> str | None:
    """Return the name of the reference network that a module trains; ``None`` if it is none."""
    genotype = getattr(model, "genotype", None) if isinstance(model, NetworkTraining) else None
    return next((name for name, reference in REFERENCES.items() if reference.genotype == genotype), None)


def _length(trainer: pl.Trainer, model: Any) -> str:
    """Say for how long search and training were to go on; empty where nothing is trained."""
    if trainer.state.fn != "fit" and not trainer.fit_loop.epoch_loop.batch_progress.total.ready:
        return ""
    result = getattr(model, "result", None)
    if isinstance(result, TournamentResult):
        return f"{result.length:.4g} {result.unit} for search and training"
    training = getattr(model, "weight_training", None)
    if training is None or training.by_epochs:
        return f"{trainer.max_epochs} epochs"
    return f"{training.steps} steps" if training.steps is not None else f"{training.seconds:.4g} seconds"


def network_of(model: Any) -> nn.Module | None:
    """Return the network that a run has found, trained or not; ``None`` if there is none."""
    with suppress(CheckpointError):
        if hasattr(model, "deployable"):
            return model.deployable()  # type: ignore[no-any-return]  # of any module of this kind
    if isinstance(model, SearchModule):
        return model.network.untrained(model.genotype)
    return None


def found_row(trainer: pl.Trainer, model: Any) -> NetworkRow | None:
    """Measure size and time of what a run has found; accuracies are not known here."""
    with isolate_rng(), torch.inference_mode():
        network, device = network_of(model), trainer.strategy.root_device
        shape = picture_size(network).get("image_shape")
        if network is None or shape is None:
            return None
        size = describe(network, shape)
        network = network.to(device).to(memory_format=torch.channels_last).eval()
        image = torch.zeros(1, *shape, device=device, dtype=next(network.parameters()).dtype)
        ms = times({0: partial(network, image)}, TIMED, device)[0]
    result = getattr(model, "result", None)
    name = result.found.name if isinstance(result, TournamentResult) else _reference(model) or "this network"
    kind = "found" if isinstance(model, Searcher) else "trained"
    return NetworkRow(
        name=name,
        kind=kind,
        parameters=size.parameters,
        macs=size.macs,
        milliseconds=ms,
        trained=_trained(trainer, model),
    )


def _trained(trainer: pl.Trainer, model: Any) -> str:
    """Say for how long a network was trained; empty if this run did not train it, and for shared weights."""
    if not trainer.fit_loop.epoch_loop.batch_progress.total.ready or not is_own(model):
        return ""
    if isinstance(model, TournamentSearch):
        return f"{model.trained:.3g} {'steps' if model.weight_training.steps is not None else 'seconds'}"
    training = getattr(model, "weight_training", None)
    return f"{trainer.current_epoch} epochs" if training is None or training.by_epochs else _length(trainer, model)


def is_own(model: pl.LightningModule) -> bool:
    """True if accuracies are those of a network with weights of its own."""
    return not isinstance(model, SearchModule) or not model.shares_weights


def competitors(model: Any) -> list[NetworkRow]:
    """List who competed in a tournament, each as it was when it was stopped."""
    result = getattr(model, "result", None)
    if not isinstance(result, TournamentResult):
        return []
    return [
        NetworkRow(
            name=other.name,
            kind="reference" if other.is_reference else other.origin,
            parameters=other.parameters,
            macs=other.macs,
            milliseconds=other.milliseconds,
            trained=f"{other.stops[-1][0]:.3g} {result.unit}" if other.stops else "",
            val=other.stops[-1][2] if other.stops else None,
        )
        for other in result.competitors
    ]


def networks_of(
    found: NetworkRow | None,
    curves: Mapping[str, Sequence[tuple[float, float]]],
    evaluation: Evaluation | None,
    others: Sequence[NetworkRow],
    name: str,
    outdated: bool,
) -> list[NetworkRow]:
    """List what was found with its accuracies, then its competitors, which were timed together with it.

    Args:
        found: What was found; ``None`` if there is no network.
        curves: Losses and accuracies over training batches.
        evaluation: Logits of what was found.
        others: The competitors.
        name: Name of what was found among them; empty without competitors.
        outdated: True if the last validation was of earlier weights.
    """
    if found is None:
        return []
    val = curves["val/acc"][-1][1] if curves.get("val/acc") and not outdated else None
    test = evaluation.report.accuracy if evaluation is not None and evaluation.part == "test" else None
    timed = next((row.milliseconds for row in others if row.name == name), found.milliseconds)
    return [replace(found, name=name or found.name, val=val, test=test, milliseconds=timed), *others]


def file_names(data: Any, part: str) -> Mapping[int, str] | None:
    """Return the file of each image of a part, by its place; ``None`` if they are no files."""
    if not hasattr(data, "parts"):
        return None
    if part == "test":
        return None if data.parts.test_files is None else dict(enumerate(data.parts.test_files))
    if data.source.files("train") is None:
        return None
    return dict(zip(data.parts.val.indices.tolist(), data.parts.val.names, strict=True))


def title_of(data: Any) -> str:
    """Return the name of the images: the last part of a path."""
    name = getattr(getattr(data, "source", None), "name", "")
    return Path(name).name or name


def summary_of(model: Any, folder: Path) -> str:
    """Return the search result in words: the model's own, or what a callback has written of shared weights."""
    if not isinstance(model, Searcher):
        return ""
    if model.result is not None:
        return model.result.summary
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((folder / "result.json").read_text(encoding="utf-8"))["summary"])
    return ""


def usage(trainer: pl.Trainer, model: Any, folder: Path, told: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield what to do next, each with its command.

    Args:
        trainer: The trainer.
        model: The model.
        folder: Folder of the run.
        told: Commands that the command line prints.
    """
    program = ("python", "-m", "sparsenas")
    checkpoint = best_checkpoint(trainer, newest=isinstance(model, OneStageSearch))
    if checkpoint is None and trainer.state.fn != "fit" and trainer.ckpt_path is not None:
        checkpoint = Path(trainer.ckpt_path)  # that of the network which was tested
    if checkpoint is not None and is_own(model) and hasattr(model, "deployable"):
        export = shlex.join([*program, "export", str(checkpoint), "--to", str(folder / "export")])
        yield from (("Go on.", command) for command in told if command != export)
        yield "Write the network to files for use elsewhere.", export
        predict = shlex.join([*program, "predict", str(folder / "export"), "NEW_IMAGES"])
        yield "Then classify image files, or all images of a folder.", predict
        return
    yield from (("Go on.", command) for command in told)
    genotype = folder / "genotype.json"
    if not told and isinstance(model, Searcher) and genotype.is_file():
        train = shlex.join([*program, "fit", "--config", "train_images", "--model.genotype", str(genotype)])
        yield "Train the architecture on your images.", f"{train} --data.path PHOTOS"
