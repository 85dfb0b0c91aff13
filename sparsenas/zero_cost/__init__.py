"""Zero-cost scores: scores of an untrained network from one batch of images."""

from sparsenas.zero_cost.base import ZeroCostScore
from sparsenas.zero_cost.gradients import Fisher, GradNorm, Grasp, Snip
from sparsenas.zero_cost.jacobian import JacobianCovariance
from sparsenas.zero_cost.naswot import Naswot
from sparsenas.zero_cost.synflow import SynFlow
from sparsenas.zero_cost.trainability import Trainability
from sparsenas.zero_cost.zen import Zen

__all__ = [
    "Fisher",
    "GradNorm",
    "Grasp",
    "JacobianCovariance",
    "Naswot",
    "Snip",
    "SynFlow",
    "Trainability",
    "Zen",
    "ZeroCostScore",
]
