"""One predictor with one seed, judged in a process of its own."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sparsenas.comparison.executors.process import processor_name
from sparsenas.comparison.jobs import serve
from sparsenas.comparison.predictors.judging import Point, judge
from sparsenas.comparison.predictors.predictor_plan import read_networks
from sparsenas.comparison.records import FinishedRun
from sparsenas.predictors import make_predictor


@dataclass(frozen=True)
class PredictorRecord(FinishedRun):
    """A predictor that was judged.

    Attributes:
        points: All sizes and looks.
    """

    points: tuple[Point, ...]


def rank_once(searcher: str, seed: int, digest: str, settings: Mapping[str, Any]) -> PredictorRecord:
    """Judge a predictor; see :class:`sparsenas.comparison.PlannedRun`.

    Raises:
        SparseNASError: If its networks cannot be read.
    """
    networks = read_networks(settings["networks"])
    points = judge(
        lambda: make_predictor(searcher, networks.encoding, seed),
        networks,
        settings["sizes"],
        settings["test"],
        seed,
        settings["limit_seconds"],
    )
    return PredictorRecord(searcher, seed, digest, tuple(points))


def predictor_record(fields: dict[str, Any]) -> PredictorRecord:
    """Read a record from its JSON form.

    Raises:
        TypeError, ValueError: If it is none.
    """
    points = tuple(Point(**{**point, "figures": dict(point["figures"])}) for point in fields["points"])
    return PredictorRecord(**{**fields, "points": points})


def main() -> None:
    """Judge a predictor for another process."""
    serve(lambda job: asdict(rank_once(**job)) | {"processor": processor_name()})
