"""Training of one network, and the options of it that searchers share."""

from sparsenas.training.adversarial import Adversary
from sparsenas.training.attacks import Attack
from sparsenas.training.classifier import ClassifierModule
from sparsenas.training.divergence import check_finite
from sparsenas.training.loss import ClassificationLoss
from sparsenas.training.module import TrainingModule, keep_plain_hyperparameters
from sparsenas.training.network_training import NetworkTraining, one_stream
from sparsenas.training.recalibration import Recalibration
from sparsenas.training.robustness import Attacks
from sparsenas.training.skipping import SkippedSteps
from sparsenas.training.stand_alone import StandAloneTraining
from sparsenas.training.weights import WeightTraining

__all__ = [
    "Adversary",
    "Attack",
    "Attacks",
    "ClassificationLoss",
    "ClassifierModule",
    "NetworkTraining",
    "Recalibration",
    "SkippedSteps",
    "StandAloneTraining",
    "TrainingModule",
    "WeightTraining",
    "check_finite",
    "keep_plain_hyperparameters",
    "one_stream",
]
