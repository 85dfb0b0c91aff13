"""Zero-cost scores: scores of an untrained network from one batch of images without labels."""

from sparsenas.zero_cost.base import ZeroCostScore
from sparsenas.zero_cost.jacobian import JacobianCovariance
from sparsenas.zero_cost.naswot import Naswot
from sparsenas.zero_cost.synflow import SynFlow
from sparsenas.zero_cost.trainability import Trainability
from sparsenas.zero_cost.zen import Zen

__all__ = ["JacobianCovariance", "Naswot", "SynFlow", "Trainability", "Zen", "ZeroCostScore"]
