"""Everything that a report tells, as plain data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sparsenas.drawing import Curves
from sparsenas.reporting.evaluation import Evaluation


@dataclass(frozen=True, kw_only=True)
class NetworkRow:
    """A network beside others.

    Attributes:
        name: Its name.
        kind: ``found``, ``trained``, ``reference``, ``random``, ``prior`` or ``proposed``.
        parameters: Number of parameters.
        macs: MACs of one image.
        milliseconds: Time of one image; ``None`` if it was not measured.
        trained: Length of its training, in words; empty if it is not known.
        val: Validation accuracy after it; ``None`` if it was not measured.
        test: Test accuracy; ``None`` if it was not tested.
    """

    name: str
    kind: str
    parameters: int
    macs: int
    milliseconds: float | None = None
    trained: str = ""
    val: float | None = None
    test: float | None = None


@dataclass(frozen=True)
class Mistake:
    """An image that was taken for another class.

    Attributes:
        image: The image as the network sees it, a PNG file.
        name: File of the image, or its place.
        label: True class.
        predicted: Predicted class.
        probability: Its probability.
    """

    image: bytes
    name: str
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """Facts of a run at its end.

    Attributes:
        title: What was done, such as the name of the searcher.
        images: Name of the images.
        asked: Names and values of what was asked for.
        counts: Images of each class, by part; one with several labels counts for each.
        sizes: Images of each part.
        class_names: Names of the classes.
        summary: The search result, in words; empty without one.
        networks: What was found, then what it was compared with.
        curves: Losses and accuracies over training batches.
        evaluation: The network on images that trained nothing; ``None`` if there were none.
        validated: When the validation was, in words; empty if it was of the last weights.
        interrupted: How and where the run ended before its end, in words; empty if it did not.
        shared: True if accuracies are those of weights that many architectures share.
        mistakes: Its surest mistakes.
        pictures: PNG files, as far as they are there: ``network``, ``result``, ``loss``, ``acc``, ``confusion``.
        commands: What to do next: a remark, and a command.
        files: Folder of the run.
        version: Version of this package.
        finished: Date and time.
    """

    title: str
    images: str
    asked: Sequence[tuple[str, str]]
    counts: Mapping[str, Sequence[int]]
    class_names: Sequence[str]
    sizes: Mapping[str, int] = field(default_factory=dict)
    summary: str = ""
    networks: Sequence[NetworkRow] = ()
    curves: Curves = field(default_factory=dict)
    evaluation: Evaluation | None = None
    validated: str = ""
    interrupted: str = ""
    shared: bool = False
    mistakes: Sequence[Mistake] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    commands: Sequence[tuple[str, str]] = ()
    files: str = ""
    version: str = ""
    finished: str = ""


def network_rows(networks: Sequence[NetworkRow]) -> Iterator[tuple[object, ...]]:
    """Yield a head and a row per network, for a CSV file; what is not known is empty."""
    yield "network", "kind", "test_accuracy", "val_accuracy", "trained", "parameters", "macs", "milliseconds"
    for row in networks:
        figures = ["" if value is None else f"{value:.6f}" for value in (row.test, row.val)]
        ms = "" if row.milliseconds is None else f"{row.milliseconds:.3f}"
        yield row.name, row.kind, *figures, row.trained, row.parameters, row.macs, ms
