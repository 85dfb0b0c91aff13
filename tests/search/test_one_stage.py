"""One-stage search: phases, settling, what trains when, folding of a trained run, and what is refused."""

import copy

import pytest
import pytorch_lightning as pl
import torch

from sparsenas.complexity import count_parameters
from sparsenas.data import Digits
from sparsenas.errors import CheckpointError, ConfigError, RecoveryError
from sparsenas.schedules import Decay
from sparsenas.search import (
    AbsoluteChange,
    NearbySampling,
    OneStageSearch,
    RecoveredSampling,
    SettlingRule,
    SparseRecovery,
    StableSupport,
)
from sparsenas.sparse_coding import ExactSolver


class Never(SettlingRule):
    """No block settles."""

    patience = 1

    def calm(self, before, after):
        return torch.zeros(len(after.code), dtype=torch.bool)


class At(SettlingRule):
    """Given blocks settle with the first recovery."""

    patience = 1

    def __init__(self, *blocks):
        self.blocks = blocks

    def calm(self, before, after):
        return torch.tensor([block in self.blocks for block in range(len(after.code))])


@pytest.fixture
def make(space):
    def run(init=0, **options):
        torch.manual_seed(init)
        small = {
            "channels": 4,
            "cells": 3,
            "stem": "small",
            "space": space,
            "auxiliary_weight": 0.0,
            "search_epochs": 1,
        }
        recovery = SparseRecovery(ExactSolver(nonnegative=True), every_n_steps=2)
        return OneStageSearch((1, 8, 8), 10, **(small | {"recovery": recovery} | options))

    return run


@pytest.fixture
def fit(fit_briefly):
    def run(model, *callbacks, batches=4, **options):
        return fit_briefly(model, Digits(batch_size=32, arch_fraction=0.0), *callbacks, batches=batches, **options)

    return run


class Watch(pl.Callback):
    """Copies of the state after every epoch, and what happened in every batch."""

    def __init__(self):
        self.states, self.searching, self.rates, self.drop_path = [], [], [], []

    def on_train_start(self, trainer, search):
        self.states.append(copy.deepcopy(search.state_dict()))

    def on_train_epoch_start(self, trainer, search):
        self.searching.append(search.searching)
        self.rates.append(tuple(optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers))
        self.drop_path.append(search.drop_path_now)

    def on_train_epoch_end(self, trainer, search):
        self.states.append(copy.deepcopy(search.state_dict()))


def operation_tensors(search, state, block, affine):
    """Tensors of a block's operations: gamma and beta, or all others."""
    names = set()
    for name, module in search.network.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.affine:
            names |= {f"network.{name}.weight", f"network.{name}.bias"}
    target = search.space.blocks[block].node
    cells = [i for i, kind in enumerate(search.network.cell_types) if kind == search.space.blocks[block].cell]
    prefixes = tuple(
        f"network.cells.{i}.operations.{c.source}_{target}_{c.primitive}."
        for i in cells
        for c in search.space.blocks[block].candidates
    )
    return {name: tensor for name, tensor in state.items() if name.startswith(prefixes) and (name in names) == affine}


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


class TestPhases:
    def test_a_settled_search_goes_over_to_training_and_takes_the_remaining_epochs(self, make, fit):
        watch = Watch()
        search = make(settling=At(0, 1, 2, 3), search_epochs=3, drop_path=0.3)
        trainer = fit(search, watch, epochs=4)
        assert watch.searching == [True, False, False, False]
        assert (search.search_end, search.settled_epochs, search.finished) == (1, [0, 0, 0, 0], True)
        assert watch.drop_path == pytest.approx([0.0, 0.0, 0.1, 0.2])
        assert trainer.callback_metrics["search/phase"] == 2.0
        assert trainer.callback_metrics["search/settled"] == 4.0

    def test_the_cap_ends_a_search_that_does_not_settle_and_says_so(self, make, fit, capsys):
        search = make(settling=Never(), search_epochs=2)
        fit(search, epochs=3)
        assert (search.search_end, search.settled_epochs) == (2, [None] * 4)
        assert search.architecture.settled.all()
        out = capsys.readouterr().out
        assert "epoch 2: search_epochs reached, frozen as is: normal cell, node 2; normal cell, node 3; reduce" in out
        assert "epoch 2: architecture fixed; 1 epochs of training follow" in out

    def test_a_training_phase_of_given_length_ends_the_run(self, make, fit):
        search = make(settling=At(0, 1, 2, 3), search_epochs=2, train_epochs=2)
        trainer = fit(search, epochs=6)
        assert trainer.current_epoch == 3
        assert search.finished

    def test_a_finished_run_that_is_resumed_ends_at_once(self, make, fit):
        def build():
            return make(settling=At(0, 1, 2, 3), search_epochs=3, train_epochs=2)

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
        search = make(recovery=recovery, settling=Never(), search_epochs=2, sampling=NearbySampling(1.0, 1.0))
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

    def test_rates_of_both_phases(self, make, fit):
        watch = Watch()
        search = make(
            settling=At(0, 1, 2, 3),
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


class TestColdStart:
    """The training phase from new weights."""

    @pytest.fixture
    def starts(self):
        class Starts(pl.Callback):
            """What the first training batch finds."""

            found = None

            def on_train_batch_start(self, trainer, search, *args):
                if not search.searching and self.found is None:
                    self.found = copy.deepcopy(search.network.state_dict()), len(trainer.optimizers[0].state)

        return Starts()

    def test_nothing_of_the_search_phase_is_left(self, make, fit, starts):
        search = make(warm_start=False, settling=Never(), search_epochs=2)
        fit(search, starts, epochs=3)
        state, momenta = starts.found
        new = make(init=1).network.state_dict()  # init is seed + 1
        assert changed(state, new) == set()
        assert momenta == 0
        assert changed(new, search.network.state_dict())  # it trains

    def test_architecture_is_that_of_a_warm_start(self, make, fit):
        cold, warm = (make(warm_start=warm, settling=Never()) for warm in (False, True))
        for search in (cold, warm):
            fit(search, epochs=2)
        assert torch.equal(cold.architecture.b, warm.architecture.b)
        assert cold.genotype == warm.genotype
        assert changed(cold.network.state_dict(), warm.network.state_dict())


class TestWhatTrains:
    def test_gamma_and_beta_of_settled_blocks_only(self, make, fit):
        watch = Watch()
        search = make(settling=At(1, 2), search_epochs=3, sampling=NearbySampling(1.0, 1.0))
        fit(search, watch, epochs=4)
        assert watch.searching == [True, True, True, False]
        for block in range(4):
            start, *_, searched, trained = (operation_tensors(search, s, block, affine=True) for s in watch.states)
            ones = {name for name, tensor in start.items() if name.endswith("weight") and bool((tensor == 1).all())}
            assert len(ones) == len(start) // 2 > 0
            assert bool(changed(start, searched)) == (block in (1, 2))
            assert changed(searched, trained)  # all have settled by then

    def test_b_of_a_settled_block_stays(self, make, fit):
        watch = Watch()
        search = make(
            settling=At(2),
            search_epochs=3,
            arch_optimizer=lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1),
        )
        fit(search, watch, epochs=4)
        first, last = (state["architecture.b"] for state in (watch.states[1], watch.states[-2]))
        assert [torch.equal(first[block], last[block]) for block in range(4)] == [False, False, True, False]
        assert torch.equal(last, watch.states[-1]["architecture.b"])  # nothing moves in the training phase

    def test_what_never_ran_is_bit_identical(self, make, fit):
        watch = Watch()
        search = make(sampling=RecoveredSampling(), settling=Never(), search_epochs=2)
        ran = {block: set(kept) for block, kept in enumerate(search.support)}

        class Ran(pl.Callback):
            def on_train_batch_end(self, trainer, module, *args):
                for block, kept in enumerate(module.support):
                    ran[block] |= set(kept)

        fit(search, watch, Ran(), epochs=4)
        still = moved = 0
        for block, row in enumerate(search.space.blocks):
            for index, candidate in enumerate(row.candidates):
                key = f".operations.{candidate.source}_{candidate.target}_{candidate.primitive}."
                cells = [i for i, kind in enumerate(search.network.cell_types) if kind == row.cell]
                names = [n for n in watch.states[0] if key in n and int(n.split(".")[2]) in cells]
                same = [torch.equal(watch.states[0][n], watch.states[-1][n]) for n in names]
                if index not in ran[block]:
                    assert all(same), candidate
                    still += 1
                else:
                    moved += not all(same)
        assert still > 0
        assert moved > 0

    def test_warm_up_moves_weights_but_not_b(self, make, fit):
        watch = Watch()
        fit(make(warmup_epochs=1, search_epochs=2, settling=Never()), watch, epochs=3)
        start, warm, searched, _ = watch.states
        assert torch.equal(start["architecture.b"], warm["architecture.b"])
        assert not torch.equal(warm["architecture.b"], searched["architecture.b"])
        assert changed(start, warm)


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
        search = make(recovery=recovery, settling=Never(), search_epochs=2, **fast)
        fit(search, listener, epochs=3)
        assert len({report.support for report in listener.reports}) > 1
        assert all(count_parameters(search.network.derive(report.genotype)) <= limit for report in listener.reports)

    def test_a_budget_that_no_network_meets_is_refused(self, make):
        with pytest.raises(RecoveryError, match="max_params is 100"):
            make(recovery=SparseRecovery(max_params=100))

    def test_a_rejected_recovery_changes_and_settles_nothing(self, make, fit, listener):
        search = make(reject_params=1.0, settling=At(0, 1, 2, 3), search_epochs=2)
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
    "capped": {"settling": Never(), "recovery": SparseRecovery(every_n_steps=None)},
    "cold": {"settling": At(0, 1, 2, 3), "warm_start": False},
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


def test_signal_loss_charges_the_drawn_candidates_and_leaves_the_weights_alone(make, fit):
    class Check(pl.Callback):
        seen = 0

        def on_train_batch_start(self, trainer, search, *args):
            self.b, self.support = search.architecture.b.detach().clone(), search.support

        def on_train_batch_end(self, trainer, search, *args):
            step = (search.architecture.b.detach() - self.b).double()
            for block, kept in enumerate(search.tried):
                atoms = search.architecture.dictionary[block][:, list(kept)].sum(1)
                if not step[block].any():
                    continue
                share = float(step[block] @ atoms / (atoms @ atoms))
                torch.testing.assert_close(step[block], share * atoms, atol=1e-5, rtol=1e-4)
                assert abs(share) <= 3 * 0.5 + 1e-6
                Check.seen += 1

    search = make(signal="loss", settling=Never(), search_epochs=1, sampling=NearbySampling(0.5, 0.5))
    draw = search._draw
    search._draw = lambda batch_idx: setattr(search, "tried", draw(batch_idx)) or search.tried
    fit(search, Check(), epochs=2, batches=8)
    assert Check.seen > 5
