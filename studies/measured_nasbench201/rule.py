"""Percentiles of a hand-made rule on NAS-Bench-201: the largest cell with a shortcut and a chain of convolutions.

    SPARSENAS_DATA=... python -m studies.measured_nasbench201.rule

The shortcut leads from input to output, the chain over all nodes, and nothing pools. Several cells may be the largest;
the mean of their percentiles counts. Not blind: the rule was refined with these accuracies in view.
"""

import numpy as np

from sparsenas.ranking import percentile
from sparsenas.spaces import NasBench201Space
from sparsenas.tables import NasBench201Table

LIMITS = (None, 0.35e6, 0.60e6, 0.85e6, 1.10e6, 1.40e6)
DATA = (("cifar10", "test", 200), ("cifar100", "test", 200), ("ImageNet16-120", "test", 200))
CHAIN = ((0, 1), (1, 2), (2, 3))


def follows(cell: dict[tuple[int, int], str]) -> bool:
    """Say if a cell, primitives by edge, follows the rule."""
    chained = all(cell[edge].startswith("nor_conv") for edge in CHAIN)
    return chained and cell[0, 3] == "skip_connect" and not any("pool" in name for name in cell.values())


def main() -> None:
    """Print one line for each data set."""
    table, space = NasBench201Table(), NasBench201Space()
    genotypes = table.genotypes
    cells = [{(c.source, c.target): c.primitive for c in genotype.cell(space.cell_types[0])} for genotype in genotypes]
    sizes = np.array([table.cost(genotype).parameters for genotype in genotypes])
    ruled = np.array([follows(cell) for cell in cells])
    for training in DATA:
        accuracies = table.accuracies(*training)
        found = []
        for limit in LIMITS:
            allowed = sizes <= (np.inf if limit is None else limit)
            largest = allowed & ruled & (sizes == sizes[allowed & ruled].max())
            found.append(percentile(accuracies[largest], accuracies[allowed]).mean())
        print(f"{training[0]:<16}{np.mean(found):6.1f}  by limit: {', '.join(f'{value:.1f}' for value in found)}")


if __name__ == "__main__":
    main()
