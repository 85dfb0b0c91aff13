"""The search result as files and in TensorBoard."""

import json
from contextlib import suppress
from math import isfinite, nan
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from sparsenas.callbacks.pictures import write_picture
from sparsenas.callbacks.tensorboard import summary_writers, trained_batches
from sparsenas.drawing import TournamentLine, draw_tournament, figure_bytes
from sparsenas.errors import SparseNASError
from sparsenas.files import write_atomically
from sparsenas.search import (
    OneStageSearch,
    Searcher,
    SearchModule,
    SearchResult,
    TournamentResult,
    TournamentSearch,
    compare_with_baselines,
)
from sparsenas.search.measured import Competitor
from sparsenas.search.searcher import ImageBatch
from sparsenas.trainer import is_dry_run, run_folder

#: Most validation images on which shared weights compare architectures.
IMAGES = 1000


class ResultReport(pl.Callback):
    """Write the search result: what was found, beside the references and random, and how sure that is.

    At the end of the search and of the fit, a :class:`~sparsenas.search.TournamentSearch` gets

    * ``<run>/result.json``: the :class:`~sparsenas.search.TournamentResult`; numbers that are not finite are ``null``;
    * ``<run>/result.png`` and ``result/tournament`` in TensorBoard: accuracies of all competitors over their training;
    * ``result/summary`` in TensorBoard: the summary, and a table of all competitors.

    At the end of the search, a searcher with shared weights gets a line of output, ``result.json`` and
    ``result/summary``: a :class:`~sparsenas.search.SharedResult` compares the found architecture with the largest one
    and random ones on at most :data:`IMAGES` validation images. Without such images, a line says so.

    Every file appears whole or not at all. Other models, random search and a ``fast_dev_run`` write nothing.
    """

    def __init__(self) -> None:
        self._kept: list[ImageBatch] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the images of another run, and write what a tournament has found: the training may be interrupted."""
        self._kept = []
        self._tell(trainer, pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the images of the last validation."""
        self._kept = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: ImageBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the first batches as they went into the network: data modules mix the classes in them."""
        if isinstance(pl_module, SearchModule) and pl_module.shares_weights and not trainer.sanity_checking:
            left = IMAGES - sum(len(labels) for _, labels in self._kept)
            images, labels = batch
            # no rest of a batch: its statistics would be those of a few images
            if left >= len(labels) or not self._kept:
                self._kept.append((images[:left].cpu(), labels[:left].cpu()))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare before the training phase of one-stage search, which ends shared weights."""
        if isinstance(pl_module, OneStageSearch) and not pl_module.searching:
            self._compare(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare while the progress bar still takes lines."""
        self._compare(trainer, pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the result of a tournament again, with the training that followed."""
        accuracy = trainer.callback_metrics.get("val/acc")
        self._tell(trainer, pl_module, ended=True, accuracy=None if accuracy is None else float(accuracy))

    def _tell(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, ended: bool = False, accuracy: float | None = None
    ) -> None:
        """Write and draw the result of a tournament, at the end also to TensorBoard.

        Args:
            trainer: The trainer.
            pl_module: The model; others than tournaments write nothing.
            ended: True after the training.
            accuracy: Validation accuracy after it.
        """
        result = pl_module.result if isinstance(pl_module, Searcher) else None
        folder = _folder(trainer)
        if folder is None or not isinstance(result, TournamentResult):
            return
        assert isinstance(pl_module, TournamentSearch)
        _write(folder, pl_module, result)
        lines = [
            TournamentLine(
                other.name, [stop[0] for stop in other.stops], [stop[2] for stop in other.stops], other.is_reference
            )
            for other in result.competitors
        ]
        end = None if accuracy is None else (pl_module.trained, accuracy)
        figure = draw_tournament(lines, result.unit, end)
        write_picture(folder / "result.png", figure_bytes(figure))
        batches = trained_batches(trainer)
        for writer in summary_writers(trainer) if ended else ():
            writer.add_figure("result/tournament", figure, global_step=batches, close=False)
            writer.add_text("result/summary", _markdown(result), global_step=batches)

    def _compare(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare with baselines and write the result, if weights are shared and nothing else decided."""
        if not isinstance(pl_module, SearchModule) or not pl_module.shares_weights:
            return
        folder = _folder(trainer)
        if folder is None or pl_module.result is not None:
            return
        if not self._kept:
            pl_module.print("not compared with the largest architecture: no validation images were seen")
            return
        device = pl_module.device
        try:
            result = compare_with_baselines(pl_module, [(x.to(device), labels.to(device)) for x, labels in self._kept])
        except (SparseNASError, RuntimeError) as error:  # such as a lost latency table, or too little memory
            pl_module.print(f"not compared with the largest architecture: {error}")
            return
        pl_module.print(f"found: {result.summary}")
        _write(folder, pl_module, result)
        for writer in summary_writers(trainer):
            writer.add_text("result/summary", result.summary, global_step=trained_batches(trainer))


def _folder(trainer: pl.Trainer) -> Path | None:
    """Return the run's folder if this process and this run may write to it."""
    folder = run_folder(trainer)
    return folder if trainer.is_global_zero and not is_dry_run(trainer) else None


def _write(folder: Path, search: Searcher, result: SearchResult) -> None:
    with suppress(OSError):  # the message of the file says more
        folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_finite(result.to_plain(search.space)), indent=1, allow_nan=False)
    write_atomically(folder / "result.json", f"{text}\n".encode())


def _finite(value: Any) -> Any:
    """Replace every number that is not finite by None."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _markdown(result: TournamentResult) -> str:
    """Format the summary and all competitors as TensorBoard shows text."""
    head = (
        "network",
        "parameters",
        "MACs",
        "ms an image",
        f"{result.unit} of training",
        "validation loss",
        "right",
        "score",
    )
    rows = [head, ("---",) * len(head), *map(_row, result.competitors)]
    return f"{result.summary}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(competitor: Competitor) -> tuple[str, ...]:
    length, loss, accuracy = competitor.stops[-1] if competitor.stops else (0.0, nan, nan)
    ms = "" if competitor.milliseconds is None else f"{competitor.milliseconds:.2f}"
    size = f"{competitor.parameters:,}", f"{competitor.macs:,}", ms
    return competitor.name, *size, f"{length:.3g}", f"{loss:.3f}", f"{accuracy:.1%}", f"{competitor.score:+.2f}"
