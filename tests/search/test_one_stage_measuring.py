"""One-stage search whose search phase measures: what it finds, what it trains, what survives a resume."""

import pytest
import torch

from sparsenas.errors import CheckpointError, ConfigError
from sparsenas.search import Decoding, LiveCost, Measuring, SparseRecovery, StableSupport
from sparsenas.search.measuring import Measurement
from sparsenas.sparse_coding import ExactSolver


class Skips(Measurement):
    """More skips are better: nothing that size could say."""

    name = "skips"

    def __call__(self, support, bench, repeat):
        cells = bench.space.genotype(support).cells
        return float(sum(c.primitive == "skip_connect" for _, kept in cells for c in kept))


def measuring(**options):
    small = {"signals": [Skips()], "repeats": 1, "count": 8, "rounds": 1, "proposals": 2, "band": 0.0}
    return Measuring(**(small | {"decoding": Decoding(certainty=0.0)} | options))


@pytest.fixture
def make(make_one_stage):
    return lambda **options: make_one_stage(**({"measuring": measuring(), "search_epochs": 4} | options))


def test_what_was_measured_best_is_what_is_trained(make, fit_one_stage, watch, listener):
    search = make()
    fit_one_stage(search, watch, listener, epochs=6)
    run = search.measuring
    best = max(run.known, key=lambda support: run.known[support].values)
    assert run.known[search.support].values == run.known[best].values
    assert search.support == search.architecture.support == search.conclusion.support == listener.reports[-1].support
    assert search.genotype == search.deployable().genotype
    assert search.finished
    assert search.visited >= set(run.known)
    ends = watch.searching.index(False)
    for name, value in watch.states[0].items():
        if name.startswith("network"):
            assert torch.equal(value, watch.states[ends][name])  # nothing is trained before
    assert any(not torch.equal(v, watch.states[-1][n]) for n, v in watch.states[0].items() if n.startswith("network"))


def test_all_operations_enter_alike_and_fold(make, fit_one_stage):
    search = make()
    fit_one_stage(search, epochs=6)
    weights = search.architecture.weights()
    assert torch.allclose(weights, torch.full_like(weights, weights.shape[1] ** -0.5), atol=1e-5)
    images = torch.randn(4, 1, 8, 8)
    search.eval()
    with torch.no_grad():
        assert torch.allclose(search(images), search.deployable()(images), atol=1e-4)


def test_rules_hold(make, fit_one_stage):
    recovery = SparseRecovery(
        ExactSolver(nonnegative=True),
        unit_weights=True,
        max_per_cell={"normal": {"skip_connect": 1}},
        every_n_steps=None,
    )
    search = make(recovery=recovery)
    fit_one_stage(search, epochs=6)
    cells = dict(search.genotype.cells)
    assert sum(candidate.primitive == "skip_connect" for candidate in cells["normal"]) <= 1


def test_a_resumed_run_equals_an_uninterrupted_one(make, fit_one_stage, assert_same_run, tmp_path):
    """From every epoch: while it measures, right after that, and in the training phase."""
    whole = make()
    fit_one_stage(whole, epochs=6)
    assert whole.search_end == 3
    for epoch in range(5):
        fit_one_stage(make(), epochs=6, folder=f"from{epoch}", ckpt_path=tmp_path / "run" / f"epoch={epoch}.ckpt")
        assert_same_run(tmp_path / "run" / "epoch=5.ckpt", tmp_path / f"from{epoch}" / "epoch=5.ckpt")


def test_no_word_of_settling(make, fit_one_stage, capsys):
    """Nodes settle where steps move ``b``; here it stands still, and a patience that cannot be met is no news."""
    fit_one_stage(make(settling=StableSupport(patience=1_000)), epochs=6)
    assert "settle" not in capsys.readouterr().out


def test_a_search_phase_too_short_to_measure(make, fit_one_stage):
    with pytest.raises(
        ConfigError, match=r"search_epochs is 1, of \d+ batches each; measuring takes \d+: set it to at"
    ):
        fit_one_stage(make(search_epochs=1, measuring=measuring(count=200)), epochs=6)


def test_a_run_holds_what_measuring_takes_not_the_longest_search(make, fit_one_stage):
    search = make(search_epochs=40)
    fit_one_stage(search, epochs=6)
    assert (search.search_end, search.finished) == (3, True)
    with pytest.raises(
        ConfigError, match=r"max_epochs is 3, but 3 epochs of measuring and train_epochs of at least 1 need 4"
    ):
        fit_one_stage(make(search_epochs=40), epochs=3)


def test_a_dry_run_is_too_short_to_find_anything(make, fit_one_stage):
    search = make(search_epochs=1)
    fit_one_stage(search, epochs=6, fast_dev_run=True)
    assert search.searching
    assert search.conclusion is None


def test_a_checkpoint_of_steps_on_b_has_no_measurements(make, make_one_stage, fit_one_stage):
    trainer = fit_one_stage(make_one_stage(search_epochs=1), epochs=2)
    saved = torch.load(trainer.checkpoint_callback.last_model_path, weights_only=True)
    with pytest.raises(CheckpointError, match="the checkpoint is of a run without measurements"):
        make().on_load_checkpoint(saved)


def test_signals_that_rank_nothing(make, fit_one_stage):
    class Nothing(Skips):
        name = "nothing"

        def __call__(self, support, bench, repeat):
            return 0.0

    with pytest.raises(
        ConfigError, match=r"no signal ranks the \d+ measured architectures \(nothing: gives all the same"
    ):
        fit_one_stage(make(measuring=measuring(signals=[Nothing()])), epochs=6)


@pytest.mark.parametrize(
    ("signals", "verdict"),
    [
        ([LiveCost()], "the largest cell"),
        ([LiveCost(), Skips()], "no better than the largest cell at this budget, which is given back: no signal can"),
    ],
    ids=["alone", "beside another"],
)
def test_size_gives_the_largest(make, fit_one_stage, signals, verdict):
    search = make(measuring=measuring(signals=signals))
    fit_one_stage(search, epochs=6)
    assert search.conclusion.largest == search.support == search.architecture.support
    assert search.conclusion.verdict.startswith(verdict)
    assert search.genotype == search.deployable().genotype
