"""Regressions of vectors and of architecture features: agreements with the libraries and closed forms."""

import sys
from collections import Counter
from functools import partial

import networkx as nx
import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from sparsenas.errors import PredictorError
from sparsenas.predictors import VectorRegression, make_predictor
from sparsenas.predictors.boosting import BoostedDistributions, SharedState
from sparsenas.predictors.sparse import IDENTITIES, Flow, SparseRegression
from sparsenas.predictors.vectors import bayesian_linear, lightgbm, xgboost
from sparsenas.spaces import DartsSpace, NasBench201Space, NasBenchMacroSpace, StageSpace, draw_distinct, encoding_of

SPACE = NasBench201Space()
ENCODING = encoding_of(SPACE)
#: Points that each primitive adds to a toy accuracy.
WORTH = dict(zip(SPACE.primitives, (0.0, 4.0, 5.0, 9.0, 1.0), strict=True))


def networks(count, space=SPACE, seed=0):
    return draw_distinct(space, count, np.random.default_rng(seed))


def toy(genotypes):
    return np.array([50 + sum(WORTH[c.primitive] for c in g.cell("normal")) for g in genotypes])


def test_bayesian_regression_is_the_posterior_mean_at_its_precisions():
    genotypes = networks(40)
    targets = toy(genotypes) + np.random.default_rng(0).normal(size=40)
    predictor = bayesian_linear(ENCODING)
    predictor.fit(genotypes[:30], targets[:30], {})
    model = predictor._model
    rows = ENCODING.vectors(genotypes, "one_hot")
    seen = rows[:30] - rows[:30].mean(0)
    goal = targets[:30] - targets[:30].mean()
    weights = np.linalg.solve(seen.T @ seen + model.lambda_ / model.alpha_ * np.eye(rows.shape[1]), seen.T @ goal)
    expected = targets[:30].mean() + (rows[30:] - rows[:30].mean(0)) @ weights
    assert predictor.query(genotypes[30:], {}) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("make", [xgboost, lightgbm, partial(VectorRegression, least=2)], ids=["xgb", "lgb", "forest"])
def test_predictions_are_in_the_unit_of_the_targets(make):
    if isinstance(make, partial):
        predictor = make(ENCODING, lambda: RandomForestRegressor(30, random_state=0))
    else:
        predictor = make(ENCODING)
    genotypes = networks(60)
    targets = toy(genotypes)
    predictor.fit(genotypes, targets, {})
    error = np.abs(predictor.query(genotypes, {}) - targets).mean()
    assert error < 0.5 * targets.std()


def test_boosting_is_that_of_the_library():
    import xgboost as library

    genotypes = networks(50)
    rows, targets = ENCODING.vectors(genotypes, "one_hot"), toy(genotypes)
    predictor = xgboost(ENCODING, seed=5)
    predictor.fit(genotypes, targets, {})
    options = {"max_depth": 6, "eta": 0.3, "min_child_weight": 1, "nthread": 1, "seed": 5}
    goal = (targets - targets.mean()) / targets.std()
    booster = library.train(options, library.DMatrix(rows, goal), num_boost_round=500)
    expected = targets.mean() + targets.std() * booster.predict(library.DMatrix(rows))
    assert predictor.query(genotypes, {}) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "name", ["lightgbm", pytest.param("ngboost", marks=pytest.mark.slow), "sparse_regression", "xgboost"]
)
def test_five_networks_tell_good_from_bad(name):
    best, worst = SPACE.primitives[3], SPACE.primitives[0]
    cells = [f"|{a}~0|+|{b}~0|{c}~1|+|{a}~0|{b}~1|{c}~2|" for a, b, c in (
        (best, best, best), (best, best, worst), (best, worst, best), (worst, worst, best), (worst, worst, worst)
    )]  # fmt: skip
    genotypes = [SPACE.from_string(cell) for cell in cells]
    predictor = make_predictor(name, ENCODING)
    predictor.fit(genotypes, toy(genotypes), {})
    scores = predictor.query(genotypes, {})
    assert scores[0] > scores[-1]


def test_trees_after_one_another_draw_anew_from_one_seed_alone():
    rows = np.random.default_rng(0).random((40, 6))
    goal = rows.sum(1)
    before = np.random.get_state()[1].tolist()
    models = [BoostedDistributions(seed, estimators=10, max_features=1).fit(rows, goal) for seed in (1, 1, 2)]
    first, again, other = (model.predict(rows).tolist() for model in models)
    assert first == again != other
    assert np.random.get_state()[1].tolist() == before
    roots = {pair[0].tree_.feature[0] for pair in models[0].model.base_models}
    assert len(roots) > 1  # with one feature a split, one stream of draws would begin each tree alike


def test_boosted_distributions_are_those_of_the_library():
    from ngboost import NGBRegressor
    from sklearn.tree import DecisionTreeRegressor

    rng = np.random.default_rng(0)
    rows = rng.random((60, 5))
    goal = rows.sum(1) + 0.1 * rng.standard_normal(60)
    ours = BoostedDistributions(4, estimators=40, rate=0.05, minibatch=0.7, max_depth=3).fit(rows[:40], goal[:40])
    tree = DecisionTreeRegressor(random_state=SharedState(4), max_depth=3, max_features=0.7920456318712875)
    theirs = NGBRegressor(
        Base=tree, n_estimators=40, learning_rate=0.05, minibatch_frac=0.7, random_state=4, verbose=False
    ).fit(rows[:40], goal[:40])
    assert ours.predict(rows) == pytest.approx(theirs.predict(rows), rel=1e-9)
    assert ours.loss(rows[40:], goal[40:]) == pytest.approx(theirs.score(rows[40:], goal[40:]), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("xgboost", "xgboost"),
        ("lightgbm", "lightgbm"),
        ("ngboost", "ngboost"),
        ("gaussian_process", "gpytorch"),
    ],
)
def test_who_lacks_a_library_reads_how_to_get_it(name, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PredictorError, match=rf"needs {module}, .*pip install 'sparsenas\[predictors\]'"):
        make_predictor(name, ENCODING)


def test_paths_leave_out_what_hands_on_or_gives_zero():
    cell = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
    flow = Flow(ENCODING, SPACE.from_string(cell))
    assert flow.paths == {(0, ()), (0, ("nor_conv_3x3", "avg_pool_3x3"))}
    assert (flow.depth, flow.counts["nor_conv_3x3"], flow.counts["none"]) == (2, 1, 0)
    cut = "|none~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|"
    nothing = Flow(ENCODING, SPACE.from_string(cut))
    assert (nothing.paths, nothing.depth, nothing.counts.total()) == (set(), 0, 0)
    assert nothing.effective.cell("normal") == ()


def test_what_has_no_effect_is_no_feature():
    predictor = SparseRegression(ENCODING)
    cells = [f"|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|{name}~2|" for name in SPACE.primitives]
    described = [predictor.features(SPACE.from_string(cell)) for cell in cells]
    assert all(features == described[0] for features in described)
    other = predictor.features(
        SPACE.from_string("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|nor_conv_3x3~1|none~2|")
    )
    assert other != described[0]


@pytest.mark.parametrize(
    "space", [SPACE, DartsSpace(), NasBenchMacroSpace(), StageSpace()], ids=lambda space: space.name
)
def test_flow_agrees_with_a_search_for_paths_by_another_library(space):
    encoding = encoding_of(space)
    for genotype in networks(40, space):
        graph, flow = encoding.graph(genotype), Flow(encoding, genotype)
        names = [encoding.operations[operation] for operation in graph.operations]
        alive = [vertex for vertex, name in enumerate(names) if name != "none"]
        network = nx.DiGraph(map(tuple, np.argwhere(graph.adjacency).tolist())).subgraph(alive)
        ends = [[v for v in alive if names[v] == end] for end in ("input", "output")]
        paths = [
            p for a in ends[0] for b in ends[1] if {a, b} <= set(network) for p in nx.all_simple_paths(network, a, b)
        ]
        effect = [[names[v] for v in path[1:-1] if names[v] not in IDENTITIES] for path in paths]
        assert flow.depth == max(map(len, effect), default=0)
        assert {names for _, names in flow.paths} == {tuple(path) for path in effect if len(path) <= 3}
        used = {v for path in paths for v in path[1:-1]}
        assert flow.counts == Counter(names[v] for v in used)
        assert len([c for _, kept in flow.effective.cells for c in kept]) == len(used)


@pytest.mark.parametrize("space", [DartsSpace(), NasBenchMacroSpace()], ids=["darts", "macro"])
def test_other_spaces_have_features_too(space):
    genotypes = networks(30, space)
    targets = np.random.default_rng(0).normal(size=30)
    predictor = SparseRegression(encoding_of(space))
    predictor.fit(genotypes, targets, {})
    assert predictor.query(genotypes, {}).shape == (30,)
    described = predictor.features(genotypes[0])
    paths = [feature.decision.split(": ") for feature in described if feature.decision.startswith("path")]
    assert all(names.count(">") <= 2 for _, names in paths)
    assert {part for part, _ in paths} == {f"path in part {part}" for part in range(encoding_of(space).parts)}


def test_a_code_finds_the_primitive_that_matters():
    genotypes = networks(80)
    matters = SPACE.primitives[3]
    targets = np.array([sum(c.primitive == matters for c in g.cell("normal")) for g in genotypes], dtype=float)
    targets += 1e-3 * np.random.default_rng(0).random(80)
    predictor = SparseRegression(ENCODING)
    predictor.fit(genotypes, targets, {})
    largest = max(predictor.weights, key=lambda feature: abs(predictor.weights[feature]))
    assert (largest.decision, largest.what) == ("count in normal", matters)
    assert 0 not in predictor.weights.values()
    scores = predictor.query(genotypes, {})
    predictor.fit(genotypes, np.exp(targets), {})  # ranks are the same
    assert predictor.query(genotypes, {}).tolist() == scores.tolist()
