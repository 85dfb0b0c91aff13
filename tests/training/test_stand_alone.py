"""Stand-alone training: its recipe, what its checkpoint holds, resuming, errors."""

import math
import shlex

import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch.nn import functional

from sparsenas.cli import main
from sparsenas.data import Digits
from sparsenas.errors import ConfigError, GenotypeError
from sparsenas.networks import NetworkConfig, NormOptions
from sparsenas.schedules import Schedule
from sparsenas.spaces import PUBLISHED, NasBench201Space, NasBenchMacroSpace, read_genotype
from sparsenas.training import StandAloneTraining, WeightTraining

#: Callbacks of a run that keeps the checkpoint of every epoch, and averages weights.
KEEP_ALL = """
trainer:
  callbacks:
    - class_path: ModelCheckpoint
      init_args: {filename: "{epoch}", save_top_k: -1, save_last: true, save_on_train_epoch_end: true}
    - class_path: EMAWeightAveraging
      init_args: {decay: 0.9}
"""


def read(path):
    return torch.load(path, weights_only=True)


def assert_same_run(first, second):
    """Weights, momentum, schedule and counters, to the last bit."""
    assert first["state_dict"].keys() == second["state_dict"].keys()
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name]), name
    for one, other in zip(first["optimizer_states"], second["optimizer_states"], strict=True):
        assert one["param_groups"] == other["param_groups"]
        for index, state in one["state"].items():
            assert torch.equal(state["momentum_buffer"], other["state"][index]["momentum_buffer"])
    assert first["lr_schedulers"] == second["lr_schedulers"]
    assert (first["epoch"], first["global_step"]) == (second["epoch"], second["global_step"])


class TestRecipe:
    def test_drop_path_grows_by_epoch(self, make_training, fit):
        seen = []

        class Watch(Callback):
            def on_train_batch_start(self, trainer, training, batch, batch_idx):
                seen.append(training.network.drop_path)

        fit(make_training(drop_path=0.4), Watch(), batches=1, epochs=4)
        assert seen == pytest.approx([0.0, 0.1, 0.2, 0.3])

    def test_rate_follows_the_schedule_over_the_run(self, make_training, fit):
        rates = []

        class Rates(Callback):
            def on_train_epoch_start(self, trainer, training):
                rates.append(trainer.optimizers[0].param_groups[0]["lr"])

        fit(make_training(schedule=Schedule("linear", warmup_epochs=2)), Rates(), batches=1, epochs=4)
        assert rates == pytest.approx([0.0125, 0.025, 0.025, 0.0125])
        rates.clear()
        fit(make_training(), Rates(), batches=1, epochs=4)
        assert rates == pytest.approx([0.025 * (1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)])

    @pytest.mark.parametrize(
        ("own", "of_trainer", "largest"), [(0.01, None, 0.01), (0.0, None, None), (0.01, 0.03, 0.03), (0.0, 0.03, 0.03)]
    )
    def test_gradient_is_clipped_and_the_trainer_wins(self, make_training, fit, own, of_trainer, largest):
        norms = []

        class Norms(Callback):
            def on_train_batch_end(self, trainer, training, outputs, batch, batch_idx):
                gradients = [p.grad.flatten() for p in training.parameters() if p.grad is not None]
                norms.append(float(torch.linalg.vector_norm(torch.cat(gradients))))

        fit(make_training(gradient_clip=own), Norms(), epochs=1, gradient_clip_val=of_trainer)
        if largest is None:
            assert min(norms) > 0.1
        else:
            assert norms == pytest.approx([largest] * 3, rel=1e-3)

    @pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
    @pytest.mark.parametrize("smoothing", [0.0, 0.2])
    def test_loss(self, make_training, weight, smoothing):
        training = make_training(auxiliary_weight=weight, label_smoothing=smoothing)
        training.log_dict = lambda *_, **__: None  # logging needs a trainer
        images, labels = torch.randn(8, 1, 8, 8), torch.arange(8)
        loss = training.training_step((images, labels), 0)

        def smoothed(logits):
            logp = logits.log_softmax(1)
            hit = -logp.gather(1, labels[:, None])[:, 0].mean()
            return (1 - smoothing) * hit - smoothing * logp.mean()

        logits, auxiliary = training.network.forward_auxiliary(images)
        assert (auxiliary is None) == (weight == 0)
        expected = smoothed(logits) + (0 if auxiliary is None else weight * smoothed(auxiliary))
        torch.testing.assert_close(loss, expected)

    def test_evaluation_has_no_smoothing_and_no_auxiliary_loss(self, make_training, fit):
        training = make_training(label_smoothing=0.3)
        trainer = fit(training, epochs=1)
        data = Digits(arch_fraction=0.0)
        result = trainer.test(training, data, verbose=False)[0]
        training.eval()
        with torch.no_grad():
            images, labels = zip(
                *(data.on_after_batch_transfer(batch, 0) for batch in data.test_dataloader()), strict=True
            )
            logits = training(torch.cat(images))
        labels = torch.cat(labels)
        assert result["test/loss"] == pytest.approx(functional.cross_entropy(logits, labels).item(), rel=1e-4)
        assert result["test/acc"] == pytest.approx((logits.argmax(1) == labels).float().mean().item(), abs=1e-6)
        assert torch.allclose(training.predict_step((images[0], labels), 0).sum(1), torch.ones(len(images[0])))


class TestCheckpoint:
    def test_keeps_the_genotype(self, make_training, fit, genotype, tmp_path):
        file = tmp_path / "genotype.json"
        file.write_text(genotype.to_json())
        training = make_training(genotype=str(file))
        trainer = fit(training, epochs=1)
        file.unlink()
        path = trainer.checkpoint_callback.last_model_path
        loaded = StandAloneTraining.load_from_checkpoint(path, network=training.config)
        assert loaded.genotype == genotype
        for name, tensor in training.state_dict().items():
            assert torch.equal(tensor, loaded.state_dict()[name])

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
    def test_by_command_line(self, genotype, tmp_path, monkeypatch, capsys):
        """The checkpoint holds all that its network is made of, also options that are not the default."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "found.json").write_text(genotype.to_json())
        command = shlex.split(
            "fit --config train_digits --model.genotype found.json --model.network.channels 4 --model.network.cells 3 "
            "--model.network.norms.append pools_and_skips --trainer.max_epochs 1 --trainer.limit_train_batches 2 "
            "--trainer.accelerator cpu --trainer.limit_val_batches 1 --trainer.log_every_n_steps 1"
        )
        assert main(command) == 0
        (tmp_path / "found.json").unlink()
        last = next(tmp_path.rglob("last.ckpt"))
        asked = shlex.split("test --model StandAloneTraining --model.genotype darts_v2 --data Digits")
        asked += shlex.split("--trainer.logger false --trainer.accelerator cpu")
        assert main([*asked, "--ckpt_path", str(last)]) == 0
        assert "test/acc" in capsys.readouterr().out
        loaded = StandAloneTraining.load_from_checkpoint(last, weights_only=True)
        assert loaded.genotype == genotype

    def test_works_with_averaged_weights(self, make_training, fit):
        training = make_training(drop_path=0.1)
        averaging = EMAWeightAveraging(decay=0.5)
        trainer = fit(training, averaging, epochs=2)
        result = trainer.test(training, Digits(arch_fraction=0.0), verbose=False)[0]
        assert 0 <= result["test/acc"] <= 1
        kept = read(trainer.checkpoint_callback.last_model_path)
        assert "current_model_state" in kept
        averaged = kept["state_dict"]["network.classifier.weight"]
        assert not torch.equal(averaged, kept["current_model_state"]["network.classifier.weight"])
        path = trainer.checkpoint_callback.last_model_path
        loaded = StandAloneTraining.load_from_checkpoint(path, network=training.config)
        assert torch.equal(loaded.network.classifier.weight, averaged)


class TestResume:
    def build(self, make_training, init=0):
        return make_training(
            init,
            drop_path=0.5,
            auxiliary_weight=0.4,
            label_smoothing=0.1,
            schedule=Schedule(warmup_epochs=1),
        )

    def test_resumed_training_is_the_uninterrupted_one(self, make_training, fit):
        trainer = fit(self.build(make_training), epochs=4, folder="whole")
        folder = trainer.checkpoint_callback.dirpath
        torch.manual_seed(77)
        fit(self.build(make_training, 5), epochs=4, folder="rest", ckpt_path=f"{folder}/epoch=1.ckpt")
        assert_same_run(read(f"{folder}/epoch=3.ckpt"), read(f"{folder}/../rest/epoch=3.ckpt"))

    @pytest.mark.slow
    def test_same_seed_same_training(self, make_training, fit):
        def run(seed=0, init=0):
            training = make_training(init, drop_path=0.5, seed=seed)
            fit(training)
            return training.network.classifier.weight.detach()

        first = run()
        assert torch.equal(first, run())
        assert not torch.equal(first, run(seed=1))
        assert not torch.equal(first, run(init=1))

    @pytest.mark.slow
    def test_by_command_line(self, genotype, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "found.json").write_text(genotype.to_json())
        common = shlex.split(
            "fit --config train_digits --model.genotype found.json --model.network.channels 4 --model.network.cells 3 "
            "--model.training.drop_path 0.3 --model.training.auxiliary_weight 0.4 --data.augmentation.cutout 2 "
            "--trainer.limit_train_batches 2 --trainer.accelerator cpu --trainer.limit_val_batches 1 "
            "--trainer.log_every_n_steps 1 --trainer.max_epochs 4 --config keep.yaml"
        )
        (tmp_path / "keep.yaml").write_text(KEEP_ALL)
        assert main(common) == 0
        whole, rest = (tmp_path / "lightning_logs" / f"version_{i}" for i in (0, 1))
        assert main([*common, "--seed_everything", "9", "--ckpt_path", str(next(whole.rglob("epoch=1.ckpt")))]) == 0
        runs = [read(next(folder.rglob("last.ckpt"))) for folder in (whole, rest)]
        assert_same_run(*runs)
        current = [run["current_model_state"] for run in runs]  # EMA keeps the network that is trained here
        assert all(torch.equal(tensor, current[1][name]) for name, tensor in current[0].items())


class TestGenotype:
    def test_all_that_a_user_may_write(self, genotype, tmp_path):
        (tmp_path / "genotype.json").write_text(genotype.to_json())
        assert read_genotype(str(tmp_path / "genotype.json")) == genotype
        assert read_genotype(genotype.to_json()) == genotype
        assert read_genotype("darts_v2") == PUBLISHED["darts_v2"]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "No such file"),
            ("", "genotype.json"),
            ("{", "genotype.json"),
            ('{"a": 1}', "genotype.json"),
            ("\x00\x01", "genotype.json"),
        ],
    )
    def test_files_that_are_none(self, make_training, tmp_path, content, message):
        file = tmp_path / "genotype.json"
        if content is not None:
            file.write_text(content)
        with pytest.raises(GenotypeError, match=message) as caught:
            make_training(genotype=str(file))
        assert "genotype.json" in str(caught.value)

    def test_unknown_primitive(self, make_training, genotype):
        text = genotype.to_json()
        primitive = genotype.cell("normal")[0].primitive
        with pytest.raises((ConfigError, GenotypeError), match="sep_conv_9x9") as caught:
            make_training(genotype=text.replace(primitive, "sep_conv_9x9"))
        assert "sep_conv_3x3" in str(caught.value)  # says what is known

    @pytest.mark.parametrize("text", ["", "darts_v3"])
    def test_neither_name_nor_file(self, make_training, text):
        with pytest.raises(GenotypeError):
            make_training(genotype=text)


class TestErrors:
    def test_two_streams_of_images(self, make_training, fit):
        with pytest.raises(
            ConfigError, match=r"one network trains on all training images: set data\.arch_fraction to 0"
        ):
            fit(make_training(), data=Digits(batch_size=32, arch_fraction=0.4))

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            ({"auxiliary_weight": -0.1}, r"training: .*auxiliary_weight=-0\.1; neither is below 0"),
            ({"gradient_clip": -1.0}, r"training: gradient_clip=-1\.0.*; neither is below 0"),
            ({"seed": -1}, "seed is -1; use a number not below 0"),
            ({"drop_path": 1.0}, r"training: .*drop_path=1\.0; both lie in \[0, 1\)"),
            ({"label_smoothing": -0.5}, r"training: label_smoothing=-0\.5.*; both lie in \[0, 1\)"),
        ],
    )
    def test_numbers_out_of_range(self, make_training, option, message):
        with pytest.raises(ConfigError, match=message):
            make_training(**option)

    def test_images_too_small(self, make_training):
        with pytest.raises(ConfigError, match=r"images are 8x8.* at least 64x64"):
            make_training(network={"stem": "imagenet", "cells": 6})

    @pytest.mark.parametrize("drop_path", [0.2, 0.0])
    def test_schedule_and_drop_path_need_an_end(self, make_training, fit, drop_path):
        with pytest.raises(ConfigError, match=r"trainer\.max_epochs is not set; schedule and drop-path go over"):
            fit(make_training(drop_path=drop_path), epochs=-1, max_steps=2)

    def test_a_length_of_the_schedule_that_is_not_the_runs_is_told_at_the_start(self, make_training, fit, capsys):
        fit(make_training(schedule=Schedule(epochs=1)))
        told = "training.schedule.epochs is 1, but the schedule goes over 2 epochs: the last 1 run at 0 of the peak"
        assert capsys.readouterr().out.startswith(told)
        fit(make_training(schedule=Schedule()))
        assert "schedule" not in capsys.readouterr().out

    @pytest.mark.slow
    def test_steps_that_end_before_the_epochs_of_the_schedule_are_told(self, make_training, fit, capsys):
        fit(make_training(), epochs=4, max_steps=3)
        told = "trainer.max_steps is 3, but schedules go over trainer.max_epochs 4, which is 12 steps: the learning"
        assert told in capsys.readouterr().out
        fit(make_training(), epochs=1, max_steps=3)
        assert "max_steps" not in capsys.readouterr().out

    def test_norms_are_built_as_asked(self, make_training):
        training = make_training(network={"norms": NormOptions(affine=False)})
        norms = [m for m in training.network.cells.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert all(m.weight is None for m in norms)
        assert not {"network", "training"} & set(training.hparams)  # objects; the command line stores their options


def test_the_only_way_through_a_network_is_not_dropped():
    genotype, network = NasBenchMacroSpace().from_string("22212202").to_json(), NetworkConfig(channels=6, cells=8)
    with pytest.raises(
        ConfigError, match=r"training\.drop_path is 0\.2, but every layer of this network is the only way"
    ):
        StandAloneTraining((1, 16, 16), 10, genotype, network, WeightTraining(drop_path=0.2))
    training = StandAloneTraining((1, 16, 16), 10, genotype, network, WeightTraining())
    assert training(torch.randn(2, 1, 16, 16)).shape == (2, 10)


def test_a_cell_of_nasbench201_by_its_string():
    text = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
    network = NetworkConfig(channels=4, cells=3)
    training = StandAloneTraining((1, 8, 8), 10, text, network, WeightTraining())
    assert read_genotype(training.hparams["genotype"]) == NasBench201Space().from_string(text)
    with pytest.raises(ConfigError, match="no auxiliary classifier: set auxiliary_weight 0"):
        StandAloneTraining((1, 8, 8), 10, text, network)
