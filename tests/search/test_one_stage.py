"""One-stage search: phases, settling, recovery, what a trained run yields, and what is refused."""

import pytest
import torch

from sparsenas.complexity import count_parameters
from sparsenas.data import Digits
from sparsenas.errors import CheckpointError, ConfigError, RecoveryError
from sparsenas.schedules import Decay
from sparsenas.search import (
    AbsoluteChange,
    NearbySampling,
    RecoveredSampling,
    SparseRecovery,
    StableSupport,
)
from sparsenas.sparse_coding import ExactSolver

#: No block settles by itself; all blocks settle with the first recovery.
NEVER, AT_ONCE = StableSupport(patience=10**6), AbsoluteChange(tolerance=1e9)


@pytest.fixture
def make(make_one_stage):
    return make_one_stage


@pytest.fixture
def fit(fit_one_stage):
    return fit_one_stage


class TestPhases:
    def test_a_settled_search_goes_over_to_training_and_takes_the_remaining_epochs(self, make, fit, watch):
        search = make(settling=AT_ONCE, search_epochs=3, drop_path=0.3)
        trainer = fit(search, watch, epochs=4)
        assert watch.searching == [True, False, False, False]
        assert (search.search_end, search.settled_epochs, search.finished) == (1, [0, 0, 0, 0], True)
        assert watch.drop_path == pytest.approx([0.0, 0.0, 0.1, 0.2])
        assert trainer.callback_metrics["search/phase"] == 2.0
        assert trainer.callback_metrics["search/settled"] == 4.0

    def test_the_cap_ends_a_search_that_does_not_settle_and_says_so(self, make, fit, capsys):
        search = make(settling=NEVER, search_epochs=2)
        fit(search, epochs=3)
        assert (search.search_end, search.settled_epochs) == (2, [None] * 4)
        assert search.architecture.settled.all()
        out = capsys.readouterr().out
        assert "epoch 2: search_epochs reached, frozen as is: normal cell, node 2; normal cell, node 3; reduce" in out
        assert "epoch 2: architecture fixed; 1 epochs of training follow" in out

    def test_a_training_phase_of_given_length_ends_the_run(self, make, fit):
        search = make(settling=AT_ONCE, search_epochs=2, train_epochs=2)
        trainer = fit(search, epochs=6)
        assert trainer.current_epoch == 3
        assert search.finished

    def test_a_finished_run_that_is_resumed_ends_at_once(self, make, fit):
        def build():
            return make(settling=AT_ONCE, search_epochs=3, train_epochs=2)

        folder = fit(build(), epochs=6, folder="whole").checkpoint_callback.dirpath
        again = build()
        trainer = fit(again, epochs=6, folder="again", ckpt_path=f"{folder}/epoch=2.ckpt")
        assert trainer.current_epoch == 3
        assert again.finished
        kept = torch.load(f"{folder}/epoch=2.ckpt", weights_only=True)["state_dict"]
        assert all(
            torch.equal(tensor, kept[name]) for name, tensor in again.network.state_dict(prefix="network.").items()
        )

    def test_the_cap_looks_at_the_last_steps_on_b(self, make, fit):
        recovery = SparseRecovery(ExactSolver(nonnegative=True), every_n_steps=5, initial_std=0.05)
        search = make(recovery=recovery, settling=NEVER, search_epochs=2, sampling=NearbySampling(1.0, 1.0))
        search.architecture.settle = lambda blocks, settle=search.architecture.settle: (
            frozen.append(search.architecture.recovery.support.clone()),
            found.append(search.architecture.solve().support),
            settle(blocks),
        )
        frozen, found = [], []
        fit(search, epochs=3, batches=4)  # recoveries after 5 of 8 batches, and at the end
        assert torch.equal(frozen[0], found[0])
        assert search.recoveries == 2
        expected = search.architecture.code.gather(1, search.architecture.indices)  # least squares of this very b
        torch.testing.assert_close(search.architecture.weights().double(), expected, atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize(("patience", "every"), [(4, 1), (5, 1), (3, 3), (1, None), (2, None)])
    def test_a_patience_that_cannot_be_met_is_said(self, make, fit, capsys, patience, every):
        recovery = SparseRecovery(every_n_steps=every)
        fit(make(settling=StableSupport(patience, 0.0), recovery=recovery), epochs=2, batches=4)
        recoveries = 4 // every if every else 1
        message = f"settling.patience is {patience}, but {recoveries} recoveries fit in search_epochs"
        assert (message in capsys.readouterr().out) == (patience > recoveries)

    def test_a_test_within_the_search_phase_says_what_it_is_worth(self, make, fit, capsys):
        search = make()
        trainer = fit(search, epochs=2)
        trainer.test(search, Digits(batch_size=32, arch_fraction=0.0), verbose=False)
        assert "weights are shared" not in capsys.readouterr().out
        trainer.test(make(), Digits(batch_size=32, arch_fraction=0.0), verbose=False)
        assert "no epoch of the training phase is over: weights are shared" in capsys.readouterr().out

    def test_rates_of_both_phases(self, make, fit, watch):
        search = make(
            settling=AT_ONCE,
            search_epochs=2,
            recovery=SparseRecovery(every_n_steps=6),  # first in the second epoch
            search_decay=Decay(shape="constant"),
            train_decay=Decay(shape="linear", final_ratio=0.5),
            arch_decay=Decay(shape="linear"),
            weight_optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
            arch_optimizer=lambda p: torch.optim.SGD(p, lr=0.4),
        )
        fit(search, watch, epochs=4)
        assert search.search_end == 2
        assert [weights for weights, _ in watch.rates] == pytest.approx([0.1, 0.1, 0.1, 0.075])
        assert [arch for _, arch in watch.rates][:2] == pytest.approx([0.4, 0.2])

    def test_evaluation_reads_running_statistics_only_when_one_architecture_trains(self, make, batch):
        search = make().eval()
        images = batch[0][:8]
        alone, together = search(images[:1]), search(images)[:1]
        assert not torch.allclose(alone, together, atol=1e-3)  # batch statistics
        search.trained_epochs = 1
        torch.testing.assert_close(search(images[:1]), search(images)[:1])

    @pytest.mark.parametrize(
        ("options", "epochs", "message"),
        [
            ({"search_epochs": 3}, 3, "max_epochs is 3, but search_epochs 3 and train_epochs of at least 1 need 4"),
            (
                {"search_epochs": 2, "train_epochs": 4},
                5,
                "max_epochs is 5, but search_epochs 2 and train_epochs 4 need 6",
            ),
        ],
    )
    def test_phases_that_do_not_fit_the_run(self, make, fit, options, epochs, message):
        with pytest.raises(ConfigError, match=message):
            fit(make(**options), epochs=epochs)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"search_epochs": 2, "warmup_epochs": 2}, r"need 0 <= warmup_epochs < search_epochs"),
            ({"train_epochs": 0}, r"train_epochs=0.*train_epochs at least 1"),
            ({"drop_path": 1.0}, r"drop_path is 1.0; a probability below 1"),
            ({"auxiliary_weight": -1}, r"auxiliary_weight=-1"),
            ({"cells": 2}, r"cells is 2: such a network has no cell of some type to search"),
            ({"signal": "loss", "sampling": RecoveredSampling()}, r"signal is loss, .* RecoveredSampling draws none"),
            (
                {"train_decay": Decay(warmup_epochs=3), "train_epochs": 3},
                r"train_decay\.warmup_epochs is 3, but its phase",
            ),
        ],
    )
    def test_options_out_of_range(self, make, options, message):
        with pytest.raises(ConfigError, match=message):
            make(**options)

    def test_two_streams_are_refused(self, make, fit_briefly):
        with pytest.raises(ConfigError, match=r"set data\.arch_fraction to 0"):
            fit_briefly(make(), Digits(batch_size=32, arch_fraction=0.4))


class TestRecovery:
    def test_max_params_holds_at_every_recovery(self, make, fit, listener):
        free = make()
        sizes = [
            count_parameters(free.network.derive(free.space.genotype(free.space.sample_support(free._rng))))
            for _ in range(50)
        ]
        limit = float(sorted(sizes)[10])
        recovery = SparseRecovery(ExactSolver(nonnegative=True), every_n_steps=1, max_params=limit)
        fast = {"arch_optimizer": lambda p: torch.optim.SGD(p, lr=50.0), "sampling": NearbySampling(1.0, 1.0)}
        search = make(recovery=recovery, settling=NEVER, search_epochs=2, **fast)
        fit(search, listener, epochs=3)
        assert len({report.support for report in listener.reports}) > 1
        assert all(count_parameters(search.network.derive(report.genotype)) <= limit for report in listener.reports)

    def test_a_budget_that_no_network_meets_is_refused(self, make):
        with pytest.raises(RecoveryError, match="max_params is 100"):
            make(recovery=SparseRecovery(max_params=100))

    def test_a_rejected_recovery_changes_and_settles_nothing(self, make, fit, listener):
        search = make(reject_params=1.0, settling=AT_ONCE, search_epochs=2)
        first = search.support
        fit(search, listener, epochs=3)
        assert search.support == first
        assert search.settled_epochs == [None] * 4
        assert [report.count for report in listener.reports] == [0]

    def test_the_official_rules_by_epoch(self, make, fit, listener):
        recovery = SparseRecovery(every_n_steps=None)
        search = make(
            recovery=recovery, sampling=RecoveredSampling(), settling=AbsoluteChange(tolerance=1e9), search_epochs=3
        )
        fit(search, listener, epochs=4)
        assert [report.epoch for report in listener.reports] == [0, 0]
        assert search.search_end == 1


class TestResult:
    @pytest.mark.parametrize("auxiliary_weight", [0.0, 0.4])
    def test_the_trained_network_is_the_folded_one(self, make, fit, batch, auxiliary_weight):
        search = make(auxiliary_weight=auxiliary_weight, search_epochs=1)
        fit(search, epochs=3)
        search.eval()
        deployable = search.deployable()
        assert not deployable.training
        assert deployable.auxiliary is None
        torch.testing.assert_close(deployable(batch[0]), search(batch[0]), atol=1e-5, rtol=1e-5)

    def test_before_an_epoch_of_training_there_is_no_network(self, make, fit):
        with pytest.raises(CheckpointError, match=r"no epoch of the training phase is over \(settled: 0 of 4\)"):
            make().deployable()
        folder = fit(make(search_epochs=1), epochs=3).checkpoint_callback.dirpath
        at_the_switch, later = make(), make()
        for search, epoch in ((at_the_switch, 0), (later, 1)):
            checkpoint = torch.load(f"{folder}/epoch={epoch}.ckpt", weights_only=True)
            search.on_load_checkpoint(checkpoint)
            search.load_state_dict(checkpoint["state_dict"])
        assert not at_the_switch.searching
        with pytest.raises(CheckpointError, match=r"no epoch of the training phase is over \(settled: 4 of 4\)"):
            at_the_switch.deployable()
        later.deployable()

    def test_a_default_that_settles(self, make, fit):
        search = make(
            settling=StableSupport(patience=2, tolerance=0.5), search_epochs=9, sampling=NearbySampling(1.0, 0.0)
        )
        fit(search, epochs=10, batches=6)
        assert search.finished
        assert any(epoch is not None for epoch in search.settled_epochs)


#: Both signals, both schedules of recovery, and both ends of the search phase.
RUNS = {
    "settles": {"settling": StableSupport(patience=2, tolerance=0.5), "signal": "loss"},
    "capped": {"settling": NEVER, "recovery": SparseRecovery(every_n_steps=None)},
    "cold": {"settling": AT_ONCE, "warm_start": False},
}


@pytest.mark.parametrize("name", RUNS)
def test_resumed_from_any_epoch_it_is_the_uninterrupted_run(make, fit, assert_same_run, name):
    def build(init=0):
        others = {"search_epochs": 3, "drop_path": 0.3, "auxiliary_weight": 0.4}
        return make(init, arch_optimizer=lambda p: torch.optim.Adam(p, lr=0.05), **others, **RUNS[name])

    search = build()
    folder = fit(search, epochs=5, folder="whole").checkpoint_callback.dirpath
    assert 1 <= search.search_end <= 3
    for epoch in range(4):  # before, in and after the switch of phases
        rest = build(init=7)
        torch.manual_seed(1234)
        fit(rest, epochs=5, folder=f"from{epoch}", ckpt_path=f"{folder}/epoch={epoch}.ckpt")
        assert_same_run(f"{folder}/epoch=4.ckpt", f"{folder}/../from{epoch}/epoch=4.ckpt")
        assert rest.genotype == search.genotype
        for ours, theirs in zip(search.deployable().parameters(), rest.deployable().parameters(), strict=True):
            assert torch.equal(ours, theirs)
