"""How it is computed: primitives as modules, cells, super-net and derived net."""

from sparsenas.networks.gradients import candidate_gradients
from sparsenas.networks.heads import StemName
from sparsenas.networks.network import CellNetwork, DerivedNet, SuperNet
from sparsenas.networks.normalisation import NormOptions, ScaledBatchNorm, frozen_statistics, recalibrate_batchnorm
from sparsenas.networks.operations import PRIMITIVES, Operation, make_operation

__all__ = [
    "PRIMITIVES",
    "CellNetwork",
    "DerivedNet",
    "NormOptions",
    "Operation",
    "ScaledBatchNorm",
    "StemName",
    "SuperNet",
    "candidate_gradients",
    "frozen_statistics",
    "make_operation",
    "recalibrate_batchnorm",
]
