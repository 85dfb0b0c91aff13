"""One-stage search: which tensors move in which phase, and by which signal."""

import copy

import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional

from sparsenas.data import Digits
from sparsenas.schedules import Schedule
from sparsenas.search import (
    AbsoluteChange,
    ArchitectureTraining,
    Exploration,
    NearbySampling,
    Phases,
    RecoveredSampling,
    SettlingRule,
    StableSupport,
)
from sparsenas.training import recalibration

#: No block settles by itself; all blocks settle with the first recovery.
NEVER, AT_ONCE = StableSupport(patience=10**6), AbsoluteChange(tolerance=1e9)


class At(SettlingRule):
    """Given blocks settle with the first recovery."""

    patience = 1

    def __init__(self, *blocks):
        self.blocks = blocks

    def calm(self, before, after):
        return torch.tensor([block in self.blocks for block in range(len(after.code))])


@pytest.fixture
def make(make_one_stage):
    return make_one_stage


@pytest.fixture
def fit(fit_one_stage):
    return fit_one_stage


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


class TestWhatTrains:
    @pytest.mark.slow
    def test_gamma_and_beta_of_settled_blocks_only(self, make, fit, watch, changed):
        search = make(settling=At(1, 2), phases=Phases(3), exploration=Exploration(NearbySampling(1.0, 1.0)))
        fit(search, watch, epochs=4)
        assert watch.searching == [True, True, True, False]
        for block in range(4):
            start, *_, searched, trained = (operation_tensors(search, s, block, affine=True) for s in watch.states)
            ones = {name for name, tensor in start.items() if name.endswith("weight") and bool((tensor == 1).all())}
            assert len(ones) == len(start) // 2 > 0
            assert bool(changed(start, searched)) == (block in (1, 2))
            assert changed(searched, trained)  # all have settled by then

    @pytest.mark.slow
    def test_b_of_a_settled_block_stays(self, make, fit, watch):
        moving = ArchitectureTraining(
            lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1), schedule=Schedule("linear")
        )
        search = make(settling=At(2), phases=Phases(3), architecture=moving)
        fit(search, watch, epochs=4)
        first, last = (state["architecture.b"] for state in (watch.states[1], watch.states[-2]))
        assert [torch.equal(first[block], last[block]) for block in range(4)] == [False, False, True, False]
        assert torch.equal(last, watch.states[-1]["architecture.b"])  # nothing moves in the training phase

    @pytest.mark.slow
    def test_what_never_ran_is_bit_identical(self, make, fit, watch):
        search = make(exploration=Exploration(RecoveredSampling()), settling=NEVER, phases=Phases(2))
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

    @pytest.mark.slow
    def test_warm_up_moves_weights_but_not_b(self, make, fit, watch, changed):
        architecture = ArchitectureTraining(schedule=Schedule("linear"), warmup_epochs=1)
        fit(make(architecture=architecture, phases=Phases(2), settling=NEVER), watch, epochs=3)
        start, warm, searched, _ = watch.states
        assert torch.equal(start["architecture.b"], warm["architecture.b"])
        assert not torch.equal(warm["architecture.b"], searched["architecture.b"])
        assert changed(start, warm)


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

    @pytest.mark.slow
    def test_nothing_of_the_search_phase_is_left(self, make, fit, starts, changed):
        search = make(phases=Phases(2, warm_start=False), settling=NEVER)
        fit(search, starts, epochs=3)
        state, momenta = starts.found
        new = make(init=1).network.state_dict()  # init is seed + 1
        assert changed(state, new) == set()
        assert momenta == 0
        assert changed(new, search.network.state_dict())  # it trains

    @pytest.mark.slow
    def test_what_is_trained_is_not_thrown_away_by_another_fit(self, make, fit, starts, changed):
        search = make(phases=Phases(2, warm_start=False), settling=NEVER)
        fit(search, epochs=3)
        trained = copy.deepcopy(search.network.state_dict())
        fit(search, starts, epochs=6, folder="again")  # its trainer counts epochs from 0 again
        assert changed(starts.found[0], trained) == set()

    @pytest.mark.slow
    def test_architecture_is_that_of_a_warm_start(self, make, fit, changed):
        cold, warm = (make(phases=Phases(1, warm_start=warm), settling=NEVER) for warm in (False, True))
        for search in (cold, warm):
            fit(search, epochs=2)
        assert torch.equal(cold.architecture.b, warm.architecture.b)
        assert cold.genotype == warm.genotype
        assert changed(cold.network.state_dict(), warm.network.state_dict())


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

    search = make(settling=NEVER, exploration=Exploration(NearbySampling(0.5, 0.5), "loss"))
    draw = search._draw
    search._draw = lambda batch_idx: setattr(search, "tried", draw(batch_idx)) or search.tried
    fit(search, Check(), epochs=2, batches=8)
    assert Check.seen > 5


class TestStatistics:
    """Running statistics of the architecture found."""

    def test_one_epoch_of_training_is_evaluated_with_exact_ones(self, make, fit_briefly):
        search, data = make(), Digits(batch_size=32, arch_fraction=0.0, eval_batch_size=2000)
        trainer = fit_briefly(search, data, epochs=2, limit_val_batches=None)
        (trained, _), (images, labels) = (next(data.evaluation_batches(part)) for part in ("train", "val"))
        found = search.deployable()
        exact = copy.deepcopy(found).train()
        for norm in exact.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.momentum = 1.0
        with torch.no_grad():
            exact(trained)
            loss = functional.cross_entropy(exact.eval()(images), labels)
        for name, tensor in exact.state_dict().items():
            if "running" in name:
                torch.testing.assert_close(found.state_dict()[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
        assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(float(loss), rel=1e-3)
        assert trainer.validate(search, data, verbose=False)[0]["val/loss"] == pytest.approx(float(loss), rel=1e-3)

    @pytest.mark.parametrize("warm_start", [True, False])
    def test_their_age_is_that_of_the_training_phase(self, make, fit, warm_start):
        ages = []

        class Ages(pl.Callback):
            def on_train_batch_start(self, trainer, search, *args):
                ages.append(max(int(x) for name, x in search.network.named_buffers() if name.endswith("tracked")))

        fit(make(phases=Phases(2, warm_start=warm_start), settling=NEVER), Ages(), epochs=4, batches=2)
        assert ages == [0, 1, 2, 3, 0, 1, 2, 3]

    @pytest.mark.slow
    def test_weights_and_the_search_phase_are_those_of_a_run_without(self, make, fit, watch, monkeypatch, changed):
        fit(make(settling=NEVER, phases=Phases(2)), watch, epochs=4)
        ours, watch.states = watch.states, []
        monkeypatch.setattr(recalibration, "young_norms", lambda network: [])
        fit(make(settling=NEVER, phases=Phases(2)), watch, epochs=4, folder="without")
        *searching, first, last = (changed(*states) for states in zip(ours, watch.states, strict=True))
        assert searching == [set()] * 3
        assert first
        assert {name.rpartition(".")[2] for name in first | last} == {"running_mean", "running_var"}
