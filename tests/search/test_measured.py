"""Measured search: how long it runs, what it keeps, what it finds under which rules, and what it never touches."""

import random
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from sparsenas.complexity import candidate_costs
from sparsenas.data import Digits
from sparsenas.errors import CheckpointError, ConfigError, RecoveryError
from sparsenas.search import (
    Decoding,
    LiveCost,
    MeasuredSearch,
    Measurement,
    Measuring,
    RandomSearch,
    ShortTraining,
    SupportRules,
    Untrained,
)
from sparsenas.search.measuring import NO_BETTER
from sparsenas.spaces import NasBench201Space
from sparsenas.sparse_coding.regression import LassoRegression
from sparsenas.zero_cost import JacobianCovariance, Naswot, SynFlow

NB201 = NasBench201Space()
(BLOCK,) = NB201.blocks


@dataclass(frozen=True)
class Planted(Measurement):
    """A sum over candidates, disturbed by what is on the images of the repeat; it builds no network."""

    seed: int = 0
    noise: float = 0.2

    @property
    def name(self):
        return f"planted {self.seed}"

    def __call__(self, support, bench, repeat):
        (kept,) = support
        images, _ = bench.images(repeat, 8)
        seen = int(abs(float(images.sum())) * 1e3)
        noise = np.random.default_rng((self.seed, repeat, seen, *kept)).normal()
        worth = np.random.default_rng(7).normal(size=30)
        return float(worth[list(kept)].sum() + self.noise * noise)


class Always(Measurement):
    name = "always"

    def __init__(self, value):
        self.value = value

    def __call__(self, support, bench, repeat):
        return self.value


class Biased(Planted):
    """Thinks of the cell of nothing but large convolutions that it is beyond comparison."""

    def __call__(self, support, bench, repeat):
        if all(BLOCK.candidates[index].primitive == "nor_conv_3x3" for index in support[0]):
            return np.inf
        return super().__call__(support, bench, repeat)


class Opposite(Planted):
    @property
    def name(self):
        return f"opposite {self.seed}"

    def __call__(self, support, bench, repeat):
        return -super().__call__(support, bench, repeat)


class Each(pl.Callback):
    """Does something after every batch."""

    def __init__(self, action):
        self.action = action

    def on_train_batch_end(self, trainer, search, outputs, batch, batch_idx):
        self.action(search)


class Stop(pl.Callback):
    """Ends a run after so many batches, as a time limit would."""

    def __init__(self, batches):
        self.batches = batches

    def on_train_batch_end(self, trainer, search, outputs, batch, batch_idx):
        trainer.should_stop = trainer.should_stop or search.batches >= self.batches


@pytest.fixture(autouse=True)
def _short_walks(monkeypatch):
    monkeypatch.setattr("sparsenas.search.band.STEPS", 20)


def measuring(**options):
    """Ten architectures are drawn, and two are proposed twice; a code of them is cheap."""
    small = {
        "signals": [Planted(0), Planted(1)],
        "count": 10,
        "rounds": 2,
        "proposals": 2,
        "band": 0.7,
        "decoding": Decoding(("counts",), LassoRegression(3, 5), certainty=0.0, bootstraps=10),
    }
    return Measuring(**(small | options))


@pytest.fixture
def make_search():
    def make(init=0, space=NB201, cells=3, norms=None, rules=SupportRules(), seed=0, **options):  # noqa: B008 - frozen
        torch.manual_seed(init)
        size = {"channels": 4, "cells": cells} | ({} if norms is None else {"norms": norms})
        how = measuring(**options)
        return MeasuredSearch((1, 8, 8), 10, space=space, measuring=how, rules=rules, seed=seed, **size)

    return make


@pytest.fixture
def fit_search(fit_briefly):
    def run(search, *callbacks, batch_size=16, arch_fraction=0.0, **options):
        data = Digits(batch_size=batch_size, arch_fraction=arch_fraction)
        return fit_briefly(search, data, *callbacks, **({"batches": 5, "epochs": 9, "limit_val_batches": 0} | options))

    return run


@pytest.fixture
def capped(make_search):
    """Rules that leave open so much of the largest cell."""
    costs = candidate_costs(make_search().network)
    most = 6 * max(costs.parameters[0])

    def make(share, **options):
        rules = SupportRules(max_params=costs.base_parameters + share * most, **options)
        return rules.constraints(NB201, costs)

    make.cost = lambda support: costs.base_parameters + sum(costs.parameters[0][index] for index in support[0])
    return make


def outcome(search):
    """All that a run has found out."""
    return search.conclusion, search.support, search.scores(), search.measured, search.visited, search.batches


def random_states():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()


class TestRun:
    def test_it_ends_by_itself(self, make_search, fit_search, listener):
        search = make_search()
        assert (search.conclusion, search.progress()["measured"]) == (None, "0/14")
        largest = search.support
        trainer = fit_search(search, listener)
        assert 10 < len(search.measured) <= 14
        assert search.batches == 2 + len(search.measured)  # two are kept as images
        assert trainer.global_step == search.batches
        assert trainer.current_epoch < 9
        assert search.progress()["measured"] == f"{len(search.measured)}/14"
        assert search.visited == set(search.measured)
        assert search.support == search.decide() == search.conclusion.support
        assert search.measured[search.support] == max(search.measured.values())
        assert search.conclusion.largest == largest in search.measured
        assert search.scores() == search.measured
        assert search.remark() == search.conclusion.verdict
        found = [report.support for report in listener.reports]
        assert (found[0], found[-1]) == (largest, search.support)
        assert all(one != other for one, other in pairwise(found))
        assert [report.count for report in listener.reports] == list(range(len(found)))
        assert search.recoveries == len(found) - 1

    def test_it_trains_nothing_and_draws_nothing(self, make_search, fit_search):
        """With everything that can be measured: neither the network nor the random numbers of others change."""
        scores = JacobianCovariance(norms="auto"), Naswot(), SynFlow()
        search = make_search(
            signals=[*(Untrained(score, images=8) for score in scores), LiveCost()],
            training=ShortTraining(4, cells=1, pixels=4),
            trained=5,
            count=6,
            rounds=1,
        )
        before = {name: tensor.clone() for name, tensor in search.network.state_dict().items()}
        step, steps = search.training_step, []

        def watched(batch, batch_idx):
            states = random_states()
            step(batch, batch_idx)
            steps.append(random_states() == states)

        search.training_step = watched
        trainer = fit_search(search, limit_val_batches=1)
        assert all(steps)
        assert len(steps) >= 4 + 6
        assert all(torch.equal(tensor, before[name]) for name, tensor in search.network.state_dict().items())
        assert all(parameter.grad is None for parameter in search.network.parameters())
        assert [item.signal for item in search.conclusion.evidence] == [
            *("JacobianCovariance", "Naswot", "SynFlow", "live parameters")
        ]
        assert {item.trained for item in search.conclusion.evidence} == {5}
        assert 0 <= trainer.callback_metrics["val/acc"] <= 1

    def test_of_two_streams_it_reads_the_one_of_the_weights(self, make_search, fit_search):
        search, seen = make_search(), []
        search.on_train_batch_start = lambda batch, batch_idx: seen.append(batch["weights"][0])
        trainer = fit_search(search, Stop(3), arch_fraction=0.4)
        images = torch.load(trainer.checkpoint_callback.last_model_path, weights_only=True)["search"]
        images = [tensor for tensor in tensors_of(images) if tensor.ndim == 4]
        assert len(images) == 2
        assert all(torch.equal(kept, batch) for kept, batch in zip(images, seen, strict=False))

    def test_the_same_seed_is_the_same_search(self, make_search, fit_search):
        searches = [make_search(init, seed=seed) for init, seed in ((0, 0), (5, 0), (0, 1))]
        for search in searches:
            fit_search(search)
        assert outcome(searches[0]) == outcome(searches[1])
        assert set(searches[0].measured) != set(searches[2].measured)

    def test_own_rules_are_kept(self, make_search, fit_search, capped):
        allowed = capped(0.4)
        limit = allowed.budgets[0].at_most
        search = make_search(rules=SupportRules(max_params=limit, forbidden=("avg_pool_3x3",)))
        fit_search(search)
        for support in search.measured:
            assert capped.cost(support) <= limit
            assert all(BLOCK.candidates[index].primitive != "avg_pool_3x3" for index in support[0])
        assert search.conclusion.largest == max(search.measured, key=capped.cost)

    def test_doubt_gives_back_the_largest(self, make_search, fit_search):
        """One of three signals prefers it, and is the only one in each 27th bootstrap."""
        signals = [Planted(0, 0.0), Planted(1, 0.0), Biased(2, 0.0)]
        doubtful, sure = (
            make_search(signals=signals, decoding=Decoding(("counts",), certainty=certainty))
            for certainty in (0.99, 0.8)
        )
        fit_search(doubtful)
        fit_search(sure)
        assert doubtful.conclusion.beats_largest == pytest.approx(26 / 27, abs=0.03)
        assert doubtful.support == doubtful.decide() == doubtful.conclusion.largest != doubtful.conclusion.best
        assert doubtful.remark().startswith(NO_BETTER)
        assert sure.support == doubtful.conclusion.best
        assert NO_BETTER not in sure.remark()

    def test_signals_that_cannot_be_trusted_give_back_the_largest(self, make_search, fit_search, listener, capsys):
        """Nothing is proposed, and nothing compared; whoever watched had seen a leader."""
        search = make_search(signals=[Planted(0, 0.0), Opposite(0, 0.0)])
        largest = search.support
        fit_search(search, listener)
        assert search.support == search.decide() == search.conclusion.support == search.conclusion.largest == largest
        assert search.conclusion.measured == len(search.visited) == 10
        assert search.batches == 12
        assert search.scores() == search.measured == {}
        assert search.remark().startswith(f"{NO_BETTER}, which is given back: no signal can be trusted (planted 0: ")
        assert f"found: {search.remark()}" in capsys.readouterr().out
        found = [report.support for report in listener.reports]
        assert (found[0], found[-1]) == (largest, largest)

    def test_a_dry_run_goes_through(self, make_search, tmp_path):
        search = make_search()
        options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        trainer = pl.Trainer(default_root_dir=tmp_path, fast_dev_run=1, **options)
        trainer.fit(search, Digits(batch_size=16, arch_fraction=0.0))
        assert (search.batches, search.conclusion) == (1, None)

    def test_logits_are_of_the_architecture_found(self, make_search):
        search = make_search().eval()
        images = torch.randn(3, 1, 8, 8)
        torch.testing.assert_close(search.logits(images), search.network(images, search.support))


def tensors_of(tree):
    """All tensors of nested values."""
    if isinstance(tree, torch.Tensor):
        return [tree]
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [tensor for part in tree for tensor in tensors_of(part)] if isinstance(tree, (list, tuple)) else []


class TestCutShort:
    def test_it_concludes_from_what_it_has(self, make_search, fit_search, capsys):
        search = make_search()
        fit_search(search, Stop(8))
        assert len(search.measured) == search.conclusion.measured == 6
        assert "the run ended after 6 of 14 measurements" in capsys.readouterr().out
        assert search.support == max(search.measured, key=search.measured.__getitem__)

    def test_from_too_little_it_concludes_nothing(self, make_search, fit_search):
        search = make_search()
        fit_search(search, Stop(5))
        assert search.conclusion is None
        with pytest.raises(ConfigError, match="3 architectures of the band have been measured, too few to conclude"):
            search.decide()

    @pytest.mark.parametrize("batches", [4, 8, 14])
    def test_a_run_resumed_from_there_is_the_uninterrupted_one(self, make_search, fit_search, tmp_path, batches):
        """The checkpoint is one of the end of the run, when there may be a preliminary conclusion."""
        whole, cut, resumed = make_search(), make_search(), make_search(3)
        fit_search(whole)
        fit_search(cut, Stop(batches), folder="cut").save_checkpoint(tmp_path / "cut.ckpt")
        assert cut.batches == batches < whole.batches
        fit_search(resumed, ckpt_path=tmp_path / "cut.ckpt", folder="resumed")
        assert outcome(resumed) == outcome(whole)

    def test_so_is_one_that_goes_on_at_once(self, make_search, fit_search):
        """The same module in another fit, without a checkpoint between."""
        whole, cut = make_search(), make_search()
        fit_search(whole)
        fit_search(cut, Stop(8), folder="cut")
        fit_search(cut, folder="on")
        assert outcome(cut) == outcome(whole)


class TestResume:
    @pytest.mark.parametrize("training", [None, ShortTraining(4, cells=1)], ids=["untrained", "trained"])
    def test_a_resumed_run_is_the_uninterrupted_one(self, make_search, fit_search, tmp_path, training):
        """From each of its checkpoints, those before the last image was kept and after the end included."""
        options = {"training": training, "trained": 5, "count": 8, "rounds": 1}
        whole, first = make_search(**options), make_search(**options)
        trainer = fit_search(whole, batches=6 if training else 3)
        last = trainer.current_epoch
        assert whole.conclusion.evidence[0].trained == (5 if training else 0)
        for epoch in range(last):
            resumed = make_search(init=1 + epoch, **options)
            torch.manual_seed(1234)
            checkpoint = tmp_path / "run" / f"epoch={epoch}.ckpt"
            fit_search(resumed, batches=6 if training else 3, ckpt_path=checkpoint, folder=f"from{epoch}")
            assert outcome(resumed)[:-1] == outcome(whole)[:-1]
        assert first.conclusion is None
        assert last >= 2

    def test_a_checkpoint_knows_that_nothing_can_be_trusted(self, make_search, fit_search):
        signals = [Planted(0), Opposite(0)]
        search = make_search(signals=signals)
        saved = torch.load(fit_search(search).checkpoint_callback.last_model_path, weights_only=True)
        loaded = make_search(4, signals=signals)
        loaded.on_load_checkpoint(saved)
        assert outcome(loaded) == outcome(search)
        assert loaded.decide() == search.conclusion.largest

    def test_a_checkpoint_knows_what_was_found(self, make_search, fit_search):
        rules = SupportRules(forbidden=("avg_pool_3x3",))
        search = make_search(rules=rules)
        saved = torch.load(fit_search(search).checkpoint_callback.last_model_path, weights_only=True)
        loaded = make_search(4, rules=rules)
        loaded.on_load_checkpoint(saved)
        assert outcome(loaded) == outcome(search)
        assert loaded.decide() == loaded.support == search.support
        with pytest.raises(ConfigError, match="no images to measure under other rules; run it again"):
            loaded.decide(SupportRules().constraints(NB201))

    def test_a_finished_checkpoint_has_no_images(self, make_search, fit_search, tmp_path):
        trainer = fit_search(make_search(), batches=4)
        images = lambda name: [  # noqa: E731
            tensor.shape
            for tensor in tensors_of(torch.load(tmp_path / "run" / name, weights_only=True)["search"])
            if tensor.ndim == 4
        ]
        assert images("epoch=0.ckpt") == [(16, 1, 8, 8)] * 2
        assert images(f"epoch={trainer.current_epoch - 1}.ckpt") == []

    def test_other_settings_are_refused(self, make_search, fit_search):
        saved = torch.load(fit_search(make_search(), Stop(7)).checkpoint_callback.last_model_path, weights_only=True)
        with pytest.raises(
            CheckpointError, match="the checkpoint has 2 signals with 2 repeats, this search 1 with 2; resume with"
        ):
            make_search(signals=[Planted(0)]).on_load_checkpoint(saved)
        with pytest.raises(CheckpointError, match="has 2 signals with 2 repeats, this search 2 with 3"):
            make_search(repeats=3).on_load_checkpoint(saved)

    def test_a_checkpoint_of_another_search_is_refused(self, make_search, fit_search):
        random = RandomSearch((1, 8, 8), 10, space=NB201, channels=4, cells=3, epochs_each=1)
        saved = torch.load(
            fit_search(random, arch_fraction=0.4, batches=1, epochs=1).checkpoint_callback.last_model_path,
            weights_only=True,
        )
        with pytest.raises(CheckpointError, match="one of another searcher; give one that MeasuredSearch wrote"):
            make_search().on_load_checkpoint(saved)

    def test_what_other_rules_have_measured_is_no_answer(self, make_search, fit_search, capped):
        """Their band is another one."""
        saved = torch.load(fit_search(make_search()).checkpoint_callback.last_model_path, weights_only=True)
        limit = capped(0.4).budgets[0].at_most
        small = make_search(rules=SupportRules(max_params=limit))
        small.on_load_checkpoint(saved)
        assert small.conclusion is None
        assert capped.cost(small.support) <= limit
        with pytest.raises(ConfigError, match="0 architectures of the band have been measured, too few to conclude"):
            small.decide()


class TestOtherRules:
    def test_the_order_of_questions_does_not_matter(self, make_search, fit_search, capped):
        training = ShortTraining(4, cells=1)
        searches = [make_search(training=training, trained=5, count=8, rounds=1) for _ in range(2)]
        # the bands overlap, so that some architectures have been measured before
        rules = [capped(0.5), capped(0.55, forbidden=("avg_pool_3x3",)), capped(1.0)]
        for search in searches:
            fit_search(search, batches=12)
        own = outcome(searches[0])
        for search, order in zip(searches, (rules, rules[::-1]), strict=True):
            for rule in order:
                search.decide(rule)
        for rule in rules:
            found = [search.decide(rule) for search in searches]
            assert found[0] == found[1]
            assert searches[0].scores(rule) == searches[1].scores(rule)
            assert searches[0].remark(rule) == searches[1].remark(rule)
            assert rule.allows(found[0])
            assert capped.cost(found[0]) <= rule.budgets[0].at_most
            assert all(rule.allows(support) for support in searches[0].scores(rule))
            assert found[0] in searches[0].scores(rule)
        for search in searches:
            assert search.decide() == search.support
            assert outcome(search)[:4] == own[:4]

    def test_each_gives_back_its_largest_where_nothing_can_be_trusted(self, make_search, fit_search, capped):
        search, rules = make_search(signals=[Planted(0), Opposite(0)]), capped(0.5)
        fit_search(search)
        found = search.decide(rules)
        assert rules.allows(found)
        assert search.scores(rules) == {}
        assert "no signal can be trusted" in search.remark(rules)
        assert capped.cost(found) < capped.cost(search.decide())

    def test_a_search_under_these_rules_finds_the_same(self, make_search, fit_search, capped):
        rules = capped(0.5)
        other, own = make_search(), make_search(rules=SupportRules(max_params=rules.budgets[0].at_most))
        fit_search(other)
        fit_search(own, folder="own")
        assert other.decide(rules) == own.support
        assert other.scores(rules) == own.scores()
        assert other.visited > own.visited

    def test_questions_on_the_way_change_nothing(self, make_search, fit_search, capped):
        """Whoever watches may ask at any time."""
        whole, asked, answers = make_search(), make_search(), []
        fit_search(whole)

        def ask(search):
            if search.batches >= 6:
                answers.append(search.decide())
                assert search.scores()[answers[-1]] == max(search.scores().values())

        fit_search(asked, Each(ask), folder="asked")
        assert len(answers) == whole.batches - 5
        assert outcome(asked) == outcome(whole)
        assert len(set(answers)) > 1
        assert answers[-1] == whole.support

    def test_questions_about_other_rules_on_the_way_change_nothing(self, make_search, fit_search, capped):
        """Asked while images are still being collected, it refuses or it waits, but spoils nothing."""
        whole, asked, rules = make_search(), make_search(), capped(1.0)
        fit_search(whole)

        def ask(search):
            if search.batches in (1, 5):
                with suppress(ConfigError):
                    search.decide(rules)

        fit_search(asked, Each(ask), folder="asked")
        assert outcome(asked)[:4] == outcome(whole)[:4]
        assert asked.decide(rules) == whole.decide(rules)

    def test_before_the_run_there_is_nothing_to_decide_by(self, make_search, capped):
        search = make_search()
        with pytest.raises(ConfigError, match="0 architectures of the band have been measured"):
            search.decide()
        with pytest.raises(ConfigError, match="no images to measure under other rules"):
            search.decide(capped(0.5))


class TestMistakes:
    @pytest.mark.parametrize(("batches", "epochs", "least"), [(15, 1, 2), (5, 3, 4), (1, 14, 15)])
    def test_a_run_that_is_too_short(self, make_search, fit_search, batches, epochs, least):
        with pytest.raises(
            ConfigError,
            match=rf"max_epochs is {epochs}, of {batches} batches each; measuring takes {14 + min(2, batches)}: set it "
            rf"to at least {least}, as the search ends by itself",
        ):
            fit_search(make_search(), batches=batches, epochs=epochs)
        search = make_search()
        fit_search(search, batches=batches, epochs=least)
        assert search.conclusion is not None

    def test_several_processes(self, make_search):
        search = make_search()
        search._trainer = type("Trainer", (), {"world_size": 2, "max_epochs": 1, "model": None})()
        with pytest.raises(ConfigError, match=r"trainer\.devices makes 2 processes, each of which would measure other"):
            search.on_train_start()

    @pytest.mark.parametrize("value", [2.0, -np.inf])
    def test_signals_that_rank_nothing(self, make_search, fit_search, value):
        with pytest.raises(
            ConfigError,
            match=r"no signal ranks the 10 measured architectures \(always: gives all the same score\); use other",
        ):
            fit_search(make_search(signals=[Always(value)]))

    def test_a_signal_that_is_no_number(self, make_search, fit_search):
        with pytest.raises(ConfigError, match="always gives NaN for the architecture"):
            fit_search(make_search(signals=[Always(np.nan)]))

    def test_too_few_images(self, make_search, fit_search):
        with pytest.raises(
            ConfigError, match=r"Naswot: images is 32, but a batch has 16: set data\.batch_size to at least as many"
        ):
            fit_search(make_search(signals=[Untrained(Naswot(), images=32)]))

    def test_a_seed_below_zero(self, make_search):
        with pytest.raises(ConfigError, match="seed is -1; use a number not below 0"):
            make_search(seed=-1)

    def test_rules_that_leave_nothing_open(self, make_search):
        with pytest.raises(RecoveryError, match="max_params"):
            make_search(rules=SupportRules(max_params=10))


def test_a_cap_that_leaves_next_to_nothing_gives_the_largest(make_search, fit_search):
    """Under the tightest cap, only cells without a parameter are left; with one primitive, there is one of them."""
    forbidden = tuple(name for name in NB201.primitives if name not in ("skip_connect", "nor_conv_1x1"))
    search = make_search(rules=SupportRules(forbidden=forbidden, max_per_cell={"normal": {"nor_conv_1x1": 0}}))
    fit_search(search)
    assert {c.primitive for c in search.genotype.cell("normal")} == {"skip_connect"}
    assert search.conclusion.verdict == (
        "the largest of the 1 cells in the band, too few to compare: relax the rules or the band"
    )
