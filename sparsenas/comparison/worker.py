"""One run: search, then decide under every cap. No table is read here."""

import json
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from math import isfinite
from time import perf_counter
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer

from sparsenas.callbacks.tensorboard import trained_batches
from sparsenas.comparison.build import build_run
from sparsenas.comparison.plan import PublishedNetwork
from sparsenas.comparison.records import Record
from sparsenas.errors import ConfigError, SparseNASError
from sparsenas.search import RecoveryListener, RecoveryReport, SearchModule
from sparsenas.sparse_coding import Constraints
from sparsenas.tables import WrittenSpace


class Timeline(RecoveryListener):
    """Remembers when the architecture changed.

    Attributes:
        changes: Seconds since the timeline was made and the cell from then on.
    """

    def __init__(self, space: WrittenSpace) -> None:
        self._space = space
        self._start = perf_counter()
        self.changes: list[tuple[float, str]] = []

    @property
    def seconds(self) -> float:
        """Seconds since the timeline was made."""
        return perf_counter() - self._start

    def on_recovery(self, trainer: pl.Trainer, search: SearchModule, report: RecoveryReport) -> None:
        """Take a note if the architecture is another one."""
        text = self._space.to_string(report.genotype)
        if not self.changes or self.changes[-1][1] != text:
            self.changes.append((self.seconds, text))


def search_once(searcher: str, seed: int, digest: str, settings: Mapping[str, Any]) -> Record:
    """Make one run.

    Args:
        searcher: Name of the entry.
        seed: Seeds the network; those of search and data are in the settings.
        digest: Of the settings.
        settings: See :class:`sparsenas.comparison.PlannedRun`.

    Raises:
        SparseNASError: If the run cannot be made.
    """
    pl.seed_everything(seed, workers=True, verbose=False)
    search, data, trainer = build_run(settings)
    published = settings["published"]
    costs = PublishedNetwork(**{**published, "image_shape": tuple(published["image_shape"])}).costs(search.space)
    limits = {
        cap: None if cap is None else replace(search.rules, max_params=cap).constraints(search.space, costs)
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
    timeline_ends_with_choice(timeline, written(None), seconds)
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
        remarks=tuple((cap, text) for cap, constraints in limits.items() if (text := search.remark(constraints))),
    )


def timeline_ends_with_choice(timeline: Timeline, text: str, seconds: float) -> None:
    """Add the last decision where the search has not reported it."""
    if not timeline.changes or timeline.changes[-1][1] != text:
        timeline.changes.append((seconds, text))


def _cut(trainer: pl.Trainer) -> bool:
    """Whether time ran out before the last batch."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # set there, not declared
    timers = [callback for callback in callbacks if isinstance(callback, Timer)]
    run_out = any((timer.time_remaining() or 0) <= 0 for timer in timers)
    planned = (trainer.max_epochs or 0) * trainer.num_training_batches
    return run_out and trained_batches(trainer) < planned


def main() -> None:
    """Read a run from standard input and write its record to standard output; all other output is the log.

    Standard input stays open as long as the process that started this one lives; when it closes, this one ends too.
    """
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    answer = sys.stdout
    with redirect_stdout(sys.stderr):
        try:
            record = search_once(**job)
        except SparseNASError as error:
            print(f"sparsenas: error: {error}", file=sys.stderr)
            sys.exit(2)
    print(json.dumps(asdict(record), allow_nan=False), file=answer, flush=True)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)
