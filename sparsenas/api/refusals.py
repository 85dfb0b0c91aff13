"""Refusals that Lightning raises on purpose, told apart from defects, and settings that cannot work here."""

import dis
import re
from types import FrameType

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import BackboneFinetuning, LearningRateFinder

from sparsenas.errors import ConfigError
from sparsenas.search import TournamentSearch
from sparsenas.trainer import callbacks_of

#: Exceptions by which Lightning speaks to its user; the others it raises may as well come from a defect of ours.
_SPOKEN = (RuntimeError, ValueError, TypeError, ImportError, OSError)
_LIGHTNING = {"pytorch_lightning", "lightning_fabric", "lightning_utilities"}
#: Most characters of a message, which ends with a sentence.
_LONGEST = 400


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


def check_trainer(trainer: Trainer, model: LightningModule, trains: bool) -> None:
    """Check what Lightning leaves unchecked: that something happens, and callbacks find what they change.

    Raises:
        ConfigError: If a callback wants an attribute that no model has, or a number is 0.
    """
    if trainer.accumulate_grad_batches < 1:
        raise ConfigError(
            f"trainer.accumulate_grad_batches is {trainer.accumulate_grad_batches}; use 1, or more to add up gradients"
        )
    for name in ("max_epochs", "limit_train_batches", "check_val_every_n_epoch") if trains else ():
        value = getattr(trainer, name)
        if name == "max_epochs" and isinstance(model, TournamentSearch):
            continue  # it searches, and trains nothing
        if value is not None and value == 0:
            raise ConfigError(f"trainer.{name} is 0, so that nothing would happen; use a positive number")
    for callback in callbacks_of(trainer, Callback):
        if isinstance(callback, BackboneFinetuning):
            raise ConfigError(
                f"trainer.callbacks: {type(callback).__name__} is not supported, as no model has a backbone; "
                "leave it out"
            )
        if isinstance(callback, LearningRateFinder):
            raise ConfigError(
                f"trainer.callbacks: {type(callback).__name__} is not supported, as no model has an attribute "
                "learning_rate; leave it out, and set model.training.optimizer.init_args.lr"
            )
