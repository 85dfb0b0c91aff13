"""Architectures of published tables that compete: early values, costs, caps, and the truth that judges."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import pi, sin

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from sparsenas.comparison.rules import is_hand_made
from sparsenas.complexity import effective_support
from sparsenas.ranking import percentile
from sparsenas.search.measured.decoding import Decoder
from sparsenas.spaces import Genotype, NasBench201Space, NasBenchMacroSpace
from sparsenas.tables import NasBench201Table, NasBenchMacroTable
from sparsenas.tables.files import read_columns, table_path
from sparsenas.tables.releases import NASBENCH201, Release

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Rows = NDArray[np.int64]

#: Least cost of the band, as a share of the largest one within the cap: that of the comparisons.
BAND = 0.7
#: Caps of the comparison by measuring: parameters, ``None`` for none.
CAPS201 = (None, 0.35e6, 0.60e6, 0.85e6, 1.10e6, 1.40e6)
#: Early and final accuracies of each data set of NAS-Bench-201.
DATA201 = {
    "cifar10": (("cifar10-valid", "valid", 12), ("cifar10", "test", 200)),
    "cifar100": (("cifar100", "valid", 12), ("cifar100", "test", 200)),
    "ImageNet16-120": (("ImageNet16-120", "valid", 12), ("ImageNet16-120", "test", 200)),
}
SAMPLE101 = Release(
    "NAS-Bench-101",
    "nasbench101_30k.csv.gz",
    "this study",
    "github.com/google-research/nasbench",
    "nasbench_full.tfrecord",
    "keep 30,001 of its cells, with the columns hash, params, val4, val12, val36 and val108",
)
SIZE101 = 30_001
#: Shares of the ranges of costs of NAS-Bench-Macro, and which of the costs are capped.
SHARES_MACRO = (0.3, 0.5)
KINDS_MACRO = {"FLOPs": ("flops",), "parameters": ("parameters",), "both": ("flops", "parameters")}


@dataclass(frozen=True, eq=False)
class Cap:
    """A limit.

    Attributes:
        name: Name for people.
        allowed: Which architectures keep it, shape ``(R,)``.
        size: Effective cost as a share of the largest one that keeps it, shape ``(R,)``.
    """

    name: str
    allowed: Flags
    size: Floats

    @property
    def band(self) -> Flags:
        """Architectures that keep it and are nearly as large as the largest one, shape ``(R,)``."""
        return self.allowed & (self.size >= BAND)


@dataclass(frozen=True, eq=False)
class Population:
    """A table of a small search space.

    Attributes:
        space: The space.
        genotypes: All genotypes, ``R``.
        keys: JSON text of each.
        hand_made: Which of them people would build by rule, shape ``(R,)``.
        caps: Limits.
        columns: Further numbers by name, shape ``(R,)`` each.
        decoder: Decoder that all searches share.
        known: Genotypes in the bands of caps, by their names.
    """

    space: NasBench201Space | NasBenchMacroSpace
    genotypes: tuple[Genotype, ...]
    keys: list[str]
    hand_made: Flags
    caps: list[Cap]
    columns: dict[str, Floats]
    decoder: Decoder
    known: dict[str, set[Genotype]] = field(default_factory=dict)

    def fits(self, cap: Cap) -> Callable[[Genotype], bool]:
        """Say which genotypes are in the band of a cap."""
        if cap.name not in self.known:
            self.known[cap.name] = {self.genotypes[row] for row in np.flatnonzero(cap.band)}
        return self.known[cap.name].__contains__


def nasbench201() -> Population:
    """NAS-Bench-201 with its six caps; its columns are the early and final accuracies, and the filter."""
    table, space = NasBench201Table(), NasBench201Space()
    block, genotypes = space.blocks[0], table.genotypes
    worth = np.array([_parameters_of(candidate.primitive) for candidate in block.candidates])
    live = [effective_support(space, space.support(genotype))[0] for genotype in genotypes]
    effective = np.array([_BASE + worth[list(indices)].sum() for indices in live])
    parameters = np.array([table.cost(genotype).parameters for genotype in genotypes], dtype=np.float64)
    caps = []
    for limit in CAPS201:
        allowed = parameters <= (np.inf if limit is None else limit)
        name = "no cap" if limit is None else f"{limit / 1e6:.2f} M"
        caps.append(Cap(name, allowed, effective / effective[allowed].max()))
    columns = {}
    for name, (early, final) in DATA201.items():
        columns[f"{name} early"], columns[f"{name} final"] = table.accuracies(*early), table.accuracies(*final)
    (texts,), _ = read_columns(table_path(None, NASBENCH201), len(genotypes), ("naswot_c10",), ())
    columns["filter"] = np.array([float(text) if text else -np.inf for text in texts])
    return _population(space, genotypes, caps, columns)


def nasbench_macro() -> Population:
    """NAS-Bench-Macro with caps on FLOPs, on parameters and on both; its column is the final accuracy."""
    table, space = NasBenchMacroTable(), NasBenchMacroSpace()
    costs = [table.cost(genotype) for genotype in table.genotypes]
    columns = {
        "flops": np.array([cost.flops for cost in costs], dtype=np.float64),
        "parameters": np.array([cost.parameters for cost in costs], dtype=np.float64),
        "final": table.accuracies("cifar10", "test", 50),
    }
    caps = []
    for kind, names in KINDS_MACRO.items():
        for share in SHARES_MACRO:
            limits = {name: columns[name].min() + share * np.ptp(columns[name]) for name in names}
            allowed = np.all([columns[name] <= limit for name, limit in limits.items()], axis=0)
            size = np.mean([columns[name] / limit for name, limit in limits.items()], axis=0)
            caps.append(Cap(f"{kind} {share:.0%}".replace("%", " %"), allowed, size / size[allowed].max()))
    return _population(space, table.genotypes, caps, columns)


def nasbench101() -> tuple[list[str], dict[str, Floats]]:
    """Read the sample of NAS-Bench-101: hashes, and parameters and four accuracies in percent by their columns."""
    names = ("params", "val4", "val12", "val36", "val108")
    (hashes,), columns = read_columns(table_path(None, SAMPLE101), SIZE101, ("hash",), names)
    return list(hashes), columns


def synthetic(truth: Floats, among: Flags, correlation: float, rng: np.random.Generator) -> Floats:
    """Make up early accuracies in percent that rank as well as a given rank correlation with the truth.

    Normal scores of the truth and of the noise are mixed, and quantiles of a normal distribution become percent.

    Args:
        truth: Shape ``(R,)``.
        among: Among whom the correlation holds, shape ``(R,)``; the others get 0 %.
        correlation: Spearman's, in expectation.
        rng: Source of the noise.
    """
    mix = 2 * sin(pi * correlation / 6)  # Pearson's correlation of normal variables with this Spearman's
    chosen = truth[among]
    scores = norm.ppf((rankdata(chosen) - 0.5) / len(chosen))
    made = np.zeros(len(truth))
    made[among] = 100 * norm.cdf(mix * scores + np.sqrt(1 - mix**2) * rng.normal(size=len(chosen)))
    return made


def percentiles(truth: Floats, allowed: Flags) -> Floats:
    """Percentile of every architecture among those allowed, shape ``(R,)``; of the others it means nothing."""
    found: Floats = percentile(truth, truth[allowed])
    return found


def largest_first(chosen: Flags, size: Floats, rng: np.random.Generator) -> Rows:
    """Rows of those chosen, the largest first; ties are drawn."""
    rows = rng.permutation(np.flatnonzero(chosen))
    return rows[np.argsort(-size[rows], kind="stable")]


_BASE = 73_306


def _parameters_of(primitive: str) -> float:
    return {"nor_conv_3x3": 243_040.0, "nor_conv_1x1": 28_000.0}.get(primitive, 0.0)


def _population(
    space: NasBench201Space | NasBenchMacroSpace,
    genotypes: tuple[Genotype, ...],
    caps: list[Cap],
    columns: dict[str, Floats],
) -> Population:
    hand_made = np.array([is_hand_made(genotype) for genotype in genotypes])
    keys = [genotype.to_json() for genotype in genotypes]
    return Population(space, genotypes, keys, hand_made, caps, columns, Decoder(space))
