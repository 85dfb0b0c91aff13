"""The best and the last checkpoint of a whole run, also of one that was resumed into another folder."""

import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from sparsenas.checkpoints import load
from sparsenas.errors import CheckpointError
from sparsenas.files import write_atomically
from sparsenas.texts import note
from sparsenas.trainer import is_dry_run


class WholeRunCheckpoints(pl.Callback):
    """Let a resumed run keep the best and the last checkpoint of the run before.

    A resumed run mostly gets a folder of its own, where Lightning forgets every score. So what counts is copied there
    before Lightning restores the states of its checkpoint callbacks. A checkpoint that is gone, or holds a later epoch
    than the one resumed from, is left out with a note.
    """

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Move the states of all checkpoint callbacks into the folders of this run."""
        states = checkpoint["callbacks"]
        for callback in trainer.checkpoint_callbacks:
            if not isinstance(callback, ModelCheckpoint) or not states.get(callback.state_key):
                continue
            if trainer.state.fn != "fit" or is_dry_run(trainer):
                del states[callback.state_key]  # nothing is saved, so no score is asked for
            else:
                # the first process copies, and all of them restore what it found
                moved = _moved(callback, checkpoint, Path(str(trainer.ckpt_path))) if trainer.is_global_zero else None
                states[callback.state_key] = trainer.strategy.broadcast(moved)


def _moved(callback: ModelCheckpoint, checkpoint: dict[str, Any], resumed: Path) -> dict[str, Any]:
    """Return the stored state of a callback as that of a run in its present folder, with files that are there."""
    state, folder = checkpoint["callbacks"][callback.state_key], str(callback.dirpath)
    before = str(state["dirpath"])
    moved = {**state, "dirpath": callback.dirpath}
    # the checkpoint resumed from is the last one; in the same folder, Lightning goes on by itself
    for name in ("last_model_path", *(["best_model_path"] if callback.monitor is None else [])):
        if state.get(name) and folder != before and resumed.is_file():
            moved[name] = _take(resumed, folder, _name(state[name], before))
    if callback.monitor is None:
        return moved
    best_first = sorted(state["best_k_models"].items(), key=lambda item: item[1], reverse=callback.mode == "max")
    kept: dict[str, Tensor] = {}
    lost = []
    for path, score in best_first[: None if callback.save_top_k < 0 else callback.save_top_k]:
        name = _name(path, before)
        # beside the checkpoint resumed from, where the whole folder was moved
        found = [file for file in (Path(path), resumed.parent / name) if _holds(file, callback, score, checkpoint)]
        if found:
            kept[_take(found[0], folder, name)] = score
        else:
            lost.append(f"{path} ({callback.monitor} {float(score):.4f})")
    if lost:
        note(
            f"gone, or overwritten by a later epoch: {', '.join(lost)}; the best is that of the checkpoints left, and "
            "of the epochs to come"
        )
    worst = torch.tensor(torch.inf if callback.mode == "min" else -torch.inf)
    best, last = next(iter(kept), ""), next(reversed(kept), "")
    scores = {"best_model_score": kept.get(best), "kth_value": kept.get(last, worst)}
    return {**moved, **scores, "best_k_models": kept, "best_model_path": best, "kth_best_model_path": last}


def _name(path: str, folder: str) -> str:
    """Name of a checkpoint in its folder; metrics in names, such as ``val/acc``, make subfolders."""
    name = os.path.relpath(path, folder)
    return os.path.basename(path) if name.startswith(os.pardir) else name


def _holds(path: Path, callback: ModelCheckpoint, score: Tensor, checkpoint: dict[str, Any]) -> bool:
    """Say if a file still is the checkpoint that had a score when ``checkpoint`` was written."""
    try:
        content = load(path)
        own = content.get("callbacks", {}).get(callback.state_key)  # not in files of weights only
        earlier: bool = content["global_step"] <= checkpoint["global_step"]
        return earlier and (own is None or float(own["current_score"]) == float(score))
    except (CheckpointError, KeyError, TypeError):
        return False


def _take(source: Path, folder: str, name: str) -> str:
    """Copy a checkpoint, and the genotype beside it, into a folder under a free name.

    Raises:
        ConfigError: If the folder cannot be written.
    """
    stem, number = name.removesuffix(ModelCheckpoint.FILE_EXTENSION), ModelCheckpoint.STARTING_VERSION
    target = os.path.join(folder, name)  # as Lightning writes it, which compares texts
    while os.path.exists(target):
        if os.path.samefile(source, target):
            return target
        target = os.path.join(folder, f"{stem}{ModelCheckpoint.CHECKPOINT_JOIN_CHAR}v{number}.ckpt")
        number += 1
    os.makedirs(os.path.dirname(target), exist_ok=True)
    copied = Path(target)
    for ending in (".ckpt", ".genotype.json", ".genotype.png"):
        file = source.with_name(f"{source.stem}{ending}")
        if file.is_file():
            copy = copied.with_name(f"{copied.stem}{ending}")
            write_atomically(copy, file.read_bytes())
            os.utime(copy, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))  # the last one stays the newest
    return target
