"""Adversarial training: what it leaves alone, what it costs, that a resumed run repeats it, and that it protects."""

from dataclasses import replace
from itertools import pairwise

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from sparsenas.data import Augmentation, Digits
from sparsenas.errors import ConfigError
from sparsenas.networks import NetworkConfig
from sparsenas.training import Adversary, Attacks, StandAloneTraining, WeightTraining
from sparsenas.training.adversarial import AdversarialImages
from sparsenas.training.attacks import PixelScale

NORMALISED = type("Data", (), {"mean": (0.5,), "std": (0.25,)})
SCALE = PixelScale.of(torch.tensor([0.5]), torch.tensor([0.25]))


def absolute(images, labels):
    """A loss that grows away from zero; the labels say how fast."""
    return (images.abs() * labels[:, None, None, None]).sum()


class TestImages:
    def batch(self, seed=0, count=4):
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(count, 1, 4, 4, generator=generator) - 0.5, torch.ones(count)

    def test_without_an_adversary_they_are_the_same(self):
        batch = self.batch()
        assert AdversarialImages(None).of(batch, nn.Identity(), absolute, None) is batch

    def test_they_raise_the_loss_and_keep_their_labels(self):
        batch = self.batch()
        images, labels = AdversarialImages(Adversary(8)).of(batch, nn.Identity(), absolute, NORMALISED)
        assert absolute(images, labels) > absolute(*batch)
        assert labels is batch[1]

    def test_statistics_of_the_network_stay(self):
        norm = nn.BatchNorm2d(1)
        before = {name: value.clone() for name, value in norm.state_dict().items()}
        loss = lambda images, labels: absolute(norm(images), labels)  # noqa: E731
        AdversarialImages(Adversary(8, steps=3)).of(self.batch(), norm, loss, NORMALISED)
        assert norm.training
        for name, value in norm.state_dict().items():
            assert torch.equal(value, before[name])

    def test_free_training_repeats_images_and_moves_them_by_the_gradient_of_the_step(self):
        adversarial = AdversarialImages(Adversary(8, replays=3, random_start=False))
        seen = []
        for number in range(6):
            given = self.batch(number)
            images, labels = adversarial.of(given, nn.Identity(), absolute, NORMALISED)
            absolute(images, labels).backward()
            adversarial.learn()
            seen.append(images.detach())
        first, second = self.batch(0)[0], self.batch(3)[0]
        assert torch.equal(seen[0], first)
        expected = first + 8 * SCALE.unit * first.sign()
        assert torch.allclose(seen[1], expected.clamp(-2, 2))
        assert torch.allclose(seen[2], expected.clamp(-2, 2))  # at the border of the ball
        change = seen[3] - second  # of the next images, which begins with the one of these
        assert torch.allclose(change, (second + 8 * SCALE.unit * first.sign()).clamp(-2, 2) - second, atol=1e-6)

    def test_free_training_begins_anew_where_a_batch_is_smaller(self):
        adversarial = AdversarialImages(Adversary(8, replays=2, random_start=False))
        for count in (4, 4, 3, 3):
            images, labels = adversarial.of(self.batch(count, count), nn.Identity(), absolute, NORMALISED)
            absolute(images, labels).backward()
            adversarial.learn()
        assert len(images) == 3

    def test_other_images_have_another_scale(self):
        adversarial = AdversarialImages(Adversary(8, random_start=False))
        for std in (0.25, 0.5):
            data = type("Data", (), {"mean": (0.5,), "std": (std,)})
            given = self.batch()
            images, _ = adversarial.of(given, nn.Identity(), absolute, data)
            assert float((images - given[0]).abs().max()) == pytest.approx(8 / 255 / std, rel=1e-4)

    def test_a_data_module_without_normalisation_is_refused(self):
        with pytest.raises(ConfigError, match="the data module has no mean and std per channel"):
            AdversarialImages(Adversary()).of(self.batch(), nn.Identity(), absolute, object())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replays": 0}, "training.adversary.replays is 0; use at least 1"),
        ({"replays": 2, "steps": 3}, "training.adversary: steps is 3 and replays 2; free training has one step"),
        ({"epsilon": 300.0}, "epsilon is 300.0, a number of the 255 levels"),
    ],
)
def test_impossible_adversaries_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Adversary(**options)


ADVERSARIES = [Adversary(16), Adversary(16, steps=2), Adversary(16, replays=3)]


@pytest.mark.slow
@pytest.mark.parametrize("adversary", ADVERSARIES, ids=["one-step", "two-steps", "free"])
def test_a_resumed_training_is_the_uninterrupted_one(make_training, fit, adversary):
    trainer = fit(make_training(adversary=adversary), epochs=4, batches=4, folder="whole")
    folder = trainer.checkpoint_callback.dirpath
    resumed = make_training(init=1, adversary=adversary)
    torch.manual_seed(99)
    fit(resumed, epochs=4, batches=4, folder="rest", ckpt_path=f"{folder}/epoch=1.ckpt")
    for one, other in zip(trainer.lightning_module.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("adversary", ADVERSARIES[::2], ids=["one-step", "free"])
def test_statistics_see_each_step_once(make_training, fit, adversary):
    training = make_training(adversary=adversary, drop_path=0.0)
    fit(training, epochs=1, batches=3)
    counted = {int(m.num_batches_tracked) for m in training.network.modules() if isinstance(m, nn.BatchNorm2d)}
    clean = make_training(drop_path=0.0)
    fit(clean, epochs=1, batches=3, folder="clean")
    assert counted == {int(m.num_batches_tracked) for m in clean.network.modules() if isinstance(m, nn.BatchNorm2d)}
    first, second = next(training.network.parameters()), next(clean.network.parameters())
    assert not torch.equal(first, second)


@pytest.fixture(scope="module")
def accuracies(tmp_path_factory):
    """Accuracies of small networks that were trained with and without an adversary, under attacks of 16/255."""

    def run(adversary):
        torch.manual_seed(0)
        options = WeightTraining(adversary=adversary)
        attacks = Attacks(16.0, (1, 10, 50))
        network = NetworkConfig(channels=8, cells=None)
        training = StandAloneTraining((1, 8, 8), 10, "plain_cnn", network, options, attacks=attacks)
        data = Digits(batch_size=64, arch_fraction=0.0, augmentation=Augmentation(1, False, 0))
        trainer = pl.Trainer(
            max_epochs=20,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path_factory.mktemp("run"),
        )
        trainer.fit(training, data)
        return trainer.test(training, data, verbose=False)[0]

    return {name: run(adversary) for name, adversary in (("clean", None), ("adversary", Adversary(16.0)))}


@pytest.mark.slow
def test_adversarial_training_protects(accuracies):
    assert accuracies["adversary"]["test/acc_pgd_10"] > accuracies["clean"]["test/acc_pgd_10"] + 0.1
    assert accuracies["adversary"]["test/acc"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clean", "adversary"])
def test_stronger_attacks_leave_fewer_right(accuracies, name):
    found = [accuracies[name][f"test/{key}"] for key in ("acc", "acc_fgsm", "acc_pgd_10", "acc_pgd_50")]
    assert all(stronger <= weaker + 0.02 for weaker, stronger in pairwise(found))


def test_attacks_of_a_test_do_not_depend_on_the_batch_before(make_training, fit):
    training = make_training()
    trainer = fit(training, epochs=1)
    attacked = StandAloneTraining(
        (1, 8, 8),
        10,
        training.genotype.to_json(),
        training.config,
        training.weight_training,
        attacks=Attacks(8.0, (1, 3)),
    )
    attacked.load_state_dict(training.state_dict(), strict=False)
    first, second = (trainer.test(attacked, Digits(), verbose=False)[0] for _ in range(2))
    assert first == second
    assert {"test/acc_fgsm", "test/acc_pgd_3"} < set(first)
    assert "attacks" not in attacked.hparams


@pytest.mark.parametrize("steps", [(), (1, 1)])
def test_attacks_of_a_test_are_listed_once(steps):
    with pytest.raises(ConfigError, match="list the steps of each attack once"):
        Attacks(steps=steps)


def test_options_are_told_apart():
    assert replace(Adversary(), replays=4).step == 8
    assert Adversary().step == 10
