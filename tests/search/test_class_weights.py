"""Weights of classes in searches: they reach the architecture, on mixed images, too."""

import pytest
import torch

from sparsenas.data import Augmentation, Digits
from sparsenas.networks import NetworkConfig
from sparsenas.search import (
    BestOf,
    FullGradient,
    OneStageSearch,
    Phases,
    RelaxedSearch,
    SinglePathSearch,
    TwoStageSearch,
)
from sparsenas.spaces import DartsSpace
from sparsenas.training import WeightTraining

SPACE = DartsSpace(nodes=2, primitives=("avg_pool_3x3", "skip_connect", "sep_conv_3x3"))
NETWORK = NetworkConfig(channels=4, cells=3, stem="small")
SEARCHES = {
    "two_stage": (TwoStageSearch, {"signal": FullGradient(every=2)}, lambda search: search.architecture.b),
    "one_stage": (OneStageSearch, {"phases": Phases(1)}, lambda search: search.architecture.b),
    "darts": (RelaxedSearch, {"second_order": True}, lambda search: next(search.architecture.parameters())),
    "single_path": (
        SinglePathSearch,
        {"selection": BestOf(3), "measure_batches": 1},
        lambda search: torch.tensor([*search.measured.values()]),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHES)
def test_weights_and_mixed_images_reach_the_architecture(name, fit_briefly):
    kind, options, found = SEARCHES[name]

    def searched(weights):
        torch.manual_seed(0)
        training = WeightTraining(class_weights=weights)
        search = kind((1, 8, 8), 10, SPACE, NETWORK, training=training, **options)
        streams = 0.0 if name == "one_stage" else 0.4
        data = Digits(batch_size=16, arch_fraction=streams, augmentation=Augmentation(0, False, mixup=0.2))
        fit_briefly(
            search, data, epochs=1 + (name == "one_stage"), batches=3, folder=str(len(weights)), limit_val_batches=0
        )
        return found(search).detach()

    equal, unequal = searched("none"), searched({"3": 50.0})
    assert equal.isfinite().all()
    assert not torch.allclose(equal, unequal, rtol=1e-4)
