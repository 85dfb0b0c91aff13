"""Measured selection: single-path search that decides by a code over measurements, shared weights among them."""

import json

import pytest
import torch

from sparsenas.callbacks import ResultReport
from sparsenas.complexity import candidate_costs
from sparsenas.data import Digits
from sparsenas.errors import ConfigError
from sparsenas.networks import NetworkConfig, NormOptions, SuperNet
from sparsenas.search import (
    Budget,
    Decoding,
    MeasuredSearch,
    MeasuredSelection,
    Measuring,
    SharedWeights,
    ShortTraining,
    SinglePathSearch,
    ZeroCost,
)
from sparsenas.search.measured import Bench
from sparsenas.search.size_band import SizeBand
from sparsenas.spaces import WeightSharing64Space
from sparsenas.zero_cost import Naswot, SynFlow

SPACE = WeightSharing64Space()
#: Those of single-path search.
NORMS = NormOptions(affine=False, track=False, append="pools_and_skips")


def measuring(**options):
    small = {"proxies": [SharedWeights()], "repeats": 1, "count": 12, "rounds": 1, "proposals": 2, "size_band": 0.0}
    return Measuring(**(small | {"decoding": Decoding(certainty=0.0)} | options))


@pytest.fixture
def make():
    def build(init=0, **options):
        torch.manual_seed(init)
        selection = MeasuredSelection(measuring(**options))
        network = NetworkConfig(4, 2)
        return SinglePathSearch((1, 8, 8), 10, SPACE, network, selection=selection, measure_batches=2)

    return build


@pytest.fixture
def fit(fit_briefly):
    return lambda search, *callbacks, **options: fit_briefly(
        search, Digits(batch_size=32, arch_fraction=0.4), *callbacks, **options
    )


def known(search):
    """Everything that was measured."""
    return search._trained.memory


def test_what_is_found_is_the_best_of_the_measured_by_shared_weights(make, fit):
    search = make()
    fit(search, epochs=1)
    search.eval()
    with torch.no_grad():
        scores = {support: search.score(support) for support in known(search)}
    assert search.support == max(scores, key=scores.__getitem__) == search.result.support == search.decide()
    assert len(scores) == search.result.measured
    assert 12 <= len(scores) <= 14
    assert search.visited >= set(scores)
    ranks = search.scores()
    assert sorted(ranks, key=ranks.__getitem__) == sorted(scores, key=scores.__getitem__)
    assert ranks == search.measured
    assert search.summary() == search.result.summary


@pytest.fixture
def limit():
    """Gives constraints that lie so far between the smallest and the largest cell."""
    costs = candidate_costs(SuperNet(SPACE, (1, 8, 8), 10, channels=4, cells=2, norms=NORMS))
    low, high = (sum(f(row) for row in costs.parameters) for f in (min, max))
    return lambda share: Budget(max_params=costs.base_parameters + low + share * (high - low)).constraints(SPACE, costs)


class Counted(SharedWeights):
    """Keeps which architectures were measured."""

    def __init__(self):
        object.__setattr__(self, "calls", [])

    def __call__(self, support, bench, repeat):
        self.calls.append(support)
        return super().__call__(support, bench, repeat)


def test_more_is_measured_under_other_constraints_and_all_of_it_keeps_them(make, fit, limit):
    search, rules = make(), limit(0.5)
    fit(search, epochs=1)
    own, before = search.result, set(known(search))
    found = search.decide(rules)
    assert rules.allows(found)
    assert set(known(search)) > before
    assert all(rules.allows(support) for support in search.scores(rules))
    assert found in search.scores(rules)
    costs = candidate_costs(search.network)
    assert found in SizeBand(SPACE, rules, costs.parameters, costs.base_parameters, 0.0)
    assert search.summary(rules) not in ("", search.summary())
    assert (search.result, search.decide()) == (own, own.support)
    assert search.visited >= set(search.scores(rules))
    assert search.network.training  # as the fit left it


def test_what_is_known_is_not_measured_twice(make, fit, limit):
    """Under whichever constraints, in whichever order, and however often they are asked for."""
    proxy = Counted()
    search = make(proxies=[proxy])
    fit(search, epochs=1)
    assert 12 <= len(proxy.calls) <= 14
    shares, found = (0.5, 0.8, 0.5, 1.0, 0.6, 0.8), {}
    for share in shares:
        found.setdefault(share, search.decide(limit(share)))
        assert search.decide(limit(share)) == found[share]
    assert len(proxy.calls) == len(set(proxy.calls)) == len(known(search)) > 14
    again = Counted()
    asked = make(proxies=[again])
    fit(asked, epochs=1, folder="again")
    assert {share: asked.decide(limit(share)) for share in sorted(found)} == found
    assert sorted(again.calls) == sorted(proxy.calls)


def test_a_time_limit_ends_the_measuring(make, fit):
    search = make(seconds=1e-9)
    fit(search, epochs=1)
    assert search.result.measured == len(known(search)) == 4


def test_proxies_of_untrained_networks_can_stand_beside(make, fit, capsys):
    proxies = [SharedWeights(), ZeroCost(Naswot(), images=16), ZeroCost(SynFlow(), images=16)]
    search = make(proxies=proxies, repeats=2)
    fit(search, epochs=1)
    assert [item.proxy for item in search.result.reliability][:3] == ["shared weights", "Naswot", "SynFlow"]
    assert search.result.reliability[0].stability is None
    assert f"found: {search.result.summary}" in capsys.readouterr().out


def test_the_result_is_reported(make, fit, tmp_path):
    search = make()
    fit(search, ResultReport(), epochs=1)
    (file,) = tmp_path.rglob("result.json")
    assert json.loads(file.read_text())["measured"] == search.result.measured


def test_a_checkpoint_knows_what_was_found_and_by_which_scores(make, fit, limit, tmp_path):
    """But no image: what has not been measured can be no longer."""
    search = make()
    fit(search, epochs=1).save_checkpoint(tmp_path / "end.ckpt")
    again = make(init=1)
    again.on_load_checkpoint(torch.load(tmp_path / "end.ckpt", weights_only=True))
    assert (again.support, again.decide()) == (search.support, search.support)
    assert (again.measured, again.scores(), again.visited) == (search.measured, search.measured, search.visited)
    assert again.result is None
    with pytest.raises(ConfigError, match="this search has no images to measure with; run it again"):
        again.decide(limit(0.5))


def test_shared_weights_need_a_super_net_that_is_trained(fit_briefly):
    search = MeasuredSearch((1, 8, 8), 10, SPACE, NetworkConfig(4, 2), measuring=measuring())
    with pytest.raises(ConfigError, match=r"has SharedWeights, but no super-net is trained here: use it in a Meas"):
        fit_briefly(search, Digits(batch_size=32, arch_fraction=0.0), epochs=1, batches=20)


class TestFineTuning:
    def test_it_starts_from_the_shared_weights_and_leaves_them(self, make, fit):
        """With hardly a step, the loss is that of the derived network on the held-out images."""
        search = make(proxies=[ShortTraining(4, learning_rate=1e-9, start="shared")])
        fit(search, epochs=1)
        state = {name: tensor.clone() for name, tensor in search.network.state_dict().items()}
        support, measured = next(iter(known(search).items()))
        network, batches = search.network.derive(SPACE.genotype(support)).train(), search._held_out.images
        losses = [torch.nn.functional.cross_entropy(network(x), y).item() for x, y in batches]
        expected = (losses[2 % len(losses)] + losses[3 % len(losses)]) / 2
        assert -measured.values[0][0] == pytest.approx(expected, rel=1e-4)
        search.decide(Budget(forbidden=("max_pool_3x3",)).constraints(SPACE, None))  # measures others
        assert all(torch.equal(tensor, state[name]) for name, tensor in search.network.state_dict().items())

    def test_it_needs_a_super_net(self, fit_briefly):
        proxies = [ShortTraining(4, start="shared")]
        search = MeasuredSearch((1, 8, 8), 10, SPACE, NetworkConfig(4, 2), measuring=measuring(proxies=proxies))
        with pytest.raises(ConfigError, match=r"start 'shared' has no super-net here: use it in a MeasuredSelection"):
            fit_briefly(search, Digits(batch_size=32, arch_fraction=0.0), epochs=1, batches=20)

    def test_it_has_one_size(self):
        with pytest.raises(ConfigError, match="have the size of their super-net: leave pixels, channels, cells"):
            ShortTraining(start="shared", cells=2)


def test_too_small_batches_are_refused_before_anything_is_trained(make, fit):
    search = make(proxies=[SharedWeights(), ZeroCost(Naswot(), images=33)])
    with pytest.raises(ConfigError, match=r"Naswot: images is 33, but a batch has 32: set data.batch_size to at least"):
        fit(search, epochs=1)
    assert search.batches == 1
    assert not search.trainer.optimizers[0].state


@pytest.mark.parametrize(("loss", "score"), [(float("nan"), -float("inf")), (2.0, -2.0)])
def test_a_loss_that_is_no_number_is_the_worst(make, loss, score):
    search = make()
    bench = Bench(SPACE, search.network.size, search.network.norms, None, (), 0, lambda support: -loss)
    assert SharedWeights()(search.support, bench, 0) == score


def test_before_the_end_there_is_no_result(make):
    search = make()
    assert search.result is None
    assert SPACE.support(search.genotype) == search.support
    with pytest.raises(ConfigError, match="this search has no images to measure with; run it again"):
        search.decide()
