"""A network on labelled images: what it said of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from scipy.stats import binomtest, norm
from torch import Tensor

from sparsenas.classification import ClassReport, class_report, probabilities

#: Share of the intervals that hold the accuracy on endless images of the same kind.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Evaluation:
    """Logits of a network on the images of a part.

    Attributes:
        part: ``"val"`` or ``"test"``.
        positions: Place of each image in its part, shape ``(N,)``, int64, ascending.
        logits: Shape ``(N, K)``, float32, on the CPU.
        labels: Shape ``(N,)``, int64; or ``(N, K)``, float32, of images with several labels; on the CPU.
        class_names: One name per logit.
        names: File of each image, or its place.
        are_files: True if names are files.
    """

    part: str
    positions: Tensor
    logits: Tensor
    labels: Tensor
    class_names: Sequence[str]
    names: Sequence[str]
    are_files: bool = False

    @cached_property
    def report(self) -> ClassReport:
        """Figures of the network."""
        return class_report(self.logits, self.labels)

    @property
    def multilabel(self) -> bool:
        """True if images have any number of labels."""
        return self.labels.ndim == 2

    @cached_property
    def probabilities(self) -> Tensor:
        """Probability of each class, or of each label by itself, shape ``(N, K)``."""
        return probabilities(self.logits, self.multilabel)

    @property
    def words(self) -> str:
        """Name of the part for people."""
        return {"val": "validation"}.get(self.part, self.part)

    @property
    def standard_error(self) -> float:
        """Standard error of the accuracy by the number of images: that of which :attr:`interval` has the width.

        The textbook's would be 0 for a network that makes no mistake on these.
        """
        low, high = self.interval
        return (high - low) / (2 * float(norm.ppf((1 + CONFIDENCE) / 2)))

    @property
    def interval(self) -> tuple[float, float]:
        """Interval of the accuracy by the number of images, at :data:`CONFIDENCE`.

        Source: Wilson, Probable inference, the law of succession, and statistical inference (1927).
        """
        found = binomtest(self.report.right, len(self.labels)).proportion_ci(CONFIDENCE, method="wilson")
        return float(found.low), float(found.high)
