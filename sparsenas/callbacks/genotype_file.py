"""The genotype as files: in the folder of the run, and beside each checkpoint."""

from contextlib import suppress
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from sparsenas.callbacks.pictures import write_picture
from sparsenas.drawing import PictureSize, draw_genotype, figure_bytes, picture_size
from sparsenas.errors import ConfigError
from sparsenas.files import write_atomically
from sparsenas.search import Searcher, SearchModule
from sparsenas.spaces import Genotype
from sparsenas.trainer import is_dry_run, run_folder


class GenotypeFile(pl.Callback):
    """Write the genotype to the run's folder and beside each checkpoint.

    * ``<run>/genotype.json`` is the present genotype of the search; at the end, the result.
    * ``<stem>.genotype.json`` beside ``<stem>.ckpt`` is the genotype in that checkpoint. It is written when the next
      batch begins, because Lightning saves checkpoints after all other callbacks. It goes away with its checkpoint.
    * When the run ends, also by an error, each of them gets its picture, a ``.png`` file.

    Every file appears whole or not at all. A ``fast_dev_run`` writes nothing.

    Args:
        figures: Write the ``.png`` files.
    """

    def __init__(self, figures: bool = True) -> None:
        super().__init__()
        self.figures = figures
        self._folder: Path | None = None
        self._written: Genotype | None = None
        self._saved: Genotype | None = None  # in a checkpoint whose name is not known yet
        self._checkpoints: dict[Path, int] = {}  # times of writing
        self._undrawn: dict[Path, Genotype] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Find the run's folder."""
        folder = run_folder(trainer)
        writes = stage == "fit" and trainer.is_global_zero and not is_dry_run(trainer)
        self._folder = folder if writes and isinstance(pl_module, Searcher) else None
        self._written = self._saved = None
        self._undrawn = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the result of measuring, also if nothing is trained."""
        if not isinstance(pl_module, SearchModule):
            self._write(pl_module)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the first genotype of the search; checkpoints of a resumed run keep their files."""
        self._checkpoints = _checkpoints(trainer)
        self._write(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the validated genotype."""
        self._write(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the genotype of the epoch."""
        self._write(pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, object]
    ) -> None:
        """Remember the genotype of a checkpoint until its name is known."""
        if self._folder is not None and isinstance(pl_module, Searcher):
            self._saved = pl_module.genotype

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Write beside the checkpoints saved since the last batch."""
        self._write_beside_checkpoints(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the result."""
        self._write(pl_module)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write beside the last checkpoints, and draw."""
        self._write_beside_checkpoints(trainer)
        self._draw(picture_size(getattr(pl_module, "network", None)))

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Keep the genotype found so far."""
        with suppress(ConfigError):  # a full disk must not hide the error that ended the run
            self._write(pl_module)
            self._write_beside_checkpoints(trainer)
            self._draw(picture_size(getattr(pl_module, "network", None)))

    def _write(self, pl_module: pl.LightningModule) -> None:
        if self._folder is None or not isinstance(pl_module, Searcher):
            return
        genotype = pl_module.genotype
        if genotype == self._written:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = f"cannot make the run's folder ({error.strerror}); set trainer.default_root_dir to a writable one"
            raise ConfigError(f"{self._folder}: {reason}") from error
        self._write_files(self._folder / "genotype", genotype)
        self._written = genotype

    def _write_beside_checkpoints(self, trainer: pl.Trainer) -> None:
        if self._saved is None:
            return
        now = _checkpoints(trainer)
        for path, time in now.items():
            if self._checkpoints.get(path) != time:
                self._write_files(path.with_name(f"{path.stem}.genotype"), self._saved)
        for path in self._checkpoints.keys() - now.keys():
            for suffix in (".json", ".png"):
                path.with_name(f"{path.stem}.genotype{suffix}").unlink(missing_ok=True)
        self._checkpoints, self._saved = now, None

    def _write_files(self, stem: Path, genotype: Genotype) -> None:
        # not with_suffix: the names of checkpoints hold dots, as in "epoch=3-acc=0.97"
        write_atomically(stem.with_name(f"{stem.name}.json"), genotype.to_json().encode())
        picture = stem.with_name(f"{stem.name}.png")
        picture.unlink(missing_ok=True)  # it shows another genotype
        if self.figures:
            self._undrawn[picture] = genotype

    def _draw(self, size: PictureSize) -> None:
        """Draw every genotype once, for all files that still hold it."""
        pictures: dict[Genotype, bytes] = {}
        for path, genotype in self._undrawn.items():
            if path.with_suffix(".json").exists():
                if genotype not in pictures:
                    pictures[genotype] = figure_bytes(draw_genotype(genotype, **size))
                write_picture(path, pictures[genotype])
        self._undrawn = {}


def _checkpoints(trainer: pl.Trainer) -> dict[Path, int]:
    """Return all checkpoints in the trainer's checkpoint folders, with their times of writing.

    Lightning does not remember every checkpoint it keeps (``save_top_k: -1``), and ``{epoch}-{val/acc:.2f}`` makes
    subfolders.
    """
    folders = {c.dirpath for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.dirpath}
    found = [path for folder in folders for path in Path(folder).rglob(f"*{ModelCheckpoint.FILE_EXTENSION}")]
    return {path: path.stat().st_mtime_ns for path in found if path.is_file()}
