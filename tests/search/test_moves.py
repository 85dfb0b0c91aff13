"""Small changes of architectures: where they lead, and how often."""

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from sparsenas.search.moves import cross, redraw, redraw_each
from sparsenas.spaces import DartsSpace, NasBench201Space, StageSpace, WeightSharing64Space

SPACES = {
    "darts": DartsSpace(nodes=2, primitives=("skip_connect", "sep_conv_3x3", "none")),
    "any_edges": DartsSpace(nodes=2, distinct_edges=False),
    "nasbench201": NasBench201Space(),
    "stage": StageSpace(stages=2, layers=2, types=["conv_3x3", "residual_3x3"], growths=[1.5]),
}


@pytest.fixture(params=SPACES)
def space(request):
    return SPACES[request.param]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def kept(support):
    return {(position, index) for position, row in enumerate(support) for index in row}


def test_a_redrawn_decision_is_one_neighbour_or_none(space, rng):
    for _ in range(50):
        support = space.sample_support(rng)
        near = {space.support(genotype) for genotype in space.neighbours(space.genotype(support))}
        assert redraw(space, support, rng) in near | {support}


def test_a_redrawn_decision_is_uniform(rng):
    space = WeightSharing64Space()
    support = space.sample_support(rng)
    counts = Counter(redraw(space, support, rng) for _ in range(4000))
    near = [space.support(genotype) for genotype in space.neighbours(space.genotype(support))]
    assert chisquare([counts[support], *map(counts.__getitem__, near)], [1000, *[3000 / 9] * 9]).pvalue > 1e-3


def test_every_decision_has_its_chance(space, rng):
    support, decisions = space.sample_support(rng), len(kept(space.sample_support(rng)))
    assert redraw_each(space, support, 0.0, rng) == support
    children = [redraw_each(space, support, 1.0, rng) for _ in range(200)]
    assert all(space.support(space.genotype(child)) == child for child in children)
    assert len({len(kept(child) - kept(support)) for child in children}) > 1
    some = [len(kept(redraw_each(space, support, 0.1, rng)) - kept(support)) for _ in range(400)]
    assert np.mean(some) < 0.1 * decisions + 0.1


def test_what_is_left_out_is_not_drawn(rng):
    space = SPACES["darts"]
    left_out = [{i for i, c in enumerate(block.candidates) if c.primitive == "none"} for block in space.blocks]
    support = tuple((0, 3) for _ in space.blocks)
    for _ in range(100):
        support = redraw_each(space, support, 0.5, rng, left_out)
        assert not any(set(row) & banned for row, banned in zip(support, left_out, strict=True))


def test_a_child_keeps_what_its_parents_keep(space, rng):
    for _ in range(100):
        first, second = space.sample_support(rng), space.sample_support(rng)
        child = cross(space, first, second, rng)
        assert space.support(space.genotype(child)) == child
        assert kept(first) & kept(second) <= kept(child) or space.name == "darts"
        assert kept(child) <= kept(first) | kept(second)
        assert cross(space, first, first, rng) == first


def test_both_parents_give_alike(rng):
    space = NasBench201Space()
    first, second = ((0, 5, 10, 15, 20, 25),), ((1, 6, 11, 16, 21, 26),)
    taken = [len(set(cross(space, first, second, rng)[0]) & set(first[0])) for _ in range(1000)]
    assert np.mean(taken) == pytest.approx(3, abs=0.15)
    assert np.var(taken) == pytest.approx(6 / 4, abs=0.3)  # each edge for itself
