"""Sparse coding over measurements: signals, evidence for them, and what follows."""

from sparsenas.search.measuring.atoms import LEVELS, Atoms, Level
from sparsenas.search.measuring.bench import Bench
from sparsenas.search.measuring.conclusion import NO_BETTER, Conclusion, Decoding, Measurements, conclude
from sparsenas.search.measuring.evidence import Evidence, weigh
from sparsenas.search.measuring.measurements import LiveCost, Measurement, SharedWeights, Untrained
from sparsenas.search.measuring.run import MeasuringRun
from sparsenas.search.measuring.survey import LEAST, Measured, Measuring, Survey, measure
from sparsenas.search.measuring.training import ShortTraining, StepTime

__all__ = [
    "LEAST",
    "LEVELS",
    "NO_BETTER",
    "Atoms",
    "Bench",
    "Conclusion",
    "Decoding",
    "Evidence",
    "Level",
    "LiveCost",
    "Measured",
    "Measurement",
    "Measurements",
    "Measuring",
    "MeasuringRun",
    "SharedWeights",
    "ShortTraining",
    "StepTime",
    "Survey",
    "Untrained",
    "conclude",
    "measure",
    "weigh",
]
