"""Single-path search that decides by a code over measurements, shared weights among them."""

import json

import pytest
import torch

from sparsenas.callbacks import ConfidenceReport
from sparsenas.complexity import candidate_costs
from sparsenas.data import Digits
from sparsenas.errors import CheckpointError, ConfigError
from sparsenas.search import (
    BestOf,
    Decoding,
    MeasuredSearch,
    Measuring,
    SharedWeights,
    ShortTraining,
    SinglePathSearch,
    SupportRules,
    Untrained,
)
from sparsenas.search.band import Band
from sparsenas.search.measuring import Bench
from sparsenas.spaces import WeightSharing64Space
from sparsenas.zero_cost import Naswot, SynFlow

SPACE = WeightSharing64Space()


def measuring(**options):
    small = {"signals": [SharedWeights()], "repeats": 1, "count": 12, "rounds": 1, "proposals": 2, "band": 0.0}
    return Measuring(**(small | {"decoding": Decoding(certainty=0.0)} | options))


@pytest.fixture
def make():
    def build(init=0, **options):
        torch.manual_seed(init)
        small = {"space": SPACE, "channels": 4, "cells": 2, "measure_batches": 2, "measuring": measuring()}
        return SinglePathSearch((1, 8, 8), 10, **(small | options))

    return build


@pytest.fixture
def fit(fit_briefly):
    return lambda search, *callbacks, **options: fit_briefly(
        search, Digits(batch_size=32, arch_fraction=0.4), *callbacks, **options
    )


def test_what_is_found_is_the_best_of_the_measured_by_shared_weights(make, fit):
    search = make()
    fit(search, epochs=1)
    search.eval()
    with torch.no_grad():
        scores = {support: search.score(support) for support in search._run.known}
    assert search.support == max(scores, key=scores.__getitem__) == search.conclusion.support == search.decide()
    assert len(scores) == search.conclusion.measured
    assert 12 <= len(scores) <= 14
    assert search.visited >= set(scores)
    ranks = search.scores()
    assert sorted(ranks, key=ranks.__getitem__) == sorted(scores, key=scores.__getitem__)
    assert search.remark() == search.conclusion.verdict


def test_more_is_measured_for_other_rules_and_all_of_it_keeps_them(make, fit):
    search = make()
    fit(search, epochs=1)
    costs = candidate_costs(search.network)
    low, high = (sum(f(row) for row in costs.parameters) for f in (min, max))
    rules = SupportRules(max_params=costs.base_parameters + (low + high) / 2).constraints(SPACE, costs)
    before = set(search._run.known)
    found = search.decide(rules)
    assert rules.allows(found)
    assert set(search._run.known) > before
    assert all(rules.allows(support) for support in search.scores(rules))
    assert found in Band(SPACE, rules, costs.parameters, costs.base_parameters, 0.0)
    assert search.network.training  # as the fit left it


def test_signals_of_untrained_networks_can_stand_beside(make, fit, capsys):
    signals = [SharedWeights(), Untrained(Naswot(), images=16), Untrained(SynFlow(), images=16)]
    search = make(measuring=measuring(signals=signals, repeats=2))
    fit(search, epochs=1)
    assert [item.signal for item in search.conclusion.evidence] == ["shared weights", "Naswot", "SynFlow"]
    assert search.conclusion.evidence[0].stability is None
    assert f"found: {search.conclusion.verdict}" in capsys.readouterr().out


def test_confidence_is_reported(make, fit, tmp_path):
    search = make()
    fit(search, ConfidenceReport(), epochs=1)
    (file,) = tmp_path.rglob("confidence.json")
    assert json.loads(file.read_text())["measured"] == search.conclusion.measured


def test_a_checkpoint_brings_back_what_was_measured(make, fit, tmp_path):
    search = make()
    trainer = fit(search, epochs=1)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    again = make(init=1)
    again.on_load_checkpoint(torch.load(tmp_path / "end.ckpt", weights_only=True))
    assert again._run.known == search._run.known
    assert again.conclusion == search.conclusion
    assert again.support == search.support


def test_a_checkpoint_without_measurements_is_refused(make, fit, tmp_path):
    trainer = fit(make(measuring=None, selection=BestOf(3)), epochs=1)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    with pytest.raises(CheckpointError, match=r"of a run without measurements; resume with the settings it was made"):
        make().on_load_checkpoint(torch.load(tmp_path / "end.ckpt", weights_only=True))


def test_shared_weights_need_a_super_net_that_is_trained(fit_briefly):
    search = MeasuredSearch((1, 8, 8), 10, SPACE, channels=4, cells=2, measuring=measuring())
    with pytest.raises(ConfigError, match=r"has SharedWeights, but no super-net is trained here: use it in SinglePath"):
        fit_briefly(search, Digits(batch_size=32, arch_fraction=0.0), epochs=1, batches=20)


class TestFineTuning:
    def test_it_starts_from_the_shared_weights_and_leaves_them(self, make, fit):
        """With hardly a step, the loss is that of the derived network on the held-out images."""
        search = make(measuring=measuring(signals=[ShortTraining(4, learning_rate=1e-9, start="shared")]))
        fit(search, epochs=1)
        state = {name: tensor.clone() for name, tensor in search.network.state_dict().items()}
        support, known = next(iter(search._run.known.items()))
        network, batches = search.network.derive(SPACE.genotype(support)).train(), search._held_out.images
        losses = [torch.nn.functional.cross_entropy(network(x), y).item() for x, y in batches]
        expected = (losses[2 % len(losses)] + losses[3 % len(losses)]) / 2
        assert -known.values[0][0] == pytest.approx(expected, rel=1e-4)
        search.decide(SupportRules(forbidden=("max_pool_3x3",)).constraints(SPACE, None))  # measures others
        assert all(torch.equal(tensor, state[name]) for name, tensor in search.network.state_dict().items())

    def test_it_needs_a_super_net(self, fit_briefly):
        signals = [ShortTraining(4, start="shared")]
        search = MeasuredSearch((1, 8, 8), 10, SPACE, channels=4, cells=2, measuring=measuring(signals=signals))
        with pytest.raises(ConfigError, match=r"start 'shared' has no super-net here: use it in SinglePathSearch"):
            fit_briefly(search, Digits(batch_size=32, arch_fraction=0.0), epochs=1, batches=20)

    def test_it_has_one_size(self):
        with pytest.raises(ConfigError, match="have the size of their super-net: leave pixels, channels, cells"):
            ShortTraining(start="shared", cells=2)


def test_too_small_batches_are_refused_before_anything_is_trained(make, fit):
    search = make(measuring=measuring(signals=[SharedWeights(), Untrained(Naswot(), images=33)]))
    with pytest.raises(ConfigError, match=r"Naswot: images is 33, but a batch has 32: set data.batch_size to at least"):
        fit(search, epochs=1)
    assert search.batches == 1
    assert not search.trainer.optimizers[0].state


@pytest.mark.parametrize(("loss", "score"), [(float("nan"), -float("inf")), (2.0, -2.0)])
def test_a_loss_that_is_no_number_is_the_worst(make, loss, score):
    search = make()
    bench = Bench(SPACE, search.network.size, search.network.norms, None, (), 0, lambda support: -loss)
    assert SharedWeights()(search.support, bench, 0) == score


def test_before_the_end_there_is_no_conclusion(make):
    search = make()
    assert search.conclusion is None
    assert SPACE.support(search.genotype) == search.support
    with pytest.raises(ConfigError, match=r"0 architectures of the band have been measured, too few"):
        search.decide()
