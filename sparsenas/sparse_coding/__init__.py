"""Sparse coding: recover a sparse code ``z`` from a compressed parameter ``b = A z``. Knows no network."""

from sparsenas.sparse_coding.constraints import Cap, Constraints, CostLimit
from sparsenas.sparse_coding.dictionaries import (
    DictionaryKind,
    make_dictionary,
    mutual_coherence,
)
from sparsenas.sparse_coding.exact import ExactSolver
from sparsenas.sparse_coding.functions import architecture_weights, refit, support_churn
from sparsenas.sparse_coding.group_regression import GroupFit, GroupRegression
from sparsenas.sparse_coding.lars import LarsSolver
from sparsenas.sparse_coding.problem import RecoveryProblem
from sparsenas.sparse_coding.proximal import FistaSolver, IstaSolver
from sparsenas.sparse_coding.recovery import Certificate, Recovery, Solver, truncate
from sparsenas.sparse_coding.regression import CodeRegression, RidgeRegression, SparseFit

__all__ = [
    "Cap",
    "Certificate",
    "CodeRegression",
    "Constraints",
    "CostLimit",
    "DictionaryKind",
    "ExactSolver",
    "FistaSolver",
    "GroupFit",
    "GroupRegression",
    "IstaSolver",
    "LarsSolver",
    "Recovery",
    "RecoveryProblem",
    "RidgeRegression",
    "Solver",
    "SparseFit",
    "architecture_weights",
    "make_dictionary",
    "mutual_coherence",
    "refit",
    "support_churn",
    "truncate",
]
