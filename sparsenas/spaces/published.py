"""Genotypes with a name: published cells of the DARTS space, networks of ProxylessNAS, and reference networks."""

from contextlib import suppress
from pathlib import Path

from sparsenas.errors import GenotypeError
from sparsenas.spaces.genotype import Genotype, is_own_json, read_text
from sparsenas.spaces.nasbench201 import NasBench201Space
from sparsenas.spaces.nasbench_macro import NasBenchMacroSpace
from sparsenas.spaces.printed import plain
from sparsenas.spaces.proxyless import PROXYLESS_NETWORKS
from sparsenas.spaces.references import REFERENCES
from sparsenas.spaces.weight_sharing64 import WeightSharing64Space

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

#: Published cells of the DARTS space by their name on the command line.
PUBLISHED = {
    "ista_nas_two_stage": ISTA_NAS_TWO_STAGE,
    "ista_nas_one_stage": ISTA_NAS_ONE_STAGE,
    "ista_nas_imagenet": ISTA_NAS_IMAGENET,
    "darts_v2": DARTS_V2,
}
#: All genotypes that have a name: published ones, and reference networks.
NAMED = {**PUBLISHED, **PROXYLESS_NETWORKS, **{name: reference.genotype for name, reference in REFERENCES.items()}}


#: Signs that texts of genotypes have, and names of files hardly ever.
_SIGNS = set("(|{[")
#: Most bytes of a file's name.
_LONGEST_NAME = 255


def read_genotype(text: str) -> Genotype:
    """Read a genotype from the name of a published one or a reference network, a file, or a text.

    Texts are JSON, the printed form of DARTS, and the strings of the published benchmarks, also inside of other text
    such as a line of a log, as long as that names one cell only.

    Raises:
        GenotypeError: If it is none of these.
    """
    bare = _bare(text)
    if bare in NAMED:
        return NAMED[bare]
    for name in (text, bare):
        if name and _exists(name):
            return parse_genotype(read_text(name), name)
    no_name = not bare.isprintable() or len(bare.encode(errors="replace")) > _LONGEST_NAME
    if not bare or no_name or _SIGNS & set(bare) or bare.isdigit():
        return parse_genotype(text, "genotype")
    if bare.isidentifier():
        raise GenotypeError(f"{bare}: no such file, and no genotype of that name; known are {', '.join(NAMED)}")
    return Genotype.load(bare)  # which says why it cannot be read


def parse_genotype(text: str, where: str) -> Genotype:
    """Read a genotype from a name or a text, as :func:`read_genotype` does, but from no file.

    Args:
        text: The text.
        where: Where it stands, for messages.

    Raises:
        GenotypeError: If it is no genotype.
    """
    bare = _bare(text)
    if bare in NAMED:
        return NAMED[bare]
    if is_own_json(text):
        return Genotype.from_json(text, where)
    for space in (NasBenchMacroSpace(), WeightSharing64Space()):
        with suppress(GenotypeError):
            return space.from_string(bare)
    cell = NasBench201Space().find(text, where)
    if cell is None and "|" in text and "normal" not in text:
        return NasBench201Space().from_string(bare)  # which says what such a string looks like
    return Genotype.from_printed(text, where) if cell is None else cell


def _bare(text: str) -> str:
    """The text without blanks and quotes around it."""
    return plain(text).strip().strip("'\"`").strip()


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # such as a name that is too long
        return False
