"""Young running statistics are replaced by exact ones; weights and old statistics stay what they would have been."""

import copy

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from sparsenas.data import Augmentation, Digits
from sparsenas.training import StandAloneTraining, recalibration

#: One batch holds all images of a part, so that batch statistics are those of the part.
WHOLE = 2000


@pytest.fixture
def make_data():
    def make(batch_size=32, **options):
        return Digits(
            **{"batch_size": batch_size, "arch_fraction": 0.0, "eval_batch_size": WHOLE}
            | {"augmentation": Augmentation(1, True, 2)}
            | options
        )

    return make


@pytest.fixture
def without(monkeypatch):
    """Runs as they would be without recalibration."""
    return lambda: monkeypatch.setattr(recalibration, "young_norms", lambda network: [])


@pytest.fixture
def loader():
    """Loader of PyTorch, of 3 batches of 8 and one of 4."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(28, 1, 8, 8, generator=generator) * 3 + 2
    return lambda shuffle=True: DataLoader(TensorDataset(images, torch.arange(28) % 10), 8, shuffle=shuffle)


def exact(network, images):
    """A copy of a network whose statistics are those of the images, by a training step with momentum 1."""
    network = copy.deepcopy(network)
    network.drop_path, network.auxiliary = 0.0, None
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    network.train()
    with torch.no_grad():
        network(images)
    return network.eval()


def running(network):
    return {name: x for name, x in network.state_dict().items() if "running" in name and "auxiliary" not in name}


def assert_exact(network, images, **tolerance):
    expected = running(exact(network, images))
    assert expected
    for name, tensor in running(network).items():
        torch.testing.assert_close(
            tensor,
            expected[name],
            msg=lambda m, name=name: f"{name}: {m}",
            **({"rtol": 1e-3, "atol": 1e-4} | tolerance),
        )


def part(data, name):
    images, labels = next(data.evaluation_batches(name))
    return images, labels


class TestStatistics:
    @pytest.mark.slow
    def test_they_are_those_of_the_training_images_as_evaluation_sees_them(self, make_training, fit, make_data):
        training, data = make_training(), make_data()
        fit(training, data=data, epochs=2)
        assert_exact(training.network, part(data, "train")[0])

    def test_validation_is_that_with_exact_statistics(self, make_training, fit, make_data):
        training, data = make_training(drop_path=0.0), make_data()
        trainer = fit(training, data=data, epochs=1, batches=8, limit_val_batches=None)
        images, labels = part(data, "val")
        with torch.no_grad():
            logits = exact(training.network, part(data, "train")[0])(images)
        expected = functional.cross_entropy(logits, labels)
        assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(float(expected), rel=1e-4)

    @pytest.mark.slow
    @pytest.mark.parametrize("options", [{"limit_val_batches": 0}, {"max_steps": 5}, {"check_val_every_n_epoch": 9}])
    def test_a_run_need_not_end_with_a_validation(self, make_training, fit, make_data, options):
        training, data = make_training(), make_data()
        trainer = fit(training, data=data, epochs=2, **options)
        assert_exact(training.network, part(data, "train")[0])
        kept = torch.load(trainer.checkpoint_callback.last_model_path, weights_only=True)["state_dict"]
        assert all(torch.equal(kept[f"network.{name}"], tensor) for name, tensor in running(training.network).items())

    def test_a_validation_amid_an_epoch_has_exact_ones_too(self, make_training, fit, make_data):
        data, seen = make_data(), []

        class Look(pl.Callback):
            def on_validation_end(self, trainer, training):
                if not trainer.sanity_checking:
                    assert_exact(training.network, part(data, "train")[0])
                    seen.append(trainer.global_step)

        fit(make_training(), Look(), data=data, epochs=1, batches=4, val_check_interval=2)
        assert seen == [2, 4]

    @pytest.mark.slow
    def test_what_is_used_after_the_run_has_them(self, make_training, fit, make_data):
        training, data = make_training(), make_data()
        trainer = fit(training, data=data, epochs=1)
        assert_exact(training.deployable(), part(data, "train")[0])
        path = trainer.checkpoint_callback.last_model_path
        loaded = StandAloneTraining.load_from_checkpoint(path, network=training.config)
        assert_exact(loaded.deployable(), part(data, "train")[0])

    @pytest.mark.slow
    def test_averaged_weights_have_statistics_of_their_own(self, make_training, fit, make_data):
        training, data = make_training(), make_data()
        trainer = fit(training, EMAWeightAveraging(decay=0.5), data=data, epochs=2)
        assert_exact(training.network, part(data, "train")[0])  # the average, which the end of a run leaves
        kept = torch.load(trainer.checkpoint_callback.last_model_path, weights_only=True)
        assert torch.equal(kept["state_dict"]["network.classifier.weight"], training.network.classifier.weight)
        assert all(
            torch.equal(kept["state_dict"][f"network.{name}"], tensor)
            for name, tensor in running(training.network).items()
        )

    def test_in_mixed_precision(self, make_training, fit, make_data):
        training, data = make_training(), make_data()
        fit(training, data=data, epochs=1, precision="bf16-mixed")
        assert {tensor.dtype for tensor in running(training.network).values()} == {torch.float32}
        assert_exact(training.network, part(data, "train")[0], rtol=0.1, atol=0.05)

    def test_in_double_precision(self, make_training, fit, make_data):
        training, data = make_training(), make_data()
        fit(training, data=data, epochs=1, precision="64-true")
        assert_exact(training.network, part(data, "train")[0].double())

    def test_a_dry_run_has_them_too(self, make_training, make_data):
        training, data = make_training(), make_data()
        options = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        pl.Trainer(fast_dev_run=True, **options).fit(training, data)
        assert_exact(training.network, part(data, "train")[0])

    @pytest.mark.slow
    def test_averages_that_never_forget_are_replaced_at_any_age(self, make_training, fit, make_data):
        training, data = make_training(), make_data(batch_size=8)
        for module in training.network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None
        fit(training, data=data, epochs=1, batches=120)
        assert_exact(training.network, part(data, "train")[0])


class TestWhatStays:
    def test_weights_are_those_of_a_run_without_it(self, make_training, fit, make_data, without):
        def run(folder):
            training = make_training(drop_path=0.3)
            trainer = fit(training, data=make_data(), epochs=3, folder=folder)
            return training, trainer.optimizers[0].state_dict()["state"], torch.get_rng_state()

        ours, momenta, random = run("with")
        without()
        plain, expected, state = run("without")
        for name, tensor in plain.state_dict().items():
            if "running" not in name:
                assert torch.equal(ours.state_dict()[name], tensor), name
        assert any(not torch.equal(x, running(plain.network)[name]) for name, x in running(ours.network).items())
        for index, state_of in expected.items():
            assert torch.equal(momenta[index]["momentum_buffer"], state_of["momentum_buffer"])
        assert torch.equal(random, state)

    def test_old_statistics_are_left_alone(self, make_training, fit, make_data, without):
        def run(folder):
            training = make_training()
            for module in training.network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.momentum = 0.9  # whose horizon is 5
            fit(training, data=make_data(), epochs=1, batches=5, folder=folder)
            return training.state_dict()

        ours = run("with")
        without()
        for name, tensor in run("without").items():
            assert torch.equal(ours[name], tensor), name

    def test_evaluation_alone_replaces_nothing(self, make_training, fit, make_data):
        training, data = make_training(), make_data()
        trainer = fit(training, data=data, epochs=1)
        for tensor in running(training.network).values():
            tensor.fill_(0.5)
        trainer.validate(training, data, verbose=False)
        trainer.test(training, data, verbose=False)
        assert all(bool((tensor == 0.5).all()) for tensor in running(training.network).values())

    def test_no_more_images_are_read_than_an_epoch_trains_on(self, make_training, fit, make_data):
        data = make_data(batch_size=16, eval_batch_size=8)
        read, batches = [], data.evaluation_batches
        data.evaluation_batches = lambda name: (read.append(len(batch[1])) or batch for batch in batches(name))
        fit(make_training(), data=data, epochs=3, batches=2)
        assert sum(read) == 2 * 16  # once in a run


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no", "ignore:.*does not have many workers")
class TestLoadersOfOthers:
    @pytest.fixture
    def fit(self, fit_briefly):
        def run(*arguments, **options):
            return fit_briefly(*arguments, batches=None, **options)

        return run

    def test_statistics_are_those_of_the_images_of_the_epoch(self, make_training, fit, loader):
        training, seen = make_training(), []

        class Look(pl.Callback):
            def on_train_batch_start(self, trainer, training, batch, batch_idx):
                if trainer.current_epoch == 1:
                    seen.append(batch[0])

        fit(training, loader(), Look(), epochs=2)
        assert list(map(len, seen)) == [8, 8, 8, 4]
        first = training.network.stem.first[0]  # what the first batch-norm meets does not depend on other batch-norms
        with torch.no_grad():
            met = first(torch.cat(seen)).transpose(0, 1).flatten(1)
        norm = training.network.stem.first[1]
        torch.testing.assert_close(norm.running_mean, met.mean(1), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm.running_var, met.var(1), rtol=1e-4, atol=1e-5)

    def test_weights_and_the_order_of_images_stay(self, make_training, fit, loader, without):
        def run(folder):
            training = make_training(drop_path=0.3)
            fit(training, loader(), epochs=3, folder=folder)
            return {name: x for name, x in training.state_dict().items() if "running" not in name}

        ours = run("with")
        without()
        for name, tensor in run("without").items():
            assert torch.equal(ours[name], tensor), name

    def test_a_resumed_run_repeats_the_uninterrupted_one(self, make_training, fit, loader):
        data = loader(shuffle=False)  # loaders of PyTorch draw from the global generator, which no checkpoint keeps
        whole, rest = make_training(drop_path=0.0), make_training(init=1, drop_path=0.0)
        trainer = fit(whole, data, epochs=3)
        path = f"{trainer.checkpoint_callback.dirpath}/epoch=1.ckpt"
        fit(rest, data, epochs=3, folder="rest", ckpt_path=path)
        for name, tensor in whole.state_dict().items():
            assert torch.equal(rest.state_dict()[name], tensor), name


@pytest.mark.slow
def test_a_resumed_run_repeats_the_uninterrupted_one(make_training, fit, make_data):
    """From amid the young epochs, with validations only now and then."""
    whole, rest = make_training(), make_training(init=1)
    trainer = fit(whole, data=make_data(), epochs=4, check_val_every_n_epoch=2)
    path = f"{trainer.checkpoint_callback.dirpath}/epoch=0.ckpt"
    fit(rest, data=make_data(), epochs=4, check_val_every_n_epoch=2, folder="rest", ckpt_path=path)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(rest.state_dict()[name], tensor), name


def test_the_best_checkpoint_is_chosen_by_them(make_training, fit, make_data, tmp_path):
    """Its validation is repeated by what it holds."""
    data = make_data()
    best = ModelCheckpoint(tmp_path / "best", filename="best", monitor="val/loss", save_on_train_epoch_end=True)
    trainer = fit(make_training(), best, data=data, epochs=3, limit_val_batches=None)
    found = trainer.validate(trainer.lightning_module, data, ckpt_path=best.best_model_path, verbose=False)
    assert found[0]["val/loss"] == pytest.approx(float(best.best_model_score), abs=1e-6)


#: Two processes train; each leaves its network, and the images of its part. Lightning starts the second from it.
PROGRAM = """
import pytorch_lightning as pl
import torch

from sparsenas.data import Digits
from sparsenas.networks import NetworkConfig
from sparsenas.spaces import PUBLISHED
from sparsenas.training import StandAloneTraining, WeightTraining

pl.seed_everything(0)
training = StandAloneTraining(
    (1, 8, 8), 10, PUBLISHED["darts_v2"].to_json(), NetworkConfig(channels=4, cells=3, stem="small"),
    WeightTraining(drop_path=0.2, auxiliary_weight=0.4),
)
data = Digits(batch_size=16, arch_fraction=0.0, eval_batch_size=2000)
trainer = pl.Trainer(
    accelerator="cpu", devices=2, strategy="ddp_find_unused_parameters_true", max_epochs=1, limit_train_batches=4,
    logger=False, enable_checkpointing=False, enable_progress_bar=False,
)
trainer.fit(training, data)
images, _ = next(data.evaluation_batches("train"))
torch.save({"state": training.network.state_dict(), "images": images}, f"rank{trainer.global_rank}.pt")
"""


@pytest.mark.slow
def test_two_processes_have_the_statistics_of_all_their_images(tmp_path, run_program):
    run_program(PROGRAM)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert not torch.equal(first["images"][:8], second["images"][:8])
    for name, tensor in first["state"].items():
        if "auxiliary" not in name:
            assert torch.equal(tensor, second["state"][name]), name
    met = torch.cat(
        [
            functional.conv2d(rank["images"], first["state"]["stem.first.0.weight"], padding=1)
            for rank in (first, second)
        ]
    )
    values = met.transpose(0, 1).flatten(1)
    torch.testing.assert_close(first["state"]["stem.first.1.running_mean"], values.mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first["state"]["stem.first.1.running_var"], values.var(1), rtol=1e-4, atol=1e-5)
