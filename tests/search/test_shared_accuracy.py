"""Accuracies with shared weights: against networks of their own, and what they leave as it was."""

import copy

import numpy as np
import pytest
import torch

from sparsenas.errors import ConfigError, GenotypeError
from sparsenas.networks import NetworkConfig, NormOptions
from sparsenas.search import SharedAccuracy, SinglePathSearch
from sparsenas.spaces import PUBLISHED, NasBench201Space

SPACE = NasBench201Space()


def single_path(norms=NormOptions(affine=False, track=False)):
    torch.manual_seed(0)
    network = NetworkConfig(channels=8, cells=3, stem="cifar", norms=norms)
    return SinglePathSearch((1, 8, 8), 10, space=SPACE, network=network)


@pytest.fixture
def genotypes():
    rng = np.random.default_rng(0)
    return [SPACE.sample(rng) for _ in range(4)]


def test_it_is_the_accuracy_of_a_network_with_these_weights(genotypes, batch):
    search = single_path()
    images, labels = batch
    measure = SharedAccuracy(search, [(images[:10], labels[:10]), (images[10:], labels[10:])])
    for genotype in genotypes:
        alone = search.network.derive(genotype).eval()
        with torch.no_grad():
            classes = torch.cat([alone(images[:10]), alone(images[10:])]).argmax(1)
        assert measure(genotype) == pytest.approx(100 * float((classes == labels).float().mean()))


@pytest.mark.parametrize("training", [True, False])
def test_running_statistics_are_neither_read_nor_changed(genotypes, batch, training):
    search = single_path(NormOptions(affine=False, track=True))
    search.network.train(training)
    measure = SharedAccuracy(search, [batch])
    found = [measure(genotype) for genotype in genotypes]
    for name, buffer in search.network.named_buffers():
        if "running" in name:
            buffer.add_(3.0)
    before = copy.deepcopy(search.network.state_dict())
    assert [measure(genotype) for genotype in genotypes] == found
    assert all(torch.equal(value, before[name]) for name, value in search.network.state_dict().items())
    assert {module.training for module in search.network.modules()} == {training}


def test_without_images_it_says_so(batch):
    with pytest.raises(ConfigError, match="no images to measure shared accuracies on; give at least one batch"):
        SharedAccuracy(single_path(), [])


def test_one_network_of_its_own_weights_is_no_super_net(batch, monkeypatch):
    search = single_path()
    monkeypatch.setattr(type(search), "shares_weights", False)
    with pytest.raises(ConfigError, match="SinglePathSearch: the weights are those of the architecture found alone"):
        SharedAccuracy(search, [batch])


def test_a_genotype_of_another_space_is_refused(batch):
    with pytest.raises(GenotypeError, match="genotype is of space 'darts'"):
        SharedAccuracy(single_path(), [batch])(PUBLISHED["darts_v2"])
