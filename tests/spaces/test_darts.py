"""The DARTS space: numbering, membership, counting, sampling, neighbours."""

from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sparsenas.errors import ConfigError, GenotypeError
from sparsenas.spaces import DARTS_PRIMITIVES, PUBLISHED, Candidate, DartsSpace, Genotype

SMALL_SPACES = [
    DartsSpace(nodes=1, primitives=("a", "b"), distinct_edges=True),
    DartsSpace(nodes=1, primitives=("a", "b"), distinct_edges=False),
    DartsSpace(nodes=2, primitives=("a",), distinct_edges=True),
    DartsSpace(nodes=2, primitives=("a",), distinct_edges=False, inputs_per_node=1),
    DartsSpace(nodes=1, primitives=("a", "b", "c"), inputs_per_node=1, distinct_edges=True),
    DartsSpace(nodes=1, primitives=("a", "b"), inputs_per_node=3, distinct_edges=False),
]


def all_supports(space):
    """Every support of the space, by filtering all subsets."""
    choices = [
        [
            kept
            for kept in combinations(range(len(block)), space.inputs_per_node)
            if not space.distinct_edges or len({block.candidates[i].source for i in kept}) == len(kept)
        ]
        for block in space.blocks
    ]
    return list(product(*choices))


def supports(space):
    return st.integers(0, 2**32 - 1).map(lambda seed: space.sample_support(np.random.default_rng(seed)))


def test_blocks_of_the_official_space():
    space = DartsSpace()
    assert [len(block) for block in space.blocks] == [14, 21, 28, 35] * 2
    assert [block.cell for block in space.blocks] == ["normal"] * 4 + ["reduce"] * 4
    assert [block.node for block in space.blocks] == [2, 3, 4, 5] * 2
    assert DARTS_PRIMITIVES[:3] == ("max_pool_3x3", "avg_pool_3x3", "skip_connect")
    for block in space.blocks:
        for edge, primitive in product(range(block.node), range(7)):
            assert block.candidates[edge * 7 + primitive] == (block.node, edge, DARTS_PRIMITIVES[primitive])


@pytest.mark.parametrize("space", SMALL_SPACES)
def test_size_counts_the_genotypes(space):
    supports = all_supports(space)
    assert space.size == len(supports) == len({space.genotype(support) for support in supports})


def test_size_of_the_official_space():
    # per node: choose 2 of its 2, 3, 4, 5 edges and 7 primitives on each
    assert DartsSpace().size == (1 * 3 * 6 * 10 * 49**4) ** 2
    assert DartsSpace(distinct_edges=False).size == (91 * 210 * 378 * 595) ** 2


@pytest.mark.parametrize("distinct", [True, False])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_support_is_the_inverse_of_genotype(distinct, data):
    space = DartsSpace(distinct_edges=distinct)
    support = data.draw(supports(space))
    genotype = space.genotype(support)
    assert space.support(genotype) == support
    assert space.genotype(space.support(genotype)) == genotype
    assert space.support(Genotype.from_json(genotype.to_json())) == support


def test_published_genotypes_are_members():
    space = DartsSpace()
    for genotype in PUBLISHED.values():
        assert space.genotype(space.support(genotype)) == genotype


def test_cells_may_come_in_any_order():
    genotype = PUBLISHED["darts_v2"]
    turned = Genotype.build("darts", {cell: genotype.cell(cell) for cell in ("reduce", "normal")})
    assert DartsSpace().support(turned) == DartsSpace().support(genotype)


@pytest.mark.parametrize("space", SMALL_SPACES)
def test_sampling_is_uniform(space):
    rng = np.random.default_rng(0)
    supports = all_supports(space)
    draws = Counter(space.sample_support(rng) for _ in range(20 * len(supports)))
    assert set(draws) <= set(supports)
    assert stats.chisquare([draws[support] for support in supports]).pvalue > 0.01


def test_sample_is_the_genotype_of_a_sampled_support():
    space = DartsSpace()
    support = space.sample_support(np.random.default_rng(3))
    assert space.sample(np.random.default_rng(3)) == space.genotype(support)


def distance(one, other):
    """Number of kept candidates of ``one`` that ``other`` does not keep."""
    return sum(len(set(kept) - set(kept_other)) for kept, kept_other in zip(one, other, strict=True))


@pytest.mark.parametrize("space", SMALL_SPACES)
def test_neighbours_are_all_genotypes_at_distance_one(space):
    supports = all_supports(space)
    near = {support: [space.support(g) for g in space.neighbours(space.genotype(support))] for support in supports}
    for support in supports:
        assert len(set(near[support])) == len(near[support])
        assert set(near[support]) == {other for other in supports if distance(support, other) == 1}
        assert all(support in near[other] for other in near[support])


@pytest.mark.parametrize("space", [*SMALL_SPACES, DartsSpace(), DartsSpace(distinct_edges=False)])
def test_mutation_is_a_neighbour(space):
    rng = np.random.default_rng(1)
    genotype = space.sample(rng)
    neighbours = set(space.neighbours(genotype))
    assert all(space.mutate(genotype, rng) in neighbours for _ in range(10))


def test_mutation_is_uniform():
    space, rng = SMALL_SPACES[2], np.random.default_rng(2)
    genotype = space.sample(rng)
    neighbours = list(space.neighbours(genotype))
    draws = Counter(space.mutate(genotype, rng) for _ in range(50 * len(neighbours)))
    assert stats.chisquare([draws[neighbour] for neighbour in neighbours]).pvalue > 0.01


def test_a_space_of_one_genotype_has_no_neighbours():
    space = DartsSpace(nodes=1, primitives=("a",))
    genotype = space.sample(np.random.default_rng(0))
    assert space.size == 1
    assert not list(space.neighbours(genotype))
    with pytest.raises(GenotypeError, match="a single genotype; nothing can be mutated"):
        space.mutate(genotype, np.random.default_rng(0))


TWO_INPUTS = [Candidate(2, 0, "skip_connect"), Candidate(2, 1, "sep_conv_3x3")]


@pytest.mark.parametrize(
    ("normal", "message"),
    [
        ([*TWO_INPUTS[:1], Candidate(2, 1, "sep_conv_9x9")], "normal cell: sep_conv_9x9 on edge 1->2 is not in"),
        ([*TWO_INPUTS, Candidate(3, 0, "skip_connect")], r"on edge 0->3 .*\(nodes 2 to 2, primitives max_pool"),
        ([Candidate(2, 0, "skip_connect"), Candidate(2, 0, "sep_conv_3x3")], "normal cell, node 2 keeps two .* edge"),
        (TWO_INPUTS[:1], "normal cell, node 2 keeps 1 candidates; expected 2"),
        ([*TWO_INPUTS, Candidate(2, 0, "max_pool_3x3")], "normal cell, node 2 keeps 3 candidates; expected 2"),
    ],
)  # fmt: skip
def test_validate_says_what_is_not_a_member(normal, message):
    with pytest.raises(GenotypeError, match=message):
        DartsSpace(nodes=1).validate(Genotype.build("darts", {"normal": normal, "reduce": TWO_INPUTS}))


def test_validate_says_which_space_was_expected():
    with pytest.raises(
        GenotypeError, match="space 'other' with cells normal, reduce; expected 'darts' with normal, reduce"
    ):
        DartsSpace(nodes=1).validate(Genotype.build("other", {"normal": TWO_INPUTS, "reduce": TWO_INPUTS}))
    with pytest.raises(GenotypeError, match="with cells normal; expected"):
        DartsSpace(nodes=1).validate(Genotype.build("darts", {"normal": TWO_INPUTS}))


def test_two_candidates_on_one_edge_where_allowed():
    cell = [Candidate(2, 0, "skip_connect"), Candidate(2, 0, "sep_conv_3x3")]
    space = DartsSpace(nodes=1, distinct_edges=False)
    assert space.support(Genotype.build("darts", {"normal": cell, "reduce": cell})) == ((2, 3), (2, 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"nodes": 0}, "space.nodes is 0; a cell needs at least 1"),
        ({"primitives": ()}, "name at least one primitive"),
        ({"primitives": ("a", "a")}, r"space.primitives is \['a', 'a'\]; .* each once"),
        ({"inputs_per_node": 0}, "space.inputs_per_node is 0; the first node can keep 1 to 2"),
        ({"inputs_per_node": 3}, "the first node can keep 1 to 2"),
        ({"inputs_per_node": 15, "distinct_edges": False}, "the first node can keep 1 to 14"),
    ],
)
def test_impossible_spaces(arguments, message):
    with pytest.raises(ConfigError, match=message):
        DartsSpace(**arguments)
