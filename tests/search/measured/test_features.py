"""The dictionary: what lies on paths, what of it is told apart, and which architectures it can tell about."""

from collections import Counter

import networkx
import numpy as np
import pytest

from sparsenas.errors import ConfigError
from sparsenas.networks import skeleton_of
from sparsenas.search.measured import FEATURE_KINDS, ArchitectureFeatures
from sparsenas.spaces import NasBench201Space, WeightSharing64Space

NB201, WS64 = NasBench201Space(), WeightSharing64Space()


def cell(text, space=NB201):
    return space.support(space.from_string(text))


def count(space, support):
    """What occurs in an architecture, by enumeration of the paths of each cell as a graph."""
    found, genotype = Counter(), space.genotype(support)
    for name in space.cell_types:
        graph = networkx.MultiDiGraph()
        targets = sorted({c.target for block in space.blocks if block.cell == name for c in block.candidates})
        graph.add_nodes_from([*range(space.num_inputs), *targets, "output"])
        edges = [c for c in genotype.cell(name) if c.primitive != "none"]
        graph.add_edges_from((c.source, c.target, c) for c in edges)
        read = targets if skeleton_of(space.name).concatenates else targets[-1:]
        graph.add_edges_from((node, "output", None) for node in read)
        paths = [
            [key for _, _, key in path[:-1]]
            for node in range(space.num_inputs)
            for path in networkx.all_simple_edge_paths(graph, node, "output")
        ]
        for candidate in {candidate for path in paths for candidate in path}:
            found["counts", name, (candidate.primitive,)] += 1
            found["candidates", name, tuple(candidate)] += 1
        for path in paths:
            content = sorted(c.primitive for c in path if c.primitive != "skip_connect")
            found["paths", name, tuple(content)] += 1
    return found


@pytest.mark.parametrize("kinds", [FEATURE_KINDS, *((kind,) for kind in FEATURE_KINDS)], ids="+".join)
def test_they_are_what_lies_on_paths(space, kinds, drawn):
    supports, others = drawn(space, 40)[:30], drawn(space, 40)[30:]
    features = ArchitectureFeatures(space, supports, kinds)
    counted, new = ([count(space, support) for support in some] for some in (supports, others))
    columns = {}
    for feature in {feature for found in counted for feature in found if feature[0] in kinds}:
        column, other = (np.array([found[feature] for found in some], dtype=float) for some in (counted, new))
        if np.ptp(column):
            columns[feature] = ((column - column.mean()) / column.std(), (other - column.mean()) / column.std())
    assert len(set(features.names)) == len(features) == features.rows(supports).shape[1]
    for index, feature in enumerate(features.names):
        np.testing.assert_allclose(features.rows(supports)[:, index], columns[feature][0], atol=1e-9)
        np.testing.assert_allclose(features.rows(others)[:, index], columns[feature][1], atol=1e-9)
    # each that varies is there, if only under another name; none is there twice
    alike = np.abs(features.rows(supports).T @ np.array([column for column, _ in columns.values()]).T) / 30
    assert (alike.max(0) > 1 - 1e-9).all()
    assert (np.abs(np.corrcoef(features.rows(supports).T)) > 1 - 1e-9).sum() == len(features)


def test_one_that_equals_another_up_to_its_sign_is_left_out():
    """Where one of two primitives is used more often, the other one is used less; the first cell is average."""
    supports = [cell(text, WS64) for text in ("123", "113", "223")]
    for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1]):
        assert len(ArchitectureFeatures(WS64, [supports[i] for i in order], ["counts"])) == 1


def test_dead_edges_do_not_count(drawn):
    dead = [
        cell(f"|nor_conv_3x3~0|+|{text}~0|none~1|+|skip_connect~0|nor_conv_1x1~1|none~2|") for text in NB201.primitives
    ]
    features = ArchitectureFeatures(NB201, [*drawn(NB201, 10), *dead])
    rows = features.rows(dead)
    np.testing.assert_array_equal(rows, rows[:1].repeat(5, axis=0))
    with pytest.raises(ConfigError, match="the 5 measured architectures cannot be told apart by counts, paths"):
        ArchitectureFeatures(NB201, dead, ("paths", "counts"))


def test_paths_see_what_no_sum_over_edges_sees():
    """Two convolutions in a row, or side by side."""
    row = cell("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_3x3~2|")
    side = cell("|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|skip_connect~2|")
    names = ArchitectureFeatures(NB201, [row, side], ["paths"]).names
    assert all(kind == "paths" for kind, *_ in names)
    assert {content for *_, content in names} <= {("nor_conv_3x3",), ("nor_conv_3x3",) * 2}


def test_the_measured_ones_are_covered(space, drawn):
    supports = drawn(space, 30)
    features = ArchitectureFeatures(space, supports)
    assert features.covers(supports).all()
    others = drawn(space, 40, seed=1)
    rows, measured = features.rows(others), features.rows(supports)
    inverse = np.linalg.inv(measured.T @ measured + np.eye(len(features)))
    near = (rows @ inverse * rows).sum(1) <= (measured @ inverse * measured).sum(1).max() * (1 + 1e-9)
    known = set().union(*(count(space, support) for support in supports))
    old = np.array([known >= set(count(space, support)) for support in others])
    np.testing.assert_array_equal(features.covers(others), near & old)
    assert not near.all()
    assert np.array_equal(features.covers(others[::-1]), (near & old)[::-1])


def test_what_none_of_them_had_is_not_covered(all_64):
    supports = [support for support in all_64 if all(index % 4 != 3 for index in support[0])]
    for kinds in (["counts"], ["candidates"], ["paths"], FEATURE_KINDS):
        covered = ArchitectureFeatures(WS64, supports, kinds).covers(all_64)
        assert {support for support, inside in zip(all_64, covered, strict=True) if inside} == set(supports)


def test_of_no_architecture(drawn):
    features = ArchitectureFeatures(NB201, drawn(NB201, 10))
    assert features.rows([]).shape == (0, len(features))
    assert features.covers([]).shape == (0,)


@pytest.mark.parametrize("kinds", [["counts"], ["candidates"], ["counts", "candidates"]], ids="+".join)
@pytest.mark.parametrize("space", ["weight_sharing64", "darts", "shared edges"], indirect=True)
def test_strengths_add_up_to_predictions(space, kinds, drawn):
    """Where all is live."""
    supports = drawn(space, 40)
    features = ArchitectureFeatures(space, supports, kinds)
    code = np.random.default_rng(0).normal(size=len(features))
    worth = features.strengths(code)
    assert worth.shape == (len(space.blocks), max(map(len, space.blocks)))
    sums = [sum(row[list(kept)].sum() for row, kept in zip(worth, s, strict=True)) for s in supports]
    predicted = features.rows(supports) @ code
    np.testing.assert_allclose(np.diff(sums), np.diff(predicted), atol=1e-9)


@pytest.mark.parametrize("kinds", [[], ["edges"], ["counts", "edges"]])
def test_kinds_of_features_that_are_none(kinds, drawn):
    with pytest.raises(ConfigError, match=r"kinds is \[.*\]; use one or more of counts, candidates, paths"):
        ArchitectureFeatures(NB201, drawn(NB201, 5), kinds)
