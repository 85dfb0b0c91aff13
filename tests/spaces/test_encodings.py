"""Encodings of genotypes: sizes, and what they keep of a genotype."""

import networkx as nx
import numpy as np
import pytest

from sparsenas.errors import ConfigError, GenotypeError
from sparsenas.spaces import (
    DartsSpace,
    NasBench201Space,
    NasBenchMacroSpace,
    ProxylessSpace,
    StageSpace,
    WeightSharing64Space,
    encoding_of,
)
from sparsenas.spaces.encodings import INPUT, OUTPUT, PADDING

SPACES = [
    NasBench201Space(),
    DartsSpace(),
    WeightSharing64Space(),
    NasBenchMacroSpace(),
    ProxylessSpace(),
    StageSpace(),
]
WITH_PATHS = SPACES[:4]


def name(space):
    return space.name


def draws(space, count=50):
    rng = np.random.default_rng(0)
    return [space.sample(rng) for _ in range(count)]


def walks(graph, operations):
    """Sequences of operations between an input and the output, by another library."""
    network = nx.DiGraph(map(tuple, np.argwhere(graph.adjacency).tolist()))
    ends = {
        wanted: [v for v, op in enumerate(graph.operations) if operations[op] == wanted] for wanted in (INPUT, OUTPUT)
    }
    return {
        (int(graph.parts[first]), first, *(operations[graph.operations[v]] for v in path[1:-1]))
        for first in ends[INPUT]
        for last in ends[OUTPUT]
        if first in network and last in network
        for path in nx.all_simple_paths(network, first, last)
    }


@pytest.mark.parametrize(
    ("space", "sizes"),
    [
        (NasBench201Space(), (30, 155, 8, 7, 35)),
        (DartsSpace(), (196, 11_200, 22, 9, 130)),
        (WeightSharing64Space(), (12, 20, 5, 6, 14)),
        (NasBenchMacroSpace(), (24, 9_840, 10, 5, 54)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_sizes_are_the_documented_ones(space, sizes):
    encoding, (genotype,) = encoding_of(space), draws(space, 1)
    found = (
        encoding.one_hot(genotype).shape,
        encoding.paths(genotype).shape,
        encoding.graph(genotype).operations.shape,
        (len(encoding.operations),),
        encoding.sequence(genotype).shape,
    )
    assert found == tuple((size,) for size in sizes)


@pytest.mark.parametrize("space", SPACES, ids=name)
def test_graphs_run_forward_from_inputs_to_outputs(space):
    encoding = encoding_of(space)
    for genotype in draws(space):
        graph = encoding.graph(genotype)
        kept = [c.primitive for cell in space.cell_types for c in genotype.cell(cell)]
        inner = [encoding.operations[op] for op in graph.operations]
        assert not np.tril(graph.adjacency).any()
        assert [op for op in inner if op not in (INPUT, OUTPUT)] == kept
        assert not (graph.parts[:, None] != graph.parts[None])[graph.adjacency].any()
        first = np.array([op == INPUT for op in inner])
        last = np.array([op == OUTPUT for op in inner])
        assert graph.adjacency[:, ~first].any(0).all()  # all vertices but inputs are entered
        assert not graph.adjacency[last].any()


@pytest.mark.parametrize("space", SPACES, ids=name)
@pytest.mark.parametrize("kind", ["one_hot", "sequence"])
def test_genotypes_that_differ_are_encoded_apart(space, kind):
    encoding, genotypes = encoding_of(space), list(dict.fromkeys(draws(space, 300)))
    rows = {getattr(encoding, kind)(genotype).tobytes() for genotype in genotypes}
    assert len(rows) == len(genotypes)


@pytest.mark.parametrize("space", WITH_PATHS, ids=name)
def test_there_is_a_bit_for_each_walk_through_the_graph(space):
    encoding, seen = encoding_of(space), {}
    for genotype in draws(space, 200):
        found = walks(encoding.graph(genotype), encoding.operations)
        bits = frozenset(np.flatnonzero(encoding.paths(genotype)).tolist())
        assert len(bits) == len(found)
        # one to one: equal walks are equal bits
        assert seen.setdefault(frozenset(found), bits) == bits
    assert len(set(seen.values())) == len(seen)


@pytest.mark.parametrize("space", SPACES, ids=name)
def test_sequences_hold_tokens_of_the_vocabulary(space):
    encoding = encoding_of(space)
    rows = np.array([encoding.sequence(genotype) for genotype in draws(space)])
    assert rows.shape[1] == encoding.length
    assert rows.min() > PADDING
    assert rows.max() == encoding.tokens - 1  # the output


def test_too_many_paths_name_another_encoding():
    with pytest.raises(ConfigError, match=r"'stage' has .* possible paths, and 20,000 are the most; use one_hot"):
        encoding_of(StageSpace()).paths(draws(StageSpace(), 1)[0])


def test_what_is_no_space_has_no_encoding():
    with pytest.raises(ConfigError, match="str has no encoding; use a search space"):
        encoding_of("darts")


@pytest.mark.parametrize("kind", ["one_hot", "paths", "graph", "sequence"])
def test_a_genotype_of_another_space_is_refused(kind):
    with pytest.raises(GenotypeError, match="genotype is of space 'darts'"):
        getattr(encoding_of(NasBench201Space()), kind)(draws(DartsSpace(), 1)[0])
