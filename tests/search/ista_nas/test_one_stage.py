"""One-stage search: phases, settling, recovery, what a trained run yields, and what is refused."""

import pytest
import pytorch_lightning as pl
import torch

from sparsenas.complexity import count_parameters
from sparsenas.data import Digits
from sparsenas.errors import CheckpointError, ConfigError, RecoveryError
from sparsenas.networks import NetworkConfig, NormOptions
from sparsenas.schedules import Schedule
from sparsenas.search import (
    AbsoluteChange,
    ArchitectureTraining,
    Budget,
    Exploration,
    NearbySampling,
    Phases,
    RecoveredSampling,
    SparseRecovery,
    StableSupport,
)
from sparsenas.sparse_coding import ExactSolver
from sparsenas.training import WeightTraining

#: No block settles by itself; all blocks settle with the first recovery.
NEVER, AT_ONCE = StableSupport(patience=10**6), AbsoluteChange(tolerance=1e9)


@pytest.fixture
def make(make_one_stage):
    return make_one_stage


@pytest.fixture
def fit(fit_one_stage):
    return fit_one_stage


class TestPhases:
    @pytest.mark.slow
    def test_a_settled_search_goes_over_to_training_and_takes_the_remaining_epochs(self, make, fit, watch):
        search = make(settling=AT_ONCE, phases=Phases(3), training=WeightTraining(drop_path=0.3))
        trainer = fit(search, watch, epochs=4)
        assert watch.searching == [True, False, False, False]
        assert (search.search_end, search.settled_epochs, search.finished) == (1, [0, 0, 0, 0], True)
        assert watch.drop_path == pytest.approx([0.0, 0.0, 0.1, 0.2])
        assert trainer.callback_metrics["search/phase"] == 2.0
        assert trainer.callback_metrics["search/settled"] == 4.0

    def test_the_cap_ends_a_search_that_does_not_settle_and_says_so(self, make, fit, capsys):
        search = make(settling=NEVER, phases=Phases(2))
        fit(search, epochs=3)
        assert (search.search_end, search.settled_epochs) == (2, [None] * 4)
        assert search.architecture.settled.all()
        out = capsys.readouterr().out
        assert "epoch 2: search_epochs reached, frozen as is: normal cell, node 2; normal cell, node 3; reduce" in out
        assert "epoch 2: architecture fixed; 1 epochs of training follow" in out

    def test_a_training_phase_of_given_length_ends_the_run(self, make, fit):
        search = make(settling=AT_ONCE, phases=Phases(2, train_epochs=2))
        trainer = fit(search, epochs=6)
        assert trainer.current_epoch == 3
        assert search.finished

    @pytest.mark.slow
    def test_a_finished_run_that_is_resumed_ends_at_once(self, make, fit):
        def build():
            return make(settling=AT_ONCE, phases=Phases(3, train_epochs=2))

        folder = fit(build(), epochs=6, folder="whole").checkpoint_callback.dirpath
        again = build()
        trainer = fit(again, epochs=6, folder="again", ckpt_path=f"{folder}/epoch=2.ckpt")
        assert trainer.current_epoch == 3
        assert again.finished
        kept = torch.load(f"{folder}/epoch=2.ckpt", weights_only=True)["state_dict"]
        assert all(
            torch.equal(tensor, kept[name]) for name, tensor in again.network.state_dict(prefix="network.").items()
        )

    @pytest.mark.slow
    def test_a_longer_run_goes_on_where_a_run_of_that_length_has_its_learning_rate(self, make, fit, capsys):
        schedule = Schedule("cosine")

        def build():
            return make(settling=AT_ONCE, phases=Phases(1), training=WeightTraining(schedule=schedule))

        rates = []

        class Rates(pl.Callback):
            def on_train_batch_start(self, trainer, *_):
                rates.append(trainer.optimizers[0].param_groups[0]["lr"])

        folder = fit(build(), epochs=3, folder="short").checkpoint_callback.dirpath
        again = build()
        fit(again, Rates(), epochs=6, folder="longer", ckpt_path=f"{folder}/epoch=2.ckpt")
        peak = again.lr_schedulers()[0].base_lrs[0]
        assert sorted(set(rates), reverse=True) == pytest.approx([peak * schedule.factor(k, 5) for k in (2, 3, 4)])
        share = schedule.factor(2, 5)
        assert (
            f"3 epochs were planned, and 6 are now: the learning rate goes on at {share:.0%}" in capsys.readouterr().out
        )

    def test_the_cap_looks_at_the_last_steps_on_b(self, make, fit):
        recovery = SparseRecovery(ExactSolver(nonnegative=True), every_n_steps=5, initial_std=0.05)
        everywhere = Exploration(NearbySampling(1.0, 1.0))
        search = make(recovery=recovery, settling=NEVER, phases=Phases(2), exploration=everywhere)
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

    def test_lengths_of_schedules_that_are_not_those_of_their_phases_are_told(self, make, fit, capsys):
        own = Schedule("linear", epochs=1)
        search = make(settling=NEVER, phases=Phases(2, search_schedule=own), training=WeightTraining(schedule=own))
        fit(search, epochs=3)
        out = capsys.readouterr().out
        assert "phases.search_schedule.epochs is 1, but the schedule goes over 2 epochs: the last 1 run at 0" in out
        assert "training.schedule.epochs" not in out

    @pytest.mark.slow
    def test_a_phase_that_became_longer_than_its_schedule_is_told_when_it_begins(self, make, fit, capsys):
        fit(make(settling=AT_ONCE, phases=Phases(2), training=WeightTraining(schedule=Schedule(epochs=1))), epochs=3)
        told = "training.schedule.epochs is 1, but the schedule goes over 2 epochs: the last 1 run at 0"
        before, _, after = capsys.readouterr().out.partition(told)
        assert "epoch 1: settled" in before
        assert "epoch 1: architecture fixed; 2 epochs of training follow" in after

    @pytest.mark.slow
    def test_a_test_within_the_search_phase_says_what_it_is_worth(self, make, fit, capsys):
        search = make()
        trainer = fit(search, epochs=2)
        trainer.test(search, Digits(batch_size=32, arch_fraction=0.0), verbose=False)
        assert "weights are shared" not in capsys.readouterr().out
        trainer.test(make(), Digits(batch_size=32, arch_fraction=0.0), verbose=False)
        assert "no epoch of the training phase is over: weights are shared" in capsys.readouterr().out

    @pytest.mark.slow
    def test_rates_of_both_phases(self, make, fit, watch):
        search = make(
            settling=AT_ONCE,
            recovery=SparseRecovery(every_n_steps=6),  # first in the second epoch
            phases=Phases(2, search_schedule=Schedule("constant")),
            training=WeightTraining(lambda p: torch.optim.SGD(p, lr=0.1), Schedule("linear", final_ratio=0.5)),
            architecture=ArchitectureTraining(lambda p: torch.optim.SGD(p, lr=0.4), Schedule("linear")),
        )
        fit(search, watch, epochs=4)
        assert search.search_end == 2
        assert [weights for weights, _ in watch.rates] == pytest.approx([0.1, 0.1, 0.1, 0.075])
        assert [arch for _, arch in watch.rates][:2] == pytest.approx([0.4, 0.2])

    @pytest.mark.slow
    def test_evaluation_reads_running_statistics_only_when_one_architecture_trains(self, make, batch):
        search = make().eval()
        images = batch[0][:8]
        alone, together = search(images[:1]), search(images)[:1]
        assert not torch.allclose(alone, together, atol=1e-3)  # batch statistics
        search.trained_epochs = 1
        torch.testing.assert_close(search(images[:1]), search(images)[:1])

    @pytest.mark.parametrize(
        ("phases", "epochs", "message"),
        [
            (Phases(3), 3, "max_epochs is 3, but search_epochs 3 and train_epochs of at least 1 need 4"),
            (Phases(2, train_epochs=4), 5, "max_epochs is 5, but search_epochs 2 and train_epochs 4 need 6"),
        ],
    )
    def test_phases_that_do_not_fit_the_run(self, make, fit, phases, epochs, message):
        with pytest.raises(ConfigError, match=message):
            fit(make(phases=phases), epochs=epochs)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                {"phases": Phases(2), "architecture": ArchitectureTraining(warmup_epochs=2)},
                r"architecture\.warmup_epochs is 2, but phases\.search_epochs is 2: no epoch is left for the search",
            ),
            (
                {"network": NetworkConfig(channels=4, cells=2, stem="small")},
                r"network\.cells is 2: such a network has no cell of some type to search",
            ),
            (
                {"network": NetworkConfig(channels=4, cells=3, stem="small", norms=NormOptions())},
                r"network\.norms is .*, but folding needs .*: set it to null",
            ),
            (
                {"phases": Phases(3, search_schedule=Schedule(warmup_epochs=3))},
                r"phases\.search_schedule\.warmup_epochs is 3, but its phase has 3 epochs",
            ),
            (
                {
                    "phases": Phases(3),
                    "architecture": ArchitectureTraining(schedule=Schedule(warmup_epochs=2), warmup_epochs=1),
                },
                r"architecture\.schedule\.warmup_epochs is 2, but its phase has 2 epochs",
            ),
            (
                {"training": WeightTraining(schedule=Schedule(warmup_epochs=3)), "phases": Phases(2, train_epochs=3)},
                r"training\.schedule\.warmup_epochs is 3, but its phase has 3 epochs",
            ),
            ({"seed": -1}, "seed is -1; use a number not below 0"),
        ],
    )
    def test_options_that_contradict_each_other(self, make, options, message):
        with pytest.raises(ConfigError, match=message):
            make(**options)

    @pytest.mark.parametrize(
        ("build", "message"),
        [
            (lambda: Phases(train_epochs=0), r"phases: search_epochs=120, train_epochs=0; each is at least 1"),
            (lambda: Phases(search_epochs=0), r"phases: search_epochs=0, train_epochs=None; each is at least 1"),
            (lambda: ArchitectureTraining(warmup_epochs=-1), r"architecture\.warmup_epochs is -1; it is not below 0"),
            (
                lambda: Exploration(RecoveredSampling(), "loss"),
                r"exploration\.signal is loss, .* RecoveredSampling draws none",
            ),
        ],
    )
    def test_numbers_out_of_range(self, build, message):
        with pytest.raises(ConfigError, match=message):
            build()

    def test_two_streams_are_refused(self, make, fit_briefly):
        with pytest.raises(ConfigError, match=r"set data\.arch_fraction to 0"):
            fit_briefly(make(), Digits(batch_size=32, arch_fraction=0.4))


class TestRecovery:
    @pytest.mark.slow
    def test_max_params_holds_at_every_recovery(self, make, fit, listener):
        free = make()
        sizes = [
            count_parameters(free.network.derive(free.space.genotype(free.space.sample_support(free._rng))))
            for _ in range(50)
        ]
        limit = float(sorted(sizes)[10])
        search = make(
            budget=Budget(max_params=limit),
            recovery=SparseRecovery(ExactSolver(nonnegative=True), every_n_steps=1),
            settling=NEVER,
            phases=Phases(2),
            architecture=ArchitectureTraining(lambda p: torch.optim.SGD(p, lr=50.0), Schedule("linear")),
            exploration=Exploration(NearbySampling(1.0, 1.0)),
        )
        fit(search, listener, epochs=3)
        assert len({report.support for report in listener.reports}) > 1
        assert all(count_parameters(search.network.derive(report.genotype)) <= limit for report in listener.reports)

    def test_a_budget_that_no_network_meets_is_refused(self, make):
        with pytest.raises(RecoveryError, match=r"budget\.max_params is 100"):
            make(budget=Budget(max_params=100))

    @pytest.mark.slow
    def test_a_rejected_recovery_changes_and_settles_nothing(self, make, fit, listener):
        recovery = SparseRecovery(ExactSolver(nonnegative=True), every_n_steps=2, reject_params=1.0)
        search = make(recovery=recovery, settling=AT_ONCE, phases=Phases(2))
        first = search.support
        fit(search, listener, epochs=3)
        assert search.support == first
        assert search.settled_epochs == [None] * 4
        assert [report.count for report in listener.reports] == [0]

    @pytest.mark.slow
    def test_the_official_rules_by_epoch(self, make, fit, listener):
        recovery = SparseRecovery(every_n_steps=None)
        exploration, settling = Exploration(RecoveredSampling()), AbsoluteChange(tolerance=1e9)
        search = make(recovery=recovery, exploration=exploration, settling=settling, phases=Phases(3))
        fit(search, listener, epochs=4)
        assert [report.epoch for report in listener.reports] == [0, 0]
        assert search.search_end == 1


class TestResult:
    @pytest.mark.slow
    @pytest.mark.parametrize("auxiliary_weight", [0.0, 0.4])
    def test_the_trained_network_is_the_folded_one(self, make, fit, batch, auxiliary_weight):
        search = make(training=WeightTraining(drop_path=0.2, auxiliary_weight=auxiliary_weight))
        fit(search, epochs=3)
        search.eval()
        deployable = search.deployable()
        assert not deployable.training
        assert deployable.auxiliary is None
        torch.testing.assert_close(deployable(batch[0]), search(batch[0]), atol=1e-5, rtol=1e-5)

    @pytest.mark.slow
    def test_before_an_epoch_of_training_there_is_no_network(self, make, fit):
        with pytest.raises(CheckpointError, match=r"no epoch of the training phase is over \(settled: 0 of 4\)"):
            make().deployable()
        folder = fit(make(), epochs=3).checkpoint_callback.dirpath
        at_the_switch, later = make(), make()
        for search, epoch in ((at_the_switch, 0), (later, 1)):
            checkpoint = torch.load(f"{folder}/epoch={epoch}.ckpt", weights_only=True)
            search.on_load_checkpoint(checkpoint)
            search.load_state_dict(checkpoint["state_dict"])
        assert not at_the_switch.searching
        with pytest.raises(CheckpointError, match=r"no epoch of the training phase is over \(settled: 4 of 4\)"):
            at_the_switch.deployable()
        later.deployable()

    @pytest.mark.slow
    def test_a_default_that_settles(self, make, fit):
        search = make(
            settling=StableSupport(patience=2, tolerance=0.5),
            phases=Phases(9),
            exploration=Exploration(NearbySampling(1.0, 0.0)),
        )
        fit(search, epochs=10, batches=6)
        assert search.finished
        assert any(epoch is not None for epoch in search.settled_epochs)


#: Both signals, both schedules of recovery, and both ends of the search phase.
RUNS = {
    "settles": {"settling": StableSupport(patience=2, tolerance=0.5), "exploration": Exploration(signal="loss")},
    "capped": {"settling": NEVER, "recovery": SparseRecovery(every_n_steps=None)},
    "cold": {"settling": AT_ONCE, "phases": Phases(3, warm_start=False)},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_resumed_from_any_epoch_it_is_the_uninterrupted_run(make, fit, assert_same_run, name):
    def build(init=0):
        others = {
            "phases": Phases(3),
            "training": WeightTraining(drop_path=0.3, auxiliary_weight=0.4),
            "architecture": ArchitectureTraining(lambda p: torch.optim.Adam(p, lr=0.05), Schedule("linear")),
        }
        return make(init, **(others | RUNS[name]))

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
