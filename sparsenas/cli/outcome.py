"""What a run says at its end: what was found, where it is, and what to do next."""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException

from sparsenas.cli.shipped import shipped_configs
from sparsenas.complexity import describe
from sparsenas.search import SearchModule
from sparsenas.training import StandAloneTraining

PROGRAM = "python -m sparsenas"


class Interruption(pl.Callback):
    """Remembers how to go on with a run that was stopped by Ctrl-C or SIGTERM.

    Attributes:
        code: Exit code, 128 + the signal's number; None if the run was not stopped.
        advice: Where the last checkpoint is, and the command that goes on from it.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self.advice = ""

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Take a note; Lightning then shuts the run down."""
        if isinstance(exception, KeyboardInterrupt):
            self.code = 130
        elif isinstance(exception, SIGTERMException):
            self.code = 143
        self.advice = how_to_go_on(trainer)


def how_to_go_on(trainer: pl.Trainer) -> str:
    """Text that names the last checkpoint of an unfinished run and the command that goes on from it."""
    if trainer.state.fn != "fit":
        return "sparsenas: interrupted"
    last = _last_checkpoint(trainer)
    if last is None:
        return "sparsenas: interrupted; no checkpoint had been written yet (one is written at the end of every epoch)"
    config = Path(trainer.log_dir or trainer.default_root_dir) / "config.yaml"
    return (
        f"sparsenas: interrupted; the last checkpoint is {last}\n"
        f"go on with: {_command('fit', '--config', config, '--ckpt_path', last)}"
    )


def summary(trainer: pl.Trainer, model: pl.LightningModule, config: Mapping[str, Any]) -> str:
    """Text after ``fit``: best validation accuracy, files, and the commands that follow.

    Args:
        trainer: Trainer that has fitted.
        model: Model that it fitted.
        config: Settings of the command.
    """
    rows: list[tuple[str, object]] = []
    checkpoint = trainer.checkpoint_callback
    if isinstance(checkpoint, ModelCheckpoint) and checkpoint.best_model_score is not None:
        rows.append((f"best {checkpoint.monitor}", f"{float(checkpoint.best_model_score):.4f}"))
    elif "val/acc" in trainer.callback_metrics:
        rows.append(("last val/acc", f"{float(trainer.callback_metrics['val/acc']):.4f}"))
    folder = Path(trainer.log_dir or trainer.default_root_dir)
    best = _best_checkpoint(trainer)
    genotype = folder / "genotype.json"
    found = isinstance(model, SearchModule) and genotype.is_file()
    if found:
        rows.append(("genotype", genotype))
    if best is not None:
        rows.append(("checkpoint", best))
    if trainer.loggers:
        rows.append(("figures", _command_line("tensorboard", "--logdir", folder.parent)))
    if found:
        rows.append(("next", _command("fit", *_training_of(genotype, config))))
    elif best is not None and isinstance(model, StandAloneTraining):
        rows.append(("next", _command("test", "--config", folder / "config.yaml", "--ckpt_path", best)))
    return table(rows)


def table(rows: Iterable[tuple[str, object]]) -> str:
    """Names and values in two columns."""
    return "\n".join(f"{name:<14}{value}" for name, value in rows)


def cost(model: pl.LightningModule) -> str:
    """Text with parameters and multiply-adds of the network, of a search: of the network its genotype stands for."""
    network = model.network.derive(model.genotype) if isinstance(model, SearchModule) else model
    return str(describe(network, tuple(model.hparams["image_shape"])))


def _training_of(genotype: Path, config: Mapping[str, Any]) -> list[object]:
    """Options that train a found genotype on the images it was found on."""
    data = config["data"]
    options: list[object] = ["--config", _training_config(data["class_path"]), "--model.genotype", genotype]
    for name in ("path", "root"):
        if (data.get("init_args") or {}).get(name):
            options += [f"--data.{name}", data["init_args"][name]]
    return options


def _training_config(data_class: str) -> str:
    """Shipped config that trains on a class of images; the digits' for images of the user's own."""
    name = data_class.rpartition(".")[2]
    for config, path in shipped_configs().items():
        if config.startswith("train_"):
            shipped = yaml.safe_load(path.read_text(encoding="utf-8"))
            if shipped["data"]["class_path"].rpartition(".")[2] == name:
                return config
    return "train_cifar10"


def _best_checkpoint(trainer: pl.Trainer) -> Path | None:
    return _first_file(getattr(callback, "best_model_path", "") for callback in trainer.checkpoint_callbacks)


def _last_checkpoint(trainer: pl.Trainer) -> Path | None:
    last = _first_file(getattr(callback, "last_model_path", "") for callback in trainer.checkpoint_callbacks)
    return last or _best_checkpoint(trainer)


def _first_file(names: Any) -> Path | None:
    return next((Path(name) for name in names if name and Path(name).is_file()), None)


def _command(*words: object) -> str:
    return _command_line(*PROGRAM.split(), *words)


def _command_line(*words: object) -> str:
    return shlex.join(str(word) for word in words)
