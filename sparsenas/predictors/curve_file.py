"""File of learning curves that trainings of a sweep share."""

import json
import os
from pathlib import Path
from typing import NamedTuple

from sparsenas.errors import PredictorError
from sparsenas.reading import ReadingError, parse_json, read_text


class CurveRecord(NamedTuple):
    """A training.

    Attributes:
        curve: Values after each validation.
        predicted: Final value that was expected when it was stopped; ``None`` if it went to its end.
    """

    curve: tuple[float, ...]
    predicted: float | None


def read_curves(path: Path) -> list[CurveRecord]:
    """Read a file of :func:`append_curve`; nothing if it is not there.

    A last line that is not whole is left out: another training may be writing it.

    Raises:
        PredictorError: If it cannot be read, or a line is no learning curve.
    """
    if not path.exists():
        return []
    try:
        *lines, _ = read_text(path).split("\n")
    except ReadingError as error:
        raise PredictorError(f"{path}: cannot be read as learning curves ({error}); name another file") from error
    return [_record(line, f"{path}: line {number}") for number, line in enumerate(lines, start=1)]


def _record(line: str, where: str) -> CurveRecord:
    try:
        tree = parse_json(line)
    except ReadingError as error:
        raise PredictorError(f"{where} is no learning curve ({error}); remove it, or name another file") from error
    curve, predicted = (tree.get(name) for name in ("curve", "predicted")) if isinstance(tree, dict) else (None, None)
    numbers = isinstance(curve, list) and all(_is_number(value) for value in curve)
    if not numbers or not curve or not (predicted is None or _is_number(predicted)):
        raise PredictorError(f"{where} is no learning curve (no list of numbers); remove it, or name another file")
    return CurveRecord(tuple(map(float, curve)), None if predicted is None else float(predicted))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def append_curve(path: Path, record: CurveRecord) -> None:
    """Add a line, at once, so that those of several processes do not mix.

    Raises:
        OSError: If the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"curve": record.curve, "predicted": record.predicted}) + "\n"
    opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(opened, line.encode())
    finally:
        os.close(opened)
