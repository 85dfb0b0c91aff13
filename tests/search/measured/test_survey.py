"""What is measured next, and when that ends."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from sparsenas.errors import ConfigError
from sparsenas.search import Budget
from sparsenas.search.measured import (
    Decoding,
    EffectiveCost,
    Measured,
    Measuring,
    Proxy,
    ShortTraining,
    Survey,
    ZeroCost,
    measure,
)
from sparsenas.search.measured.reliability import LEAST_SUPPORT, normal_scores
from sparsenas.search.size_band import SizeBand
from sparsenas.spaces import DartsSpace, NasBench201Space, WeightSharing64Space
from sparsenas.sparse_coding.regression import LassoRegression
from sparsenas.zero_cost import Naswot

WS64 = WeightSharing64Space()


@dataclass(frozen=True)
class Planted(Proxy):
    """What a support is worth, with noise by repeat; it looks at no network."""

    worth: Callable
    noise: float = 0.0
    label: str = "planted"

    @property
    def name(self):
        return self.label

    def __call__(self, support, bench, repeat):
        noise = np.random.default_rng((repeat, *chain(*support))).normal()
        return float(self.worth(support) + self.noise * noise)


class Constant(Proxy):
    name = "constant"

    def __call__(self, support, bench, repeat):
        return 1.0


@pytest.fixture
def make_survey(make_bench, worth_of):
    def make(share=0.6, seed=0, space=WS64, budget=Budget(), **options):
        costs = make_bench(space).costs
        band = SizeBand(space, budget.constraints(space, costs), costs.parameters, costs.base_parameters, share)
        decoding = Decoding(regression=LassoRegression(3, 6), bootstraps=20)
        small = {
            "proxies": [Planted(worth_of(seed))],
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


def test_the_largest_comes_first(make_survey):
    survey = make_survey()
    assert survey.planned[0] == survey.next({}) == survey.band.largest
    assert len(survey.planned) == len(set(survey.planned)) == 12
    assert all(support in survey.band for support in survey.planned)


@pytest.mark.parametrize("seed", range(3))
def test_proposals_are_new_members_of_the_band(make_survey, seed):
    survey = make_survey(0.75, seed, count=20)
    known = carry_out(survey)
    assert list(known) == survey.planned
    assert 20 < len(known) <= survey.options.total == 29
    assert all(support in survey.band for support in known)


@pytest.mark.parametrize("seed", range(4))
def test_proposals_are_good(make_survey, seed, all_64, worth_of):
    """As the measurements are a sum over candidates, free of noise."""
    decoding = Decoding(features=("candidates",))
    survey = make_survey(0.0, seed, count=18, rounds=3, proposals=2, decoding=decoding)
    known, truth = carry_out(survey), worth_of(seed)
    everything = [*map(truth, all_64)]
    assert len(survey.planned[18:]) == 6
    assert np.mean([*map(truth, survey.planned[18:])]) > np.mean(everything) + np.std(everything)
    assert survey.make_result(known).best == max(known, key=truth)


def test_no_rounds_propose_nothing(make_survey):
    survey = make_survey(rounds=0)
    drawn = list(survey.planned)
    assert list(carry_out(survey)) == drawn == survey.planned


@pytest.mark.parametrize("training", [None, ShortTraining(4)], ids=["untrained", "trained"])
def test_a_survey_made_again_asks_for_the_same(make_survey, training, worth_of):
    proxies = [Planted(worth_of(0), 0.1), Planted(worth_of(0), 0.2, "b")]

    def make():
        return make_survey(training=training, trained=5, proxies=proxies)

    survey, truth = make(), worth_of(7)
    known = carry_out(survey, trained=truth)
    assert sum(measured.trained is not None for measured in known.values()) == (5 if training else 0)
    order = list(known)
    for count in [*range(0, len(order), 3), len(order) - 1, len(order)]:
        again, some = make(), {support: known[support] for support in order[:count]}
        assert again.next(some) == (order[count] if count < len(order) else None)
        assert again.planned == survey.planned[: len(again.planned)]
    assert again.make_result(known) == survey.make_result(known)


def test_what_was_measured_for_others_changes_nothing(make_survey, all_64, worth_of):
    """Other rules have measured members of this size band before, and trained other ones."""

    def make():
        return make_survey(training=ShortTraining(4), trained=5)

    truth, survey, later = worth_of(7), make(), make()
    known = carry_out(survey, trained=truth)
    others = {
        support: Measured(((worth_of(0)(support),),), -truth(support) if support not in survey.planned[:5] else None)
        for support in all_64
    }
    everything = carry_out(later, known=others, trained=truth)
    assert later.planned == survey.planned
    assert later.make_result(everything) == survey.make_result(known)
    assert later.scores(everything, survey.make_result(known)) == survey.scores(known, survey.make_result(known))


@pytest.mark.parametrize("share", [0.0, 0.8])
def test_when_all_is_measured_nothing_is_left(make_survey, share, worth_of):
    survey = make_survey(share=share, count=64, rounds=2)
    known = carry_out(survey)
    assert set(known) == set(survey.band.members())
    assert survey.next(known) is None
    assert survey.make_result(known).best == max(known, key=worth_of(0))


def test_a_band_of_one_gives_the_largest_and_says_so(make_survey):
    survey = make_survey(share=1.0)
    assert survey.planned == [survey.band.largest]
    known = carry_out(survey)
    result = survey.make_result(known)
    assert result.support == survey.band.largest
    assert result.summary.startswith("the largest of the 1 networks in the size band, too few to compare")
    assert not any(map(any, result.chosen))
    assert survey.scores(known, result) == {}


def test_proxies_that_rank_nothing_propose_nothing(make_survey):
    survey = make_survey(proxies=[Constant()])
    assert len(carry_out(survey)) == 12
    with pytest.raises(ConfigError, match=r"no proxy ranks the 12 measured architectures \(constant: gives all"):
        survey.make_result(dict.fromkeys(survey.planned, Measured(((1.0,),))))


@pytest.mark.parametrize("choice", ["measured", "code"])
def test_proxies_of_which_none_is_trusted_propose_nothing(make_survey, worth_of, choice):
    worth = worth_of(0)
    proxies = [Planted(worth, label="for"), Planted(lambda support: -worth(support), label="against")]
    survey = make_survey(proxies=proxies, decoding=Decoding(choice=choice, bootstraps=5))
    known = carry_out(survey)
    assert len(known) == len(survey.planned) == 12
    assert survey.next(known) is None
    result = survey.make_result(known)
    assert not any(item.trusted for item in result.reliability)
    assert result.support == result.best == result.largest == survey.band.largest
    assert (result.measured, result.explained) == (12, None)
    assert survey.scores(known, result) == {}


@pytest.mark.parametrize("cap", [None, 7000])
def test_sizes_are_effective_costs(make_survey, make_bench, cap):
    """Given them, the effective cost itself has nothing to say."""
    space = NasBench201Space()
    planted = Planted(lambda support: sum(support[0]))
    survey = make_survey(space=space, budget=Budget(max_params=cap), proxies=[EffectiveCost(), planted])
    known = {support: measure(support, make_bench(space), survey.options, train=False) for support in survey.planned}
    cost, other = survey.make_result(known).reliability
    assert len({measured.values[0] for measured in known.values()}) > 3
    assert (cost.trusted, cost.consensus) == (False, 0.0)
    assert (other.trusted, other.why) == (False, "no other is left to agree with it")


def test_the_first_ones_are_trained_if_they_are_known_already(make_survey):
    survey = make_survey(training=ShortTraining(4), trained=5)
    assert [survey.trains(support) for support in survey.planned] == [True] * 5 + [False] * 7
    known = {support: Measured(((float(i),),)) for i, support in enumerate(survey.planned)}
    assert survey.next(known) == survey.planned[0]
    assert not any(map(make_survey(trained=5).trains, survey.planned))


def test_what_follows_from_too_little(make_survey):
    survey = make_survey()
    known = {support: Measured(((float(i),),)) for i, support in enumerate(survey.planned[:3])}
    with pytest.raises(ConfigError, match="3 architectures of the size band have been measured, too few to"):
        survey.make_result(known)
    fourth = known | {survey.planned[3]: Measured(((9.0,),))}
    assert survey.make_result(fourth).best == survey.planned[3]


def test_scores_are_of_what_was_measured_under_the_rules(make_survey, all_64, worth_of):
    survey = make_survey(proxies=[Planted(worth_of(0)), Planted(worth_of(0), 0.3, "b")])
    known = carry_out(survey)
    scores = survey.scores(
        known | dict.fromkeys(all_64, Measured(((99.0,), (99.0,)))) | known, survey.make_result(known)
    )
    assert list(scores) == survey.planned
    ranks = [rankdata([known[s].values[i][0] for s in survey.planned]) for i in range(2)]
    size = rankdata([survey.band.effective_cost(s) for s in survey.planned])
    # size counts, too, as both proxies happen to grow with it
    assert [item.proxy for item in survey.make_result(known).reliability if item.trusted] == ["planted", "b", "size"]
    assert spearmanr(sum(ranks), size).statistic > LEAST_SUPPORT
    assert list(scores.values()) == pytest.approx(list(normal_scores(sum(ranks) + size)))
    assert max(scores, key=scores.__getitem__) == survey.make_result(known).best


def test_in_a_space_that_is_too_large_to_look_at(make_survey, worth_of):
    """There, the best sum over candidates is found exactly."""
    space = DartsSpace(3)
    truth = worth_of(0, space)
    survey = make_survey(0.5, space=space, proxies=[Planted(truth)], count=40, rounds=2, proposals=3)
    known = carry_out(survey)
    assert not survey.band.enumerable
    assert 40 < len(set(known)) == len(known) <= 46
    assert all(support in survey.band for support in known)
    assert max(map(truth, survey.planned[40:])) > max(map(truth, survey.planned[:40]))
    code = replace(survey.options, decoding=Decoding(choice="code", certainty=0.0, bootstraps=3))
    result = Survey(survey.band, code, 0).make_result(known)
    assert result.support in survey.band


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"proxies": []}, "measuring: 0 proxies, .*need at least 1 proxy"),
        ({"repeats": 0}, "repeats=0"),
        ({"rounds": -1}, "rounds=-1"),
        ({"proposals": 0}, "proposals=0"),
        (
            {"proxies": [EffectiveCost(), ZeroCost(Naswot()), EffectiveCost()]},
            r"twice \(effective parameters, Naswot, effective",
        ),
        ({"size_band": 1.1}, r"measuring\.size_band is 1\.1; use a share of the largest cost, in \[0, 1\]"),
        ({"size_band": -0.1}, r"measuring\.size_band is -0\.1"),
        ({"seconds": 0.0}, r"measuring\.seconds is 0\.0; use a positive number, or null for no limit"),
        ({"count": 3}, "measuring.count is 3: too few to recover a code"),
        ({"training": ShortTraining(), "trained": 4}, "measuring.trained is 4; train at least 5 architectures"),
        ({"training": ShortTraining(), "trained": 49}, "measuring.trained is 49; .* at most count=48"),
    ],
)
def test_numbers_that_contradict_each_other(wrong, message):
    with pytest.raises(ConfigError, match=message):
        Measuring(**wrong)


def test_batches_that_are_read():
    assert Measuring().batches == 2
    assert Measuring(training=ShortTraining(30)).batches == 30
    assert Measuring(repeats=9, training=ShortTraining(5)).batches == 9
    assert Measuring(count=10, rounds=3, proposals=5).total == 25
