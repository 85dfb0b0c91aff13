"""Adversarial training in searches: every searcher steps on attacked images, and the attack moves nothing else."""

import pytest
import torch

from sparsenas.data import Augmentation, Digits
from sparsenas.errors import ConfigError
from sparsenas.networks import NetworkConfig
from sparsenas.search import (
    BestOf,
    FairPaths,
    Finals,
    Iterations,
    NaoSearch,
    OneStageSearch,
    Phases,
    RandomSearch,
    RelaxedSearch,
    SinglePathSearch,
    TwoStageSearch,
)
from sparsenas.spaces import DartsSpace
from sparsenas.training import Adversary, WeightTraining

SPACE = DartsSpace(nodes=2, primitives=("avg_pool_3x3", "skip_connect", "sep_conv_3x3"))
NETWORK = NetworkConfig(channels=4, cells=3, stem="small")
NAO = {"iterations": Iterations(2, 4, 2, 2, encoder_epochs=1), "finals": Finals(0), "measure_batches": 1}
SEARCHES = {
    "two_stage": (TwoStageSearch, {}),
    "one_stage": (OneStageSearch, {"phases": Phases(1)}),
    "darts": (RelaxedSearch, {}),
    "single_path": (SinglePathSearch, {"selection": BestOf(3), "measure_batches": 1}),
    "nao": (NaoSearch, NAO),
    "random": (RandomSearch, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("adversary", [Adversary(16.0), Adversary(16.0, replays=2)], ids=["one-step", "free"])
@pytest.mark.parametrize("name", SEARCHES)
def test_every_searcher_steps_on_attacked_images(name, adversary, fit_briefly):
    kind, options = SEARCHES[name]

    def search(adversary, folder):
        torch.manual_seed(0)
        made = kind((1, 8, 8), 10, SPACE, NETWORK, training=WeightTraining(adversary=adversary), **options)
        share = 0.0 if name == "one_stage" else 0.4
        data = Digits(batch_size=16, arch_fraction=share, augmentation=Augmentation(0, False, 0))
        trainer = fit_briefly(made, data, epochs=2, batches=2, folder=folder)
        return made, float(trainer.callback_metrics["train/loss"])

    clean, loss = search(None, "clean")
    attacked, higher = search(adversary, "attacked")
    assert higher != loss
    assert not torch.equal(next(clean.network.parameters()), next(attacked.network.parameters()))
    assert all(bool(p.isfinite().all()) for p in attacked.network.parameters())


def test_an_attack_that_changes_nothing_changes_nothing(fit_briefly):
    """The architecture gets the same gradients, and statistics see each batch once."""

    def search(adversary, folder):
        torch.manual_seed(0)
        made = OneStageSearch((1, 8, 8), 10, SPACE, NETWORK, WeightTraining(adversary=adversary), phases=Phases(1))
        data = Digits(batch_size=16, arch_fraction=0.0, augmentation=Augmentation(0, False, 0))
        fit_briefly(made, data, epochs=2, batches=2, folder=folder)
        return made.state_dict()

    clean, attacked = search(None, "clean"), search(Adversary(0.0, random_start=False, step_size=1.0), "attacked")
    for name, value in clean.items():
        torch.testing.assert_close(attacked[name], value, msg=name)


def test_free_training_of_several_paths_is_refused(fit_briefly):
    training = WeightTraining(adversary=Adversary(16.0, replays=2))
    search = SinglePathSearch((1, 8, 8), 10, SPACE, NETWORK, training, paths=FairPaths())
    with pytest.raises(ConfigError, match="FairPaths train several paths on a batch: set replays to 1"):
        fit_briefly(search, Digits(batch_size=16, arch_fraction=0.4), epochs=1, batches=1)
