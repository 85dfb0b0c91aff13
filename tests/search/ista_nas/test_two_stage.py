"""The two-stage search: what each step changes, its schedules, its reports, its errors."""

import copy
import re

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback

from sparsenas.data import Digits
from sparsenas.errors import CheckpointError, ConfigError
from sparsenas.networks import NetworkConfig, NormOptions
from sparsenas.networks.cell import candidate_key
from sparsenas.schedules import Schedule
from sparsenas.search import (
    ArchitectureTraining,
    Budget,
    FullGradient,
    MixtureSampling,
    RecoveredSampling,
    Sampling,
    SearchModule,
    SparseRecovery,
    SupportGradient,
    UniformSampling,
)
from sparsenas.spaces import DartsSpace
from sparsenas.sparse_coding import support_churn
from sparsenas.training import WeightTraining

TRACKED = NormOptions(affine=True, track=True, append="pools_and_skips")


def snapshot(search):
    """Everything a search learns: parameters, buffers, and the state of both optimizers."""
    state = {name: tensor.clone() for name, tensor in search.state_dict().items()}
    names = {parameter: name for name, parameter in search.named_parameters()}
    for optimizer in search.trainer.optimizers:
        for parameter, values in optimizer.state.items():
            for key, value in values.items():
                if isinstance(value, torch.Tensor):
                    state[f"{names[parameter]}|{key}"] = value.clone()
    return state


def changed(before, after):
    return {name for name in after if name not in before or not torch.equal(before[name], after[name])}


class StepWatch(Callback):
    """Wraps the two steps of a search, and checks what each of them changed."""

    def __init__(self):
        self.arch, self.weights = [], []

    def setup(self, trainer, search, stage):
        arch_step, weights_step = search._architecture_step, search._weights_step

        def watched_arch(batch):
            before = snapshot(search)
            arch_step(batch)
            self.arch.append(changed(before, snapshot(search)))

        def watched_weights(batch, support):
            before = snapshot(search)
            weights_step(batch, support)
            self.weights.append((support, changed(before, snapshot(search))))

        search._architecture_step, search._weights_step = watched_arch, watched_weights


def learned(names):
    """Without the running metrics."""
    return {name for name in names if name.startswith(("network.", "architecture."))}


@pytest.mark.slow
@pytest.mark.parametrize("norms", [None, TRACKED], ids=["search", "tracked"])
@pytest.mark.parametrize("signal", [SupportGradient(), FullGradient(every=1, spread=0.5)], ids=str)
def test_steps_change_only_their_own(make_search, fit, signal, norms):
    search = make_search(
        signal=signal,
        recovery=SparseRecovery(every_n_steps=2),
        sampling=MixtureSampling(0.5, 0.5),
        architecture=ArchitectureTraining(lambda p: torch.optim.Adam(p, lr=0.05)),
        network=NetworkConfig(channels=4, cells=3, stem="small", norms=norms),
    )
    watch = StepWatch()
    fit(search, watch, batches=4, epochs=1)
    assert len(watch.arch) == len(watch.weights) == 4
    adam = {f"architecture.b|{key}" for key in ("step", "exp_avg", "exp_avg_sq")}
    assert all(learned(names) == {"architecture.b", *adam} for names in watch.arch)

    network = search.network
    for support, names in watch.weights:
        active = {
            f"network.cells.{i}.operations.{candidate_key(block.candidates[j])}."
            for block, kept in zip(search.space.blocks, support, strict=True)
            for i, cell_type in enumerate(network.cell_types)
            for j in kept
            if cell_type == block.cell
        }
        operations = {name for name in learned(names) if ".operations." in name}
        assert all(any(name.startswith(prefix) for prefix in active) for name in operations)
        assert not any(name.startswith("architecture.") for name in names)
        # and what is outside the cells' operations was trained
        assert {"network.classifier.weight", "network.stem.first.0.weight"} <= names


def test_weight_decay_and_momentum_do_not_reach_what_is_inactive(make_search, fit):
    search = make_search(sampling=RecoveredSampling(), recovery=SparseRecovery(every_n_steps=None))
    before = copy.deepcopy(search.network.state_dict())
    active = {c for cell in search.genotype.cell_types for c in search.genotype.cell(cell)}
    trainer = fit(search, epochs=1)
    state = trainer.optimizers[0].state
    inactive = 0
    for name, parameter in search.network.named_parameters():
        key = re.search(r"operations\.(\w+)\.", name)
        if key and key[1] not in {candidate_key(c) for c in active}:
            assert torch.equal(parameter, before[name])
            assert parameter not in state
            inactive += 1
    assert inactive > 0


class Record(Sampling):
    """Remembers the progress it was told, and lets another sampling draw."""

    def __init__(self, inner):
        self.inner, self.progress, self.drawn = inner, [], []

    def draw(self, architecture, progress, rng):
        self.progress.append(progress)
        self.drawn.append(self.inner.draw(architecture, progress, rng))
        return self.drawn[-1]


class TestSchedules:
    @pytest.mark.slow
    def test_warm_up_neither_steps_nor_recovers(self, make_search, fit, listener):
        watch, record = StepWatch(), Record(UniformSampling())
        search = make_search(
            architecture=ArchitectureTraining(warmup_epochs=2),
            signal=FullGradient(every=2),
            recovery=SparseRecovery(every_n_steps=2),
            sampling=record,
        )
        fit(search, watch, listener, epochs=3)
        assert len(watch.arch) == 2
        assert [(report.count, report.epoch) for report in listener.reports] == [(0, 0), (1, 2), (2, 2)]
        assert len(record.progress) == 4  # warm-up is uniform whatever the sampling
        assert len({support for support, _ in watch.weights[:8]}) > 4

    def test_a_warm_up_as_long_as_the_run_is_refused(self, make_search, fit):
        with pytest.raises(ConfigError, match=r"warmup_epochs is 2 and trainer\.max_epochs 2: no epoch is left"):
            fit(make_search(architecture=ArchitectureTraining(warmup_epochs=2)), epochs=2)

    @pytest.mark.slow
    def test_progress_runs_from_0_to_1_after_warm_up(self, make_search, fit):
        record = Record(RecoveredSampling())
        fit(make_search(architecture=ArchitectureTraining(warmup_epochs=1), sampling=record), epochs=3)
        assert record.progress == [0, 1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8, 6 / 8, 7 / 8]

    @pytest.mark.slow
    def test_steps_and_recoveries_by_batch(self, make_search, fit, listener):
        watch = StepWatch()
        search = make_search(signal=FullGradient(every=2), recovery=SparseRecovery(every_n_steps=3))
        fit(search, watch, listener, batches=5)
        assert len(watch.arch) == 5
        assert [(r.count, r.epoch, r.batch) for r in listener.reports] == [(0, 0, 0), (1, 0, 3), (2, 1, 6), (3, 1, 9)]

    def test_recovery_by_epoch_comes_after_validation(self, make_search, fit, listener):
        order = []

        class Order(Callback):
            def on_validation_end(self, trainer, search):
                if not trainer.sanity_checking:
                    order.append(("validated", search.recoveries))

        search = make_search(recovery=SparseRecovery(every_n_steps=None), signal=SupportGradient())
        fit(search, listener, Order())
        assert order == [("validated", 0), ("validated", 1)]
        assert [(r.count, r.epoch, r.batch) for r in listener.reports] == [(0, 0, 0), (1, 0, 4), (2, 1, 8)]

    @pytest.mark.slow
    def test_weights_are_stepped_by_epoch(self, make_search, fit):
        rates = []

        class Rates(Callback):
            def on_train_batch_start(self, trainer, search, batch, batch_idx):
                rates.append(trainer.optimizers[0].param_groups[0]["lr"])

        training = WeightTraining(lambda p: torch.optim.SGD(p, lr=0.1), Schedule("linear"))
        fit(make_search(training=training), Rates(), batches=2, epochs=4)
        assert rates == pytest.approx([0.1, 0.1, 0.075, 0.075, 0.05, 0.05, 0.025, 0.025])
        rates.clear()
        fit(make_search(), Rates(), batches=1, epochs=3)  # by default a cosine from 0.025 over the run
        assert rates == pytest.approx([0.025, 0.01875, 0.00625])

    @pytest.mark.slow
    def test_the_architecture_has_its_schedule_after_the_warm_up(self, make_search, fit):
        rates = []

        class Rates(Callback):
            def on_train_epoch_start(self, trainer, search):
                rates.append(trainer.optimizers[1].param_groups[0]["lr"])

        plan = ArchitectureTraining(lambda p: torch.optim.SGD(p, lr=0.4), Schedule("linear"), warmup_epochs=1)
        fit(make_search(architecture=plan, signal=FullGradient(every=1)), Rates(), batches=1, epochs=5)
        assert rates == pytest.approx([0.4, 0.4, 0.3, 0.2, 0.1])
        rates.clear()
        fit(make_search(signal=FullGradient(every=1)), Rates(), batches=1, epochs=3)
        assert rates == [0.5] * 3

    @pytest.mark.slow
    def test_an_architecture_step_is_no_global_step(self, make_search, fit):
        trainer = fit(make_search(signal=FullGradient(every=1)))
        assert trainer.global_step == 8

    @pytest.mark.slow
    def test_gradient_of_weights_is_clipped(self, make_search, fit):
        norms = []

        class Norms(Callback):
            def on_train_batch_end(self, trainer, search, outputs, batch, batch_idx):
                grads = [p.grad for p in search.network.parameters() if p.grad is not None]
                norms.append(float(torch.linalg.vector_norm(torch.cat([g.flatten() for g in grads]))))

        fit(make_search(training=WeightTraining(gradient_clip=0.01)), Norms(), epochs=1)
        assert max(norms) <= 0.01 * 1.001
        norms.clear()
        fit(make_search(training=WeightTraining(gradient_clip=0.0)), Norms(), epochs=1)
        assert max(norms) > 0.1

    @pytest.mark.slow
    def test_an_epoch_without_an_architecture_step_logs_no_loss(self, make_search, fit):
        trainer = fit(make_search(signal=FullGradient(every=100)))
        assert "arch/loss" not in trainer.callback_metrics
        assert {"train/loss", "train/acc", "val/loss", "val/acc"} <= set(trainer.callback_metrics)
        assert "arch/loss" in fit(make_search(signal=FullGradient(every=2))).callback_metrics


class TestReports:
    @pytest.mark.slow
    def test_say_what_happened(self, make_search, fit, listener):
        search = make_search(
            signal=FullGradient(every=1),
            recovery=SparseRecovery(every_n_steps=1),
            architecture=ArchitectureTraining(lambda p: torch.optim.SGD(p, lr=1.0)),
        )
        fit(search, listener, batches=8)
        reports = listener.reports
        assert [report.count for report in reports] == list(range(17))
        assert [report.batch for report in reports] == list(range(17))
        seen = set()
        for position, report in enumerate(reports):
            seen.add(report.support)
            assert report.visited == len(seen)
            assert report.genotype == search.space.genotype(report.support)
            assert report.code.shape == (4, 12)
            kept = tuple(tuple(row.nonzero()[:, 0].tolist()) for row in report.code)
            assert all(set(some) <= set(support) for some, support in zip(kept, report.support, strict=True))
            assert report.churn == (support_churn(reports[position - 1].support, report.support) if position else 0.0)
        assert 1 < len(seen) < 17
        assert {0.0} < {report.churn for report in reports}
        assert reports[-1] is search.report
        assert search.support == reports[-1].support

    def test_earlier_codes_are_kept(self, make_search, fit, listener):
        fit(make_search(recovery=SparseRecovery(every_n_steps=1), signal=FullGradient(every=1)), listener, epochs=1)
        assert not torch.equal(listener.reports[0].code, listener.reports[-1].code)


class TestSampling:
    def test_mixture_moves_linearly(self, make_architecture):
        architecture, rng = make_architecture(space=DartsSpace(nodes=4)), np.random.default_rng(0)
        sampling = MixtureSampling(uniform_start=0.8, uniform_end=0.2)
        for progress, expected in ((0.0, 0.8), (0.5, 0.5), (1.0, 0.2)):
            drawn = [sampling.draw(architecture, progress, rng) != architecture.support for _ in range(1000)]
            assert np.mean(drawn) == pytest.approx(expected, abs=0.05)

    def test_recovered_draws_nothing(self, make_architecture):
        architecture, rng = make_architecture(), np.random.default_rng(0)
        assert RecoveredSampling().draw(architecture, 0.5, rng) == architecture.support
        assert rng.random() == np.random.default_rng(0).random()

    @pytest.mark.parametrize(("start", "end", "name"), [(1.1, 0.5, "uniform_start"), (0.5, -0.1, "uniform_end")])
    def test_probabilities_are_checked(self, start, end, name):
        with pytest.raises(ConfigError, match=f"sampling.{name} is .*; a probability lies in"):
            MixtureSampling(start, end)

    def draws(self, search, epoch, count):
        """What warm-up would train; nothing is trained."""
        search.trainer = type("Trainer", (), {"current_epoch": epoch})()
        search.on_train_epoch_start()
        return [search._draw(number) for number in range(count)]

    @pytest.mark.slow
    def test_draws_depend_on_seed_and_epoch_only(self, make_search):
        warmup = ArchitectureTraining(warmup_epochs=9)
        first = self.draws(make_search(architecture=warmup), epoch=3, count=20)
        torch.manual_seed(99)  # the global generators have no say
        np.random.seed(99)
        later = make_search(architecture=warmup)
        assert self.draws(later, epoch=2, count=7) != first[:7]
        assert self.draws(later, epoch=3, count=20) == first
        assert self.draws(make_search(seed=1, architecture=warmup), epoch=3, count=20) != first

    def test_every_operation_is_trained_in_warm_up(self, make_search):
        search = make_search(architecture=ArchitectureTraining(warmup_epochs=1))
        counts = [np.zeros(len(block)) for block in search.space.blocks]
        for support in self.draws(search, epoch=0, count=600):
            for count, kept in zip(counts, support, strict=True):
                count[list(kept)] += 1
        for count in counts:
            expected = 600 * 2 / len(count)
            assert (abs(count - expected) < 4.5 * np.sqrt(expected)).all()


class TestErrors:
    def test_one_stream_of_images(self, make_search, fit):
        with pytest.raises(ConfigError, match=r"needs two streams .*set data.arch_fraction, e.g. 0.4"):
            fit(make_search(), data=Digits(batch_size=32, arch_fraction=0.0))

    @pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
    def test_precision_that_spoils_a_search(self, make_search, fit, precision):
        with pytest.raises(ConfigError, match=f"{precision}; searches support 32-true, bf16-mixed"):
            fit(make_search(), precision=precision)

    def test_scaled_gradients(self, make_search):
        search = make_search()
        search.trainer = type("Trainer", (), {"precision": "16-mixed"})()  # a real one needs a GPU
        with pytest.raises(ConfigError, match="is 16-mixed; searches support 32-true, bf16-mixed"):
            search.setup("fit")

    @pytest.mark.slow
    @pytest.mark.parametrize("signal", [SupportGradient(), FullGradient(every=1)], ids=str)
    def test_mixed_precision_works(self, make_search, fit, signal):
        search = make_search(signal=signal, recovery=SparseRecovery(every_n_steps=1))
        before = search.architecture.b.detach().clone()
        fit(search, precision="bf16-mixed", epochs=1)
        assert torch.isfinite(search.architecture.b).all()
        assert not torch.equal(search.architecture.b, before)
        assert search.architecture.dictionary.dtype == torch.float64

    def test_images_too_small(self, make_search):
        with pytest.raises(ConfigError, match=r"images are 8x8, but the imagenet stem .* at least 64x64"):
            make_search(network=NetworkConfig(channels=4, cells=6, stem="imagenet"))

    @pytest.mark.parametrize(
        ("build", "message"),
        [
            (
                lambda make: make(architecture=ArchitectureTraining(warmup_epochs=-1)),
                r"architecture\.warmup_epochs is -1",
            ),
            (
                lambda make: make(training=WeightTraining(gradient_clip=-1)),
                "training: gradient_clip=-1.*neither is below 0",
            ),
            (lambda make: make(seed=-1), "seed is -1; use a number not below 0"),
        ],
    )
    def test_negative_numbers(self, make_search, build, message):
        with pytest.raises(ConfigError, match=message):
            build(make_search)

    def test_recoveries_are_not_discarded(self, make_search):
        with pytest.raises(
            ConfigError, match=r"recovery\.reject_params belongs to one-stage search; use budget\.max_p"
        ):
            make_search(recovery=SparseRecovery(reject_params=1e6))

    def test_a_search_without_end(self, make_search, fit):
        with pytest.raises(ConfigError, match=r"trainer\.max_epochs is not set"):
            fit(make_search(), epochs=-1, max_steps=2)

    def test_lengths_of_schedules_that_are_not_the_searchs_are_told(self, make_search, fit, capsys):
        architecture = ArchitectureTraining(schedule=Schedule("linear", epochs=2), warmup_epochs=1)
        fit(make_search(training=WeightTraining(schedule=Schedule(epochs=5)), architecture=architecture), epochs=2)
        out = capsys.readouterr().out
        assert "training.schedule.epochs is 5, but the schedule goes over 2 epochs: the learning rate never" in out
        assert "architecture.schedule.epochs is 2, but the schedule goes over 1 epochs: the learning rate never" in out

    def test_a_checkpoint_of_something_else(self, make_search, fit, tmp_path):
        trainer = fit(make_search(), epochs=1)
        checkpoint = torch.load(trainer.checkpoint_callback.last_model_path, weights_only=True)
        del checkpoint["search"]
        torch.save(checkpoint, tmp_path / "other.ckpt")
        with pytest.raises(CheckpointError, match="the checkpoint is not one of a search"):
            fit(make_search(), ckpt_path=tmp_path / "other.ckpt", folder="again")

    def test_a_searcher_must_say_what_it_found(self, space, make_network):
        search = SearchModule(space, make_network(), 10, WeightTraining(), Budget(), 0)
        with pytest.raises(NotImplementedError, match="SearchModule must define support"):
            _ = search.genotype
        with pytest.raises(NotImplementedError, match="SearchModule must define logits"):
            search.predict_step((torch.zeros(1, 1, 8, 8), None), 0)


def test_prediction_and_test_use_the_recovered_architecture(make_search, fit, batch):
    search = make_search()
    trainer = fit(search, epochs=1)
    images = batch[0]
    search.eval()
    with torch.no_grad():
        expected = search.network(images, search.support, search.architecture.weights()).softmax(1)
        torch.testing.assert_close(search.predict_step(batch, 0), expected)
    metrics = trainer.test(search, Digits(arch_fraction=0.4), verbose=False)[0]
    assert {"test/loss", "test/acc"} <= set(metrics)


@pytest.mark.slow
def test_a_search_learns(make_search, fit):
    """By default, but for a constant rate."""
    losses = []

    class Losses(Callback):
        def on_train_epoch_end(self, trainer, search):
            losses.append(float(search.train_loss.compute()))

    search = make_search(
        network=NetworkConfig(channels=8, cells=3, stem="small"),
        space=DartsSpace(nodes=3),
        training=WeightTraining(
            lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, weight_decay=3e-4), Schedule("constant")
        ),
        architecture=ArchitectureTraining(warmup_epochs=2),
    )
    trainer = fit(
        search, Losses(), data=Digits(batch_size=32, arch_fraction=0.4), batches=1.0, epochs=8, limit_val_batches=1.0
    )
    accuracy = float(trainer.callback_metrics["val/acc"])
    assert losses[-1] < 0.8 * losses[0]
    assert accuracy > 0.5
    assert len(search.visited) > 3
