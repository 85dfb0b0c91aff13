"""Predictions and figures by class as rows of CSV files: one form for every command that writes them."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

from torch import Tensor

from sparsenas.classification import ClassReport
from sparsenas.texts import readable


def prediction_rows(
    probabilities: Tensor,
    labels: Sequence[int | None],
    class_names: Sequence[str],
    names: Sequence[str],
    are_files: bool,
) -> Iterator[tuple[object, ...]]:
    """Yield a head and a row per image: name, true label, predicted label, its probability, and that of each class.

    Args:
        probabilities: Shape ``(N, K)``, on the CPU.
        labels: True label of each image; ``None`` where it is not known.
        class_names: One name per column; ``p(NAME)`` is its column in the file.
        names: File, or index, of each image.
        are_files: True if names are files.
    """
    yield ("file" if are_files else "index", "label", "predicted", "probability", *(f"p({c})" for c in class_names))
    best = probabilities.argmax(1).tolist()
    for name, label, predicted, row in zip(names, labels, best, probabilities.tolist(), strict=True):
        true = "" if label is None else class_names[label]
        yield (readable(name), true, class_names[predicted], f"{row[predicted]:.6f}", *(f"{p:.6f}" for p in row))


def class_rows(report: ClassReport, class_names: Sequence[str]) -> Iterator[tuple[object, ...]]:
    """Yield a head and a row per class: precision, recall, F1, and number of images."""
    yield "class", "precision", "recall", "f1", "support"
    figures = [x.tolist() for x in (report.precision, report.recall, report.f1)]
    for name, *values, support in zip(class_names, *figures, report.support.tolist(), strict=True):
        yield name, *(f"{value:.6f}" for value in values), support


def csv_bytes(rows: Iterable[Sequence[object]]) -> bytes:
    """Format rows as the content of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")
