"""What follows from measurements, and how sure that is."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from sparsenas.errors import ConfigError
from sparsenas.search.measured import ArchitectureFeatures, Decoding, Measurements, make_result
from sparsenas.search.searcher import NO_BETTER
from sparsenas.spaces import NasBench201Space, WeightSharing64Space
from sparsenas.sparse_coding.regression import LassoRegression, RidgeRegression

NB201, WS64 = NasBench201Space(), WeightSharing64Space()


@pytest.fixture
def found_of(proxies):
    """Gives measurements of the columns; where sizes are not given, all are alike."""

    def make(supports, *columns, names=None, trained=None, sizes=None, repeats=1, noise=0.0):
        return Measurements(
            names=tuple(names or (f"s{i}" for i in range(len(columns)))),
            repeatable=(True,) * len(columns),
            supports=tuple(supports),
            values=proxies(*columns, repeats=repeats, noise=noise),
            trained=np.full(len(supports), np.nan) if trained is None else trained,
            sizes=np.ones(len(supports)) if sizes is None else sizes,
        )

    return make


@pytest.mark.parametrize("regression", [LassoRegression(), RidgeRegression()], ids=lambda r: type(r).__name__)
@pytest.mark.parametrize("seed", range(4))
def test_a_code_finds_the_best_that_it_can_tell_about(seed, regression, all_64, worth_of, found_of):
    truth, order = worth_of(seed), np.random.default_rng(seed).permutation(64)
    # the best one is not among those measured
    best = max(all_64, key=truth)
    supports = [all_64[i] for i in order if all_64[i] != best][:32]
    options = Decoding(("candidates",), regression, "code", certainty=0.0, bootstraps=5)
    result = make_result(WS64, found_of(supports, [*map(truth, supports)]), 32, all_64, options, seed)
    features = ArchitectureFeatures(WS64, supports, ["candidates"])
    covered = [support for support in all_64 if features.covers([support])[0]]
    assert len(covered) > 32
    assert result.support == result.best == max(covered, key=truth)
    assert (result.measured, result.considered) == (32, len(covered))
    assert result.explained > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_the_best_measured_has_the_largest_rank_sum(seed, drawn, found_of):
    rng = np.random.default_rng(seed)
    supports, truth = drawn(NB201, 30, seed), rng.normal(size=30)
    columns = [truth + 0.3 * rng.normal(size=30) for _ in range(3)]
    result = make_result(NB201, found_of(supports, *columns), 30, [], Decoding(certainty=0.0, bootstraps=5), 0)
    sums = sum(rankdata(column) for column in columns)
    scores = norm.ppf((rankdata(sums) - 0.5) / 30)
    scores = (scores - scores.mean()) / scores.std()
    first, second = np.argsort(-sums, kind="stable")[:2]
    assert result.support == result.best == supports[first]
    assert result.score == pytest.approx(scores[first])
    assert (result.largest, result.largest_score) == (supports[0], pytest.approx(scores[0]))
    assert (result.runner_up, result.gap) == (supports[second], pytest.approx(scores[first] - scores[second]))
    assert (result.measured, result.considered, result.explained) == (30, 30, None)


def test_what_is_not_drawn_does_not_assess_proxies(drawn, found_of):
    """Proposals are alike, so that proxies have little to say about them."""
    supports, truth = drawn(NB201, 40), np.arange(40.0)
    doubtful = np.where(np.arange(40) < 20, truth, -1000 * truth)
    found = found_of(supports, truth, doubtful, truth)
    result = make_result(NB201, found, 20, [], Decoding(bootstraps=5), 0)
    assert result.reliability == found.first(20).assess()
    assert all(item.trusted for item in result.reliability)
    assert not all(item.trusted for item in found.assess())


def test_scores_are_deviations_among_those_drawn(drawn, found_of):
    """A random one has 0 on average, and 1 is the deviation, however good the proposals are."""
    supports, truth = drawn(NB201, 40), np.arange(40.0)
    scores = []
    for largest in range(20):
        order = [largest, *(i for i in range(40) if i != largest)]
        found = found_of([supports[i] for i in order], truth[order])
        scores.append(make_result(NB201, found, 20, [], Decoding(bootstraps=1), 0).largest_score)
    assert np.mean(scores) == pytest.approx(0, abs=0.1)
    assert np.std(scores) == pytest.approx(1, rel=0.15)


def test_a_clear_lead_is_certain(drawn, found_of):
    supports, truth = drawn(NB201, 20), np.arange(20.0)
    result = make_result(NB201, found_of(supports, truth, truth, repeats=3, noise=0.1), 20, [], Decoding(), 0)
    assert result.support == supports[-1]
    assert result.beats_largest == 1.0
    assert NO_BETTER not in result.summary
    assert "ahead of the largest one (-2.0) in 100% of bootstraps, by s0, s1" in result.summary


def test_one_measurement_is_called_that(drawn, found_of):
    supports, truth = drawn(NB201, 20), np.arange(20.0)
    result = make_result(NB201, found_of(supports, truth), 20, [], Decoding(), 0)
    assert "ahead of the largest one (-2.0) as measured once, by s0" in result.summary
    assert "bootstraps" not in result.summary
    assert result.measured_once
    assert not make_result(NB201, found_of(supports, truth, truth), 20, [], Decoding(), 0).measured_once


def test_what_others_would_doubt_can_be_used(drawn, found_of):
    """Two proxies that contradict each other: by their sum, if one says so, and size is not asked."""
    supports, rng = drawn(NB201, 20), np.random.default_rng(0)
    first, second = rng.permutation(20).astype(float), np.zeros(20)
    second[7] = 1.0
    first[7] = 17.5
    found = found_of(supports, first, -first + 100 * second)
    assert make_result(NB201, found, 20, [], Decoding(), 0).support == supports[0]
    result = make_result(NB201, found, 20, [], Decoding(certainty=0.0, trust="all"), 0)
    assert result.support == supports[7]
    assert [(item.proxy, item.trusted) for item in result.reliability] == [("s0", True), ("s1", True)]


@pytest.fixture
def disagreeing(drawn):
    """Two of three proxies like the last one better than the largest; a third of them is quite another opinion."""
    truth = np.arange(20.0)
    truth[0] = 18.5
    other = truth.copy()
    other[0] = 20
    return drawn(NB201, 20), [truth, truth, other]


def test_doubt_gives_back_the_largest(disagreeing, found_of):
    supports, columns = disagreeing
    result = make_result(NB201, found_of(supports, *columns), 20, [], Decoding(), 0)
    assert all(item.trusted for item in result.reliability)
    assert result.support == result.largest == supports[0]
    assert result.best == supports[-1]
    assert result.score == result.largest_score
    # of three proxies drawn from three, at least two are the third one in 7 of 27 draws
    assert result.beats_largest == pytest.approx(20 / 27, abs=0.1)
    assert result.summary.startswith(NO_BETTER)
    for certainty in (0.0, 0.5):
        result = make_result(NB201, found_of(supports, *columns), 20, [], Decoding(certainty=certainty), 0)
        assert result.support == result.best == supports[-1]
        assert NO_BETTER not in result.summary


def test_the_largest_may_be_the_best(drawn, found_of):
    supports, truth = drawn(NB201, 20), -np.arange(20.0)
    result = make_result(NB201, found_of(supports, truth, truth), 20, [], Decoding(), 0)
    assert result.support == result.best == result.largest
    assert result.beats_largest == 1.0
    assert result.summary.startswith("the largest network, +2.0 deviations from a random one")


@pytest.mark.parametrize("choice", ["measured", "code"])
def test_shares_are_of_one_architecture_each(space, choice, drawn, found_of):
    supports, rng = drawn(space, 30), np.random.default_rng(0)
    found = found_of(supports, rng.normal(size=30), repeats=3, noise=0.5)
    options = Decoding(("counts", "candidates"), choice=choice, bootstraps=20)
    result = make_result(space, found, 30, drawn(space, 60, seed=1), options, 0)
    assert [len(row) for row in result.chosen] == [len(block) for block in space.blocks]
    for row in result.chosen:
        assert sum(row) == pytest.approx(space.inputs_per_node)
        assert all(0 <= share <= 1 + 1e-9 for share in row)
    assert sum(0 < share < 1 for row in result.chosen for share in row) > 1  # there is doubt


@pytest.mark.parametrize("choice", ["measured", "code"])
def test_the_same_seed_gives_the_same_answer(choice, drawn, all_64, found_of):
    supports, rng = drawn(WS64, 30), np.random.default_rng(0)
    found = found_of(supports, *rng.normal(size=(1, 30)), repeats=3, noise=0.5)
    options = Decoding(choice=choice, bootstraps=30)
    results = [make_result(WS64, found, 30, all_64, options, seed) for seed in (3, 3, 4)]
    assert results[0] == results[1] != results[2]
    assert results[0].best == results[2].best


def test_a_proxy_that_is_not_trusted_changes_nothing(drawn, found_of):
    supports, truth = drawn(NB201, 20), np.random.default_rng(0).normal(size=20)
    columns = [truth + 0.2 * np.random.default_rng(seed).normal(size=20) for seed in (1, 2)]
    without = make_result(NB201, found_of(supports, *columns), 20, [], Decoding(), 0)
    result = make_result(NB201, found_of(supports, *columns, -truth), 20, [], Decoding(), 0)
    assert replace(result, reliability=()) == replace(without, reliability=())
    assert result.summary == without.summary + " (not used: s2: given size, the others disagree)"


@pytest.mark.parametrize("large", [18, 19])
@pytest.mark.parametrize("slope", [1, 0, -1])
def test_size_is_one_more_proxy_where_the_trusted_grow_with_it(drawn, found_of, large, slope):
    """Of two that the proxies like alike, it then chooses the larger one; else, the first one is as good."""
    supports, truth = drawn(NB201, 20), np.arange(20.0)
    one, other = truth.copy(), truth.copy()
    other[[18, 19]] = one[[19, 18]]
    sizes = slope * truth + 4 * np.random.default_rng(0).normal(size=20)
    sizes[[18, 19]] = sizes.max() + 1
    sizes[large] += 1
    result = make_result(NB201, found_of(supports, one, other, sizes=sizes), 20, [], Decoding(certainty=0.0), 0)
    size = result.reliability[-1]
    assert (size.proxy, size.trusted) == ("size", slope == 1)
    assert result.best == supports[large if slope == 1 else 18]
    if slope == 1:
        assert "by s0, s1, size" in result.summary
    else:
        assert result.summary.endswith("by s0, s1 (not used: size: what is trusted does not grow with it)")


def test_size_is_drawn_with_the_others(drawn, found_of):
    """By both proxies another one is ahead of the largest, by size none is; of three drawn, two may be size."""
    supports, truth = drawn(NB201, 20), np.arange(20.0)
    truth[0] = 17.5
    sizes = np.r_[40, np.arange(18), 30]
    result = make_result(NB201, found_of(supports, truth, truth, sizes=sizes), 20, [], Decoding(), 0)
    assert [item.trusted for item in result.reliability] == [True] * 3
    assert result.best == supports[-1]
    assert result.beats_largest == pytest.approx(20 / 27, abs=0.1)
    assert result.support == result.largest


def test_where_all_are_of_one_size_nothing_is_said_of_it(drawn, found_of):
    supports, truth = drawn(NB201, 20), np.arange(20.0)
    for sizes, proxies in ((np.ones(20), [truth, truth]), (truth, [truth]), (truth, [truth, -truth])):
        found = found_of(supports, *proxies, sizes=sizes)
        assert [item.proxy for item in found.assess()] == [f"s{i}" for i in range(len(proxies))]


def test_a_code_may_explain_nothing(drawn, all_64, found_of):
    supports, options = drawn(WS64, 24), Decoding(choice="code", regression=RidgeRegression(), bootstraps=1)
    explained = []
    for seed in range(12):
        found = found_of(supports, np.random.default_rng(seed).normal(size=24))
        explained.append(make_result(WS64, found, 24, all_64, options, 0).explained)
    assert all(-1 <= number <= 1 for number in explained)
    assert np.mean(explained) < 0.1


def test_a_code_needs_nothing_else_to_choose_from(drawn, worth_of, found_of):
    supports, truth = drawn(WS64, 24), worth_of(0)
    found = found_of(supports, [*map(truth, supports)])
    result = make_result(WS64, found, 24, [], Decoding(choice="code", bootstraps=5), 0)
    assert result.considered == 24
    assert result.best in supports


def test_proxies_that_rank_nothing_give_no_result(drawn, found_of):
    found = found_of(drawn(NB201, 12), np.ones(12), np.full(12, -np.inf), names=("flat", "bad"))
    with pytest.raises(
        ConfigError,
        match=r"no proxy ranks the 12 measured architectures \(flat: gives all the same score; bad: gives all the "
        r"same score\); use other proxies, or more images",
    ):
        make_result(NB201, found, 12, [], Decoding(), 0)


def gives_back_the_largest(result, supports, measured):
    """Which is compared with nothing."""
    assert result.support == result.best == result.largest == supports[0]
    assert (result.score, result.largest_score, result.gap, result.beats_largest) == (0.0, 0.0, 0.0, 1.0)
    assert (result.measured, result.considered, result.explained) == (measured, 0, None)
    assert not any(map(any, result.chosen))  # no bootstrap chose anything


@pytest.mark.parametrize("choice", ["measured", "code"])
def test_without_a_trusted_proxy_the_largest_is_given_back(drawn, found_of, choice):
    supports = drawn(NB201, 12)
    found = found_of(supports, np.ones(12), np.ones(12), names=("flat", "noise"), repeats=2)
    found.values[:, 1] = np.stack([np.arange(12) % 2, np.arange(12) // 2 % 2], axis=1)
    result = make_result(NB201, found, 12, drawn(NB201, 20), Decoding(choice=choice), 0)
    gives_back_the_largest(result, supports, 12)
    assert result.reliability == found.assess()
    assert result.summary == (
        "no better than the largest network at this budget, which is given back: no proxy can be trusted (flat: gives "
        "all the same score; noise: its repeats disagree)"
    )


@pytest.mark.parametrize("seed", range(3))
def test_where_proxies_share_nothing_but_size_the_largest_is_given_back(drawn, found_of, seed):
    """However sure all of them are of another one; of those proposed nothing is asked."""
    supports, rng = drawn(NB201, 50), np.random.default_rng(seed)
    size = np.array([49, 48, *range(48)])
    columns = [size + 8 * rng.normal(size=50) for _ in range(3)]
    for column in columns:
        column[:2] = 45, 100
    result = make_result(NB201, found_of(supports, *columns, sizes=size), 40, [], Decoding(), 0)
    gives_back_the_largest(result, supports, 50)
    assert result.summary.startswith(f"{NO_BETTER}, which is given back: no proxy can be trusted (s")
    assert result.summary.count("given size, the others disagree") == 2
    assert result.summary.count("no other is left to agree with it") == 1
    assert make_result(NB201, found_of(supports, *columns), 40, [], Decoding(), 0).support == supports[1]


def test_proxies_that_contradict_each_other_give_back_the_largest(drawn, found_of):
    supports, truth = drawn(NB201, 10), np.arange(10.0)
    result = make_result(NB201, found_of(supports, truth, -truth), 10, [], Decoding(bootstraps=20), 0)
    gives_back_the_largest(result, supports, 10)


def test_first_measurements_have_their_sizes(drawn, found_of):
    supports, truth = drawn(NB201, 10), np.arange(10.0)
    found = found_of(supports, truth, truth[::-1], trained=truth, sizes=truth**2).first(4)
    assert found.supports == tuple(supports[:4])
    assert found.values.shape == (4, 2, 1)
    np.testing.assert_array_equal(found.sizes, [0, 1, 4, 9])
    np.testing.assert_array_equal(found.trained, truth[:4])


@pytest.mark.parametrize("wrong", [{"certainty": 1.0}, {"certainty": -0.1}, {"bootstraps": 0}])
def test_numbers_that_mean_nothing(wrong):
    with pytest.raises(ConfigError, match=r"the first lies in \[0, 1\), the second is at least 1"):
        Decoding(**wrong)
