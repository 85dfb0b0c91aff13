"""Sparse coding over measurements: the dictionary, which signals are trusted, what is measured, and what follows."""

import random
from collections import Counter
from dataclasses import dataclass, replace
from itertools import product

import networkx
import numpy as np
import pytest
import torch
from scipy.stats import norm, rankdata, spearmanr
from sklearn.datasets import load_digits
from torch.nn import functional

from sparsenas.complexity import candidate_costs, count_multiply_adds, count_parameters, live_support
from sparsenas.errors import ConfigError
from sparsenas.networks import DerivedNet, NormOptions, SuperNet, skeleton_of
from sparsenas.search import SupportRules
from sparsenas.search.band import Band
from sparsenas.search.measuring import (
    LEVELS,
    NO_BETTER,
    Atoms,
    Bench,
    Decoding,
    LiveCost,
    Measured,
    Measurement,
    Measurements,
    Measuring,
    ShortTraining,
    Survey,
    Untrained,
    conclude,
    measure,
    weigh,
)
from sparsenas.search.measuring.evidence import normal_scores, signal_scores, stability_of
from sparsenas.spaces import DartsSpace, NasBench201Space, WeightSharing64Space
from sparsenas.sparse_coding.regression import LassoRegression, RidgeRegression
from sparsenas.zero_cost import JacobianCovariance, Naswot, SynFlow, ZeroCostScore

NB201, WS64 = NasBench201Space(), WeightSharing64Space()
(NB201_BLOCK,) = NB201.blocks
(WS64_BLOCK,) = WS64.blocks
#: Spaces of one and of two cell types, with and without zeros, with one and with several primitives on an edge.
SPACES = {
    "nasbench201": NB201,
    "weight_sharing64": WS64,
    "darts": DartsSpace(3),
    "with zeros": DartsSpace(3, ("none", "skip_connect", "sep_conv_3x3")),
    "shared edges": DartsSpace(2, ("skip_connect", "max_pool_3x3", "sep_conv_3x3"), distinct_edges=False),
}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def drawn(space, count, seed=0):
    rng, supports = np.random.default_rng(seed), {}
    while len(supports) < count:
        supports.setdefault(space.sample_support(rng))
    return list(supports)


def cell(text, space=NB201):
    return space.support(space.from_string(text))


class TestAtoms:
    @staticmethod
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

    @pytest.mark.parametrize(
        ("name", "levels"),
        [*((name, LEVELS) for name in SPACES), *(("nasbench201", (level,)) for level in LEVELS)],
        ids=str,
    )
    def test_they_are_what_lies_on_paths(self, name, levels):
        space = SPACES[name]
        supports, others = drawn(space, 40)[:30], drawn(space, 40)[30:]
        atoms = Atoms(space, supports, levels)
        counted, new = ([self.count(space, support) for support in some] for some in (supports, others))
        columns = {}
        for atom in {atom for found in counted for atom in found if atom[0] in levels}:
            column, other = (np.array([found[atom] for found in some], dtype=float) for some in (counted, new))
            if np.ptp(column):
                columns[atom] = ((column - column.mean()) / column.std(), (other - column.mean()) / column.std())
        assert len(set(atoms.names)) == len(atoms) == atoms.rows(supports).shape[1]
        for index, atom in enumerate(atoms.names):
            np.testing.assert_allclose(atoms.rows(supports)[:, index], columns[atom][0], atol=1e-9)
            np.testing.assert_allclose(atoms.rows(others)[:, index], columns[atom][1], atol=1e-9)
        # each that varies is there, if only under another name; none is there twice
        alike = np.abs(atoms.rows(supports).T @ np.array([column for column, _ in columns.values()]).T) / 30
        assert (alike.max(0) > 1 - 1e-9).all()
        assert (np.abs(np.corrcoef(atoms.rows(supports).T)) > 1 - 1e-9).sum() == len(atoms)

    def test_one_that_equals_another_up_to_its_sign_is_left_out(self):
        """Where one of two primitives is used more often, the other one is used less; the first cell is average."""
        supports = [cell(text, WS64) for text in ("123", "113", "223")]
        for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1]):
            assert len(Atoms(WS64, [supports[i] for i in order], ["counts"])) == 1

    def test_dead_edges_do_not_count(self):
        dead = [
            cell(f"|nor_conv_3x3~0|+|{text}~0|none~1|+|skip_connect~0|nor_conv_1x1~1|none~2|")
            for text in NB201.primitives
        ]
        atoms = Atoms(NB201, [*drawn(NB201, 10), *dead])
        rows = atoms.rows(dead)
        np.testing.assert_array_equal(rows, rows[:1].repeat(5, axis=0))
        with pytest.raises(ConfigError, match="the 5 measured architectures cannot be told apart by counts, paths"):
            Atoms(NB201, dead, ("paths", "counts"))

    def test_paths_see_what_no_sum_over_edges_sees(self):
        """Two convolutions in a row, or side by side."""
        row = cell("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_3x3~2|")
        side = cell("|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|skip_connect~2|")
        names = Atoms(NB201, [row, side], ["paths"]).names
        assert all(level == "paths" for level, *_ in names)
        assert {content for *_, content in names} <= {("nor_conv_3x3",), ("nor_conv_3x3",) * 2}

    @every_space
    def test_the_measured_ones_are_covered(self, space):
        supports = drawn(space, 30)
        atoms = Atoms(space, supports)
        assert atoms.covers(supports).all()
        others = drawn(space, 40, seed=1)
        rows, measured = atoms.rows(others), atoms.rows(supports)
        inverse = np.linalg.inv(measured.T @ measured + np.eye(len(atoms)))
        near = (rows @ inverse * rows).sum(1) <= (measured @ inverse * measured).sum(1).max() * (1 + 1e-9)
        known = set().union(*(self.count(space, support) for support in supports))
        old = np.array([known >= set(self.count(space, support)) for support in others])
        np.testing.assert_array_equal(atoms.covers(others), near & old)
        assert not near.all()
        assert np.array_equal(atoms.covers(others[::-1]), (near & old)[::-1])

    def test_what_none_of_them_had_is_not_covered(self):
        everything = [cell("".join(digits), WS64) for digits in product("1234", repeat=3)]
        supports = [support for support in everything if all(index % 4 != 3 for index in support[0])]
        for levels in (["counts"], ["candidates"], ["paths"], LEVELS):
            covered = Atoms(WS64, supports, levels).covers(everything)
            assert {support for support, inside in zip(everything, covered, strict=True) if inside} == set(supports)

    def test_of_no_architecture(self):
        atoms = Atoms(NB201, drawn(NB201, 10))
        assert atoms.rows([]).shape == (0, len(atoms))
        assert atoms.covers([]).shape == (0,)

    @pytest.mark.parametrize("levels", [["counts"], ["candidates"], ["counts", "candidates"]], ids="+".join)
    @pytest.mark.parametrize("name", ["weight_sharing64", "darts", "shared edges"])
    def test_strengths_add_up_to_predictions(self, name, levels):
        """Where all is live."""
        space = SPACES[name]
        supports = drawn(space, 40)
        atoms = Atoms(space, supports, levels)
        code = np.random.default_rng(0).normal(size=len(atoms))
        worth = atoms.strengths(code)
        assert worth.shape == (len(space.blocks), max(map(len, space.blocks)))
        sums = [sum(row[list(kept)].sum() for row, kept in zip(worth, s, strict=True)) for s in supports]
        predicted = atoms.rows(supports) @ code
        np.testing.assert_allclose(np.diff(sums), np.diff(predicted), atol=1e-9)

    @pytest.mark.parametrize("levels", [[], ["edges"], ["counts", "edges"]])
    def test_levels_that_are_none(self, levels):
        with pytest.raises(ConfigError, match=r"levels is \[.*\]; use one or more of counts, candidates, paths"):
            Atoms(NB201, drawn(NB201, 5), levels)


def signals(*columns, repeats=2, noise=0.0, seed=0):
    """Values of signals, shape ``(K, S, R)``."""
    clean = np.stack(columns, axis=1)[:, :, None].repeat(repeats, axis=2).astype(float)
    return clean + noise * np.random.default_rng(seed).normal(size=clean.shape)


def weighed(values, trained=None, repeatable=None):
    count = values.shape[1]
    trained = np.full(len(values), np.nan) if trained is None else np.array(trained, dtype=float)
    return weigh([f"s{i}" for i in range(count)], values, repeatable or [True] * count, trained)


class TestEvidence:
    TRUTH = np.random.default_rng(0).normal(size=20)

    @staticmethod
    def noise(count):
        """Two repeats that have nothing in common."""
        assert count % 4 == 0
        return np.stack([np.arange(count) % 2, np.arange(count) // 2 % 2], axis=1)

    def test_stability_is_that_of_spearman_and_brown(self):
        values = self.TRUTH[:, None] + np.random.default_rng(1).normal(size=(20, 4))
        r = np.mean([spearmanr(values[:, i], values[:, j]).statistic for i in range(4) for j in range(i)])
        assert stability_of(values) == pytest.approx(4 * r / (1 + 3 * r))
        pair = spearmanr(values[:, 0], values[:, 1]).statistic
        assert stability_of(values[:, :2]) == pytest.approx(2 * pair / (1 + pair))
        assert weighed(values[:, None])[0].stability == pytest.approx(stability_of(values))

    def test_stability_foretells_how_a_second_mean_would_agree(self):
        rng = np.random.default_rng(0)
        values = rng.normal(size=(5000, 1)) + rng.normal(size=(5000, 6))
        means = values[:, :3].mean(1), values[:, 3:].mean(1)
        assert stability_of(values[:, :3]) == pytest.approx(spearmanr(*means).statistic, abs=0.03)

    def test_one_repeat_or_two_opposite_ones(self):
        assert stability_of(self.TRUTH[:, None]) == 1.0
        assert stability_of(np.stack([self.TRUTH, -self.TRUTH], axis=1)) == 0.0

    def test_signals_that_agree_are_trusted(self):
        evidence = weighed(signals(self.TRUTH, self.TRUTH**3, noise=0.1))
        assert all(item.trusted and item.why == "trusted" for item in evidence)
        assert [item.signal for item in evidence] == ["s0", "s1"]
        assert all(item.consensus > 0.8 and item.training is None and item.trained == 0 for item in evidence)

    def test_noise_is_dropped(self):
        values = signals(self.TRUTH, self.TRUTH, self.TRUTH)
        values[:, 2] = self.noise(20)
        evidence = weighed(values)
        assert [item.trusted for item in evidence] == [True, True, False]
        assert evidence[2].why == "its repeats disagree"
        assert evidence[0].consensus == evidence[1].consensus == pytest.approx(1.0)

    def test_what_cannot_be_repeated_is_not_noise(self):
        values = signals(self.TRUTH, self.TRUTH)
        values[:, 1, 1] *= -1
        assert [item.trusted for item in weighed(values)] == [True, False]
        evidence = weighed(values[:, :, :1], repeatable=[True, False])
        assert [item.stability for item in evidence] == [1.0, None]
        assert all(item.trusted for item in evidence)

    @pytest.mark.parametrize("odd", [0, 2, 3])
    def test_one_that_contradicts_the_others_is_dropped(self, odd):
        columns = [self.TRUTH] * 4
        columns[odd] = -self.TRUTH
        evidence = weighed(signals(*columns, noise=0.05))
        assert [item.trusted for item in evidence] == [i != odd for i in range(4)]
        assert evidence[odd].why == "the others disagree with it"
        assert evidence[odd].consensus < -0.8

    def test_one_that_has_nothing_to_do_with_the_others_is_dropped(self):
        other = np.random.default_rng(3).normal(size=20)
        assert [item.trusted for item in weighed(signals(self.TRUTH, other, self.TRUTH))] == [True, False, True]

    @pytest.mark.parametrize("value", [2.0, -np.inf])
    def test_one_that_ranks_nothing_is_dropped(self, value):
        evidence = weighed(signals(np.full(20, value), self.TRUTH))
        assert [item.trusted for item in evidence] == [False, True]
        assert evidence[0].why == "gives all the same score"
        assert evidence[1].consensus is None

    def test_one_alone_is_trusted(self):
        (item,) = weighed(signals(self.TRUTH))
        assert (item.trusted, item.consensus) == (True, None)

    def test_consensus_is_with_the_rank_sum_of_the_others(self):
        rng = np.random.default_rng(0)
        values = signals(*(self.TRUTH + 0.5 * rng.normal(size=20) for _ in range(3)), noise=0.2)
        ranks = [rankdata(rankdata(values[:, i], axis=0).sum(1)) for i in range(3)]
        for i, item in enumerate(weighed(values)):
            rest = sum(ranks[j] for j in range(3) if j != i)
            assert item.consensus == pytest.approx(spearmanr(ranks[i], rest).statistic)
            assert item.trusted

    def test_trainings_decide_between_two_that_contradict_each_other(self):
        values = signals(self.TRUTH, -self.TRUTH, noise=0.05)
        assert [item.trusted for item in weighed(values)] == [True, True]
        for sign in (1, -1):
            trained = np.where(np.arange(20) < 8, sign * self.TRUTH, np.nan)
            evidence = weighed(values, trained)
            assert [item.trusted for item in evidence] == [sign == 1, sign == -1]
            assert {item.trained for item in evidence} == {8}

    def test_two_trainings_decide_nothing(self):
        trained = np.where(np.arange(20) < 2, self.TRUTH, np.nan)
        evidence = weighed(signals(self.TRUTH, -self.TRUTH), trained)
        assert [(item.trusted, item.training) for item in evidence] == [(True, None)] * 2

    def test_trainings_can_save_one_against_the_others(self):
        """Two against one, but all trainings for the one."""
        rng = np.random.default_rng(4)
        other = rng.normal(size=20)
        values = signals(other, other, self.TRUTH, noise=0.05)
        assert [item.trusted for item in weighed(values)] == [True, True, False]
        assert weighed(values, self.TRUTH)[2].trusted

    def test_only_what_was_trained_is_asked(self):
        asked = np.arange(20) % 3 == 0
        trained = np.where(asked, self.TRUTH + 0.5 * np.random.default_rng(2).normal(size=20), np.nan)
        values = signals(self.TRUTH, self.TRUTH**3)
        for item, column in zip(weighed(values, trained), (self.TRUTH, self.TRUTH**3), strict=True):
            assert item.training == pytest.approx(spearmanr(column[asked], trained[asked]).statistic)
            assert item.trained == asked.sum()

    def test_a_training_that_diverged_is_the_worst_and_not_unknown(self):
        trained = np.where(np.arange(20) < 8, self.TRUTH, np.nan)
        diverged = np.where(trained == np.nanmin(trained), -np.inf, trained)
        assert weighed(signals(self.TRUTH, self.TRUTH), diverged) == weighed(signals(self.TRUTH, self.TRUTH), trained)

    def test_only_ranks_matter(self):
        values = signals(self.TRUTH, -self.TRUTH, self.TRUTH, noise=0.3)
        trained, order = self.TRUTH * 2, np.random.default_rng(0).permutation(20)
        evidence = weighed(values, trained)
        assert weighed(np.exp(values) - 7, trained**3) == evidence
        worst = values.copy()
        worst[worst == worst.min((0, 2), keepdims=True)] = -np.inf
        assert weighed(worst, trained) == evidence
        for one, other in zip(evidence, weighed(values[order], trained[order]), strict=True):
            assert one.consensus == pytest.approx(other.consensus)
            assert replace(one, **dict.fromkeys(("stability", "consensus", "training"))) == replace(
                other, **dict.fromkeys(("stability", "consensus", "training"))
            )

    def test_scores_are_ranks(self):
        values = signals(self.TRUTH, -self.TRUTH, repeats=3, noise=0.5)
        for i, scores in enumerate(signal_scores(values).T):
            means = np.mean([rankdata(values[:, i, r]) for r in range(3)], axis=0)
            np.testing.assert_array_equal(scores, rankdata(np.round(means, 9)))
        np.testing.assert_allclose(normal_scores(self.TRUTH), -normal_scores(-self.TRUTH), atol=1e-12)
        np.testing.assert_allclose(norm.cdf(normal_scores(np.exp(self.TRUTH))) * 20 + 0.5, rankdata(self.TRUTH))


def found_of(supports, *columns, names=None, trained=None, repeats=1, noise=0.0):
    """Measurements of the columns; noise makes repeats differ."""
    return Measurements(
        names=tuple(names or (f"s{i}" for i in range(len(columns)))),
        repeatable=(True,) * len(columns),
        supports=tuple(supports),
        values=signals(*columns, repeats=repeats, noise=noise),
        trained=np.full(len(supports), np.nan) if trained is None else trained,
    )


def worth_of(seed, space=WS64):
    """A number for every candidate, and with it one for every support: noise-free, additive, distinct."""
    worth = np.random.default_rng(seed).normal(size=(len(space.blocks), max(map(len, space.blocks))))
    return lambda support: sum(row[list(kept)].sum() for row, kept in zip(worth, support, strict=True))


ALL_64 = [cell("".join(digits), WS64) for digits in product("1234", repeat=3)]


class TestConclusion:
    @pytest.mark.parametrize("regression", [LassoRegression(), RidgeRegression()], ids=lambda r: type(r).__name__)
    @pytest.mark.parametrize("seed", range(4))
    def test_a_code_finds_the_best_that_it_can_tell_about(self, seed, regression):
        truth, order = worth_of(seed), np.random.default_rng(seed).permutation(64)
        # the best one is not among those measured
        best = max(ALL_64, key=truth)
        supports = [ALL_64[i] for i in order if ALL_64[i] != best][:32]
        options = Decoding(("candidates",), regression, "code", certainty=0.0, bootstraps=5)
        result = conclude(WS64, found_of(supports, [*map(truth, supports)]), 32, ALL_64, options, seed)
        atoms = Atoms(WS64, supports, ["candidates"])
        covered = [support for support in ALL_64 if atoms.covers([support])[0]]
        assert len(covered) > 32
        assert result.support == result.best == max(covered, key=truth)
        assert (result.measured, result.considered) == (32, len(covered))
        assert result.explained > 0.9

    @pytest.mark.parametrize("seed", range(3))
    def test_the_best_measured_has_the_largest_rank_sum(self, seed):
        rng = np.random.default_rng(seed)
        supports, truth = drawn(NB201, 30, seed), rng.normal(size=30)
        columns = [truth + 0.3 * rng.normal(size=30) for _ in range(3)]
        result = conclude(NB201, found_of(supports, *columns), 30, [], Decoding(certainty=0.0, bootstraps=5), 0)
        sums = sum(rankdata(column) for column in columns)
        scores = norm.ppf((rankdata(sums) - 0.5) / 30)
        scores = (scores - scores.mean()) / scores.std()
        first, second = np.argsort(-sums, kind="stable")[:2]
        assert result.support == result.best == supports[first]
        assert result.score == pytest.approx(scores[first])
        assert (result.largest, result.largest_score) == (supports[0], pytest.approx(scores[0]))
        assert (result.runner_up, result.gap) == (supports[second], pytest.approx(scores[first] - scores[second]))
        assert (result.measured, result.considered, result.explained) == (30, 30, None)

    def test_what_is_not_drawn_does_not_weigh_signals(self):
        """Proposals are alike, so that signals have little to say about them."""
        supports, truth = drawn(NB201, 40), np.arange(40.0)
        doubtful = np.where(np.arange(40) < 20, truth, -1000 * truth)
        found = found_of(supports, truth, doubtful, truth)
        result = conclude(NB201, found, 20, [], Decoding(bootstraps=5), 0)
        assert result.evidence == weighed(found.values[:20])
        assert all(item.trusted for item in result.evidence)
        assert not all(item.trusted for item in weighed(found.values))

    def test_scores_are_deviations_among_those_drawn(self):
        """A random one has 0 on average, and 1 is the deviation, however good the proposals are."""
        supports, truth = drawn(NB201, 40), np.arange(40.0)
        scores = []
        for largest in range(20):
            order = [largest, *(i for i in range(40) if i != largest)]
            found = found_of([supports[i] for i in order], truth[order])
            scores.append(conclude(NB201, found, 20, [], Decoding(bootstraps=1), 0).largest_score)
        assert np.mean(scores) == pytest.approx(0, abs=0.1)
        assert np.std(scores) == pytest.approx(1, rel=0.15)

    def test_a_clear_lead_is_certain(self):
        supports, truth = drawn(NB201, 20), np.arange(20.0)
        result = conclude(NB201, found_of(supports, truth, truth, repeats=3, noise=0.1), 20, [], Decoding(), 0)
        assert result.support == supports[-1]
        assert result.beats_largest == 1.0
        assert NO_BETTER not in result.verdict
        assert "ahead of the largest one (-2.0) in 100% of bootstraps, by s0, s1" in result.verdict

    def disagreeing(self):
        """Two of three signals like the last one better than the largest; a third of them is quite another opinion."""
        truth = np.arange(20.0)
        truth[0] = 18.5
        other = truth.copy()
        other[0] = 20
        return drawn(NB201, 20), [truth, truth, other]

    def test_doubt_gives_back_the_largest(self):
        supports, columns = self.disagreeing()
        result = conclude(NB201, found_of(supports, *columns), 20, [], Decoding(), 0)
        assert all(item.trusted for item in result.evidence)
        assert result.support == result.largest == supports[0]
        assert result.best == supports[-1]
        assert result.score == result.largest_score
        # of three signals drawn from three, at least two are the third one in 7 of 27 draws
        assert result.beats_largest == pytest.approx(20 / 27, abs=0.1)
        assert result.verdict.startswith(NO_BETTER)
        for certainty in (0.0, 0.5):
            result = conclude(NB201, found_of(supports, *columns), 20, [], Decoding(certainty=certainty), 0)
            assert result.support == result.best == supports[-1]
            assert NO_BETTER not in result.verdict

    def test_the_largest_may_be_the_best(self):
        supports, truth = drawn(NB201, 20), -np.arange(20.0)
        result = conclude(NB201, found_of(supports, truth, truth), 20, [], Decoding(), 0)
        assert result.support == result.best == result.largest
        assert result.beats_largest == 1.0
        assert result.verdict.startswith("the largest cell, +2.0 deviations from a random one")

    @pytest.mark.parametrize("choice", ["measured", "code"])
    @every_space
    def test_shares_are_of_one_architecture_each(self, space, choice):
        supports, rng = drawn(space, 30), np.random.default_rng(0)
        found = found_of(supports, rng.normal(size=30), repeats=3, noise=0.5)
        options = Decoding(("counts", "candidates"), choice=choice, bootstraps=20)
        result = conclude(space, found, 30, drawn(space, 60, seed=1), options, 0)
        assert [len(row) for row in result.chosen] == [len(block) for block in space.blocks]
        for row in result.chosen:
            assert sum(row) == pytest.approx(space.inputs_per_node)
            assert all(0 <= share <= 1 + 1e-9 for share in row)
        assert sum(0 < share < 1 for row in result.chosen for share in row) > 1  # there is doubt

    @pytest.mark.parametrize("choice", ["measured", "code"])
    def test_the_same_seed_gives_the_same_answer(self, choice):
        supports, rng = drawn(WS64, 30), np.random.default_rng(0)
        found = found_of(supports, *rng.normal(size=(1, 30)), repeats=3, noise=0.5)
        options = Decoding(choice=choice, bootstraps=30)
        results = [conclude(WS64, found, 30, ALL_64, options, seed) for seed in (3, 3, 4)]
        assert results[0] == results[1] != results[2]
        assert results[0].best == results[2].best

    def test_a_signal_that_is_not_trusted_changes_nothing(self):
        supports, truth = drawn(NB201, 20), np.random.default_rng(0).normal(size=20)
        columns = [truth + 0.2 * np.random.default_rng(seed).normal(size=20) for seed in (1, 2)]
        without = conclude(NB201, found_of(supports, *columns), 20, [], Decoding(), 0)
        result = conclude(NB201, found_of(supports, *columns, -truth), 20, [], Decoding(), 0)
        assert replace(result, evidence=()) == replace(without, evidence=())
        assert result.verdict == without.verdict + " (not used: s2: the others disagree with it)"

    def test_a_code_may_explain_nothing(self):
        supports, options = drawn(WS64, 24), Decoding(choice="code", regression=RidgeRegression(), bootstraps=1)
        explained = []
        for seed in range(12):
            found = found_of(supports, np.random.default_rng(seed).normal(size=24))
            explained.append(conclude(WS64, found, 24, ALL_64, options, 0).explained)
        assert all(-1 <= number <= 1 for number in explained)
        assert np.mean(explained) < 0.1

    def test_a_code_needs_nothing_else_to_choose_from(self):
        supports, truth = drawn(WS64, 24), worth_of(0)
        found = found_of(supports, [*map(truth, supports)])
        result = conclude(WS64, found, 24, [], Decoding(choice="code", bootstraps=5), 0)
        assert result.considered == 24
        assert result.best in supports

    def test_without_a_signal_there_is_no_conclusion(self):
        supports = drawn(NB201, 12)
        found = found_of(supports, np.ones(12), np.ones(12), names=("flat", "noise"), repeats=2)
        found.values[:, 1] = TestEvidence.noise(12)
        with pytest.raises(
            ConfigError,
            match=r"no signal ranks the 12 measured architectures \(flat: gives all the same score; noise: its repeats "
            r"disagree\); measure more of them",
        ):
            conclude(NB201, found, 12, [], Decoding(), 0)

    def test_signals_that_cancel_out_prefer_nothing(self):
        supports, truth = drawn(NB201, 10), np.arange(10.0)
        result = conclude(NB201, found_of(supports, truth, -truth), 10, [], Decoding(bootstraps=20), 0)
        assert result.support == result.largest
        assert result.score == pytest.approx(0)

    @pytest.mark.parametrize("wrong", [{"certainty": 1.0}, {"certainty": -0.1}, {"bootstraps": 0}])
    def test_numbers_that_mean_nothing(self, wrong):
        with pytest.raises(ConfigError, match=r"the first lies in \[0, 1\), the second is at least 1"):
            Decoding(**wrong)


@dataclass(frozen=True)
class Planted(Measurement):
    """A sum over candidates by a seed, with noise by repeat; it looks at no network."""

    seed: int = 0
    noise: float = 0.0
    label: str = "planted"

    @property
    def name(self):
        return self.label

    def __call__(self, support, bench, repeat):
        (kept,) = support
        noise = np.random.default_rng((self.seed, repeat, *kept)).normal()
        return float(worth_of(self.seed)(support) + self.noise * noise)


class Constant(Measurement):
    """Gives what it is told, and remembers the repeats."""

    name = "constant"

    def __init__(self, value=1.0):
        self.value, self.asked = value, []

    def __call__(self, support, bench, repeat):
        self.asked.append(repeat)
        return self.value


class Once(Constant):
    name = "once"
    repeatable = False


@pytest.fixture(autouse=True)
def _short_walks(monkeypatch):
    monkeypatch.setattr("sparsenas.search.band.STEPS", 20)


@pytest.fixture(scope="module")
def make_bench():
    """Images and sizes of a tiny network; the images are digits."""
    bunch = load_digits()
    images, labels = torch.from_numpy(bunch.images).float()[:, None] / 16, torch.from_numpy(bunch.target)
    batches = list(zip(images.split(32)[:8], labels.split(32), strict=False))

    def make(space=WS64, seed=0, batches=batches, channels=4, cells=3, norms=NormOptions(track=False)):  # noqa: B008
        network = SuperNet(space, (1, 8, 8), 10, channels=channels, cells=cells, norms=norms)
        return Bench(space, network.size, norms, candidate_costs(network), batches, seed)

    return make


@pytest.fixture
def make_survey(make_bench):
    def make(share=0.6, seed=0, space=WS64, rules=SupportRules(), **options):  # noqa: B008 - frozen
        costs = make_bench(space).costs
        band = Band(space, rules.constraints(space, costs), costs.parameters, costs.base_parameters, share)
        decoding = Decoding(regression=LassoRegression(3, 6), bootstraps=20)
        small = {
            "signals": [Planted(seed)],
            "count": 12,
            "rounds": 3,
            "proposals": 3,
            "repeats": 1,
            "decoding": decoding,
        }
        return Survey(band, Measuring(**(small | options)), seed)

    return make


def carry_out(survey, known=None, trained=lambda support: None):
    """Measure all that a survey asks for; gives what is known, in order."""
    known = {} if known is None else known
    while (support := survey.next(known)) is not None:
        train = trained(support) if survey.trains(support) else None
        assert support not in known or known[support].trained != train  # nothing twice
        known[support] = replace(measure(support, None, replace(survey.options, training=None), False), trained=train)
    return known


class TestSurvey:
    def test_the_largest_comes_first(self, make_survey):
        survey = make_survey()
        assert survey.planned[0] == survey.next({}) == survey.band.largest
        assert len(survey.planned) == len(set(survey.planned)) == 12
        assert all(support in survey.band for support in survey.planned)

    @pytest.mark.parametrize("seed", range(3))
    def test_proposals_are_new_members_of_the_band(self, make_survey, seed):
        survey = make_survey(0.75, seed, count=20)
        known = carry_out(survey)
        assert list(known) == survey.planned
        assert 20 < len(known) <= survey.options.total == 29
        assert all(support in survey.band for support in known)

    @pytest.mark.parametrize("seed", range(4))
    def test_proposals_are_good(self, make_survey, seed):
        """As the measurements are a sum over candidates, free of noise."""
        decoding = Decoding(levels=("candidates",))
        survey = make_survey(0.0, seed, count=18, rounds=3, proposals=2, decoding=decoding)
        known, truth = carry_out(survey), worth_of(seed)
        everything = [*map(truth, ALL_64)]
        assert len(survey.planned[18:]) == 6
        assert np.mean([*map(truth, survey.planned[18:])]) > np.mean(everything) + np.std(everything)
        assert survey.leader(known) == survey.conclude(known).best == max(known, key=truth)

    def test_no_rounds_propose_nothing(self, make_survey):
        survey = make_survey(rounds=0)
        drawn = list(survey.planned)
        assert list(carry_out(survey)) == drawn == survey.planned

    @pytest.mark.parametrize("training", [None, ShortTraining(4)], ids=["untrained", "trained"])
    def test_a_survey_made_again_asks_for_the_same(self, make_survey, training):
        make = lambda: make_survey(training=training, trained=5, signals=[Planted(0, 0.1), Planted(0, 0.2, "b")])  # noqa: E731
        survey, truth = make(), worth_of(7)
        known = carry_out(survey, trained=truth)
        assert sum(measured.trained is not None for measured in known.values()) == (5 if training else 0)
        order = list(known)
        for count in [*range(0, len(order), 3), len(order) - 1, len(order)]:
            again, some = make(), {support: known[support] for support in order[:count]}
            assert again.next(some) == (order[count] if count < len(order) else None)
            assert again.planned == survey.planned[: len(again.planned)]
        assert again.conclude(known) == survey.conclude(known)

    def test_what_was_measured_for_others_changes_nothing(self, make_survey):
        """Other rules have measured members of this band before, and trained other ones."""
        make = lambda: make_survey(training=ShortTraining(4), trained=4)  # noqa: E731
        truth, survey, later = worth_of(7), make(), make()
        known = carry_out(survey, trained=truth)
        others = {
            support: Measured(
                ((worth_of(0)(support),),), -truth(support) if support not in survey.planned[:4] else None
            )
            for support in ALL_64
        }
        everything = carry_out(later, known=others, trained=truth)
        assert later.planned == survey.planned
        assert later.conclude(everything) == survey.conclude(known)
        assert later.leader(everything) == survey.leader(known)
        assert later.scores(everything, survey.conclude(known)) == survey.scores(known, survey.conclude(known))

    @pytest.mark.parametrize("share", [0.0, 0.8])
    def test_when_all_is_measured_nothing_is_left(self, make_survey, share):
        survey = make_survey(share=share, count=64, rounds=2)
        known = carry_out(survey)
        assert set(known) == set(survey.band.members())
        assert survey.next(known) is None
        assert survey.conclude(known).best == max(known, key=worth_of(0))

    def test_a_band_of_one_gives_the_largest_and_says_so(self, make_survey):
        survey = make_survey(share=1.0)
        assert survey.planned == [survey.band.largest]
        known = carry_out(survey)
        conclusion = survey.conclude(known)
        assert conclusion.support == survey.band.largest
        assert conclusion.verdict.startswith("the largest of the 1 cells in the band, too few to compare")
        assert [sum(row) for row in conclusion.chosen] == [survey.band.space.inputs_per_node]
        assert survey.scores(known, conclusion) == {}

    def test_signals_that_rank_nothing_propose_nothing(self, make_survey):
        survey = make_survey(signals=[Constant()])
        assert len(carry_out(survey)) == 12
        with pytest.raises(ConfigError, match=r"no signal ranks the 12 measured architectures \(constant: gives all"):
            survey.conclude(dict.fromkeys(survey.planned, Measured(((1.0,),))))

    def test_the_first_ones_are_trained_if_they_are_known_already(self, make_survey):
        survey = make_survey(training=ShortTraining(4), trained=3)
        assert [survey.trains(support) for support in survey.planned] == [True] * 3 + [False] * 9
        known = {support: Measured(((float(i),),)) for i, support in enumerate(survey.planned)}
        assert survey.next(known) == survey.planned[0]
        assert not any(map(make_survey(trained=3).trains, survey.planned))

    def test_what_follows_from_too_little(self, make_survey):
        survey = make_survey()
        known = {support: Measured(((float(i),),)) for i, support in enumerate(survey.planned[:3])}
        with pytest.raises(ConfigError, match="3 architectures of the band have been measured, too few to"):
            survey.conclude(known)
        fourth = known | {survey.planned[3]: Measured(((9.0,),))}
        assert survey.conclude(fourth).best == survey.planned[3]

    def test_scores_are_of_what_was_measured_under_the_rules(self, make_survey):
        survey = make_survey(signals=[Planted(0), Planted(0, 0.3, "b")])
        known = carry_out(survey)
        scores = survey.scores(
            known | dict.fromkeys(ALL_64, Measured(((99.0,), (99.0,)))) | known, survey.conclude(known)
        )
        assert list(scores) == survey.planned
        sums = sum(rankdata([known[s].values[i][0] for s in survey.planned]) for i in range(2))
        assert list(scores.values()) == pytest.approx(list(normal_scores(sums)))
        assert max(scores, key=scores.__getitem__) == survey.conclude(known).best

    def test_in_a_space_that_is_too_large_to_look_at(self, make_survey):
        """There, the best sum over candidates is found exactly."""
        space = DartsSpace(3)
        truth = worth_of(0, space)

        class Sum(Constant):
            def __call__(self, support, bench, repeat):
                return truth(support)

        survey = make_survey(0.5, space=space, signals=[Sum()], count=40, rounds=2, proposals=3)
        known = carry_out(survey)
        assert not survey.band.enumerable
        assert 40 < len(set(known)) == len(known) <= 46
        assert all(support in survey.band for support in known)
        assert max(map(truth, survey.planned[40:])) > max(map(truth, survey.planned[:40]))
        code = replace(survey.options, decoding=Decoding(choice="code", certainty=0.0, bootstraps=3))
        result = Survey(survey.band, code, 0).conclude(known)
        assert result.support in survey.band

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"signals": []}, "measuring: 0 signals, .*need at least 1 signal"),
            ({"repeats": 0}, "repeats=0"),
            ({"rounds": -1}, "rounds=-1"),
            ({"proposals": 0}, "proposals=0"),
            ({"signals": [LiveCost(), Untrained(Naswot()), LiveCost()]}, r"twice \(live parameters, Naswot, live"),
            ({"count": 3}, "measuring.count is 3: too few to recover a code"),
            ({"training": ShortTraining(), "trained": 2}, "measuring.trained is 2; train at least 3 architectures"),
            ({"training": ShortTraining(), "trained": 49}, "measuring.trained is 49; .* at most count=48"),
        ],
    )
    def test_numbers_that_contradict_each_other(self, wrong, message):
        with pytest.raises(ConfigError, match=message):
            Measuring(**wrong)

    def test_batches_that_are_read(self):
        assert Measuring().batches == 2
        assert Measuring(training=ShortTraining(30)).batches == 30
        assert Measuring(repeats=9, training=ShortTraining(5)).batches == 9
        assert Measuring(count=10, rounds=3, proposals=5).total == 25


class Seen(ZeroCostScore):
    """Keeps the network and the images, and gives a weight."""

    def __init__(self):
        self.calls = []

    def __call__(self, network, images):
        self.calls.append((network, images))
        return network.classifier.weight.flatten()[0].item()


def random_states():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()


class TestMeasurements:
    SUPPORT = cell("234", WS64)

    @pytest.mark.parametrize("unit", ["parameters", "multiply_adds"])
    def test_live_cost_is_that_of_the_network_without_dead_edges(self, make_bench, unit):
        bench = make_bench(NB201, norms=NormOptions(affine=True, track=True))
        base = getattr(bench.costs, f"base_{unit}")
        for support in drawn(NB201, 12):
            (live,) = live_support(NB201, support)
            lively = [
                candidate if index in live else candidate._replace(primitive="none")
                for index, candidate in ((i, NB201_BLOCK.candidates[i]) for i in support[0])
            ]
            genotype = NB201.genotype((tuple(map(NB201_BLOCK.candidates.index, lively)),))
            network = DerivedNet(genotype, (1, 8, 8), 10, 4, 3, norms=bench.norms)
            cost = count_parameters(network) if unit == "parameters" else count_multiply_adds(network, (1, 8, 8))
            assert LiveCost(unit)(support, bench, 0) + base == cost

    def test_a_score_is_of_new_weights_on_the_images_of_the_repeat(self, make_bench):
        bench, score = make_bench(), Seen()
        signal = Untrained(score, images=8)
        values = [signal(self.SUPPORT, bench, repeat) for repeat in (0, 1, 0, 8)]
        assert values[0] == values[2]
        assert len(set(values)) == 3  # the eighth repeat has the first images again, but other weights
        for repeat, (network, images) in zip((0, 1, 0, 0), score.calls, strict=True):
            assert torch.equal(images, bench.batches[repeat][0][:8])
            assert network.genotype == WS64.genotype(self.SUPPORT)
            assert network.size == bench.size
        assert signal.name == "Seen"

    def test_weights_of_neighbouring_seeds_are_not_shared(self, make_bench):
        weights = [
            Untrained(Seen(), images=8)(self.SUPPORT, make_bench(seed=seed), repeat)
            for seed in range(3)
            for repeat in range(3)
        ]
        assert len(set(weights)) == 9

    def test_scores_may_look_at_smaller_images(self, make_bench):
        bench, score = make_bench(), Seen()
        Untrained(score, pixels=4, images=16)(self.SUPPORT, bench, 0)
        ((network, images),) = score.calls
        torch.testing.assert_close(images, functional.avg_pool2d(bench.batches[0][0][:16], 2))
        assert network.size["image_shape"] == (1, 4, 4)
        assert network.size["cells"] == bench.size["cells"]

    def test_the_network_of_a_bench_may_be_smaller(self, make_bench):
        network = make_bench().network(self.SUPPORT, 0, 4, channels=2, cells=1)
        alone = DerivedNet(WS64.genotype(self.SUPPORT), (1, 4, 4), 10, 2, 1, norms=NormOptions(track=False))
        assert [p.shape for p in network.parameters()] == [p.shape for p in alone.parameters()]

    def test_too_few_images(self, make_bench):
        signal = Untrained(Naswot(), images=33)
        with pytest.raises(
            ConfigError, match=r"Naswot: images is 33, but a batch has 32: set data\.batch_size to at least as many"
        ):
            signal(self.SUPPORT, make_bench(), 0)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Untrained(SynFlow(), images=1), "SynFlow: images is 1, .*need at least 2 images and 1 pixel"),
            (lambda: Untrained(SynFlow(), pixels=0), "pixels is 0; need at least 2 images and 1 pixel"),
            (lambda: ShortTraining(steps=3), "steps=3, .*need at least 4 steps"),
            (lambda: ShortTraining(learning_rate=0.0), r"learning_rate=0\.0"),
            (lambda: ShortTraining(learning_rate=float("nan")), "learning_rate=nan"),
            (lambda: ShortTraining(weight_decay=-1.0), r"weight_decay=-1\.0"),
            (lambda: ShortTraining(gradient_clip=0.0), r"gradient_clip=0\.0"),
            (lambda: ShortTraining(pixels=0), "pixels=0, channels=None, cells=None; each is at least 1, or null"),
            (lambda: ShortTraining(channels=0), "channels=0"),
            (lambda: ShortTraining(cells=0), "cells=0"),
        ],
    )
    def test_numbers_out_of_range(self, make, message):
        with pytest.raises(ConfigError, match=message):
            make()

    def test_training_longer_gives_a_smaller_loss(self, make_bench):
        bench = make_bench()
        few, many = (ShortTraining(steps, channels=4, cells=1)(self.SUPPORT, bench, 0) for steps in (4, 60))
        assert -np.log(10) * 1.3 < few < many < 0
        assert -many < 0.7 * np.log(10)

    def test_the_same_seed_trains_the_same(self, make_bench):
        training = ShortTraining(6, cells=1)
        first = training(self.SUPPORT, make_bench(), 0)
        assert training(self.SUPPORT, make_bench(), 0) == first
        assert training(self.SUPPORT, make_bench(), 1) != first
        assert training(self.SUPPORT, make_bench(seed=1), 0) != first
        assert training(cell("111", WS64), make_bench(), 0) != first

    def test_it_is_a_training_with_a_warm_up_and_a_cosine(self, make_bench):
        """By a schedule of torch; the sixth step sees the sixth batch, the ninth the first one again."""
        bench, training = make_bench(), ShortTraining(40, learning_rate=0.05, gradient_clip=1.0, cells=1)
        network = bench.network(self.SUPPORT, 0, 8, cells=1).train()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=3e-4)
        warm = lambda step: min((step + 1) / 2, 1.0) * 0.5 * (1 + np.cos(np.pi * step / 40))  # noqa: E731
        schedule, losses = torch.optim.lr_scheduler.LambdaLR(optimizer, warm), []
        for step in range(40):
            images, labels = bench.batches[step % 8]
            loss = functional.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        assert training(self.SUPPORT, bench, 0) == pytest.approx(-np.mean(losses[30:]), rel=1e-4)

    def test_a_training_that_diverges_is_the_worst(self, make_bench):
        assert ShortTraining(8, learning_rate=1e30, cells=1)(self.SUPPORT, make_bench(), 0) == -np.inf

    @pytest.mark.parametrize("gradients", [True, False])
    def test_measuring_changes_nothing(self, make_bench, gradients):
        """Not the random numbers of others, not the images; gradients may be off."""
        bench = make_bench(NB201)
        before = [(images.clone(), labels.clone()) for images, labels in bench.batches]
        options = Measuring(
            signals=[
                *(Untrained(score, images=8) for score in (JacobianCovariance(norms="auto"), Naswot(), SynFlow())),
                LiveCost(),
            ],
            training=ShortTraining(4),
        )
        support, states = drawn(NB201, 1)[0], random_states()
        expected = measure(support, bench, options, train=True)
        with torch.set_grad_enabled(gradients):
            assert measure(support, bench, options, train=True) == expected
        assert random_states() == states
        for (images, labels), (old_images, old_labels) in zip(bench.batches, before, strict=True):
            assert torch.equal(images, old_images)
            assert torch.equal(labels, old_labels)
            assert not images.requires_grad

    def test_what_cannot_be_repeated_is_measured_once(self):
        again, once = Constant(1.5), Once(2.5)
        options = Measuring(signals=[again, once], repeats=3)
        assert measure(self.SUPPORT, None, options, train=True) == Measured(((1.5,) * 3, (2.5,) * 3), None)
        assert (again.asked, once.asked) == ([0, 1, 2], [0])

    def test_only_what_shall_be_trained_is(self, make_bench):
        options = Measuring(signals=[Constant()], training=ShortTraining(4, cells=1))
        assert measure(self.SUPPORT, make_bench(), options, train=False).trained is None
        trained = measure(self.SUPPORT, make_bench(), options, train=True).trained
        assert trained == ShortTraining(4, cells=1)(self.SUPPORT, make_bench(), 0)

    def test_a_signal_without_a_number_is_named(self, make_bench):
        options = Measuring(signals=[Constant(float("nan"))])
        with pytest.raises(ConfigError, match=r"constant gives NaN for the architecture .*; scores are numbers or"):
            measure(self.SUPPORT, make_bench(), options, train=False)
        assert measure(self.SUPPORT, None, Measuring(signals=[Constant(-np.inf)]), False).values == ((-np.inf,) * 2,)
