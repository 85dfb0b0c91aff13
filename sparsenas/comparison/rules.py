"""Rules by which people pick an architecture without a search."""

from sparsenas.spaces import Genotype, NasBench201Space, NasBenchMacroSpace

#: Layers of each stage of NAS-Bench-Macro, which share a resolution.
_STAGES = ((0, 1), (2, 3, 4), (5, 6, 7))
_CONVOLUTIONS = ("nor_conv_1x1", "nor_conv_3x3")


def has_hand_made(space: str) -> bool:
    """True if a rule is known for a space."""
    return space in (NasBench201Space.name, NasBenchMacroSpace.name)


def is_hand_made(genotype: Genotype) -> bool:
    """True for what a person would build in a space with a rule.

    In NAS-Bench-201 this is a residual block: a chain of convolutions 0-1-2-3, a skip from input to output, and no
    pooling. In NAS-Bench-Macro it is one kind of layer throughout each stage.

    Differs: the first rule was refined by people who had seen accuracies of the benchmark, so it is a hard opponent.
    """
    if genotype.space == NasBench201Space.name:
        kept = {candidate.edge: candidate.primitive for candidate in genotype.cell("normal")}
        chain = all(kept[edge] in _CONVOLUTIONS for edge in ((0, 1), (1, 2), (2, 3)))
        return chain and kept[(0, 3)] == "skip_connect" and "avg_pool_3x3" not in kept.values()
    kinds = [candidate.primitive for candidate in genotype.cell("chain")]
    return all(len({kinds[layer] for layer in stage}) == 1 for stage in _STAGES)
