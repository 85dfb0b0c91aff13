"""Refusals that Lightning raises on purpose, told apart from defects, and settings that cannot work here."""

import dis
import re
from collections.abc import Mapping
from types import FrameType
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    EarlyStopping,
    LearningRateFinder,
    ModelCheckpoint,
    StochasticWeightAveraging,
    Timer,
)
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy

from sparsenas.errors import ConfigError
from sparsenas.search import SearchModule, TournamentSearch
from sparsenas.trainer import callbacks_of
from sparsenas.training import TrainingModule

#: Exceptions by which Lightning speaks to its user; the others it raises may as well come from a defect of ours.
_SPOKEN = (RuntimeError, ValueError, TypeError, ImportError, OSError)
_LIGHTNING = {"pytorch_lightning", "lightning_fabric", "lightning_utilities"}
#: Most characters of a message, which ends with a sentence.
_LONGEST = 400
#: Least values of options of the trainer that Lightning takes as they are, and what to do about smaller ones.
_LEAST = {
    "accumulate_grad_batches": (1, "use 1, or more to add up gradients"),
    "check_val_every_n_epoch": (1, "use 1 or more"),
    "val_check_interval": (1e-9, "use a positive number, or leave it out to validate after every epoch"),
    "gradient_clip_val": (0, "use a positive number, or 0 for no clipping"),
    "log_every_n_steps": (0, "use a positive number, or 0 to log no steps"),
    "num_sanity_val_steps": (-1, "use 0 or more, or -1 for all batches"),
    "min_epochs": (0, "use 0 or more"),
    "min_steps": (0, "use 0 or more"),
}
#: Strategies that split the weights of one network over processes.
_SHARDED = (FSDPStrategy, DeepSpeedStrategy, ModelParallelStrategy)
#: Most processes that read images; the largest machines have about so many cores.
MOST_WORKERS = 256
#: Units of ``trainer.max_time``.
_UNITS = ("weeks", "days", "hours", "minutes", "seconds")
#: Options that say how much a command does.
_LENGTHS = {
    "fit": ("max_epochs", "max_steps", "limit_train_batches"),
    "validate": ("limit_val_batches",),
    "test": ("limit_test_batches",),
    "predict": ("limit_predict_batches",),
}
#: Callbacks that change what no model or data has, what that is, and what to do instead.
_LACKS = (
    (BackboneFinetuning, "a backbone", "leave it out"),
    (
        LearningRateFinder,
        "an attribute learning_rate",
        "leave it out, and set model.training.optimizer.init_args.lr",
    ),
    (BatchSizeFinder, "a batch size that could change", "leave it out, and set data.batch_size"),
)


def refusal(error: BaseException) -> str | None:
    """Return what Lightning says by an exception that its own code raised; ``None`` for other exceptions."""
    trace = error.__traceback__
    if trace is None or not isinstance(error, _SPOKEN):
        return None
    while trace.tb_next is not None:
        trace = trace.tb_next
    frame = trace.tb_frame
    room = str(frame.f_globals.get("__name__")).partition(".")[0]
    raised = frame.f_code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    return f"{one_line(str(error))} ({_where(frame)})" if raised and room in _LIGHTNING else None


def one_line(message: str) -> str:
    """The first sentences of a message, on one line, with objects by the name of their class."""
    text = " ".join(re.sub(r"<(?:\w+\.)*(\w+) object at 0x\w+>", r"\1", message).split())
    if len(text) > _LONGEST:
        end = text.rfind(". ", 0, _LONGEST)
        text = text[:end] if end > 0 else f"{text[:_LONGEST]}..."
    return text.rstrip(".")


def _where(frame: FrameType | None) -> str:
    """The callback that raised, or the options of the trainer."""
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in _LIGHTNING:
        speaker = frame.f_locals.get("self")
        if isinstance(speaker, Callback):
            return f"trainer.callbacks: {type(speaker).__name__}"
        frame = frame.f_back
    return "options of the trainer"


def check_trainer(trainer: Trainer, model: LightningModule, command: str | None, multilabel: bool) -> None:
    """Check what Lightning leaves unchecked: that something happens, and callbacks find what they change.

    Args:
        trainer: The trainer.
        model: What it runs.
        command: ``"fit"``, ``"validate"``, ``"test"`` or ``"predict"``; ``None`` if that is not known yet.
        multilabel: True if images have any number of labels.

    Raises:
        ConfigError: If a number is out of range, an option would do nothing, or a callback or a strategy cannot work.
    """
    _check_numbers(trainer)
    for name in _LENGTHS.get(command or "", ()):
        value = getattr(trainer, name)
        if name == "max_epochs" and isinstance(model, TournamentSearch):
            continue  # it searches, and trains nothing
        if value is not None and value == 0:
            raise ConfigError(f"trainer.{name} is 0, so that nothing would happen; use a positive number")
    if command == "fit":
        _check_length(trainer)
        _check_steps(trainer, model, multilabel)
    start = getattr(trainer.strategy, "_start_method", None)
    if start in ("spawn", "forkserver"):
        raise ConfigError(
            f"trainer.strategy starts processes by {start}, which would need copies of all options as objects; use ddp"
        )
    if getattr(trainer.strategy, "_layer_sync", None) is not None:
        raise ConfigError(
            "trainer.sync_batchnorm is true, which replaces all batch-norms by a class that knows neither architecture "
            "weights nor recalibration; leave it out"
        )
    if isinstance(trainer.strategy, _SHARDED):
        raise ConfigError(
            f"trainer.strategy is {type(trainer.strategy).__name__}, which splits weights over processes; recoveries "
            "and exports read whole ones: use ddp for a training, ddp_find_unused_parameters_true for a search"
        )


def check_workers(data: Any) -> None:
    """Check that images are read by no more processes than a machine bears.

    Raises:
        ConfigError: If there are more.
    """
    workers = getattr(data, "num_workers", 0)
    if isinstance(workers, int) and workers > MOST_WORKERS:
        raise ConfigError(
            f"data.num_workers is {workers}; each is a process: use at most {MOST_WORKERS}, better one per core"
        )


def check_max_time(length: Any) -> None:
    """Check the units of a length in time that is given as a dictionary; Lightning names no option.

    Raises:
        ConfigError: If one is unknown.
    """
    for unit in length if isinstance(length, Mapping) else ():
        if unit not in _UNITS:
            raise ConfigError(f"trainer.max_time: unknown unit {unit!r}; use {', '.join(_UNITS)}")


def _check_numbers(trainer: Trainer) -> None:
    """Check numbers that would divide by 0, or be as if they were left out."""
    for name, (least, advice) in _LEAST.items():
        value = getattr(trainer, name)
        if isinstance(value, (int, float)) and value < least:
            raise ConfigError(f"trainer.{name} is {value}; {advice}")


def _check_length(trainer: Trainer) -> None:
    """Check lengths of a fit that contradict one another, or are over before it begins."""
    for timer in callbacks_of(trainer, Timer):
        left = timer.time_remaining()
        if left is not None and left <= 0:
            raise ConfigError(f"trainer.max_time is {left:g} seconds, so that nothing would happen; give a longer time")
    most, least = trainer.max_epochs, trainer.min_epochs
    if least is not None and most is not None and 0 < most < least:
        raise ConfigError(f"trainer.min_epochs is {least}, more than the {most} of trainer.max_epochs; change one")


def _check_steps(trainer: Trainer, model: LightningModule, multilabel: bool) -> None:
    """Check options of the steps of searches, which they make themselves, and the callbacks."""
    if not model.automatic_optimization:
        if trainer.gradient_clip_val is not None:
            raise ConfigError(
                f"trainer.gradient_clip_val is {trainer.gradient_clip_val}, which {type(model).__name__} does not use; "
                "set model.training.gradient_clip"
            )
        if trainer.accumulate_grad_batches != 1:
            raise ConfigError(
                f"trainer.accumulate_grad_batches is {trainer.accumulate_grad_batches}, which {type(model).__name__} "
                "does not use; leave it out"
            )
    for callback in callbacks_of(trainer, Callback):
        for kind, lacks, instead in _LACKS:
            if isinstance(callback, kind):
                raise ConfigError(
                    f"trainer.callbacks: {type(callback).__name__} is not supported, as no model has {lacks}; {instead}"
                )
        if isinstance(callback, EarlyStopping) and callback.patience < 0:
            raise ConfigError(f"trainer.callbacks: EarlyStopping: patience is {callback.patience}; use 0 or more")
        _check_monitor(trainer, model, callback, multilabel)
    for average in callbacks_of(trainer, StochasticWeightAveraging):
        begin, epochs = average._swa_epoch_start, trainer.max_epochs or 0
        if isinstance(begin, int) and 0 < epochs <= begin:
            raise ConfigError(
                f"trainer.callbacks: StochasticWeightAveraging: swa_epoch_start is {begin}, but the run has {epochs} "
                "epochs, so that nothing would be averaged; use a smaller number, or a share"
            )


def _check_monitor(trainer: Trainer, model: LightningModule, callback: Callback, multilabel: bool) -> None:
    """Check that the metric of a callback is one that is logged, unless classes of others may log it."""
    monitor = getattr(callback, "monitor", None)
    if not isinstance(monitor, str) or not isinstance(model, (TrainingModule, SearchModule)):
        return
    rooms = {type(part).__module__.partition(".")[0] for part in (model, *callbacks_of(trainer, Callback))}
    counters = ("epoch", "step") if isinstance(callback, ModelCheckpoint) else ()
    logs = model.logs(multilabel)
    known = {*logs, *counters}
    if rooms <= {"sparsenas", *_LIGHTNING} and monitor not in known and not monitor.startswith("lr-"):
        raise ConfigError(
            f"trainer.callbacks: {type(callback).__name__}: monitor is {monitor!r}, but {type(model).__name__} logs "
            f"{', '.join(logs)}; use one of these"
        )
