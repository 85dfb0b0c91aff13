"""Sparse coding: recover a sparse code ``z`` from a compressed parameter ``b = A z``. Knows no network."""

from sparsenas.sparse_coding.constraints import Budget, Cap, Constraints
from sparsenas.sparse_coding.dictionaries import (
    DictionaryKind,
    gaussian_dictionary,
    low_coherence_dictionary,
    make_dictionary,
    mutual_coherence,
    uniform_dictionary,
)
from sparsenas.sparse_coding.exact import ExactSolver
from sparsenas.sparse_coding.functions import architecture_weights, refit, support_churn
from sparsenas.sparse_coding.lars import LarsSolver
from sparsenas.sparse_coding.problem import RecoveryProblem
from sparsenas.sparse_coding.proximal import FistaSolver, IstaSolver
from sparsenas.sparse_coding.recovery import Certificate, Recovery, Solver, truncate
from sparsenas.sparse_coding.regression import CodeRegression, LassoRegression, RidgeRegression, SparseFit

__all__ = [
    "Budget",
    "Cap",
    "Certificate",
    "CodeRegression",
    "Constraints",
    "DictionaryKind",
    "ExactSolver",
    "FistaSolver",
    "IstaSolver",
    "LarsSolver",
    "LassoRegression",
    "Recovery",
    "RecoveryProblem",
    "RidgeRegression",
    "Solver",
    "SparseFit",
    "architecture_weights",
    "gaussian_dictionary",
    "low_coherence_dictionary",
    "make_dictionary",
    "mutual_coherence",
    "refit",
    "support_churn",
    "truncate",
    "uniform_dictionary",
]
