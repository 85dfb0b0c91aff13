"""Executors that make the runs of a comparison: processes of this machine, of a Ray cluster, or of SLURM."""

from sparsenas.comparison.executors.base import ClusterExecutor, Executor
from sparsenas.comparison.executors.choosing import choose_executor
from sparsenas.comparison.executors.local_executor import LocalExecutor
from sparsenas.comparison.executors.ray_executor import RayExecutor
from sparsenas.comparison.executors.submitit_executor import SubmititExecutor

__all__ = [
    "ClusterExecutor",
    "Executor",
    "LocalExecutor",
    "RayExecutor",
    "SubmititExecutor",
    "choose_executor",
]
