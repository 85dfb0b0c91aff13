"""Predictions and figures by class as rows of CSV files: one form for every command that writes them."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from math import isnan

import torch
from torch import Tensor

from sparsenas.classification import SEPARATOR, ClassReport
from sparsenas.texts import readable


def prediction_rows(
    probabilities: Tensor,
    labels: Tensor | Sequence[int | None],
    class_names: Sequence[str],
    names: Sequence[str],
    are_files: bool,
    multilabel: bool = False,
) -> Iterator[tuple[object, ...]]:
    """Yield a head and a row per image: name, true label, predicted label, its probability, and that of each class.

    Of images with several labels, these are joined by ``;``, and the probability is that of exactly the predicted ones.

    Args:
        probabilities: Shape ``(N, K)``, on the CPU.
        labels: True label of each image; ``None`` where it is not known. With several labels, shape ``(N, K)``.
        class_names: One name per column; ``p(NAME)`` is its column in the file.
        names: File, or index, of each image.
        are_files: True if names are files.
        multilabel: Images have any number of labels.
    """
    yield ("file" if are_files else "index", "label", "predicted", "probability", *(f"p({c})" for c in class_names))
    found, sure = decisions(probabilities, class_names, multilabel)
    true = label_names(labels, class_names)
    for name, *said, row in zip(names, true, found, sure, probabilities.tolist(), strict=True):
        yield readable(name), *said[:2], f"{said[2]:.6f}", *(f"{p:.6f}" for p in row)


def decisions(probabilities: Tensor, class_names: Sequence[str], multilabel: bool) -> tuple[list[str], list[float]]:
    """Name what is predicted of each image, and its probability.

    Of images with several labels, all that are more probable than not, joined by ``;``; the probability is the product
    of those of all labels, as if they were independent.
    """
    if multilabel:
        taken = probabilities > 0.5
        sure = torch.where(taken, probabilities, 1 - probabilities).prod(1)
        return label_names(taken.float(), class_names), sure.tolist()
    if not len(probabilities):
        return [], []
    values, best = probabilities.max(1)
    return label_names(best, class_names), values.tolist()


def label_names(labels: Tensor | Sequence[int | None], class_names: Sequence[str]) -> list[str]:
    """Name the label of each image, or all of its labels, joined by ``;``; empty where there is none."""
    if isinstance(labels, Tensor) and labels.ndim == 2:
        rows = (labels > 0.5).tolist()
        return [SEPARATOR.join(name for name, has in zip(class_names, row, strict=True) if has) for row in rows]
    known = labels.tolist() if isinstance(labels, Tensor) else labels
    return ["" if label is None else class_names[label] for label in known]


def class_rows(report: ClassReport, class_names: Sequence[str], digits: int = 6) -> Iterator[tuple[object, ...]]:
    """Yield a head and a row per class: precision, recall, F1, and number of images.

    Of images with several labels, also the average precision, empty where no image has the label.
    """
    figures = {"precision": report.precision, "recall": report.recall, "f1": report.f1}
    if report.average_precision is not None:
        figures["average_precision"] = report.average_precision
    yield "class", *figures, "support"
    columns = (column.tolist() for column in figures.values())
    for name, *values, support in zip(class_names, *columns, report.support.tolist(), strict=True):
        yield name, *("" if isnan(value) else f"{value:.{digits}f}" for value in values), support


def csv_bytes(rows: Iterable[Sequence[object]]) -> bytes:
    """Format rows as the content of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")
