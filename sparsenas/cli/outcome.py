"""The last words of a run: the network found, its files, and the next commands."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from pytorch_lightning.callbacks import ModelCheckpoint, Timer
from pytorch_lightning.loggers import TensorBoardLogger

from sparsenas.api.shipped import shipped_configs
from sparsenas.cli.latency_check import latency_text
from sparsenas.cli.run_folder import CONFIG, same_folder
from sparsenas.complexity import describe
from sparsenas.networks import skeleton_of
from sparsenas.search import OneStageSearch, Searcher, SearchModule, TournamentSearch
from sparsenas.search.measured.record_file import NAME as MEASUREMENTS
from sparsenas.spaces import Genotype
from sparsenas.trainer import REPORT, best_checkpoint, callbacks_of, first_folder, folder_loggers
from sparsenas.training import TrainingModule

PROGRAM = "python -m sparsenas"
#: Searchers whose run ends with a trained network.
ONE_RUN = (OneStageSearch, TournamentSearch)


def summary(
    trainer: pl.Trainer, model: pl.LightningModule, config: Mapping[str, Any], metrics: Mapping[str, Any]
) -> str:
    """Text after ``fit``: accuracies, files, and the commands that follow.

    Args:
        trainer: Trainer that has fitted.
        model: Model that it fitted.
        config: Settings of the command.
        metrics: Last values by name.
    """
    rows: list[tuple[str, object]] = []
    best = best_checkpoint(trainer, newest=isinstance(model, OneStageSearch))
    for name in ("val/map", "val/acc"):
        if name in metrics:
            rows.append((f"last {name}", f"{float(metrics[name]):.4f}"))
    # the result of a one-stage search are its last weights: accuracies of its two phases cannot be compared
    for callback in () if isinstance(model, OneStageSearch) else trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.best_model_score is not None:
            rows[:] = [(f"best {callback.monitor}", f"{float(callback.best_model_score):.4f}")]
    for name in ("test/map", "test/acc", "test/macro_f1"):
        if name in metrics:
            rows.append((name, f"{float(metrics[name]):.4f}"))
    if isinstance(model, (*ONE_RUN, TrainingModule)):
        rows.append(("network", cost(model)))
    latency = latency_text(model) if isinstance(model, Searcher) else None
    if latency is not None:
        rows.append(("latency", latency))
    folder = first_folder(trainer)
    genotype = folder / "genotype.json"
    if isinstance(model, Searcher) and genotype.is_file():
        rows.append(("genotype", genotype))
    if best is not None:
        rows.append(("checkpoint", best))
    if (folder / REPORT).is_file():
        rows.append(("report", folder / REPORT))
    if any(isinstance(logger, TensorBoardLogger) for logger in trainer.loggers):
        rows.append(("figures", command_line("tensorboard", "--logdir", folder.parent)))
    return table([*rows, *(("next", line) for line in following(trainer, model, config))])


def following(trainer: pl.Trainer, model: pl.LightningModule, config: Mapping[str, Any]) -> Iterator[str]:
    """Commands that follow a fit; see :func:`summary`."""
    folder, checkpoint = first_folder(trainer), best_checkpoint(trainer, newest=isinstance(model, OneStageSearch))
    genotype, written = folder / "genotype.json", folder / CONFIG
    if trainer.interrupted:
        newest = best_checkpoint(trainer, newest=True)
        if newest is not None:
            yield resumption(trainer, newest)
    elif isinstance(model, ONE_RUN) and checkpoint is not None:
        if model.finished:
            yield command("export", checkpoint, "--to", folder / "export")
        else:
            yield resumption(trainer, checkpoint)
    elif isinstance(model, Searcher) and genotype.is_file():
        yield command("fit", *_training_of(genotype, config), *_adapted(model.genotype))
    elif isinstance(model, TrainingModule) and checkpoint is not None:
        yield command("test", "--config", written, "--ckpt_path", checkpoint)
        yield command("export", checkpoint, "--to", folder / "export")


def table(rows: Iterable[tuple[str, object]]) -> str:
    """Names and values in two columns."""
    return "\n".join(f"{name:<13} {value}" for name, value in rows)


def cost(model: pl.LightningModule) -> str:
    """Text with parameters and MACs of the network, of a search: of the network its genotype stands for."""
    network = model.network.untrained(model.genotype) if isinstance(model, SearchModule) else model
    return str(describe(network, tuple(model.hparams["image_shape"])))


def _training_of(genotype: Path, config: Mapping[str, Any]) -> list[object]:
    """Options that train a found genotype on the images it was found on."""
    data = config["data"]
    name = data["class_path"].rpartition(".")[2]
    known = _training_configs().get(name)
    options: list[object] = ["--config", known or "train_digits", "--model.genotype", genotype]
    if known is None:  # the config's own images are replaced; its small network runs anywhere
        options += ["--data", name]
    for source in ("path", "root", "size", "grey", "fit", "group_by", "skip_broken", "cross_validation"):
        value = (data.get("init_args") or {}).get(source)
        if value and (source, value) != ("fit", "auto"):
            options += [f"--data.{source}", str(dict(value) if isinstance(value, Mapping) else value)]
    return options


def _adapted(genotype: Genotype) -> Iterator[object]:
    """Options of the training configs, which are made for DARTS cells, that other networks do not take."""
    skeleton = skeleton_of(genotype.space).holding(dict(genotype.cells))
    if not skeleton.has_stems:
        yield from ("--model.network.stem", "cifar")
    if not skeleton.has_auxiliary:
        yield from ("--model.training.auxiliary_weight", 0)
    if skeleton.single_path:
        yield from ("--model.training.drop_path", 0)
    if skeleton.layers is not None:
        yield from ("--model.network.cells", "null")


def _training_configs() -> dict[str, str]:
    """Shipped training configs for one device, of networks whose width they give, by the class of their images."""
    configs = {}
    for config, path in shipped_configs().items():
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not config.startswith("train_") or settings["model"]["init_args"]["network"]["channels"] is None:
            continue
        if settings["trainer"]["devices"] == 1:
            configs[settings["data"]["class_path"].rpartition(".")[2]] = config
    return configs


def measuring_again(trainer: pl.Trainer) -> str | None:
    """Command that goes on with a run which ended while it measured; ``None`` for others."""
    folder = first_folder(trainer)
    if not (folder / MEASUREMENTS).is_file():
        return None
    place = same_folder(folder) if folder_loggers(trainer) else ("--trainer.default_root_dir", folder)
    return command("fit", "--config", folder / CONFIG, *place)


def resumption(trainer: pl.Trainer, checkpoint: Path) -> str:
    """Command that goes on with a run."""
    config = first_folder(trainer) / CONFIG
    # a timer that has run out is restored as such, and would end the run at once
    timers = [timer.time_remaining() for timer in callbacks_of(trainer, Timer)]
    run_out = any(left is not None and left <= 0 for left in timers)
    clock = ["--trainer.max_time", "null"] if run_out else []
    return command("fit", "--config", config, "--ckpt_path", checkpoint, *clock)


def command(*words: object) -> str:
    """A command of sparsenas as a user types it."""
    return command_line(*PROGRAM.split(), *words)


def command_line(*words: object) -> str:
    """A command as a user types it, quoted where needed."""
    return shlex.join(str(word) for word in words)
