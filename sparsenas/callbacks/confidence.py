"""How sure a search is, as files and in TensorBoard."""

import json
from contextlib import suppress
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from sparsenas.callbacks.tensorboard import summary_writers, trained_batches
from sparsenas.drawing import draw_choice_shares, figure_bytes
from sparsenas.errors import SparseNASError
from sparsenas.files import write_atomically
from sparsenas.search import OneStageSearch, Rivalry, compare_with_trivial
from sparsenas.search.base import ImageBatch, SearchModule
from sparsenas.search.measuring import NO_BETTER, Conclusion, Evidence
from sparsenas.spaces import SearchSpace, Support

#: Validation images, at most, on which shared weights compare architectures.
IMAGES = 1000


class ConfidenceReport(pl.Callback):
    """Write down how sure a search is, and how what it found compares with what needs no search.

    When the fit ends, a search that has a ``conclusion``, as :class:`~sparsenas.search.MeasuredSearch` does, gets

    * ``<run>/confidence.json``: the :class:`~sparsenas.search.measuring.Conclusion`, with architectures as genotypes;
      what is no finite number is ``null``. The run's folder is the logger's, or the trainer's ``default_root_dir``
      where there is no logger;
    * ``<run>/confidence.png`` and, in TensorBoard, ``confidence/chosen``: how often each candidate was in the best
      architecture of a bootstrap, beside those that were found;
    * ``confidence/verdict`` in TensorBoard: the verdict, and a table of what speaks for each signal.

    When the search ends, one whose weights are shared by many architectures gets

    * a line of output, ``confidence.json`` and ``confidence/verdict``: the found architecture beside the largest one
      and random ones, with these weights on at most :data:`IMAGES` validation images, see
      :class:`~sparsenas.search.Rivalry`. Where it cannot be, as the run has seen no such images (one that was resumed
      right at the end of its search has not), a line says so: a report ends no run.

    Every file appears whole or not at all. Other models, a search by measurement that was cut short too early to
    conclude anything, random search and a ``fast_dev_run`` write nothing.
    """

    def __init__(self) -> None:
        self._kept: list[ImageBatch] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the images of another run."""
        self._kept = []

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
        """Keep the first images, as they went into the network."""
        if isinstance(pl_module, SearchModule) and pl_module.shares_weights and not trainer.sanity_checking:
            left = IMAGES - sum(len(labels) for _, labels in self._kept)
            if left > 0:
                images, labels = batch
                self._kept.append((images[:left].cpu(), labels[:left].cpu()))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare as long as one-stage search has its shared weights: before its training phase begins.

        Raises:
            ConfigError: If a file cannot be written.
        """
        if isinstance(pl_module, OneStageSearch) and not pl_module.searching:
            self._compare(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare while the progress bar still takes lines.

        Raises:
            ConfigError: If a file cannot be written.
        """
        self._compare(trainer, pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write; not when the training ends, as a search that was cut short concludes after its callbacks heard that.

        Raises:
            ConfigError: If a file cannot be written.
        """
        conclusion = getattr(pl_module, "conclusion", None)  # a property of some searches only
        if not isinstance(pl_module, SearchModule) or not isinstance(conclusion, Conclusion):
            return
        folder = _folder(trainer)
        if folder is None:
            return
        _write(folder, _plain(pl_module.space, conclusion))
        compared = f"{conclusion.considered} compared" if conclusion.considered else NO_BETTER
        title = f"{conclusion.measured} architectures measured, {compared}"
        figure = draw_choice_shares(pl_module.space.blocks, conclusion.chosen, conclusion.support, title)
        write_atomically(folder / "confidence.png", figure_bytes(figure))
        batches = trained_batches(trainer)
        for writer in summary_writers(trainer):
            writer.add_figure("confidence/chosen", figure, global_step=batches, close=False)
            writer.add_text("confidence/verdict", _markdown(conclusion), global_step=batches)

    def _compare(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare with trivial architectures and write that down, if weights are shared and nothing else decided."""
        if not isinstance(pl_module, SearchModule) or not pl_module.shares_weights:
            return
        folder = _folder(trainer)
        if folder is None or getattr(pl_module, "conclusion", None) is not None:
            return
        if not self._kept:
            pl_module.print("not compared with the largest cell: no validation images were seen")
            return
        device = pl_module.device
        try:
            rivalry = compare_with_trivial(pl_module, [(x.to(device), labels.to(device)) for x, labels in self._kept])
        except (SparseNASError, RuntimeError) as error:  # such as a lost latency table, or too little memory
            pl_module.print(f"not compared with the largest cell: {error}")
            return
        pl_module.print(f"found: {rivalry.verdict}")
        _write(folder, _compared(pl_module.space, rivalry))
        for writer in summary_writers(trainer):
            writer.add_text("confidence/verdict", rivalry.verdict, global_step=trained_batches(trainer))


def _folder(trainer: pl.Trainer) -> Path | None:
    """The run's folder, for the process and the run that may write to it."""
    folder = Path(trainer.log_dir or trainer.default_root_dir)  # on every rank: Lightning broadcasts the answer
    dry = getattr(trainer, "fast_dev_run", False)  # set on the trainer, but not declared there
    return folder if trainer.is_global_zero and not dry else None


def _write(folder: Path, content: dict[str, Any]) -> None:
    with suppress(OSError):  # the message of the file says more
        folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_finite(content), indent=1, allow_nan=False)
    write_atomically(folder / "confidence.json", f"{text}\n".encode())


def _compared(space: SearchSpace, rivalry: Rivalry) -> dict[str, Any]:
    """A comparison with trivial architectures as what JSON knows."""
    return {
        "verdict": rivalry.verdict,
        "found": {"genotype": json.loads(space.genotype(rivalry.support).to_json()), "loss": rivalry.loss},
        "largest": {"genotype": json.loads(space.genotype(rivalry.largest).to_json()), "loss": rivalry.largest_loss},
        "random": {"losses": list(rivalry.random_losses)},
        "beats_largest": rivalry.beats_largest,
        "beats_random": rivalry.beats_random,
        "images": rivalry.images,
    }


def _plain(space: SearchSpace, conclusion: Conclusion) -> dict[str, Any]:
    """A conclusion as what JSON knows."""

    def genotype(support: Support) -> Any:
        return json.loads(space.genotype(support).to_json())

    chosen: dict[str, dict[str, dict[str, float]]] = {}
    for block, shares in zip(space.blocks, conclusion.chosen, strict=True):
        for candidate, share in zip(block.candidates, shares, strict=True):
            edge = f"edge {candidate.source}->{candidate.target}"
            chosen.setdefault(block.cell, {}).setdefault(edge, {})[candidate.primitive] = share
    return {
        "verdict": conclusion.verdict,
        "found": genotype(conclusion.support),
        "score": conclusion.score,
        "best": genotype(conclusion.best),
        "runner_up": {"genotype": genotype(conclusion.runner_up), "gap": conclusion.gap},
        "largest": {"genotype": genotype(conclusion.largest), "score": conclusion.largest_score},
        "beats_largest": None if conclusion.measured_once else conclusion.beats_largest,
        "explained": conclusion.explained,
        "measured": conclusion.measured,
        "considered": conclusion.considered,
        "evidence": [asdict(item) for item in conclusion.evidence],
        "chosen": chosen,
    }


def _finite(value: Any) -> Any:
    """The same with ``None`` for every number that is not finite."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _markdown(conclusion: Conclusion) -> str:
    """The verdict and the evidence, as TensorBoard shows text."""
    head = ("signal", "stability", "agreement with the others", "agreement with trainings", "used")
    rows = [head, ("---",) * len(head), *map(_row, conclusion.evidence)]
    return f"{conclusion.verdict}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(item: Evidence) -> tuple[str, ...]:
    training = _number(item.training) + ("" if item.training is None else f" ({item.trained} trained)")
    used = "yes" if item.trusted else f"no: {item.why}"
    return item.signal, _number(item.stability), _number(item.consensus), training, used


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
