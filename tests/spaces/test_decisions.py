"""Genotypes as sequences of decisions: nothing is lost, and the mask lets through all of a space and nothing else."""

from math import comb, factorial

import numpy as np
import pytest

from sparsenas.errors import ConfigError, GenotypeError
from sparsenas.spaces import (
    DartsSpace,
    DecisionSequence,
    NasBench101Space,
    NasBench201Space,
    NasBenchMacroSpace,
    ProxylessSpace,
    SearchSpace,
    StageSpace,
    WeightSharing64Space,
)
from sparsenas.spaces.topology import complete_block


class SomeEdges(SearchSpace):
    """Cells of three edges, of which two carry one primitive each."""

    name, cell_types, num_inputs, inputs_per_node, distinct_edges = "some_edges", ("cell",), 1, 2, True

    @property
    def blocks(self):
        return (complete_block("cell", 3, ("a", "b")),)


class OneEdge(SomeEdges):
    """An edge that carries two of three primitives."""

    distinct_edges = False

    @property
    def blocks(self):
        return (complete_block("cell", 2, ("a", "b", "c")),)


SMALL = [
    DartsSpace(nodes=1, primitives=("a", "b")),
    DartsSpace(nodes=2, primitives=("a", "b"), inputs_per_node=1),
    DartsSpace(nodes=1, primitives=("a", "b"), distinct_edges=False),
    DartsSpace(nodes=1, primitives=("a", "b"), inputs_per_node=3, distinct_edges=False),
    WeightSharing64Space(),
    StageSpace(stages=2, layers=2, types=["conv_3x3", "residual_3x3"], growths=[1.0, 2.0]),
    SomeEdges(),
    OneEdge(),
]
SPACES = [
    *SMALL,
    NasBench201Space(),
    NasBenchMacroSpace(),
    ProxylessSpace(),
    StageSpace(per="stage"),
    DartsSpace(nodes=2),
    DartsSpace(nodes=5),
    DartsSpace(distinct_edges=False),
    DartsSpace(nodes=6, inputs_per_node=1),
]
SYMMETRIC = [DartsSpace(nodes=5), DartsSpace(distinct_edges=False), SomeEdges(), OneEdge()]


def name(space):
    return f"{space.name}-{space.size}"


every_space = pytest.mark.parametrize("space", SPACES, ids=name)


def draws(space, count=30):
    rng = np.random.default_rng(0)
    return [space.sample(rng) for _ in range(count)]


def written(sequence, count=30):
    return np.array([sequence.write(genotype) for genotype in draws(sequence.space, count)])


def random_sequences(sequence, count=50):
    """Decode random logits under the mask."""
    rng, tokens = np.random.default_rng(1), np.zeros((count, 0), dtype=np.int64)
    while tokens.shape[1] < sequence.length:
        logits = np.where(sequence.allowed(tokens), rng.normal(size=(count, sequence.tokens)), -np.inf)
        tokens = np.concatenate([tokens, logits.argmax(1)[:, None]], axis=1)
    return tokens


@pytest.mark.parametrize(
    ("space", "length", "tokens"),
    [
        (NasBench201Space(), 6, 1 + 5),
        (WeightSharing64Space(), 3, 1 + 4),
        (NasBenchMacroSpace(), 8, 1 + 3),
        (DartsSpace(), 2 * (2 + 3 * 4), 1 + 5 + 7),
        (DartsSpace(distinct_edges=False), 2 * 4 * 4, 1 + 5 + 7),
        (DartsSpace(nodes=5), 2 * (2 + 4 * 4), 1 + 6 + 7),
        (SomeEdges(), 4, 1 + 3 + 2),
    ],
    ids=lambda value: name(value) if isinstance(value, SearchSpace) else str(value),
)
def test_lengths_and_vocabularies_follow_from_the_space(space, length, tokens):
    sequence = DecisionSequence(space)
    assert (sequence.length, sequence.tokens) == (length, tokens)


@every_space
def test_what_is_written_is_read_back_and_was_allowed(space):
    sequence, genotypes = DecisionSequence(space), draws(space)
    rows = written(sequence)
    assert rows.dtype == np.int64
    assert [sequence.read(row) for row in rows] == genotypes
    for place in range(sequence.length):
        allowed = sequence.allowed(rows[:, :place])
        assert allowed[range(len(rows)), rows[:, place]].all()
        assert not allowed[:, 0].any()  # the start


@every_space
def test_random_decodes_are_genotypes_of_the_space(space):
    sequence = DecisionSequence(space)
    for tokens in random_sequences(sequence):
        genotype = sequence.read(tokens)
        assert space.genotype(space.support(genotype)) == genotype


@pytest.mark.parametrize("space", SMALL, ids=name)
def test_the_mask_lets_through_each_genotype_and_nothing_else(space):
    sequence = DecisionSequence(space)
    tokens = np.zeros((1, 0), dtype=np.int64)
    for _ in range(sequence.length):
        rows, following = np.nonzero(sequence.allowed(tokens))
        tokens = np.concatenate([tokens[rows], following[:, None]], axis=1)
    found = [sequence.read(row) for row in tokens]
    assert set(found) == set(map(space.genotype, space.supports()))
    # each genotype in all orders, where tokens name the edges or there is one edge
    kept = space.inputs_per_node
    ordered = [len(block.edges) > kept or not space.distinct_edges for block in space.blocks]
    assert len(found) == space.size * factorial(kept) ** sum(ordered)


@every_space
def test_what_the_mask_forbids_is_refused(space):
    sequence = DecisionSequence(space)
    rows = random_sequences(sequence, 5)
    for row, allowed in zip(rows, sequence.allowed(rows[:, :-1]), strict=True):
        for token in np.flatnonzero(~allowed):
            with pytest.raises(GenotypeError):
                sequence.read(np.array([*row[:-1], token]))


@every_space
def test_rows_of_a_mask_do_not_depend_on_one_another(space):
    sequence = DecisionSequence(space)
    rows = random_sequences(sequence, 10)
    for place in range(sequence.length):
        together = sequence.allowed(rows[:, :place])
        assert all(
            np.array_equal(sequence.allowed(row[None, :place])[0], mask)
            for row, mask in zip(rows, together, strict=True)
        )


@every_space
def test_permuted_sequences_are_the_same_genotypes(space):
    sequence, genotypes = DecisionSequence(space), draws(space)
    rows = written(sequence)
    before = rows.copy()
    changed = sequence.permuted(rows, np.random.default_rng(0))
    assert [sequence.read(row) for row in changed] == genotypes
    assert np.array_equal(rows, before)
    for place in range(sequence.length):
        assert sequence.allowed(changed[:, :place])[range(len(rows)), changed[:, place]].all()


@pytest.mark.parametrize(
    "space", [NasBench201Space(), WeightSharing64Space(), NasBenchMacroSpace(), StageSpace()], ids=name
)
def test_without_a_symmetry_nothing_is_permuted(space):
    sequence = DecisionSequence(space)
    rows = written(sequence)
    assert np.array_equal(sequence.permuted(rows, np.random.default_rng(0)), rows)


@pytest.mark.parametrize("space", SYMMETRIC, ids=name)
def test_all_orders_are_drawn_equally_often(space):
    sequence, count = DecisionSequence(space), 4000
    rows = np.tile(written(sequence, 1), (count, 1))
    same = (sequence.permuted(rows, np.random.default_rng(0)) == rows).all(1)
    symmetric = sum(len(block.edges) > space.inputs_per_node or not space.distinct_edges for block in space.blocks)
    expected = count / factorial(space.inputs_per_node) ** symmetric
    assert abs(same.sum() - expected) < 4 * expected**0.5


def test_one_candidate_in_each_of_two_blocks_is_no_repetition():
    space = DartsSpace(nodes=2, primitives=("a",), inputs_per_node=1)
    sequence = DecisionSequence(space)
    assert sequence.read(np.array([1, 4, 1, 4, 1, 4, 1, 4])) in set(map(space.genotype, space.supports()))
    assert space.size == (comb(2, 1) * comb(3, 1)) ** 2


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([1, 1, 1, 1, 1], r"tokens \[1, 1, 1, 1, 1\]: give 6 tokens from 1 to 5"),
        ([1, 1, 1, 1, 1, 6], "give 6 tokens from 1 to 5"),
        ([1, 1, 1, 1, 1, -1], "give 6 tokens from 1 to 5"),
        ([1, 1, 1, 0, 1, 1], "give 6 tokens from 1 to 5"),
    ],
)
def test_what_is_no_sequence_is_refused(tokens, message):
    with pytest.raises(GenotypeError, match=message):
        DecisionSequence(NasBench201Space()).read(np.array(tokens))


def test_edges_and_primitives_in_each_others_place_are_refused():
    with pytest.raises(GenotypeError, match=r"tokens \[4, 1, 2, 5\] at 0 name no candidates of cell cell"):
        DecisionSequence(SomeEdges()).read(np.array([4, 1, 2, 5]))


def test_two_candidates_on_one_edge_are_refused():
    with pytest.raises(GenotypeError, match="cell keeps two candidates on one edge"):
        DecisionSequence(SomeEdges()).read(np.array([1, 4, 1, 5]))


@pytest.mark.parametrize("prefix", [[[1] * 4], [1], [[0]], [[9]]])
def test_nothing_follows_what_is_no_prefix(prefix):
    with pytest.raises(GenotypeError, match=r"prefix of shape .*: give shape \(N, l\) with l < 4, of tokens"):
        DecisionSequence(SomeEdges()).allowed(np.array(prefix))


@pytest.mark.parametrize("prefix", [[4], [1, 1], [1, 1, 2]])
def test_nothing_follows_what_was_not_allowed(prefix):
    with pytest.raises(GenotypeError, match=r"nothing can follow the tokens .*: they are of no sequence"):
        DecisionSequence(SomeEdges()).allowed(np.array([[1, 4, 2][: len(prefix)], prefix]))


def test_a_genotype_of_another_space_is_not_written():
    with pytest.raises(GenotypeError, match="genotype is of space 'darts'"):
        DecisionSequence(NasBench201Space()).write(draws(DartsSpace(), 1)[0])


def test_a_space_without_blocks_has_no_sequence():
    with pytest.raises(ConfigError, match=r"NasBench101Space is not made of blocks .*; use a space that is"):
        DecisionSequence(NasBench101Space())
