"""The report of a run, and the files beside it."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from sparsenas import __version__
from sparsenas.callbacks.evaluated import beside, drawn_confusion, drawn_mistakes, files_of, find_mistakes
from sparsenas.callbacks.gathered import Gathered
from sparsenas.callbacks.interrupted import LIMIT, at_most, is_interruption, place_in, stopped_at
from sparsenas.callbacks.loggers import log_pictures
from sparsenas.callbacks.run_facts import (
    asked,
    competitors,
    file_names,
    found_row,
    is_own,
    networks_of,
    summary_of,
    title_of,
    usage,
)
from sparsenas.callbacks.tensorboard import trained_batches
from sparsenas.drawing import (
    draw_curves,
    draw_genotype,
    figure_bytes,
    picture_size,
)
from sparsenas.files import write_atomically
from sparsenas.reporting import (
    Evaluation,
    NetworkRow,
    RunFacts,
    csv_bytes,
    network_rows,
    page,
)
from sparsenas.texts import note
from sparsenas.trainer import REPORT, is_dry_run, run_folder

#: Files that only a test writes.
OF_TESTS = ("predictions_test.csv", "classes.csv", "confusion.png", "mistakes.png")


class RunReport(pl.Callback):
    """Write what a run was asked for and what it found, at the end of a fit and of a test.

    The folder of the run gets ``report.html``, one page that needs no other file, ``curves.png`` and ``results.csv``;
    after a test also ``predictions_test.csv``, ``classes.csv``, ``confusion.png`` and ``mistakes.png``. The pictures go
    to TensorBoard, Weights & Biases and MLflow, too. Losses and accuracies are noted here at every validation, so that
    any logger will do, and are kept in the checkpoint.

    Batches stay on their device until the end. Of several processes, the first one writes. Where something goes wrong,
    a note says so, and the run goes on; a ``fast_dev_run`` writes nothing. A run that Ctrl-C or SIGTERM ends after a
    validation has a report, too, unless that takes longer than :data:`~sparsenas.callbacks.interrupted.LIMIT` seconds.

    Attributes:
        told: Gives the commands that the command line prints at the end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.told: Callable[[], Iterable[str]] = tuple
        self._folder: Path | None = None
        self._curves: dict[str, list[tuple[float, float]]] = {}
        self._seen = Gathered()
        self._evaluation: Evaluation | None = None
        self._found: NetworkRow | None = None
        self._others: list[NetworkRow] = []
        self._name = ""
        self._drawn: bytes | None = None
        self._batches, self._whole, self._interrupted = 0.0, False, ""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Find the run's folder."""
        folder = run_folder(trainer)  # on every rank
        writes = stage in ("fit", "test") and trainer.is_global_zero and not is_dry_run(trainer)
        self._folder = folder if writes else None
        self._seen, self._evaluation, self._interrupted = Gathered(), None, ""
        if stage == "fit":
            self._curves, self._found, self._drawn, self._others, self._name = {}, None, None, [], ""
            self._batches = 0.0

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Count the batches that have changed the weights."""
        self._batches = float(trained_batches(trainer))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the logits of the last validation."""
        self._seen, self._whole = Gathered(), False

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the logits."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._seen.add(outputs, batch)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take note of loss and accuracy."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._note(trainer, "val")
            self._whole = True

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take note of the epoch before, whose metrics are known by now, and of a search that is over."""
        self._note(trainer, "train")
        self._note_search(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take note of the last epoch, and collect the logits of the last validation."""
        self._note(trainer, "train")
        self._collect(trainer, "val", trainer.val_dataloaders)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Write the report of what is there by now, if there is a validation; the end of the run waits little for it.

        Of several processes one may be behind, so that their logits are not collected.
        """
        folder = self._folder
        if trainer.state.fn != "fit" or folder is None or not is_interruption(exception) or not self._validated:
            return
        self._interrupted = f"interrupted {place_in(trainer, trainer.current_epoch + 1)}"

        def write() -> None:
            if self._whole and trainer.world_size == 1:
                self._collect(trainer, "val", trainer.val_dataloaders)
            self._write(trainer, pl_module, folder)

        try:
            at_most(LIMIT, write)
        except Exception as error:  # as in :meth:`teardown`
            note(f"no report: {type(error).__name__}: {error}")

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the logits."""
        self._seen.add(outputs, batch)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Collect the logits."""
        self._collect(trainer, "test", trainer.test_dataloaders)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write the report, after all other callbacks have written their files."""
        if self._folder is None or (stage == "test" and self._evaluation is None):
            return
        try:
            self._interrupted = stopped_at(trainer, pl_module) if stage == "fit" else ""
            self._write(trainer, pl_module, self._folder)
        except Exception as error:  # whatever it is, the run is worth more
            note(f"no report: {type(error).__name__}: {error}")

    def state_dict(self) -> dict[str, Any]:
        """Return losses and accuracies so far, and who competed; they are read back without running code."""
        return {
            "curves": {name: [list(point) for point in points] for name, points in self._curves.items()},
            "competitors": [asdict(row) for row in self._others],
            "name": self._name,
            "batches": self._batches,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._curves = {name: [(x, y) for x, y in points] for name, points in state_dict["curves"].items()}
        self._others = [NetworkRow(**row) for row in state_dict.get("competitors", ())]
        self._name = state_dict.get("name", "")
        self._batches = state_dict.get("batches", 0.0)

    @property
    def _validated(self) -> float:
        """Number of training batches before the last validation; 0 without one."""
        return max((points[-1][0] for name, points in self._curves.items() if name.startswith("val/")), default=0.0)

    def _note_search(self, model: pl.LightningModule) -> None:
        """Keep who competed and who won: the report of a later test, or of a run that goes on, names them too."""
        others, result = competitors(model), getattr(model, "result", None)
        if others and result is not None:
            self._others, self._name = others, result.found.name

    def _note(self, trainer: pl.Trainer, part: str) -> None:
        """Add a point to the curves of a part; one of the same batch is replaced."""
        metrics, batches = trainer.callback_metrics, float(trained_batches(trainer))
        for name in (f"{part}/loss", f"{part}/acc"):
            if name in metrics:
                points = self._curves.setdefault(name, [])
                while points and points[-1][0] >= batches:
                    points.pop()
                points.append((batches, float(metrics[name])))

    def _collect(self, trainer: pl.Trainer, part: str, loader: Any) -> None:
        try:
            self._evaluation = self._evaluated(trainer, part, loader)
        except Exception as error:  # as in :meth:`teardown`
            note(f"no figures of {part} images in the report: {type(error).__name__}: {error}")

    def _evaluated(self, trainer: pl.Trainer, part: str, loader: Any) -> Evaluation | None:
        """Collect the logits of all processes; call it on each of them."""
        found, self._seen = self._seen.all(trainer, loader), Gathered()
        if found is None or self._folder is None:
            return None
        places, logits, labels = found
        data: Any = getattr(trainer, "datamodule", None)  # set on the trainer, but not declared there
        classes = getattr(data, "class_names", None) or [str(label) for label in range(logits.shape[1])]
        names = file_names(data, part)
        shown = [str(place) if names is None else names[place] for place in places.tolist()]
        return Evaluation(part, places, logits, labels, classes, shown, names is not None)

    def _write(self, trainer: pl.Trainer, model: pl.LightningModule, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        data: Any = getattr(trainer, "datamodule", None)
        evaluation = self._evaluation
        self._found = self._found or found_row(trainer, model)
        self._note_search(model)
        outdated = self._validated < self._batches
        networks = networks_of(self._found, self._curves, evaluation, self._others, self._name, outdated)
        mistakes, shown = ([], []) if evaluation is None else find_mistakes(evaluation, data)
        pictures = self._pictures(model, folder)
        if evaluation is not None and (confusion := drawn_confusion(evaluation)) is not None:
            pictures["confusion"] = confusion
        facts = RunFacts(
            title=type(model).__name__,
            images=title_of(data),
            asked=list(asked(trainer, model, data)),
            counts=data.parts.counts() if hasattr(data, "parts") else {},
            sizes=data.parts.sizes() if hasattr(data, "parts") else {},
            class_names=getattr(data, "class_names", ()),
            summary=summary_of(model, folder),
            networks=networks,
            curves=self._curves,
            evaluation=evaluation,
            validated=f"after {self._validated:,.0f} of {self._batches:,.0f} training batches" if outdated else "",
            interrupted=self._interrupted,
            shared=not is_own(model),
            mistakes=mistakes,
            pictures=pictures,
            commands=list(usage(trainer, model, folder, list(self.told()))),
            files=str(folder),
            version=__version__,
            finished=datetime.now().astimezone().isoformat(" ", "minutes"),
        )
        files = {REPORT: page(facts).encode(), "results.csv": csv_bytes(network_rows(networks))}
        logged = {name: pictures[name] for name in pictures.keys() & {"curves", "confusion"}}
        if evaluation is not None and evaluation.part == "test":
            files |= files_of(evaluation)
            if mistakes:
                logged["mistakes"] = drawn_mistakes(evaluation, mistakes, shown)
        if trainer.state.fn == "fit":  # what an earlier test wrote is of other weights
            for name in OF_TESTS:
                (folder / name).unlink(missing_ok=True)
        for name, content in (files | {f"{name}.png": content for name, content in logged.items()}).items():
            write_atomically(folder / name, content)
        log_pictures(trainer, {f"report/{name}": content for name, content in logged.items()})

    def _pictures(self, model: Any, folder: Path) -> dict[str, bytes]:
        """Draw curves and architecture, or read the pictures that other callbacks have just drawn."""
        pictures: dict[str, bytes] = {}
        tournament = folder / "result.png"
        if self._others and tournament.is_file():
            pictures["result"] = tournament.read_bytes()
        if any(len(points) > 1 for points in self._curves.values()):
            for metric in ("loss", "acc"):  # on a phone, one lies below the other
                pictures[metric] = figure_bytes(draw_curves(self._curves, metric))
            pictures["curves"] = beside(pictures["loss"], pictures["acc"])
        if self._drawn is None and hasattr(model, "genotype"):
            there = folder / "genotype.png"
            size = picture_size(getattr(model, "network", None))
            self._drawn = there.read_bytes() if there.is_file() else figure_bytes(draw_genotype(model.genotype, **size))
        return pictures if self._drawn is None else {**pictures, "network": self._drawn}
