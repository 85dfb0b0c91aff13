"""Which proxies are trusted."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, rankdata, spearmanr

from sparsenas.search.measured import assess
from sparsenas.search.measured.reliability import (
    ALONE,
    CONTRADICTED,
    DISPROVED,
    LEAST_SUPPORT,
    NOISE,
    SAME,
    UNRELATED,
    assess_size,
    correlation,
    normal_scores,
    partial_correlation,
    proxy_scores,
    stability_of,
)

#: A quantity, and one that has nothing to do with it.
TRUTH, SIZE = np.random.default_rng(0).normal(size=20), np.random.default_rng(7).permutation(20).astype(float)


def assessed(values, trained=None, repeatable=None, sizes=None):
    """Where sizes are not given, all are alike."""
    count = values.shape[1]
    trained = np.full(len(values), np.nan) if trained is None else np.array(trained, dtype=float)
    sizes = np.ones(len(values)) if sizes is None else sizes
    return assess([f"s{i}" for i in range(count)], values, repeatable or [True] * count, trained, sizes)


def whys(reliability):
    return [item.why for item in reliability]


def noise(count):
    """Two repeats that have nothing in common."""
    assert count % 4 == 0
    return np.stack([np.arange(count) % 2, np.arange(count) // 2 % 2], axis=1)


def test_stability_is_that_of_spearman_and_brown():
    values = TRUTH[:, None] + np.random.default_rng(1).normal(size=(20, 4))
    r = np.mean([spearmanr(values[:, i], values[:, j]).statistic for i in range(4) for j in range(i)])
    assert stability_of(values) == pytest.approx(4 * r / (1 + 3 * r))
    pair = spearmanr(values[:, 0], values[:, 1]).statistic
    assert stability_of(values[:, :2]) == pytest.approx(2 * pair / (1 + pair))
    assert assessed(values[:, None])[0].stability == pytest.approx(stability_of(values))


def test_stability_foretells_how_a_second_mean_would_agree():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5000, 1)) + rng.normal(size=(5000, 6))
    means = values[:, :3].mean(1), values[:, 3:].mean(1)
    assert stability_of(values[:, :3]) == pytest.approx(spearmanr(*means).statistic, abs=0.03)


def test_of_one_repeat_nothing_is_known():
    (item,) = assessed(TRUTH[:, None, None])
    assert (item.stability, item.trusted) == (None, True)


def test_all_are_used_where_one_says_so_but_those_that_rank_nothing():
    """Noise, a contradiction and a constant; what speaks for them is said all the same."""
    against = np.stack([-TRUTH, -TRUTH], axis=1)
    values = np.stack([np.stack([TRUTH, TRUTH], axis=1), against, noise(20), np.ones((20, 2))], axis=1)
    trained, names = np.full(20, np.nan), list("abcd")
    doubted = assess(names, values, [True] * 4, trained, SIZE)
    used = assess(names, values, [True] * 4, trained, SIZE, trust="all")
    assert not any(item.trusted for item in doubted)
    assert [item.trusted for item in used] == [True, True, True, False]
    assert used[-1].why == SAME
    assert [item.stability for item in used] == [item.stability for item in doubted]
    assert used[1].consensus < 0


def test_opposite_repeats():
    assert stability_of(np.stack([TRUTH, -TRUTH], axis=1)) == 0.0


def test_proxies_that_agree_are_trusted(proxies):
    reliability = assessed(proxies(TRUTH, TRUTH**3, noise=0.1))
    assert all(item.trusted and item.why == "trusted" for item in reliability)
    assert [item.proxy for item in reliability] == ["s0", "s1"]
    assert all(item.consensus > 0.8 and item.training is None and item.trained == 0 for item in reliability)


def test_noise_is_dropped(proxies):
    values = proxies(TRUTH, TRUTH, TRUTH)
    values[:, 2] = noise(20)
    reliability = assessed(values)
    assert [item.trusted for item in reliability] == [True, True, False]
    assert reliability[2].why == NOISE
    assert reliability[0].consensus == reliability[1].consensus == pytest.approx(1.0)


def test_what_cannot_be_repeated_is_not_noise(proxies):
    values = proxies(TRUTH, TRUTH, TRUTH)
    values[:, 1, 1] *= -1
    assert [item.trusted for item in assessed(values)] == [True, False, True]
    reliability = assessed(values[:, :, :1], repeatable=[True, False, True])
    assert [item.stability for item in reliability] == [None, None, None]
    assert all(item.trusted for item in reliability)


@pytest.mark.parametrize("odd", [0, 2, 3])
def test_one_that_contradicts_the_others_is_dropped(odd, proxies):
    columns = [TRUTH] * 4
    columns[odd] = -TRUTH
    reliability = assessed(proxies(*columns, noise=0.05))
    assert [item.trusted for item in reliability] == [i != odd for i in range(4)]
    assert reliability[odd].why == CONTRADICTED
    assert reliability[odd].consensus < -0.8


def test_one_that_has_nothing_to_do_with_the_others_is_dropped(proxies):
    other = np.random.default_rng(3).normal(size=20)
    assert [item.trusted for item in assessed(proxies(TRUTH, other, TRUTH))] == [True, False, True]


@pytest.mark.parametrize("value", [2.0, -np.inf])
def test_one_that_ranks_nothing_is_dropped(value, proxies):
    reliability = assessed(proxies(np.full(20, value), TRUTH, TRUTH))
    assert [item.trusted for item in reliability] == [False, True, True]
    assert reliability[0].why == SAME
    assert [item.consensus for item in reliability] == [0.0, pytest.approx(1.0), pytest.approx(1.0)]


@pytest.mark.parametrize("sizes", [None, SIZE, TRUTH], ids=["alike", "other", "the same"])
def test_a_single_one_is_trusted(proxies, sizes):
    (item,) = assessed(proxies(TRUTH), sizes=sizes)
    assert (item.trusted, item.consensus, item.why) == (True, None, "trusted")


@pytest.mark.parametrize(("sign", "trusted"), [(1, True), (-1, False)])
def test_trainings_speak_for_or_against_a_single_one(proxies, sign, trusted):
    (item,) = assessed(proxies(TRUTH), sign * TRUTH)
    assert (item.trusted, item.training) == (trusted, pytest.approx(sign))


def test_a_single_one_that_is_noise_is_dropped():
    (item,) = assessed(noise(20)[:, None])
    assert (item.trusted, item.why, item.consensus) == (False, NOISE, None)


@pytest.mark.parametrize("first", [SAME, NOISE, CONTRADICTED])
def test_one_that_is_left_alone_is_dropped(proxies, first):
    """Unless trainings are for it."""
    values = proxies(TRUTH, {SAME: np.ones(20), NOISE: TRUTH, CONTRADICTED: SIZE}[first])
    if first == NOISE:
        values[:, 1] = noise(20)
    reliability = assessed(values)
    assert sorted(whys(reliability)) == sorted([ALONE, first])
    assert [item.consensus for item in reliability if item.why == ALONE] == [None]
    trained = np.where(np.arange(20) < 15, TRUTH, np.nan)
    assert whys(assessed(values, trained)) == ["trusted", first]
    assert assessed(values, -trained)[0].why == (CONTRADICTED if first == CONTRADICTED else DISPROVED)


@pytest.mark.parametrize("count", [5, 8, 12])
def test_noise_that_is_left_alone_is_seldom_trusted_however_few_were_trained(count):
    rng, trusted = np.random.default_rng(0), 0
    for _ in range(200):
        trained = np.full(20, np.nan)
        trained[:count] = rng.normal(size=count)
        values = np.stack([np.zeros((20, 1)), rng.normal(size=(20, 1))], axis=1)
        trusted += assessed(values, trained, [False, False], rng.permutation(20))[1].trusted
    assert trusted < 200 * 0.1  # 5 % are expected


def test_four_trainings_say_nothing(proxies):
    trained = np.where(np.arange(20) < 4, TRUTH, np.nan)
    assert [item.training for item in assessed(proxies(TRUTH, TRUTH), trained)] == [None, None]
    assert assessed(proxies(np.ones(20), TRUTH), trained)[1].why == ALONE


def test_consensus_is_with_the_rank_sum_of_the_others(proxies):
    rng = np.random.default_rng(0)
    values = proxies(*(TRUTH + 0.5 * rng.normal(size=20) for _ in range(3)), noise=0.2)
    ranks = [rankdata(rankdata(values[:, i], axis=0).sum(1)) for i in range(3)]
    for i, item in enumerate(assessed(values)):
        rest = sum(ranks[j] for j in range(3) if j != i)
        assert item.consensus == pytest.approx(spearmanr(ranks[i], rest).statistic)
        assert item.trusted


@pytest.mark.parametrize("sizes", [None, SIZE], ids=["alike", "other"])
def test_two_that_contradict_each_other_are_both_dropped(proxies, sizes):
    """Nothing says which one is right."""
    reliability = assessed(proxies(TRUTH, -TRUTH, noise=0.05), sizes=sizes)
    assert sorted(whys(reliability)) == sorted([CONTRADICTED, ALONE])
    assert [item.consensus is None for item in reliability] == [item.why == ALONE for item in reliability]


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_proxies_that_share_nothing_but_size_are_all_dropped(proxies, count, seed):
    rng = np.random.default_rng(seed)
    size = np.arange(60.0)
    values = proxies(*(size + 12 * rng.normal(size=60) for _ in range(count)))
    plain = assessed(values)
    assert all(item.trusted and item.consensus > 0.5 for item in plain)
    reliability = assessed(values, sizes=size**3)
    assert sorted(whys(reliability)) == sorted([CONTRADICTED] * (count - 1) + [ALONE])


@pytest.mark.parametrize("seed", range(5))
def test_one_against_which_others_have_nothing_but_their_size_is_kept(proxies, seed):
    """All see the same, but the others grow with the architecture, and it does not."""
    rng = np.random.default_rng(seed)
    size, truth = rng.permutation(60), 10 * rng.normal(size=60)
    values = proxies(truth - size, *(truth + 3 * size + rng.normal(size=60) for _ in range(3)))
    odd, *others = assessed(values)
    assert odd.why == CONTRADICTED
    assert odd.consensus < 0
    assert all(item.trusted for item in others)
    reliability = assessed(values, sizes=size)
    assert whys(reliability) == ["trusted"] * 4
    assert all(item.consensus > LEAST_SUPPORT for item in reliability)


@pytest.mark.parametrize("seed", range(5))
def test_what_follows_from_size_has_no_say(proxies, seed):
    """Whatever grows with size alone is dropped, and changes nothing for the others."""
    rng = np.random.default_rng(seed)
    size, truth = rng.permutation(40), rng.normal(size=40)
    columns = [truth + 0.3 * rng.normal(size=40) for _ in range(2)]
    without = assessed(proxies(*columns), sizes=size)
    *others, last = assessed(proxies(*columns, np.exp(size / 9)), sizes=size)
    assert (last.why, last.consensus) == (CONTRADICTED, 0.0)
    assert tuple(others) == without
    assert whys(without) == ["trusted"] * 2


def test_consensus_of_one_dropped_is_with_those_that_were_left_then(proxies):
    """The worst one goes first; noise has no say at any time, and is compared with those that are trusted."""
    rng = np.random.default_rng(0)
    size, other = np.arange(40.0), rng.normal(size=40)
    truth = rng.normal(size=40)
    values = proxies(-truth - other, truth, other, truth + 0.1 * rng.normal(size=40), truth)
    values[:, 4] = noise(40)
    reliability, ranks = assessed(values, sizes=size), proxy_scores(values)
    assert whys(reliability) == [CONTRADICTED, "trusted", CONTRADICTED, "trusted", NOISE]
    for i, rest in enumerate([[1, 2, 3], [3], [1, 3], [1], [1, 3]]):
        assert reliability[i].consensus == partial_correlation(ranks[:, i], ranks[:, rest].sum(1), size)


@pytest.mark.parametrize("seed", range(3))
def test_trainings_are_compared_given_size_as_well(proxies, seed):
    rng = np.random.default_rng(seed)
    size, truth = rng.permutation(40), rng.normal(size=40)
    asked = np.arange(40) % 8 < 5
    trained = np.where(asked, size + truth, np.nan)
    values = proxies(truth, size + 0.1 * rng.normal(size=40))
    for i, item in enumerate(assessed(values, trained, sizes=size)):
        expected = partial_correlation(values[asked, i, 0], trained[asked], size[asked])
        assert item.training == pytest.approx(expected)
        assert item.trusted == (i == 0)


def test_trainings_decide_between_two_that_contradict_each_other(proxies):
    values = proxies(TRUTH, -TRUTH, noise=0.05)
    for sign in (1, -1):
        trained = np.where(np.arange(20) < 8, sign * TRUTH, np.nan)
        reliability = assessed(values, trained)
        assert [item.trusted for item in reliability] == [sign == 1, sign == -1]
        assert {item.trained for item in reliability} == {8}


def test_two_trainings_decide_nothing(proxies):
    trained = np.where(np.arange(20) < 2, TRUTH, np.nan)
    reliability = assessed(proxies(TRUTH, -TRUTH), trained)
    assert [(item.trusted, item.training) for item in reliability] == [(False, None)] * 2
    assert reliability == tuple(replace(item, trained=2) for item in assessed(proxies(TRUTH, -TRUTH)))


def test_trainings_can_save_one_against_the_others(proxies):
    """Two against one, but all trainings for the one."""
    rng = np.random.default_rng(4)
    other = rng.normal(size=20)
    values = proxies(other, other, TRUTH, noise=0.05)
    assert [item.trusted for item in assessed(values)] == [True, True, False]
    assert assessed(values, TRUTH)[2].trusted


def test_only_what_was_trained_is_asked(proxies):
    asked = np.arange(20) % 3 == 0
    trained = np.where(asked, TRUTH + 0.5 * np.random.default_rng(2).normal(size=20), np.nan)
    values = proxies(TRUTH, TRUTH**3)
    for item, column in zip(assessed(values, trained), (TRUTH, TRUTH**3), strict=True):
        assert item.training == pytest.approx(spearmanr(column[asked], trained[asked]).statistic)
        assert item.trained == asked.sum()


def test_a_training_that_diverged_is_the_worst_and_not_unknown(proxies):
    trained = np.where(np.arange(20) < 8, TRUTH, np.nan)
    diverged = np.where(trained == np.nanmin(trained), -np.inf, trained)
    assert assessed(proxies(TRUTH, TRUTH), diverged) == assessed(proxies(TRUTH, TRUTH), trained)


def test_only_ranks_matter(proxies):
    values = proxies(TRUTH, -TRUTH, TRUTH, noise=0.3)
    trained, order = TRUTH * 2, np.random.default_rng(0).permutation(20)
    reliability = assessed(values, trained, sizes=SIZE)
    assert assessed(np.exp(values) - 7, trained**3, sizes=np.exp(SIZE)) == reliability
    worst = values.copy()
    worst[worst == worst.min((0, 2), keepdims=True)] = -np.inf
    assert assessed(worst, trained, sizes=SIZE) == reliability
    for one, other in zip(reliability, assessed(values[order], trained[order], sizes=SIZE[order]), strict=True):
        assert one.consensus == pytest.approx(other.consensus)
        assert replace(one, **dict.fromkeys(("stability", "consensus", "training"))) == replace(
            other, **dict.fromkeys(("stability", "consensus", "training"))
        )


@pytest.mark.parametrize("slope", [-3, -0.5, -0.2, 0.5, 1, 3])
def test_size_is_believed_if_what_is_trusted_grows_with_it(proxies, slope):
    """However it grows; and one that is not trusted is not asked."""
    rng = np.random.default_rng(0)
    size, truth = rng.permutation(40), 10 * rng.normal(size=40)
    values = proxies(*(truth + slope * size + 3 * rng.normal(size=40) for _ in range(2)), -truth)
    reliability, unknown = assessed(values, sizes=size), np.full(40, np.nan)
    assert whys(reliability) == ["trusted", "trusted", CONTRADICTED]
    item = assess_size(reliability, values, unknown, size)
    ranks = proxy_scores(values)
    assert item.consensus == pytest.approx(spearmanr(size, ranks[:, 0] + ranks[:, 1]).statistic)
    assert item.trusted == (item.consensus >= LEAST_SUPPORT) == (slope > 0)
    assert (item.proxy, item.why) == ("size", "trusted" if item.trusted else UNRELATED)
    assert (item.stability, item.training, item.trained) == (None, None, 0)
    assert assess_size(reliability, np.exp(values / 9), unknown, size**3) == item


@pytest.mark.parametrize("sign", [1, -1])
def test_trainings_speak_for_or_against_size(proxies, sign):
    rng = np.random.default_rng(0)
    size, truth = np.arange(40.0), rng.normal(size=40)
    values = proxies(*(truth + 0.04 * size + 0.1 * rng.normal(size=40) for _ in range(2)))
    reliability = assessed(values, sizes=size)
    for count in (4, 30):
        trained = np.where(np.arange(40) % 4 < 3, sign * size, np.nan)
        trained[np.cumsum(~np.isnan(trained)) > count] = np.nan
        item = assess_size(reliability, values, trained, size)
        assert item.trained == count
        assert 0.3 < item.consensus < 0.6
        if count == 4:
            assert (item.training, item.trusted) == (None, item.consensus >= LEAST_SUPPORT)
        else:
            assert (item.training, item.trusted) == (pytest.approx(sign), sign == 1)


def test_scores_are_ranks(proxies):
    values = proxies(TRUTH, -TRUTH, repeats=3, noise=0.5)
    for i, scores in enumerate(proxy_scores(values).T):
        means = np.mean([rankdata(values[:, i, r]) for r in range(3)], axis=0)
        np.testing.assert_array_equal(scores, rankdata(np.round(means, 9)))
    np.testing.assert_allclose(normal_scores(TRUTH), -normal_scores(-TRUTH), atol=1e-12)
    np.testing.assert_allclose(norm.cdf(normal_scores(np.exp(TRUTH))) * 20 + 0.5, rankdata(TRUTH))


#: Three columns of whole numbers, with ties.
TIED = st.integers(3, 12).flatmap(
    lambda count: st.tuples(*[st.lists(st.integers(0, 6), min_size=count, max_size=count)] * 3)
)


def residuals(values, given):
    """What ordinary least squares leaves of the ranks."""
    ranks, design = rankdata(values), np.stack([np.ones(len(values)), rankdata(given)], axis=1)
    return ranks - design @ np.linalg.lstsq(design, ranks)[0]


@given(TIED)
def test_partial_correlation_is_that_of_residuals(columns):
    first, second, size = columns
    a, b = residuals(first, size), residuals(second, size)
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    expected = a @ b / norms if min(np.linalg.norm(a), np.linalg.norm(b)) > 1e-6 else 0.0
    assert partial_correlation(first, second, size) == pytest.approx(expected, abs=1e-9)
    assert partial_correlation(second, first, size) == pytest.approx(expected, abs=1e-9)
    assert abs(expected) <= 1 + 1e-9


@given(TIED)
def test_partial_correlation_given_a_constant_is_the_plain_one(columns):
    first, second, _ = columns
    assert partial_correlation(first, second, np.ones(len(first))) == correlation(first, second)


@pytest.mark.parametrize("follow", [np.exp, np.negative, np.cbrt, lambda size: 2 - size**3])
@pytest.mark.parametrize("count", [4, 20, 500])
def test_nothing_is_left_of_what_follows_the_given(count, follow):
    rng = np.random.default_rng(0)
    other, size = rng.normal(size=(2, count))
    assert partial_correlation(follow(size), other, size) == 0.0
    assert partial_correlation(other, follow(size), size) == 0.0
    assert partial_correlation(size, size, size) == 0.0
    assert partial_correlation(np.ones(count), other, size) == 0.0
