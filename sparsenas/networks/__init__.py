"""Primitives as modules, cells, super-net and derived net."""

from sparsenas.networks.cell import ramped_drop_path, seed_draws
from sparsenas.networks.config import NetworkConfig
from sparsenas.networks.derived import DerivedNet
from sparsenas.networks.folding import check_foldable, fold
from sparsenas.networks.fusion import fuse_batchnorm
from sparsenas.networks.gradients import candidate_gradients
from sparsenas.networks.heads import StemName
from sparsenas.networks.mapping import WeightMapping
from sparsenas.networks.network import CellNetwork
from sparsenas.networks.normalisation import (
    NormOptions,
    ScaledBatchNorm,
    batch_statistics,
    forget_statistics,
    frozen_statistics,
    horizon,
    recalibrate,
    share_statistics,
    young_norms,
)
from sparsenas.networks.operations import PRIMITIVES, Operation, make_operation
from sparsenas.networks.skeletons import CHANNEL_GRID, SKELETONS, Skeleton, skeleton_of, stage_cost
from sparsenas.networks.supernet import SuperNet

__all__ = [
    "CHANNEL_GRID",
    "PRIMITIVES",
    "SKELETONS",
    "CellNetwork",
    "DerivedNet",
    "NetworkConfig",
    "NormOptions",
    "Operation",
    "ScaledBatchNorm",
    "Skeleton",
    "StemName",
    "SuperNet",
    "WeightMapping",
    "batch_statistics",
    "candidate_gradients",
    "check_foldable",
    "fold",
    "forget_statistics",
    "frozen_statistics",
    "fuse_batchnorm",
    "horizon",
    "make_operation",
    "ramped_drop_path",
    "recalibrate",
    "seed_draws",
    "share_statistics",
    "skeleton_of",
    "stage_cost",
    "young_norms",
]
