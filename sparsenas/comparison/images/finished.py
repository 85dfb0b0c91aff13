"""The record of a run on images: what it found, and how good that is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sparsenas.comparison.records import FinishedRun


@dataclass(frozen=True)
class ImageRecord(FinishedRun):
    """A run on images. Accuracies are in percent.

    Attributes:
        parts: Hash of the parts of all images, equal for all competitors of a seed.
        tested: Number of test images.
        images: Hash of the names of all images, equal for all runs.
        seconds: Processor seconds of the run.
        impossible: Reason why there is no network; empty if there is one.
        genotype: Its architecture; empty if it is of no space.
        channels: Width that fills the budget; 0 if it has one size.
        parameters: Number of parameters.
        macs: MACs of one image.
        accuracy: Accuracy on the test images, read once at the end.
        validation: Accuracy on the validation images at the end.
        deciding: Seconds until the architecture was decided.
        epochs: Epochs of its training.
        milliseconds: Processor time of one image, the median of many.
        curve: Seconds, and validation accuracy at that time.
        remark: How the architecture was found; may be empty.
        diverged: True if search or training has diverged; the accuracy is that of chance, and after a search there is
            no network.
        under_attack: Accuracy on the test images under each attack of the plan, by its name.
    """

    parts: str
    seconds: float
    impossible: str = ""
    genotype: str = ""
    channels: int = 0
    parameters: int = 0
    macs: int = 0
    accuracy: float = 0.0
    validation: float = 0.0
    deciding: float = 0.0
    epochs: float = 0.0
    milliseconds: float = 0.0
    curve: tuple[tuple[float, float], ...] = ()
    remark: str = ""
    tested: int = 0
    images: str = ""
    diverged: bool = False
    under_attack: Mapping[str, float] = field(default_factory=dict)


def image_record(fields: dict[str, Any]) -> ImageRecord:
    """Read a record from its JSON form.

    Raises:
        TypeError, ValueError, KeyError: If it is none.
    """
    curve = tuple((float(seconds), float(accuracy)) for seconds, accuracy in fields["curve"])
    return ImageRecord(**{**fields, "curve": curve})
