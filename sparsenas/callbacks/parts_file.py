"""The part of every image as a file."""

import csv
import io
from typing import Any

import pytorch_lightning as pl

from sparsenas.files import write_atomically
from sparsenas.texts import readable
from sparsenas.trainer import is_dry_run, run_folder


class PartsFile(pl.Callback):
    """Write the part of every image to ``<run>/parts.csv`` when a fit begins: ``part,class,image``.

    The checkpoint keeps the same. For images that never change, such as the digits, nothing is written. Files that were
    left out because they cannot be read are in ``<run>/broken.txt``, a line each, with the reason.
    """

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file."""
        folder = run_folder(trainer)
        data: Any = getattr(trainer, "datamodule", None)  # set on the trainer, but not declared there
        grows = getattr(getattr(data, "source", None), "grows", False)
        if is_dry_run(trainer) or not trainer.is_global_zero or not grows:
            return
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("part", "class", "image"))
        writer.writerows((part, label, readable(name)) for part, label, name in data.parts.table())
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "parts.csv", text.getvalue().encode())
        broken = [f"{readable(name)}: {reason}\n" for name, reason in getattr(data.source, "broken", ())]
        if broken:
            write_atomically(folder / "broken.txt", "".join(broken).encode("utf-8", "backslashreplace"))
