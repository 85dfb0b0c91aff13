"""Measured search: what it finds, under which budget, and what it never touches."""

import random

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from sparsenas.complexity import candidate_costs
from sparsenas.errors import ConfigError, RecoveryError
from sparsenas.networks import NetworkConfig, NormOptions, SuperNet
from sparsenas.search import (
    Budget,
    Decoding,
    EffectiveCost,
    MeasuredSearch,
    Proxy,
    RandomSearch,
    ShortTraining,
    ZeroCost,
)
from sparsenas.search.searcher import NO_BETTER
from sparsenas.spaces import NasBench201Space
from sparsenas.zero_cost import JacobianCovariance, Naswot, SynFlow

NB201 = NasBench201Space()
(BLOCK,) = NB201.blocks


class Always(Proxy):
    name = "always"

    def __init__(self, value):
        self.value = value

    def __call__(self, support, bench, repeat):
        return self.value


class Sees(Always):
    """Keeps the images of every repeat."""

    def __init__(self):
        super().__init__(0.0)
        self.images = {}

    def __call__(self, support, bench, repeat):
        self.images[repeat], _ = bench.images(repeat, 8)
        return float(sum(support[0]))


class Batches(pl.Callback):
    """Keeps the images of the first stream that a run trains on, and does something after every batch."""

    def __init__(self, action=lambda search: None):
        self.images, self.action = [], action

    def on_train_batch_start(self, trainer, search, batch, batch_idx):
        images, _ = batch["weights"] if isinstance(batch, dict) else batch
        self.images.append(images.clone())

    def on_train_batch_end(self, trainer, search, outputs, batch, batch_idx):
        self.action(search)


@pytest.fixture
def biased(planted):
    class Biased(planted):
        """Thinks of the cell of nothing but large convolutions that it is beyond comparison."""

        def __call__(self, support, bench, repeat):
            if all(BLOCK.candidates[index].primitive == "nor_conv_3x3" for index in support[0]):
                return np.inf
            return super().__call__(support, bench, repeat)

    return Biased(2, 0.0)


@pytest.fixture
def capped():
    """Constraints that leave open so much of the largest network."""
    costs = candidate_costs(SuperNet(NB201, (1, 8, 8), 10, 4, 3, norms=NormOptions(track=False)))
    most = 6 * max(costs.parameters[0])

    def make(share, **options):
        return Budget(max_params=costs.base_parameters + share * most, **options).constraints(NB201, costs)

    make.cost = lambda support: costs.base_parameters + sum(costs.parameters[0][index] for index in support[0])
    return make


def random_states():
    return random.getstate(), np.random.get_state()


def outcome(search):
    """All that a run has found out."""
    return search.result, search.support, search.scores(), search.measured, search.visited


class TestRun:
    def test_the_best_by_the_proxies_is_found(self, make_measured, fit_in, planted, capsys):
        search = make_measured(proxies=[planted(0, 0.0)])
        assert search.result is None
        fit_in(search)
        assert 10 < len(search.measured) <= 14
        assert search.visited == set(search.measured)
        assert search.support == search.decide() == search.result.support
        assert search.measured[search.support] == max(search.measured.values())
        assert search.result.largest in search.measured
        assert search.result.measured == len(search.measured)
        assert search.scores() == search.measured
        assert search.summary() == search.result.summary
        assert f"found: {search.summary()}" in capsys.readouterr().out
        assert not search.cut
        worth = np.random.default_rng(7).normal(size=30)
        assert search.support == max(search.measured, key=lambda support: worth[list(support[0])].sum())

    def test_the_network_of_what_was_found_is_there(self, make_measured, fit_in):
        search = make_measured()
        fit_in(search)
        assert search.genotype == NB201.genotype(search.support) == search.network.genotype
        assert search.hparams["genotype"] == search.genotype.to_json()
        assert (search.network.size["channels"], search.network.size["cells"]) == (4, 3)
        images = torch.randn(3, 1, 8, 8)
        with torch.no_grad():
            assert torch.equal(search.eval()(images), search.deployable()(images))

    def test_measuring_draws_nothing(self, make_measured, fit_in):
        """With everything that can be measured, the new weights are those of a search that measured nothing."""
        scores = JacobianCovariance(norms="auto"), Naswot(), SynFlow()
        search = make_measured(
            proxies=[*(ZeroCost(score, images=8) for score in scores), EffectiveCost()],
            short=ShortTraining(4, cells=1, pixels=4),
            trained=5,
            count=6,
            rounds=1,
        )
        states = random_states()
        fit_in(search)
        assert [item.proxy for item in search.result.reliability][:4] == [
            *("JacobianCovariance", "Naswot", "SynFlow", "effective parameters")
        ]
        assert {item.trained for item in search.result.reliability} == {5}
        torch.manual_seed(0)
        random.setstate(states[0])
        np.random.set_state(states[1])
        told = MeasuredSearch(
            (1, 8, 8), 10, NB201, search.config, measuring=search.measuring, genotype=search.genotype.to_json()
        )
        fit_in(told)
        assert told.result is None  # nothing was measured
        same = zip(search.network.state_dict().items(), told.network.state_dict().values(), strict=True)
        assert all(torch.equal(tensor, other) for (_, tensor), other in same)

    def test_what_is_measured_on_is_what_training_begins_with(self, make_measured, fit_in):
        proxy, batches = Sees(), Batches()
        fit_in(make_measured(proxies=[proxy], repeats=3), batches, epochs=1)
        assert len(proxy.images) == 3
        assert all(torch.equal(images, batches.images[repeat]) for repeat, images in proxy.images.items())

    def test_of_two_streams_it_reads_the_one_of_the_weights(self, make_measured, fit_in):
        proxy, batches = Sees(), Batches()
        fit_in(make_measured(proxies=[proxy]), arch_fraction=0.4)
        other = RandomSearch((1, 8, 8), 10, NB201, NetworkConfig(4, 3), epochs_each=1)
        fit_in(other, batches, arch_fraction=0.4, epochs=1)
        assert len(proxy.images) == 2
        assert all(torch.equal(images, batches.images[repeat]) for repeat, images in proxy.images.items())

    def test_the_same_seed_is_the_same_search(self, make_measured, fit_in):
        searches = [make_measured(seed=seed) for seed in (0, 0, 1)]
        for number, search in enumerate(searches):
            fit_in(search, folder=str(number), init=number)
        assert outcome(searches[0]) == outcome(searches[1])
        assert set(searches[0].measured) != set(searches[2].measured)

    def test_its_budget_is_kept(self, make_measured, fit_in, capped):
        limit = capped(0.4).limits[0].at_most
        search = make_measured(budget=Budget(max_params=limit, forbidden=("avg_pool_3x3",)))
        fit_in(search)
        for support in search.measured:
            assert capped.cost(support) <= limit
            assert all(BLOCK.candidates[index].primitive != "avg_pool_3x3" for index in support[0])
        assert search.result.largest == max(search.measured, key=capped.cost)

    def test_doubt_gives_back_the_largest(self, make_measured, fit_in, planted, biased):
        """One of three proxies prefers it, and is the only one in each 27th bootstrap."""
        proxies = [planted(0, 0.0), planted(1, 0.0), biased]
        doubtful, sure = (
            make_measured(proxies=proxies, decoding=Decoding(("counts",), certainty=certainty))
            for certainty in (0.99, 0.8)
        )
        fit_in(doubtful)
        fit_in(sure)
        assert doubtful.result.beats_largest == pytest.approx(26 / 27, abs=0.03)
        assert doubtful.support == doubtful.decide() == doubtful.result.largest != doubtful.result.best
        assert doubtful.summary().startswith(NO_BETTER)
        assert sure.support == doubtful.result.best
        assert NO_BETTER not in sure.summary()

    def test_proxies_that_cannot_be_trusted_give_back_the_largest(self, make_measured, fit_in, planted, capsys):
        """Nothing is proposed, and nothing compared."""
        search = make_measured(proxies=[planted(0, 0.0), planted(0, 0.0, sign=-1)])
        fit_in(search)
        assert search.support == search.decide() == search.result.support == search.result.largest
        assert search.result.measured == len(search.visited) == 10
        assert search.scores() == search.measured == {}
        assert search.summary().startswith(f"{NO_BETTER}, which is given back: no proxy can be trusted (planted 0: ")
        assert f"found: {search.summary()}" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("beside", "summary"),
        [
            ([], "the largest network, "),
            ([Always(1.0)], f"{NO_BETTER}, which is given back: no proxy can be trusted ("),
        ],
        ids=["alone", "beside another"],
    )
    def test_size_gives_the_largest(self, make_measured, fit_in, beside, summary):
        search = make_measured(proxies=[EffectiveCost(), *beside])
        fit_in(search)
        assert search.result.largest == search.support
        assert search.summary().startswith(summary)

    def test_a_dry_run_goes_through_and_leaves_nothing(self, make_measured, fit_in, tmp_path):
        search = make_measured()
        fit_in(search, fast_dev_run=1)
        assert search.result.support == search.support
        assert not (tmp_path / "run").exists()


class TestOtherBudgets:
    def test_the_order_of_questions_does_not_matter(self, make_measured, fit_in, capped):
        options = {"short": ShortTraining(4, cells=1), "trained": 5, "count": 8, "rounds": 1}
        searches = [make_measured(**options) for _ in range(2)]
        # the bands overlap, so that some architectures have been measured before
        rules = [capped(0.5), capped(0.55, forbidden=("avg_pool_3x3",)), capped(1.0)]
        for number, search in enumerate(searches):
            fit_in(search, folder=str(number))
        own = outcome(searches[0])
        for search, order in zip(searches, (rules, rules[::-1]), strict=True):
            for rule in order:
                search.decide(rule)
        for rule in rules:
            found = [search.decide(rule) for search in searches]
            assert found[0] == found[1]
            assert searches[0].scores(rule) == searches[1].scores(rule)
            assert searches[0].summary(rule) == searches[1].summary(rule)
            assert rule.allows(found[0])
            assert capped.cost(found[0]) <= rule.limits[0].at_most
            assert all(rule.allows(support) for support in searches[0].scores(rule))
            assert found[0] in searches[0].scores(rule)
        for search in searches:
            assert search.decide() == search.support
            assert outcome(search)[:4] == own[:4]

    def test_each_gives_back_its_largest_where_nothing_can_be_trusted(self, make_measured, fit_in, planted, capped):
        search, rules = make_measured(proxies=[planted(0), planted(0, sign=-1)]), capped(0.5)
        fit_in(search)
        found = search.decide(rules)
        assert rules.allows(found)
        assert search.scores(rules) == {}
        assert "no proxy can be trusted" in search.summary(rules)
        assert capped.cost(found) < capped.cost(search.decide())

    def test_a_search_of_that_budget_finds_the_same(self, make_measured, fit_in, capped):
        """Also if it goes on in the folder of a search of another budget, whose scores hold for it as well."""
        rules = capped(0.5)
        budget = Budget(max_params=rules.limits[0].at_most)
        other, own, after = make_measured(), make_measured(budget=budget), make_measured(budget=budget)
        fit_in(other)
        fit_in(own, folder="own")
        fit_in(after)
        assert other.decide(rules) == own.support == after.support
        assert other.scores(rules) == own.scores() == after.scores()
        assert after.result == own.result
        assert other.visited > own.visited

    def test_nothing_is_measured_twice(self, make_measured, fit_in, planted, capped):
        proxy = planted(0)
        search = make_measured(proxies=[proxy], repeats=1)
        fit_in(search)
        for rules in (capped(0.5), capped(0.55), capped(0.5), capped(1.0)):
            search.decide(rules)
        assert len(proxy.calls) == len(set(proxy.calls)) == len(search.visited)

    def test_questions_while_it_trains_change_nothing(self, make_measured, fit_in, capped):
        whole, asked, answers = make_measured(), make_measured(), []
        fit_in(whole, epochs=2)
        shares = iter((0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0))
        ask = Batches(lambda search: answers.append(search.decide(capped(next(shares)))))
        fit_in(asked, ask, epochs=2, folder="asked")
        assert len(set(answers)) > 2
        assert outcome(asked)[:4] == outcome(whole)[:4]
        for name, tensor in whole.state_dict().items():
            assert torch.equal(tensor, asked.state_dict()[name]), name

    def test_before_the_run_there_is_nothing_to_decide_by(self, make_measured, capped):
        search = make_measured()
        assert (search.result, search.summary(), search.scores()) == (None, "", {})
        for ask in (search.decide, lambda: search.support, lambda: search.genotype):
            with pytest.raises(ConfigError, match="nothing has been measured yet: fit the search first"):
                ask()
        with pytest.raises(ConfigError, match="no images to measure under other rules; run it again"):
            search.decide(capped(0.5))


class TestMistakes:
    @pytest.mark.parametrize("value", [2.0, -np.inf])
    def test_proxies_that_rank_nothing(self, make_measured, fit_in, value):
        with pytest.raises(
            ConfigError,
            match=r"no proxy ranks the 10 measured architectures \(always: gives all the same score\); use other",
        ):
            fit_in(make_measured(proxies=[Always(value)]))

    def test_a_proxy_that_is_no_number(self, make_measured, fit_in):
        with pytest.raises(ConfigError, match="always gives NaN for the architecture"):
            fit_in(make_measured(proxies=[Always(np.nan)]))

    def test_too_few_images(self, make_measured, fit_in):
        with pytest.raises(
            ConfigError, match=r"Naswot: images is 32, but a batch has 16: set data\.batch_size to at least as many"
        ):
            fit_in(make_measured(proxies=[ZeroCost(Naswot(), images=32)]))

    def test_two_streams_to_train_on(self, make_measured, fit_in):
        with pytest.raises(ConfigError, match=r"trains on all training images: set data\.arch_fraction to 0"):
            fit_in(make_measured(), arch_fraction=0.4, epochs=1)

    def test_images_that_no_data_module_of_ours_brings(self, make_measured, tmp_path):
        loader = torch.utils.data.DataLoader([(torch.zeros(1, 8, 8), 0)] * 4, batch_size=4)
        trainer = pl.Trainer(default_root_dir=tmp_path, accelerator="cpu", logger=False, max_epochs=1)
        with pytest.raises(ConfigError, match=r"reads its images from a data module of sparsenas\.data: give trainer"):
            trainer.fit(make_measured(), loader, loader)

    def test_a_seed_below_zero(self, make_measured):
        with pytest.raises(ConfigError, match="seed is -1; use a number not below 0"):
            make_measured(seed=-1)

    def test_a_budget_that_leaves_nothing_open(self, make_measured):
        with pytest.raises(RecoveryError, match="max_params"):
            make_measured(budget=Budget(max_params=10))


def test_a_cap_that_leaves_next_to_nothing_gives_the_largest(make_measured, fit_in):
    """Under the tightest cap, only cells without a parameter are left; with one primitive, there is one of them."""
    forbidden = tuple(name for name in NB201.primitives if name not in ("skip_connect", "nor_conv_1x1"))
    search = make_measured(budget=Budget(forbidden=forbidden, max_per_cell={"normal": {"nor_conv_1x1": 0}}))
    fit_in(search)
    assert {c.primitive for c in search.genotype.cell("normal")} == {"skip_connect"}
    assert search.result.summary == (
        "the largest of the 1 networks in the size band, too few to compare: relax the budget or measuring.size_band"
    )
