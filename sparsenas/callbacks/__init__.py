"""Callbacks of a run: scalars, figures, files, timing, final metrics and the progress bar."""

from sparsenas.callbacks.compilation import CellCompiler
from sparsenas.callbacks.events import EventGuard
from sparsenas.callbacks.figures import CellFigures
from sparsenas.callbacks.genotype_file import GenotypeFile
from sparsenas.callbacks.hparams import HParamsSummary
from sparsenas.callbacks.monitor import SupportMonitor
from sparsenas.callbacks.parts_file import PartsFile
from sparsenas.callbacks.predictions import PredictionWriter
from sparsenas.callbacks.progress import SearchProgressBar
from sparsenas.callbacks.regular_checkpoint import RegularCheckpoint
from sparsenas.callbacks.result import ResultReport
from sparsenas.callbacks.run_report import RunReport
from sparsenas.callbacks.settings_file import SettingsFile
from sparsenas.callbacks.stop_by_prediction import StopByPrediction
from sparsenas.callbacks.timing import StepTimer
from sparsenas.callbacks.whole_run import WholeRunCheckpoints

__all__ = [
    "CellCompiler",
    "CellFigures",
    "EventGuard",
    "GenotypeFile",
    "HParamsSummary",
    "PartsFile",
    "PredictionWriter",
    "RegularCheckpoint",
    "ResultReport",
    "RunReport",
    "SearchProgressBar",
    "SettingsFile",
    "StepTimer",
    "StopByPrediction",
    "SupportMonitor",
    "WholeRunCheckpoints",
]
