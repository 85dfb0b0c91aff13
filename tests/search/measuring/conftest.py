"""Spaces, architectures with values that are known, and images for tiny networks."""

from itertools import product

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from sparsenas.complexity import candidate_costs
from sparsenas.networks import NormOptions, SuperNet
from sparsenas.search.measuring import Bench
from sparsenas.spaces import DartsSpace, NasBench201Space, WeightSharing64Space

WS64 = WeightSharing64Space()
#: Spaces of one and of two cell types, with and without zeros, with one and with several primitives on an edge.
SPACES = {
    "nasbench201": NasBench201Space(),
    "weight_sharing64": WS64,
    "darts": DartsSpace(3),
    "with zeros": DartsSpace(3, ("none", "skip_connect", "sep_conv_3x3")),
    "shared edges": DartsSpace(2, ("skip_connect", "max_pool_3x3", "sep_conv_3x3"), distinct_edges=False),
}


def draw_supports(space, count, seed=0):
    rng, supports = np.random.default_rng(seed), {}
    while len(supports) < count:
        supports.setdefault(space.sample_support(rng))
    return list(supports)


def additive_worth(seed, space=WS64):
    worth = np.random.default_rng(seed).normal(size=(len(space.blocks), max(map(len, space.blocks))))
    return lambda support: sum(row[list(kept)].sum() for row, kept in zip(worth, support, strict=True))


def signal_values(*columns, repeats=2, noise=0.0, seed=0):
    clean = np.stack(columns, axis=1)[:, :, None].repeat(repeats, axis=2).astype(float)
    return clean + noise * np.random.default_rng(seed).normal(size=clean.shape)


@pytest.fixture(autouse=True)
def _short_walks(monkeypatch):
    monkeypatch.setattr("sparsenas.search.band.STEPS", 20)


@pytest.fixture(params=SPACES)
def space(request):
    """Each of the spaces, or those that a test names."""
    return SPACES[request.param]


@pytest.fixture
def drawn():
    """Gives so many supports of a space, no two of them equal."""
    return draw_supports


@pytest.fixture(scope="session")
def all_64():
    """All cells of the smallest space."""
    return [WS64.support(WS64.from_string("".join(digits))) for digits in product("1234", repeat=3)]


@pytest.fixture
def worth_of():
    """Gives a number for every candidate, and with it one for every support: noise-free, additive, distinct."""
    return additive_worth


@pytest.fixture
def signals():
    """Gives values of signals, shape ``(K, S, R)``, from a column for each; noise makes repeats differ."""
    return signal_values


@pytest.fixture(scope="session")
def make_bench():
    """Images and sizes of a tiny network; the images are digits."""
    bunch = load_digits()
    images, labels = torch.from_numpy(bunch.images).float()[:, None] / 16, torch.from_numpy(bunch.target)
    batches = list(zip(images.split(32)[:8], labels.split(32), strict=False))

    def make(space=WS64, seed=0, batches=batches, channels=4, cells=3, norms=NormOptions(track=False)):  # noqa: B008
        network = SuperNet(space, (1, 8, 8), 10, channels=channels, cells=cells, norms=norms)
        return Bench(space, network.size, norms, candidate_costs(network), batches, seed)

    return make
