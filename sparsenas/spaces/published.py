"""Published genotypes of the DARTS space, as the papers print them."""

from pathlib import Path

from sparsenas.errors import GenotypeError
from sparsenas.spaces.genotype import Genotype
from sparsenas.spaces.nasbench201 import NasBench201Space

#: Two-stage ISTA-NAS, searched on CIFAR-10 (Yang et al., NeurIPS 2020); 3.32M parameters at C=36, 20 cells.
ISTA_NAS_TWO_STAGE = Genotype.from_printed(
    "Genotype(normal=[('skip_connect', 0), ('dil_conv_3x3', 1), ('sep_conv_5x5', 0), ('dil_conv_3x3', 2), "
    "('dil_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 2), ('skip_connect', 0)], normal_concat=range(2, 6), "
    "reduce=[('avg_pool_3x3', 0), ('sep_conv_5x5', 1), ('dil_conv_5x5', 2), ('max_pool_3x3', 1), "
    "('dil_conv_5x5', 3), ('sep_conv_3x3', 1), ('dil_conv_5x5', 4), ('sep_conv_5x5', 1)], reduce_concat=range(2, 6))"
)

#: One-stage ISTA-NAS, searched on CIFAR-10; 3.36M parameters (3.37M with the appended batch-norms).
ISTA_NAS_ONE_STAGE = Genotype.from_printed(
    "Genotype(normal=[('skip_connect', 0), ('dil_conv_3x3', 1), ('sep_conv_3x3', 1), ('dil_conv_5x5', 2), "
    "('avg_pool_3x3', 3), ('sep_conv_3x3', 1), ('sep_conv_5x5', 1), ('sep_conv_3x3', 2)], normal_concat=range(2, 6), "
    "reduce=[('avg_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 0), ('max_pool_3x3', 1), "
    "('sep_conv_5x5', 1), ('avg_pool_3x3', 0), ('max_pool_3x3', 0), ('dil_conv_5x5', 2)], reduce_concat=range(2, 6))"
)

#: One-stage ISTA-NAS, searched on ImageNet; 5.65M parameters at C=48, 14 cells, 1,000 classes.
ISTA_NAS_IMAGENET = Genotype.from_printed(
    "Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('skip_connect', 2), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('dil_conv_5x5', 4)], normal_concat=range(2, 6), "
    "reduce=[('skip_connect', 0), ('sep_conv_3x3', 1), ('dil_conv_5x5', 2), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 0), ('skip_connect', 2), ('sep_conv_3x3', 2), ('skip_connect', 3)], reduce_concat=range(2, 6))"
)

#: Second-order DARTS, searched on CIFAR-10 (Liu et al., ICLR 2019); 3.35M parameters at C=36, 20 cells.
DARTS_V2 = Genotype.from_printed(
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), "
    "('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)

#: Published genotypes by their name on the command line.
PUBLISHED = {
    "ista_nas_two_stage": ISTA_NAS_TWO_STAGE,
    "ista_nas_one_stage": ISTA_NAS_ONE_STAGE,
    "ista_nas_imagenet": ISTA_NAS_IMAGENET,
    "darts_v2": DARTS_V2,
}


def read_genotype(text: str) -> Genotype:
    """Read a genotype from a published name, a file, or a text.

    Texts are JSON, the printed form of DARTS, and the string of a NAS-Bench-201 cell.

    Raises:
        GenotypeError: If it is none of these.
    """
    if text in PUBLISHED:
        return PUBLISHED[text]
    if text.lstrip().startswith("{"):
        return Genotype.from_json(text, "genotype")
    if text.startswith("|"):
        return NasBench201Space().from_string(text)
    if text.lstrip().startswith("Genotype("):
        return Genotype.from_printed(text, "genotype")
    if text.isidentifier() and not Path(text).exists():
        raise GenotypeError(f"{text}: no such file, and no published genotype; published are {', '.join(PUBLISHED)}")
    return Genotype.load(text)
