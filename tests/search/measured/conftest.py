"""Spaces, architectures and proxies with values that are known, tiny networks and images for them, tiny runs."""

import warnings
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from sklearn.datasets import load_digits

from sparsenas.complexity import candidate_costs
from sparsenas.data import Digits
from sparsenas.networks import NetworkConfig, NormOptions, SuperNet
from sparsenas.search import Budget, Decoding, MeasuredSearch, Measuring, Proxy
from sparsenas.search.measured import Bench
from sparsenas.spaces import DartsSpace, NasBench201Space, WeightSharing64Space
from sparsenas.sparse_coding.regression import LassoRegression
from sparsenas.training import WeightTraining

NB201, WS64 = NasBench201Space(), WeightSharing64Space()
#: Spaces of one and of two cell types, with and without zeros, with one and with several primitives on an edge.
SPACES = {
    "nasbench201": NB201,
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


def proxy_values(*columns, repeats=2, noise=0.0, seed=0):
    clean = np.stack(columns, axis=1)[:, :, None].repeat(repeats, axis=2).astype(float)
    return clean + noise * np.random.default_rng(seed).normal(size=clean.shape)


@pytest.fixture(autouse=True)
def _short_walks(monkeypatch):
    monkeypatch.setattr("sparsenas.search.size_band.STEPS", 20)


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
def proxies():
    """Gives values of proxies, shape ``(K, S, R)``, from a column for each; noise makes repeats differ."""
    return proxy_values


@pytest.fixture(scope="session")
def make_bench():
    """Images and sizes of a tiny network; the images are digits."""
    bunch = load_digits()
    images, labels = torch.from_numpy(bunch.images).float()[:, None] / 16, torch.from_numpy(bunch.target)
    batches = list(zip(images.split(32)[:8], labels.split(32), strict=False))

    def make(space=WS64, seed=0, batches=batches, channels=4, cells=3, norms=NormOptions(track=False)):
        network = SuperNet(space, (1, 8, 8), 10, channels=channels, cells=cells, norms=norms)
        return Bench(space, network.size, norms, candidate_costs(network), batches, seed)

    return make


@dataclass(frozen=True)
class Planted(Proxy):
    """A sum over the candidates of a cell, disturbed by what is on the images of the repeat; it builds no network.

    Attributes:
        seed: Of the noise.
        noise: Its deviation.
        sign: -1 for the opposite.
        calls: Every architecture that was measured, by repeat.
    """

    seed: int = 0
    noise: float = 0.2
    sign: int = 1
    calls: list = field(default_factory=list, repr=False, compare=False)

    @property
    def name(self):
        return f"{'planted' if self.sign > 0 else 'opposite'} {self.seed}"

    def __call__(self, support, bench, repeat):
        self.calls.append(support)
        (kept,) = support
        images, _ = bench.images(repeat, 8)
        seen = int(abs(float(images.sum())) * 1e3)
        noise = np.random.default_rng((self.seed, repeat, seen, *kept)).normal()
        worth = np.random.default_rng(7).normal(size=30)
        return self.sign * float(worth[list(kept)].sum() + self.noise * noise)


@pytest.fixture
def planted():
    """A proxy for spaces of one block, see :class:`Planted`."""
    return Planted


@pytest.fixture
def measuring():
    """Ten architectures are drawn, and two are proposed twice; a code of them is cheap."""

    def make(**options):
        small = {
            "proxies": [Planted(0), Planted(1)],
            "count": 10,
            "rounds": 2,
            "proposals": 2,
            "size_band": 0.7,
            "decoding": Decoding(("counts",), LassoRegression(3, 5), certainty=0.0, bootstraps=10),
        }
        return Measuring(**(small | options))

    return make


@pytest.fixture
def make_measured(measuring):
    """A tiny measured search of NAS-Bench-201; options are those of the measuring.

    ``short`` is the short training.
    """

    def make(
        *,
        space=NB201,
        network=NetworkConfig(4, 3),
        training=WeightTraining(),
        budget=Budget(),
        short=None,
        genotype=None,
        seed=0,
        **options,
    ):
        how = measuring(training=short, **options)
        return MeasuredSearch((1, 8, 8), 10, space, network, training, budget, how, genotype, seed)

    return make


@pytest.fixture
def fit_in(tmp_path):
    """Fit any module on the digits in a folder of its own below ``tmp_path``; gives the trainer.

    ``init`` seeds weights that are drawn in it. Without epochs nothing is trained; otherwise, every epoch ends with a
    checkpoint ``epoch=K.ckpt`` in the folder.
    """

    def run(
        model,
        *callbacks,
        folder="run",
        init=0,
        epochs=0,
        batch_size=16,
        arch_fraction=0.0,
        ckpt_path=None,
        **options,
    ):
        torch.manual_seed(init)
        where = tmp_path / folder
        keep = ModelCheckpoint(where, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
        quiet = {"accelerator": "cpu", "devices": 1, "logger": False, "limit_val_batches": 0, "limit_train_batches": 4}
        trainer = pl.Trainer(
            default_root_dir=where,
            max_epochs=epochs,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[keep, *callbacks],
            **(quiet | options),
        )
        with warnings.catch_warnings():
            for noise in ("Checkpoint directory .* exists and is not empty", "The dirpath has changed"):
                warnings.filterwarnings("ignore", noise)
            data = Digits(batch_size=batch_size, arch_fraction=arch_fraction)
            trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
        return trainer

    return run
