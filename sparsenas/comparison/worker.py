"""One run: search, then decide under every cap. No table is read here."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from math import isfinite
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Timer

from sparsenas.callbacks.tensorboard import trained_batches
from sparsenas.comparison.build import build_run
from sparsenas.comparison.executors.process import processor_name
from sparsenas.comparison.jobs import serve
from sparsenas.comparison.plan import PublishedNetwork
from sparsenas.comparison.records import Record
from sparsenas.errors import ConfigError
from sparsenas.search import RecoveryListener, RecoveryReport, SearchModule
from sparsenas.sparse_coding import Constraints
from sparsenas.tables import WrittenSpace
from sparsenas.trainer import callbacks_of


class Timeline(RecoveryListener):
    """Record of changes of the architecture: seconds since it was made, and the cell from then on."""

    def __init__(self, space: WrittenSpace) -> None:
        self._space = space
        self._start = perf_counter()
        self.changes: list[tuple[float, str]] = []

    @property
    def seconds(self) -> float:
        """Seconds since the timeline was made."""
        return perf_counter() - self._start

    def on_recovery(self, trainer: pl.Trainer, search: SearchModule, report: RecoveryReport) -> None:
        """Note a change of the architecture."""
        self.note(self._space.to_string(report.genotype), self.seconds)

    def note(self, text: str, seconds: float) -> None:
        """Add the cell if it is another one."""
        if not self.changes or self.changes[-1][1] != text:
            self.changes.append((seconds, text))


def search_once(searcher: str, seed: int, digest: str, settings: Mapping[str, Any]) -> Record:
    """Make one run; see :class:`sparsenas.comparison.PlannedRun`.

    Raises:
        SparseNASError: If the run cannot be made.
    """
    with TemporaryDirectory() as folder:  # for whatever a run writes: its result is its line, nothing else
        trainer = {"default_root_dir": folder, **settings["trainer"]}
        return _search(searcher, seed, digest, {**settings, "trainer": trainer})


def _search(searcher: str, seed: int, digest: str, settings: Mapping[str, Any]) -> Record:
    """Search, and decide under every cap."""
    pl.seed_everything(seed, workers=True, verbose=False)
    search, data, trainer = build_run(settings)
    published = settings["published"]
    costs = PublishedNetwork(**{**published, "image_shape": tuple(published["image_shape"])}).costs(search.space)
    limits = {
        cap: None if cap is None else replace(search.budget, max_params=cap).constraints(search.space, costs)
        for cap in settings["caps"]
    }
    space = cast(WrittenSpace, search.space)  # as the table's space has the same name
    timeline = Timeline(space)
    trainer.callbacks.append(timeline)  # type: ignore[attr-defined]  # set there, not declared
    trainer.fit(search, datamodule=data)
    search.eval()

    def written(constraints: Constraints | None) -> str:
        return space.to_string(search.space.genotype(search.decide(constraints)))

    def scored(constraints: Constraints | None) -> tuple[tuple[str, float], ...]:
        return tuple(
            (space.to_string(search.space.genotype(support)), score)
            for support, score in search.scores(constraints).items()
            if isfinite(score)  # others rank nothing, and have no place in JSON
        )

    cut = _cut(trainer)
    try:
        chosen = tuple((cap, written(constraints)) for cap, constraints in limits.items())
    except ConfigError as error:
        hint = "; the budget ended the search before it could decide: fewer epochs" if cut else ""
        raise ConfigError(f"{error}{hint}") from error
    seconds = timeline.seconds
    timeline.note(written(None), seconds)  # not every search reports its last decision
    return Record(
        searcher=searcher,
        seed=seed,
        digest=digest,
        chosen=chosen,
        timeline=tuple(timeline.changes),
        scored=tuple((cap, scored(constraints)) for cap, constraints in limits.items()),
        visited=len(search.visited),
        seconds=seconds,
        cut=cut,
        remarks=tuple((cap, text) for cap, constraints in limits.items() if (text := search.summary(constraints))),
    )


def _cut(trainer: pl.Trainer) -> bool:
    """Return True if time ran out before the last batch."""
    run_out = any((timer.time_remaining() or 0) <= 0 for timer in callbacks_of(trainer, Timer))
    planned = (trainer.max_epochs or 0) * trainer.num_training_batches
    return run_out and trained_batches(trainer) < planned


def main() -> None:
    """Make a run for another process."""
    serve(lambda job: asdict(search_once(**job)) | {"processor": processor_name()})
