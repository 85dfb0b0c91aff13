"""Expectations of decisions before anything is measured: from earlier results, or from what people build."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from sparsenas.errors import ConfigError
from sparsenas.reading import ReadingError, parse_json, read_text
from sparsenas.spaces.features import Dictionary, Feature
from sparsenas.sparse_coding import RidgeRegression

SCHEMA = "sparsenas.prior/1"
#: Name of the prior that is shipped, learned on other data sets by `studies/tournament`.
SHIPPED = "shipped"
#: Deviations by which references are expected to be better than random draws, before anything is known.
LEAD = 1.0
#: Width of what no earlier result tells about, in deviations per unit of a feature.
OPEN = 1.0


@dataclass(frozen=True)
class Prior:
    """Expected worth of features, in deviations between architectures.

    Attributes:
        space: Name of the space.
        mean: Mean for each feature; others have 0.
        width: Standard deviation for each feature; others have :data:`OPEN`.
        source: Where it comes from, for people.
    """

    space: str
    mean: Mapping[Feature, float]
    width: Mapping[Feature, float]
    source: str

    def to_json(self) -> str:
        """Write JSON text."""
        rows = [
            [*feature, round(mean, 4), round(self.width.get(feature, OPEN), 4)]
            for feature, mean in sorted(self.mean.items())
        ]
        body = ",\n".join(f"  {json.dumps(row)}" for row in rows)
        head = f'"schema": {json.dumps(SCHEMA)}, "space": {json.dumps(self.space)}, "source": {json.dumps(self.source)}'
        return f'{{{head}, "features": [\n{body}\n]}}\n'


def read_prior(name: str, space: str) -> Prior:
    """Read a prior: a file of :meth:`Prior.to_json`, the ``result.json`` of an earlier search, or what is shipped.

    Args:
        name: Path of the file, or :data:`SHIPPED`.
        space: Name of the space that is searched.

    Raises:
        ConfigError: If it cannot be read, or is of another space.
    """
    shipped = files("sparsenas.search.measured") / "prior_stage.json"
    try:
        text = shipped.read_text(encoding="utf-8") if name == SHIPPED else read_text(name)
    except ReadingError as error:
        raise ConfigError(
            f"tournament.prior: {name}: cannot be read ({error}); use {SHIPPED}, references, none, or a file"
        ) from error
    try:
        tree = parse_json(text)
        prior = _parse(tree["prior"] if isinstance(tree, dict) and "prior" in tree else tree)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ConfigError(
            f"tournament.prior: {name}: no prior, nor the result.json of a tournament ({type(error).__name__}); use "
            f"{SHIPPED}, references, none, or such a file"
        ) from error
    if prior.space != space:
        raise ConfigError(
            f"tournament.prior: {name} is of the space {prior.space!r}, but {space!r} is searched: use a result of the "
            "same space, or none"
        )
    return prior


def prior_of(references: Sequence[Counter[Feature]], random: Sequence[Counter[Feature]], space: str) -> Prior:
    """Expect what sets references apart from random draws: people have chosen it with care.

    Args:
        references: Descriptions of references.
        random: Descriptions of random draws.
        space: Name of the space.
    """
    dictionary = Dictionary([*references, *random])
    labels = np.repeat([1.0, 0.0], [len(references), len(random)])
    rows = dictionary.rows([*references, *random])
    fit = RidgeRegression().fit(rows, labels)
    predicted = fit.predict(rows)
    lead = predicted[: len(references)].mean() - predicted[len(references) :].mean()
    scale = LEAD / lead if lead > 0 else 0.0
    return Prior(space, dictionary.named(scale * fit.code), {}, f"{len(references)} references")


def combined(priors: Iterable[Prior], source: str) -> Prior:
    """Combine what several searches learned: the mean of means; widths hold what they differ by, too."""
    given = list(priors)
    names = sorted({feature for prior in given for feature in prior.mean})
    mean, width = {}, {}
    for feature in names:
        means = np.array([prior.mean.get(feature, 0.0) for prior in given])
        widths = np.array([prior.width.get(feature, OPEN) for prior in given])
        mean[feature] = float(means.mean())
        width[feature] = float(np.sqrt(means.var() + np.square(widths).mean() / len(given)))
    return Prior(given[0].space, mean, width, source)


def _parse(tree: Mapping[str, Any]) -> Prior:
    if tree["schema"] != SCHEMA:
        raise ValueError(tree["schema"])
    mean = {Feature(str(decision), str(what)): float(value) for decision, what, value, _ in tree["features"]}
    width = {Feature(str(decision), str(what)): float(value) for decision, what, _, value in tree["features"]}
    if not all(np.isfinite([*mean.values(), *width.values()])) or min(width.values(), default=1.0) <= 0:
        raise ValueError("numbers")
    return Prior(str(tree["space"]), mean, width, str(tree["source"]))
