"""Sparse coding over measurements: proxies, their reliability, and the search result."""

from sparsenas.search.measured.bench import Bench
from sparsenas.search.measured.features import FEATURE_KINDS, ArchitectureFeatures, FeatureKind
from sparsenas.search.measured.governor import Governor
from sparsenas.search.measured.loop import MeasuringLoop
from sparsenas.search.measured.measurements import Measurements
from sparsenas.search.measured.plan import Tournament
from sparsenas.search.measured.proxies import EffectiveCost, Proxy, SharedWeights, ZeroCost
from sparsenas.search.measured.reliability import ProxyReliability, assess
from sparsenas.search.measured.result import Decoding, MeasuredResult, make_result
from sparsenas.search.measured.score_file import ScoreFile
from sparsenas.search.measured.search import MeasuredSearch
from sparsenas.search.measured.selection import MeasuredSelection
from sparsenas.search.measured.standing import TournamentResult
from sparsenas.search.measured.survey import LEAST, Measured, Measuring, Survey, measure
from sparsenas.search.measured.tournament_search import TournamentSearch
from sparsenas.search.measured.training_proxies import ShortTraining, StepTime

__all__ = [
    "FEATURE_KINDS",
    "LEAST",
    "ArchitectureFeatures",
    "Bench",
    "Decoding",
    "EffectiveCost",
    "FeatureKind",
    "Governor",
    "Measured",
    "MeasuredResult",
    "MeasuredSearch",
    "MeasuredSelection",
    "Measurements",
    "Measuring",
    "MeasuringLoop",
    "Proxy",
    "ProxyReliability",
    "ScoreFile",
    "SharedWeights",
    "ShortTraining",
    "StepTime",
    "Survey",
    "Tournament",
    "TournamentResult",
    "TournamentSearch",
    "ZeroCost",
    "assess",
    "make_result",
    "measure",
]
