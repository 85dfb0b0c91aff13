"""Images with several labels in searches: every searcher learns them, by the same loss that it reports."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from sparsenas.data import NpzImages
from sparsenas.networks import NetworkConfig
from sparsenas.search import (
    BestOf,
    OneStageSearch,
    Phases,
    RandomSearch,
    RelaxedSearch,
    SinglePathSearch,
    Tournament,
    TournamentSearch,
    TwoStageSearch,
)
from sparsenas.spaces import DartsSpace
from sparsenas.training import StandAloneTraining, WeightTraining

SPACE = DartsSpace(nodes=2, primitives=("avg_pool_3x3", "skip_connect", "sep_conv_3x3"))
NETWORK = NetworkConfig(channels=4, cells=3, stem="small")
SEARCHES = {
    "two_stage": (TwoStageSearch, {}),
    "one_stage": (OneStageSearch, {"phases": Phases(1)}),
    "darts": (RelaxedSearch, {}),
    "single_path": (SinglePathSearch, {"selection": BestOf(3), "measure_batches": 1}),
    "random": (RandomSearch, {}),
}


@pytest.fixture
def halves(tmp_path):
    """Function that makes images whose left, right and lower halves are bright or not: three labels."""

    def make(arch_fraction=0.0, **options):
        rng = np.random.default_rng(0)
        labels = rng.integers(2, size=(240, 3))
        images = rng.normal(70, 30, (240, 8, 8))
        for label, half in enumerate((np.s_[:, :4, :4], np.s_[:, :4, 4:], np.s_[:, 4:, :])):
            images[half] += 110 * labels[:, label, None, None]
        np.savez(tmp_path / "halves.npz", x_train=images.clip(0, 255).astype(np.uint8), y_train=labels)
        path = str(tmp_path / "halves.npz")
        return NpzImages(path, batch_size=16, arch_fraction=arch_fraction, augmentation="none", **options)

    return make


@pytest.mark.parametrize("name", SEARCHES)
def test_every_searcher_learns_several_labels(name, halves, fit_briefly):
    kind, options = SEARCHES[name]
    torch.manual_seed(0)
    search = kind((1, 8, 8), 3, SPACE, NETWORK, **options)
    data = halves(0.0 if name == "one_stage" else 0.4)
    trainer = fit_briefly(search, data, epochs=2, batches=3)
    assert search.multilabel
    assert 0 < float(trainer.callback_metrics["val/map"]) <= 1
    batch, labels = next(data.evaluation_batches("val"))
    search.eval()
    with torch.no_grad():
        logits = search.logits(batch)
    expected = 3 * functional.binary_cross_entropy_with_logits(logits, labels)
    tested = trainer.validate(search, data, verbose=False)[0]
    assert tested["val/loss"] == pytest.approx(float(expected), rel=1e-4)
    said = torch.cat(trainer.predict(search, data))
    assert not torch.allclose(said.sum(1), torch.ones(len(said)))  # each label has a probability of its own


@pytest.mark.slow
def test_a_tournament_ranks_by_the_loss_of_all_labels_and_its_winner_learns_them(halves, fit_briefly):
    torch.manual_seed(0)
    options = Tournament(references=["plain_cnn", "resnet8"], random=0, rungs=(0.1,), prior="none")
    search = TournamentSearch(
        (1, 8, 8),
        3,
        network=NetworkConfig(channels=8, cells=None),
        tournament=options,
        training=WeightTraining(steps=120),
    )
    data = halves()
    trainer = fit_briefly(search, data, epochs=-1, batches=None, limit_val_batches=None)
    result = search.result
    # a network that says one half of everything has a loss of 3 log 2; a softmax could not say two labels
    assert min(stop[1] for other in result.competitors for stop in other.stops) < 3 * np.log(2)
    labels = torch.cat([labels for _, labels in data.evaluation_batches("val")])
    assert result.images == len(labels)
    most = (labels.mean(0) > 0.5).float()
    assert result.chance == pytest.approx(float((labels == most).all(1).float().mean()))
    found = trainer.test(search, data, verbose=False)[0]
    assert found["test/map"] > 0.95
    assert found["test/acc"] > 0.7


def test_a_checkpoint_remembers_that_images_have_several_labels(halves, fit_briefly, tmp_path):
    def make():
        torch.manual_seed(0)
        options = WeightTraining(class_weights={"1": 3.0})
        return StandAloneTraining((1, 8, 8), 3, "plain_cnn", NetworkConfig(channels=4, cells=None), options)

    whole, first, rest = make(), make(), make()
    fit_briefly(whole, halves(), epochs=2, folder="whole")
    trainer = fit_briefly(first, halves(), epochs=1, folder="first")
    path = trainer.checkpoint_callback.last_model_path
    assert torch.load(path, weights_only=True)["multilabel"] is True
    fit_briefly(rest, halves(), epochs=2, folder="rest", ckpt_path=path)
    for one, other in zip(whole.state_dict().values(), rest.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert rest.loss.weights.shape == (2, 3)
    network = NetworkConfig(channels=4, cells=None)
    options = {"network": network, "training": WeightTraining()}
    alone = StandAloneTraining.load_from_checkpoint(path, weights_only=True, **options)
    assert alone.multilabel
    assert set(alone.evaluation) == set(rest.evaluation)
