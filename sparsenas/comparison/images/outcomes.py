"""The report of a comparison on images: a row for each competitor, and paired tests against the best reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import ttest_rel, wilcoxon

from sparsenas.comparison.images.contest import ImagePlan
from sparsenas.comparison.images.finished import ImageRecord
from sparsenas.errors import DataError
from sparsenas.ranking import non_dominated

#: Confidence of the interval of a difference.
CONFIDENCE = 0.95
#: Digits of a difference: rounding must not split equal ones.
DIGITS = 6


@dataclass(frozen=True)
class ImageRow:
    """A competitor. Accuracies are in percent, on test images; means are over its runs with a network.

    Attributes:
        name: Name of the competitor.
        kind: Its kind.
        runs: Runs with a network.
        planned: Runs of the plan.
        mean: Mean accuracy; ``None`` without a run, as all means.
        sd: Standard deviation of the accuracy; ``None`` with fewer than two runs.
        worst: Lowest accuracy.
        parameters: Mean number of parameters.
        macs: Mean number of MACs.
        milliseconds: Mean processor time of one image.
        seconds: Mean processor seconds of a run.
        deciding: Mean seconds until the architecture was decided.
        epochs: Mean epochs of the training.
        impossible: Reason why there is no network in a run; empty if there is one in all.
        pretrained: True if the training began with weights of other images.
        under_attack: Mean accuracy under each attack of the plan, by its name.
        dominated: True if another competitor is at least as good in everything, and better in something: accuracy,
            the lowest accuracy under attack, parameters and MACs. ``None`` without attacks.
    """

    name: str
    kind: str
    runs: int
    planned: int
    mean: float | None = None
    sd: float | None = None
    worst: float | None = None
    parameters: float | None = None
    macs: float | None = None
    milliseconds: float | None = None
    seconds: float | None = None
    deciding: float | None = None
    epochs: float | None = None
    impossible: str = ""
    pretrained: bool = False
    under_attack: Mapping[str, float] = field(default_factory=dict)
    dominated: bool | None = None


@dataclass(frozen=True)
class PairedTest:
    """Differences of accuracies at equal seeds, in percentage points.

    Attributes:
        name: Name of the competitor.
        runs: Number of common seeds.
        difference: Mean of its accuracy minus that of the reference.
        low: Lower end of the 95 % interval by the t-distribution; ``None`` if all differences are equal, or one.
        high: Upper end.
        p_t: Two-sided p-value of the paired t-test; ``None`` likewise.
        p_wilcoxon: Two-sided p-value of Wilcoxon's signed-rank test; 1 if all differences are zero.
    """

    name: str
    runs: int
    difference: float
    low: float | None
    high: float | None
    p_t: float | None
    p_wilcoxon: float


@dataclass(frozen=True)
class ImageReport:
    """A comparison on images. Its text is a Markdown page.

    Attributes:
        plan: The plan.
        rows: Competitors with a finished run, the best mean first; without a network last.
        best_reference: Name of the reference network with the best mean; ``None`` without one.
        tests: Of all others with a common seed against it, in the order of the rows.
        records: All finished runs.
    """

    plan: ImagePlan
    rows: tuple[ImageRow, ...]
    best_reference: str | None
    tests: tuple[PairedTest, ...]
    records: tuple[ImageRecord, ...]

    @cached_property
    def text(self) -> str:
        """The page."""
        from sparsenas.comparison.images.page import page  # which knows this class

        return page(self)

    def __str__(self) -> str:
        """Return the page."""
        return self.text


def make_image_report(plan: ImagePlan, records: Sequence[ImageRecord]) -> ImageReport:
    """Make the report of finished runs of a plan.

    Raises:
        DataError: If two runs of a seed have seen other parts of the images.
    """
    _check_parts(records)
    rows = [
        _row(plan, name, [record for record in records if record.searcher == name])
        for name in plan.entries
        if any(record.searcher == name for record in records)
    ]
    rows.sort(key=lambda row: -1.0 if row.mean is None else row.mean, reverse=True)
    rows = mark_dominated(rows)
    accuracies = {
        row.name: {record.seed: record.accuracy for record in records if _is_of(record, row.name)} for row in rows
    }
    references = [row.name for row in rows if row.kind == "reference" and row.runs]
    best = references[0] if references else None
    tests = [
        paired_test(row.name, accuracies[row.name], accuracies[best])
        for row in rows
        if best is not None and row.name != best and accuracies[row.name].keys() & accuracies[best].keys()
    ]
    return ImageReport(plan, tuple(rows), best, tuple(tests), tuple(records))


def paired_test(name: str, own: dict[int, float], other: dict[int, float]) -> PairedTest:
    """Test the differences of accuracies by seed; there is a common seed."""
    seeds = sorted(own.keys() & other.keys())
    a, b = (np.array([accuracies[seed] for seed in seeds]) for accuracies in (own, other))
    differences = np.round(a - b, DIGITS)
    mean = float(differences.mean())
    p_wilcoxon = float(wilcoxon(differences).pvalue) if differences.any() else 1.0
    if np.ptp(differences) == 0:  # also of one: nothing varies by which to judge
        return PairedTest(name, len(seeds), mean, None, None, None, p_wilcoxon)
    test = ttest_rel(a, b)
    low, high = test.confidence_interval(CONFIDENCE)
    return PairedTest(name, len(seeds), mean, float(low), float(high), float(test.pvalue), p_wilcoxon)


def _is_of(record: ImageRecord, name: str) -> bool:
    """Say if a record is of a competitor, and of a network."""
    return record.searcher == name and not record.impossible


def _row(plan: ImagePlan, name: str, records: Sequence[ImageRecord]) -> ImageRow:
    made = [record for record in records if not record.impossible]
    reasons = dict.fromkeys(record.impossible for record in records if record.impossible)
    entry = plan.entries[name]
    row = ImageRow(
        name,
        entry.kind,
        len(made),
        plan.planned(name),
        impossible="; ".join(reasons),
        pretrained=bool(entry.options.get("pretrained")),
    )
    if not made:
        return row

    networks = [record for record in made if record.parameters] or made  # a search that diverged has none

    def mean(attribute: str) -> float:
        return float(np.mean([getattr(record, attribute) for record in networks]))

    means: dict[str, Any] = {
        attribute: mean(attribute)
        for attribute in ("parameters", "macs", "milliseconds", "seconds", "deciding", "epochs")
    }
    accuracies = [record.accuracy for record in made]
    return ImageRow(
        name,
        row.kind,
        row.runs,
        row.planned,
        mean=mean("accuracy"),
        sd=float(np.std(accuracies, ddof=1)) if len(made) > 1 else None,
        worst=min(accuracies),
        impossible=row.impossible,
        pretrained=row.pretrained,
        under_attack={
            name: float(np.mean([record.under_attack[name] for record in made])) for name in made[0].under_attack
        },
        **means,
    )


def mark_dominated(rows: Sequence[ImageRow]) -> list[ImageRow]:
    """Mark competitors with another one that is at least as good in everything, where networks were attacked."""
    judged = [row for row in rows if row.under_attack]
    if not judged:
        return list(rows)
    figures = [[row.mean, min(row.under_attack.values()), row.parameters, row.macs] for row in judged]
    best = non_dominated(np.array(figures, np.float64) * (1, 1, -1, -1))
    found = dict(zip((row.name for row in judged), best, strict=True))
    return [replace(row, dominated=not found[row.name]) if row.name in found else row for row in rows]


def _check_parts(records: Sequence[ImageRecord]) -> None:
    images = {record.images: record for record in records}
    if len(images) > 1:
        one, other, *_ = images.values()
        raise DataError(
            f"{one.searcher} with seed {one.seed} and {other.searcher} with seed {other.seed} have seen other images: "
            "they have changed between the runs; name another folder by --out"
        )
    first: dict[int, ImageRecord] = {}
    for record in records:
        other = first.setdefault(record.seed, record)
        if other.parts != record.parts:
            raise DataError(
                f"runs of {other.searcher} and {record.searcher} with seed {record.seed} have seen other images or "
                "parts: the images have changed between them; name another folder by --out"
            )
