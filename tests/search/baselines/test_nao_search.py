"""NAO: pools that are replaced, what begins anew, what decides, and a resumed run."""

import pytest
import torch

from sparsenas.data import Digits
from sparsenas.errors import ConfigError
from sparsenas.networks import NetworkConfig
from sparsenas.schedules import Schedule
from sparsenas.search import Budget, Finals, Iterations, NaoSearch
from sparsenas.spaces import NasBench201Space, StageSpace, WeightSharing64Space
from sparsenas.training import WeightTraining

FEW = Iterations(count=2, pool=12, proposals=6, seeds=4, encoder_epochs=3)


@pytest.fixture
def make_nao():
    def make(init=0, space=NasBench201Space(), **options):
        torch.manual_seed(init)
        cells = None if space.name == "stage" else 1
        defaults = {"network": NetworkConfig(4, cells), "iterations": FEW, "finals": Finals(2, 1), "measure_batches": 2}
        return NaoSearch((1, 8, 8), 10, space, **(defaults | options))

    return make


@pytest.fixture
def fit_nao(fit_briefly):
    def run(search, *callbacks, **options):
        return fit_briefly(search, Digits(batch_size=32, arch_fraction=0.4), *callbacks, **options)

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    "space", [NasBench201Space(), StageSpace(stages=2, layers=2, growths=[1.5])], ids=lambda s: s.name
)
def test_pools_are_replaced_and_the_best_trained_alone(make_nao, fit_nao, listener, space):
    search = make_nao(space=space)
    first = search._draws.pool
    fit_nao(search, listener, epochs=6)
    assert len(search._draws.pool) == 6
    assert set(search.measured) == {*first, *search._draws.pool}
    assert not set(first) & set(search._draws.pool)  # proposals are new
    best = sorted(search.measured, key=search.measured.__getitem__, reverse=True)[:2]
    assert set(search._trained) == set(best)
    assert search.support == max(search._trained, key=search._trained.__getitem__)
    assert [report.epoch for report in listener.reports] == [1, 3, 4, 5]


@pytest.mark.slow
@pytest.mark.parametrize("stop", [0, 1, 2, 4])
def test_a_resumed_search_is_the_uninterrupted_one(make_nao, fit_nao, assert_same_run, stop):
    trainer = fit_nao(make_nao(), epochs=6, folder="whole", batches=3)
    folder = trainer.checkpoint_callback.dirpath
    resumed = make_nao(init=7)
    torch.manual_seed(1234)
    fit_nao(resumed, epochs=6, folder="rest", batches=3, ckpt_path=f"{folder}/epoch={stop}.ckpt")
    assert_same_run(f"{folder}/epoch=5.ckpt", f"{folder}/../rest/epoch=5.ckpt")
    assert resumed.measured == trainer.lightning_module.measured
    assert resumed.genotype == trainer.lightning_module.genotype


@pytest.mark.slow
@pytest.mark.parametrize("restart", ["carry", "schedule", "optimizer", "all"])
def test_what_begins_anew(make_nao, fit_nao, restart):
    """Rates, momentum and weights at the start of the second iteration, after one of two epochs."""
    seen = {}

    class Watching(NaoSearch):
        def on_train_epoch_start(self):
            before = {name: value.clone() for name, value in self.network.named_parameters()}
            super().on_train_epoch_start()
            changed = any(not torch.equal(before[name], value) for name, value in self.network.named_parameters())
            optimizer = self.trainer.optimizers[0]
            seen[self.current_epoch] = (optimizer.param_groups[0]["lr"], len(optimizer.state), changed)

    training = WeightTraining(lambda p: torch.optim.SGD(p, 0.1, momentum=0.9), Schedule())
    options = {
        "iterations": Iterations(2, 12, 6, 4, restart=restart, encoder_epochs=3),
        "finals": Finals(0),
        "training": training,
    }
    torch.manual_seed(0)
    search = Watching((1, 8, 8), 10, NasBench201Space(), NetworkConfig(4, 1), **options)
    fit_nao(search, epochs=4, batches=3)
    rate, momenta, changed = seen[2]
    assert rate == pytest.approx(0.05 if restart == "carry" else 0.1)
    assert (momenta == 0) == (restart in ("optimizer", "all"))
    assert changed == (restart == "all")
    assert not any(changed for epoch, (_, _, changed) in seen.items() if epoch != 2)


@pytest.mark.slow
def test_without_finals_the_best_with_shared_weights_is_found(make_nao, fit_nao):
    search = make_nao(finals=Finals(0))
    fit_nao(search, epochs=2, batches=2)
    assert search.shares_weights
    assert search.support == max(search.measured, key=search.measured.__getitem__)


@pytest.mark.slow
def test_finals_keep_the_budget(make_nao, fit_nao):
    budget = Budget(max_per_cell={"normal": {"nor_conv_3x3": 1}})
    search = make_nao(budget=budget)
    fit_nao(search, epochs=4, batches=2)
    for support in search._trained:
        cell = search.space.genotype(support).cell("normal")
        assert sum(candidate.primitive == "nor_conv_3x3" for candidate in cell) <= 1


@pytest.mark.slow
def test_equal_scores_leave_the_pool(make_nao, fit_nao, monkeypatch, capsys):
    search = make_nao(finals=Finals(0))
    monkeypatch.setattr(search, "_scores", lambda supports: [0.5] * len(supports))
    first = search._draws.pool
    fit_nao(search, epochs=2, batches=1)
    assert search._draws.pool == first
    assert "NAO learns nothing in this iteration, and the pool stays" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measure_batches": 0}, "measure_batches is 0; use at least 1"),
        (
            {"space": WeightSharing64Space(), "iterations": Iterations(pool=65, seeds=4)},
            "paths.size is 65, but draws from the space",
        ),
        ({"training": WeightTraining(drop_path=0.1), "space": StageSpace(growths=[1.5])}, "the only way through"),
    ],
)
def test_mistakes_are_explained(make_nao, options, message):
    with pytest.raises(ConfigError, match=message):
        make_nao(**options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Iterations(pool=10, seeds=11), "seeds is 11 and pool 10: the seeds are of the first pool"),
        (lambda: Iterations(count=0), "iterations.count is 0; use at least 1"),
        (
            lambda: Iterations(restart="half"),
            "iterations.restart is 'half'; use one of carry, schedule, optimizer, all",
        ),
        (lambda: Iterations(exponent=float("nan")), "iterations.exponent is nan; use a finite number"),
        (lambda: Finals(-1), "finals: count=-1, epochs=10"),
        (lambda: Finals(1, 0), "finals: count=1, epochs=0"),
    ],
)
def test_options_are_checked(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_iterations_and_finals_fill_the_run(make_nao, fit_nao):
    with pytest.raises(ConfigError, match="max_epochs is 5: the finals take 2 of them, and 2 iterations share"):
        fit_nao(make_nao(), epochs=5, batches=1)


def test_too_few_that_keep_the_budget_are_told_before_the_search(make_nao):
    with pytest.raises(
        ConfigError, match="0 of the 12 architectures of the first pool keep the budget, and 2 are to be"
    ):
        make_nao(budget=Budget(max_params=1.0))


@pytest.mark.slow
def test_a_resumed_search_keeps_its_length(make_nao, fit_nao):
    kept = fit_nao(make_nao(), epochs=6, batches=1).checkpoint_callback.dirpath
    with pytest.raises(ConfigError, match=r"max_epochs is 8, but the checkpoint is of a run of 6, .*: go on with 6"):
        fit_nao(make_nao(), epochs=8, batches=1, folder="rest", ckpt_path=f"{kept}/epoch=2.ckpt")
