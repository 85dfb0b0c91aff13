"""Every search space keeps what the base class promises."""

from collections import Counter
from itertools import combinations, product
from math import comb, prod

import numpy as np
import pytest
from scipy import stats

from sparsenas import spaces
from sparsenas.errors import ConfigError, GenotypeError
from sparsenas.spaces import (
    DartsSpace,
    Genotype,
    NasBench201Space,
    NasBenchMacroSpace,
    ProxylessSpace,
    SearchSpace,
    StageSpace,
    WeightSharing64Space,
    draw_distinct,
)

SPACES = [
    DartsSpace(),
    DartsSpace(distinct_edges=False),
    DartsSpace(nodes=1, primitives=("a", "b")),
    NasBench201Space(),
    WeightSharing64Space(),
    NasBenchMacroSpace(),
    ProxylessSpace(),
    ProxylessSpace("gpu"),
    StageSpace(),
    StageSpace(stages=2, layers=2, types=["conv_3x3", "residual_3x3"], growths=[1.0, 2.0]),
    StageSpace(stages=3, layers=2, types=["conv_3x3", "mbconv_k3_e3_se"], growths=[2.0], per="stage"),
]
SMALL = [space for space in SPACES if space.size < 100_000]


def name(space):
    return f"{space.name}-{space.size}"


every_space = pytest.mark.parametrize("space", SPACES, ids=name)
small_space = pytest.mark.parametrize("space", SMALL, ids=name)


def edges_of(block):
    return len({candidate.edge for candidate in block.candidates})


def all_supports(space):
    """Every support, by filtering subsets of a block."""
    choices = []
    for block in space.blocks:
        if space.distinct_edges:
            by_edge = [[i for i, c in enumerate(block.candidates) if c.edge == edge] for edge in block.edges]
            picks = combinations(by_edge, space.inputs_per_node)
            choices.append([tuple(sorted(kept)) for edges in picks for kept in product(*edges)])
        else:
            choices.append(list(combinations(range(len(block)), space.inputs_per_node)))
    return list(product(*choices))


def number_of_neighbours(space):
    """Exchange one kept candidate: another primitive on its edge, or any on an edge that keeps none."""
    total = 0
    for block in space.blocks:
        s, n = space.inputs_per_node, len(block)
        k, edges = n // edges_of(block), edges_of(block)
        total += s * ((k - 1) + (edges - s) * k) if space.distinct_edges else s * (n - s)
    return total


def test_every_space_has_a_row():
    public = (getattr(spaces, name) for name in spaces.__all__)
    classes = {thing for thing in public if isinstance(thing, type) and issubclass(thing, SearchSpace)}
    assert {type(space) for space in SPACES} == classes - {SearchSpace}


@every_space
def test_blocks(space):
    assert [block.cell for block in space.blocks] == sorted((b.cell for b in space.blocks), key=space.cell_types.index)
    assert {block.cell for block in space.blocks} == set(space.cell_types)
    for block in space.blocks:
        k = len(block) // edges_of(block)
        assert len(set(block.candidates)) == len(block) == edges_of(block) * k
        for index, candidate in enumerate(block.candidates):
            assert candidate.edge == block.edges[index // k]
            assert candidate.primitive == block.candidates[index % k].primitive
            assert candidate.target >= space.num_inputs
            assert block.node in (None, candidate.target)


@every_space
def test_size(space):
    s = space.inputs_per_node
    ways = [
        comb(edges_of(b), s) * (len(b) // edges_of(b)) ** s if space.distinct_edges else comb(len(b), s)
        for b in space.blocks
    ]
    assert space.size == prod(ways)


@small_space
def test_size_counts_the_genotypes(space):
    supports = all_supports(space)
    assert space.size == len(supports) == len({space.genotype(support) for support in supports})


def test_published_sizes():
    assert (NasBench201Space().size, WeightSharing64Space().size, NasBenchMacroSpace().size) == (15_625, 64, 6_561)


@every_space
def test_samples_are_members_and_round_trip(space):
    rng = np.random.default_rng(0)
    for _ in range(20):
        genotype = space.sample(rng)
        space.validate(genotype)
        assert genotype.space == space.name
        assert space.genotype(space.support(genotype)) == genotype
        assert Genotype.from_json(genotype.to_json()) == genotype


@every_space
def test_vectors_round_trip(space):
    rng = np.random.default_rng(5)
    n = sum(len(block) for block in space.blocks)
    for _ in range(20):
        genotype = space.sample(rng)
        kept = space.encode(genotype)
        assert kept.shape == (n,)
        assert kept.sum() == space.inputs_per_node * len(space.blocks)
        assert space.decode(kept) == space.decode(kept * rng.normal(size=n)) == genotype  # any z of this support
        for neighbour in list(space.neighbours(genotype))[:5]:
            assert (space.encode(neighbour) != kept).sum() == 2


def test_vectors_count_the_candidates_of_one_primitive():
    """Independent of the order of blocks: the columns of a linear model of size, read off cell by cell."""
    space = NasBench201Space()
    names = np.array([c.primitive for block in space.blocks for c in block.candidates])
    genotype = space.sample(np.random.default_rng(0))
    counts = Counter(c.primitive for c in genotype.cell(space.cell_types[0]))
    assert {p: int(space.encode(genotype)[names == p].sum()) for p in counts} == counts


@every_space
def test_vectors_that_are_no_genotype(space):
    kept = space.encode(space.sample(np.random.default_rng(0)))
    with pytest.raises(GenotypeError, match=rf"shape \({len(kept) + 1},\); this space has {len(kept)} candidates"):
        space.decode(np.append(kept, False))
    with pytest.raises(GenotypeError, match="not finite"):
        space.decode(np.where(kept, np.nan, 0.0))
    with pytest.raises(GenotypeError):
        space.decode(np.ones_like(kept))


@small_space
def test_sampling_is_uniform(space):
    rng = np.random.default_rng(1)
    supports = all_supports(space)
    draws = Counter(space.sample_support(rng) for _ in range(max(len(supports), 2000)))
    assert set(draws) <= set(supports)
    # in large spaces by the share of every candidate, which is the same on each edge
    for position, block in enumerate(space.blocks):
        kept = Counter(index for support, times in draws.items() for index in support[position] for _ in range(times))
        assert len(block) == 1 or stats.chisquare([kept[index] for index in range(len(block))]).pvalue > 0.001
    if len(supports) < 1000:
        assert stats.chisquare([draws[support] for support in supports]).pvalue > 0.001


@every_space
def test_neighbours(space):
    genotype = space.sample(np.random.default_rng(2))
    support = space.support(genotype)
    found = list(space.neighbours(genotype))
    assert len(set(found)) == len(found) == number_of_neighbours(space)
    for neighbour in found:
        changed = [set(old) - set(new) for old, new in zip(support, space.support(neighbour), strict=True)]
        assert sum(map(len, changed)) == 1
    for neighbour in found[:: max(len(found) // 8, 1)]:
        assert genotype in space.neighbours(neighbour)


@every_space
def test_mutations_are_neighbours(space):
    rng = np.random.default_rng(3)
    genotype = space.sample(rng)
    found = set(space.neighbours(genotype))
    assert all(space.mutate(genotype, rng) in found for _ in range(5))


@every_space
def test_what_is_of_another_space_is_no_member(space):
    for other in SPACES:
        if other.name != space.name:
            with pytest.raises(GenotypeError, match=f"is of space '{other.name}' .* expected '{space.name}'"):
                space.validate(other.sample(np.random.default_rng(4)))


@pytest.mark.slow
@pytest.mark.parametrize("space", [NasBench201Space(), WeightSharing64Space(), NasBenchMacroSpace()], ids=name)
def test_strings_round_trip(space):
    genotypes = [space.genotype(support) for support in all_supports(space)]
    texts = [space.to_string(genotype) for genotype in genotypes]
    assert len(set(texts)) == len(texts)
    assert [space.from_string(text) for text in texts] == genotypes


def test_distinct_draws_begin_alike_and_end_with_the_space():
    space = WeightSharing64Space()
    few, all_of_them = (draw_distinct(space, count, np.random.default_rng(3)) for count in (10, space.size))
    assert all_of_them[:10] == few
    assert len(set(all_of_them)) == space.size
    with pytest.raises(ConfigError, match=r"count is 65, but 1000 draws after 64 different genotypes gave no new one"):
        draw_distinct(space, space.size + 1, np.random.default_rng(3))
