"""A search that takes seconds: a tiny super-net on the digits of scikit-learn, and a trainer without frills."""

import copy

import pytest
import pytorch_lightning as pl
import torch

from sparsenas.data import Digits
from sparsenas.networks import NetworkConfig, NormOptions, SuperNet
from sparsenas.search import (
    Budget,
    CompressedArchitecture,
    OneStageSearch,
    Phases,
    RecoveryListener,
    SparseRecovery,
    TwoStageSearch,
)
from sparsenas.spaces import DartsSpace
from sparsenas.sparse_coding import ExactSolver
from sparsenas.training import WeightTraining

#: One primitive of each kind: pool, skip, separable and dilated convolution.
PRIMITIVES = ("avg_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3")
#: For 8x8 images.
NETWORK = NetworkConfig(channels=4, cells=3, stem="small")


class Listener(RecoveryListener):
    """Keeps every report, and the phase of the trainer in which it came."""

    def __init__(self):
        self.reports = []

    def on_recovery(self, trainer, search, report):
        self.reports.append(report)


class Watch(pl.Callback):
    """Copies of the state after every epoch, and what happened in every batch."""

    def __init__(self):
        self.states, self.searching, self.rates, self.drop_path = [], [], [], []

    def on_train_start(self, trainer, search):
        self.states.append(copy.deepcopy(search.state_dict()))

    def on_train_epoch_start(self, trainer, search):
        self.searching.append(search.searching)
        self.rates.append(tuple(optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers))
        self.drop_path.append(search.drop_path_now)

    def on_train_epoch_end(self, trainer, search):
        self.states.append(copy.deepcopy(search.state_dict()))


def changed_tensors(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
def space():
    return DartsSpace(nodes=2, primitives=PRIMITIVES)


@pytest.fixture
def make_network(space):
    """A tiny super-net on 8x8 grey images."""

    def make(norms=None, space=space):
        torch.manual_seed(0)
        norms = norms or NormOptions(affine=False, track=False, append="pools_and_skips")
        return SuperNet(space, (1, 8, 8), 10, channels=4, cells=3, stem="small", norms=norms)

    return make


@pytest.fixture
def make_architecture(space):
    """Options are those of the recovery."""

    def make(seed=0, space=space, budget=Budget(), **options):
        generator = torch.Generator().manual_seed(seed)
        return CompressedArchitecture(space, SparseRecovery(**options), generator, budget.constraints(space))

    return make


@pytest.fixture
def batch():
    """Images and labels of one batch."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(16, 1, 8, 8, generator=generator), torch.randint(10, (16,), generator=generator)


@pytest.fixture
def make_search(space):
    """A tiny search; ``init`` seeds the network's weights."""

    def make(init=0, **options):
        torch.manual_seed(init)
        small = {"network": NETWORK, "space": space}
        return TwoStageSearch((1, 8, 8), 10, **(small | options))

    return make


@pytest.fixture
def make_one_stage(space):
    """A tiny one-stage search; ``init`` seeds the network's weights."""

    def make(init=0, **options):
        torch.manual_seed(init)
        small = {
            "network": NETWORK,
            "space": space,
            "training": WeightTraining(drop_path=0.2),
            "phases": Phases(search_epochs=1),
            "recovery": SparseRecovery(ExactSolver(nonnegative=True), every_n_steps=2),
        }
        return OneStageSearch((1, 8, 8), 10, **(small | options))

    return make


@pytest.fixture
def fit_one_stage(fit_briefly):
    """Fit a one-stage search on the digits, see ``fit_briefly``."""

    def run(model, *callbacks, batches=4, **options):
        return fit_briefly(model, Digits(batch_size=32, arch_fraction=0.0), *callbacks, batches=batches, **options)

    return run


@pytest.fixture
def watch():
    return Watch()


@pytest.fixture
def changed():
    """Gives the names of tensors that differ between two states of the same module."""
    return changed_tensors


@pytest.fixture
def fit(fit_briefly):
    """Fit a search on the digits, see ``fit_briefly``."""

    def run(model, *callbacks, data=None, batches=4, **options):
        data = Digits(batch_size=32, arch_fraction=0.4) if data is None else data
        return fit_briefly(model, data, *callbacks, batches=batches, **options)

    return run


@pytest.fixture
def assert_same_run(differences):
    """Checks that two checkpoints hold the same: all that a run learned and all from which it would go on."""

    def check(first, second):
        first, second = (torch.load(path, weights_only=True) for path in (first, second))
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "search"):
            assert differences(first[part], second[part]) == [], part
        assert (first["epoch"], first["global_step"]) == (second["epoch"], second["global_step"])

    return check
