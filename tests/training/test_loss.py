"""The loss of a training: what weights of classes mean, where they come from, and what they change."""

import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from sparsenas.data import Digits, NpzImages
from sparsenas.errors import ConfigError
from sparsenas.networks import NetworkConfig
from sparsenas.search import RandomSearch
from sparsenas.training import ClassificationLoss, StandAloneTraining, WeightTraining
from sparsenas.training.loss import class_weights

NETWORK = NetworkConfig(channels=4, cells=3, stem="small")


class Counted:
    """A data module that knows nothing but classes and their images."""

    class_names = ("cat", "3", "dog")

    def __init__(self, *counts):
        self.parts = self
        self.class_counts = np.array(counts)


def weighted(wanted, data, smoothing=0.0):
    loss = ClassificationLoss(WeightTraining(label_smoothing=smoothing, class_weights=wanted))
    loss.weights = class_weights(wanted, data)
    return loss


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(12, 3, generator=generator), torch.tensor([0] * 7 + [1] * 3 + [2] * 2)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_weight_of_two_is_an_image_counted_twice(batch, smoothing):
    logits, labels = batch
    loss = weighted({"dog": 2}, Counted(7, 3, 2), smoothing)(logits, labels)
    twice = torch.cat([torch.arange(12), torch.arange(10, 12)])
    expected = functional.cross_entropy(logits[twice], labels[twice], label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected)


def test_automatic_weights_are_those_of_scikit_learn(batch):
    labels = batch[1]
    found = class_weights("auto", Counted(7, 3, 2))
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels.numpy())
    assert found.tolist() == pytest.approx(expected.tolist())
    assert found[labels].mean().item() == pytest.approx(1.0)
    assert class_weights("none", None) is None


def test_parts_of_a_batch_add_up_to_the_whole(batch):
    logits, labels = batch
    loss = weighted("auto", Counted(7, 3, 2))
    whole = loss(logits, labels)
    parts = sum(loss(logits[part], labels[part]) for part in (slice(0, 6), slice(6, 12))) / 2  # one has no dog
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(loss.each(logits, labels).mean(), whole)


@pytest.mark.parametrize("wanted", ["none", {"cat": 0.5, 3: 2.0}])
def test_shares_of_classes_share_the_loss(batch, wanted):
    logits, labels = batch
    loss = weighted(wanted, Counted(7, 3, 2), 0.1)
    one_hot = functional.one_hot(labels, 3).float()
    torch.testing.assert_close(loss(logits, one_hot), loss(logits, labels))
    mixed = 0.7 * one_hot + 0.3 * one_hot.roll(1, 0)
    expected = 0.7 * loss(logits, labels) + 0.3 * loss(logits, labels.roll(1))
    torch.testing.assert_close(loss(logits, mixed), expected)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"cat": 0.0}, "class_weights: that of cat is 0.0; use a positive number"),
        ({"cat": math.nan}, "that of cat is nan"),
        ({"cat": math.inf}, "that of cat is inf"),
        ({"cat": True}, "that of cat is True"),
        ("equal", "class_weights is 'equal'; use none, auto, or {class: weight}"),
    ],
)
def test_weights_that_are_none(weights, message):
    with pytest.raises(ConfigError, match=message):
        WeightTraining(class_weights=weights)


def test_unknown_classes_and_data_that_count_nothing():
    with pytest.raises(ConfigError, match="there is no class 'fox'; the classes are cat, 3, dog"):
        class_weights({"fox": 2.0}, Counted(7, 3, 2))
    with pytest.raises(ConfigError, match="counts the training images of a data module"):
        class_weights("auto", None)


@pytest.fixture
def unbalanced(tmp_path):
    """Grey images of two classes that differ little in brightness; one in ten is bright."""
    rng = np.random.default_rng(0)
    labels = (np.arange(400) % 10 == 0).astype(np.int64)
    images = rng.normal(110 + 25 * labels[:, None, None], 60, (400, 8, 8)).clip(0, 255).astype(np.uint8)
    np.savez(tmp_path / "data.npz", x_train=images, y_train=labels, classes=np.array(["dark", "bright"]))
    return NpzImages(str(tmp_path / "data.npz"), batch_size=32, arch_fraction=0.0, augmentation="none")


def test_training_with_weights_finds_the_rare_class(unbalanced, fit_briefly):
    def taken_for_bright(weights):
        torch.manual_seed(0)
        options = WeightTraining(class_weights=weights)
        network = NetworkConfig(channels=4, cells=None)
        module = StandAloneTraining((1, 8, 8), 2, "plain_cnn", network, options)
        trainer = fit_briefly(module, unbalanced, epochs=2, batches=None, folder=str(weights), limit_val_batches=None)
        logits = torch.cat(trainer.predict(module, unbalanced))
        return module, trainer, float(logits[:, 1].mean())

    _, _, plain = taken_for_bright("none")
    module, trainer, balanced = taken_for_bright("auto")
    assert plain < 0.3 < balanced
    kept = torch.load(trainer.checkpoint_callback.last_model_path, weights_only=True)["class_weights"]
    counts = unbalanced.parts.class_counts
    assert kept == pytest.approx((counts.sum() / (2 * counts)).tolist())
    assert kept == module.loss.weights.tolist()


def test_a_resumed_training_goes_on_with_its_weights(fit_briefly, genotype, capsys):
    def make(weights):
        torch.manual_seed(0)
        options = WeightTraining(class_weights=weights)
        return StandAloneTraining((1, 8, 8), 10, genotype.to_json(), NETWORK, options)

    first = make({"3": 4.0})
    trainer = fit_briefly(first, Digits(arch_fraction=0.0), epochs=1, batches=1)
    rest = make("auto")  # as if images had arrived
    path = trainer.checkpoint_callback.last_model_path
    fit_briefly(rest, Digits(arch_fraction=0.0), epochs=2, batches=1, ckpt_path=path)
    assert torch.equal(first.loss.weights, rest.loss.weights)
    assert "those of the checkpoint are used" in capsys.readouterr().out


def test_the_loss_that_is_logged_has_neither_smoothing_nor_weights(batch, make_training):
    logits, labels = batch
    module = make_training(label_smoothing=0.3, class_weights="auto")
    module.loss.weights = class_weights("auto", Counted(7, 3, 2))
    loss = module.training_loss(logits, labels)
    assert float(module.train_loss.compute()) == pytest.approx(float(functional.cross_entropy(logits, labels)))
    torch.testing.assert_close(loss, weighted("auto", Counted(7, 3, 2), 0.3)(logits, labels))


def test_weights_decide_what_a_search_finds():
    """One network knows the common class, the other one the rare class."""
    supports = []

    def found(weights):
        search = RandomSearch((1, 8, 8), 3, network=NETWORK, training=WeightTraining(class_weights=weights))
        search.loss.weights = class_weights(weights, Counted(90, 5, 5))
        common, rare = search._draw(0), search._draw(1)
        supports[:] = common, rare
        labels = torch.tensor([0] * 9 + [1])
        search._held_out.keep((torch.zeros(10, 1, 8, 8), labels))
        for support, known in ((common, 0), (rare, 1)):
            logits = functional.one_hot(torch.full((10,), known), 3) * 2.0
            search.measured[support] = search._held_out.score(lambda _, x=logits: x, search.criterion, search.loss)
        return search.support

    assert found("none") == supports[0]
    assert found("auto") == supports[1]
