"""Finished runs, one line of JSON each."""

import errno
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sparsenas.comparison.plan import PlannedRun
from sparsenas.errors import ConfigError, DataError
from sparsenas.files import why_not_written
from sparsenas.reading import ReadingError, parse_json, read_text, shorten


@dataclass(frozen=True)
class FinishedRun:
    """The common part of all records of runs that have ended.

    Attributes:
        searcher: Name of its entry.
        seed: Its seed.
        digest: See :class:`PlannedRun`.
        processor: Name of the processor that made it; empty in files of before it was kept.
    """

    searcher: str
    seed: int
    digest: str
    processor: str = field(default="", kw_only=True)


Finished = TypeVar("Finished", bound=FinishedRun)


@dataclass(frozen=True)
class Record(FinishedRun):
    """Choices of a run. It knows no accuracy of a table.

    Attributes:
        chosen: Each cap and the cell chosen under it, as the space writes it.
        timeline: Seconds since the start and the uncapped cell from then on.
        scored: Each cap, and the cells compared under it with their scores; more is better.
        remarks: Each cap, and the summary of the search under it, if any.
        visited: Number of visited architectures.
        seconds: Time from the start of the search to its last decision.
        cut: True if the time budget ended it before its last epoch.
    """

    chosen: tuple[tuple[float | None, str], ...]
    timeline: tuple[tuple[float, str], ...]
    scored: tuple[tuple[float | None, tuple[tuple[str, float], ...]], ...]
    visited: int
    seconds: float
    cut: bool
    remarks: tuple[tuple[float | None, str], ...] = ()


def read_records(path: Path) -> tuple[Record, ...]:
    """Read all finished runs of a comparison by a table; see :func:`read_finished`."""
    return read_finished(path, from_json)


def read_finished(path: Path, parse: Callable[[dict[str, Any]], Finished]) -> tuple[Finished, ...]:
    """Read all finished runs; none if there is no file.

    Args:
        path: File of :func:`append_record`.
        parse: Makes a run of the fields of a line, such as :func:`from_json`.

    Raises:
        DataError: Naming the line that is damaged.
    """
    try:
        lines = read_text(path).splitlines() if path.exists() else []
    except ReadingError as error:
        raise DataError(f"{path}: cannot be read ({error}); name another folder by --out") from error
    return tuple(_record(line, f"{path}, line {number}", parse) for number, line in enumerate(lines, start=1))


def append_record(path: Path, record: FinishedRun) -> None:
    """Add a line, whole or not at all; nobody else may write to the file.

    Raises:
        ConfigError: If the file cannot be written.
    """
    line = (json.dumps(asdict(record), allow_nan=False) + "\n").encode()
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            before = os.fstat(file).st_size
            if os.write(file, line) < len(line):
                os.ftruncate(file, before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise ConfigError(f"{path}: {why_not_written(error)}") from error


def planned_records(records: Iterable[Finished], runs: Iterable[PlannedRun], path: Path) -> tuple[Finished, ...]:
    """Return the finished ones of the runs.

    Raises:
        ConfigError: If a run of that searcher and seed was made with other settings.
        DataError: If a run is there twice.
    """
    wanted = {(run.searcher, run.seed): run.digest for run in runs}
    found: dict[tuple[str, int], Finished] = {}
    for record in records:
        key = (record.searcher, record.seed)
        if key not in wanted:
            continue
        if record.digest != wanted[key]:
            raise ConfigError(
                f"{path}: {record.searcher} with seed {record.seed} was run with other settings; name another folder "
                "by --out, or remove its lines"
            )
        if key in found:
            raise DataError(
                f"{path}: {record.searcher} with seed {record.seed} is there twice; remove one of the lines"
            )
        found[key] = record
    return tuple(found[key] for key in wanted if key in found)


def processors_note(records: Iterable[FinishedRun]) -> str:
    """Say of how many kinds the processors were that made the runs; empty if of one kind."""
    kinds = Counter(record.processor for record in records if record.processor)
    if len(kinds) < 2:
        return ""
    counts = ", ".join(f"{count} by {name}" for name, count in kinds.most_common())
    return f"The runs were made by {len(kinds)} kinds of processors, whose seconds are not alike: {counts}."


def _record(line: str, where: str, parse: Callable[[dict[str, Any]], Finished]) -> Finished:
    try:
        run = parse(parse_json(line))
        for name, kind in (("searcher", str), ("seed", int), ("digest", str)):
            if type(getattr(run, name)) is not kind:
                raise TypeError(f"{name} is {getattr(run, name)!r}")
        return run
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        reason = shorten(f"{type(error).__name__}: {error}")
        raise DataError(f"{where}: no finished run ({reason}); remove the line, and the run is repeated") from error


def from_json(fields: dict[str, Any]) -> Record:
    """Read a record from its JSON form.

    Raises:
        TypeError, ValueError: If it is none.
    """
    pairs = {
        "chosen": tuple((_cap(cap), str(text)) for cap, text in fields["chosen"]),
        "timeline": tuple((float(seconds), str(text)) for seconds, text in fields["timeline"]),
        "scored": tuple(
            (_cap(cap), tuple((str(text), float(score)) for text, score in scores)) for cap, scores in fields["scored"]
        ),
        "remarks": tuple((_cap(cap), str(text)) for cap, text in fields.get("remarks", [])),
    }
    return Record(**{**fields, **pairs})


def _cap(cap: Any) -> float | None:
    return None if cap is None else float(cap)
