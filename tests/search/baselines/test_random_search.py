"""Random search: every architecture is trained alone, and the best is kept."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from sparsenas.data import Digits
from sparsenas.errors import ConfigError
from sparsenas.networks import DerivedNet, NetworkConfig
from sparsenas.schedules import Schedule
from sparsenas.search import Budget, RandomSearch
from sparsenas.spaces import WeightSharing64Space
from sparsenas.training import WeightTraining


@pytest.fixture
def make_random(space):
    def make(init=0, **options):
        torch.manual_seed(init)
        small = {"network": NetworkConfig(4, 3, "small"), "space": space, "epochs_each": 1}
        return RandomSearch((1, 8, 8), 10, **(small | options))

    return make


@pytest.fixture
def fit_random(fit_briefly):
    def run(search, *callbacks, **options):
        return fit_briefly(search, Digits(batch_size=32, arch_fraction=0.4), *callbacks, **options)

    return run


@pytest.mark.slow
def test_every_training_measures_one_architecture(make_random, fit_random, listener):
    search = make_random(epochs_each=2)
    fit_random(search, listener, batches=2, epochs=6)
    assert len(search.measured) == len(listener.reports) == 3
    assert search.measured[search.support] == max(search.measured.values())
    assert [report.count for report in listener.reports] == [0, 1, 2]
    assert search.visited == set(search.measured)


@pytest.mark.slow
def test_a_training_is_that_of_the_network_alone(make_random, fit_random):
    """The second architecture is trained as a derived net would be from the same new weights on the same batches."""
    search = make_random(training=WeightTraining(gradient_clip=0.0))
    batches, started = [], {}

    original = search.training_step

    def remember(batch, batch_idx):
        if search.current_epoch == 1:
            started.setdefault("net", search.network.derive(search.space.genotype(search._candidate)))
            batches.append(batch["weights"])
        original(batch, batch_idx)

    search.training_step = remember
    fit_random(search, batches=3, epochs=2)
    net: DerivedNet = started["net"]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)
    for images, labels in batches:
        optimizer.zero_grad()
        functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
    trained = search.network.state_dict()
    for name, value in net.state_dict().items():
        torch.testing.assert_close(trained[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_new_weights_depend_on_seed_and_number_only(make_random, fit_random):
    starts = {}
    for init in (0, 1):
        search = make_random(init=init)
        original = search.training_step

        def remember(batch, batch_idx, search=search, init=init, original=original):
            if batch_idx == 0:
                starts[init, search.current_epoch] = search.network.classifier.weight.detach().clone()
            original(batch, batch_idx)

        search.training_step = remember
        fit_random(search, batches=1, epochs=3)
    assert not torch.equal(starts[0, 0], starts[1, 0])
    for epoch in (1, 2):
        assert torch.equal(starts[0, epoch], starts[1, epoch])
    assert not torch.equal(starts[0, 1], starts[0, 2])


@pytest.mark.slow
def test_a_resumed_run_repeats_an_uninterrupted_one(make_random, fit_random, tmp_path):
    whole = make_random(epochs_each=2)
    fit_random(whole, batches=2, epochs=4)
    resumed = make_random(init=5, epochs_each=2)
    fit_random(resumed, batches=2, epochs=4, ckpt_path=str(tmp_path / "run" / "epoch=2.ckpt"), folder="again")
    assert resumed.measured == whole.measured


def test_draws_are_uniform_and_keep_the_budget():
    space = WeightSharing64Space()
    budget = Budget(max_per_cell={"normal": {"max_pool_3x3": 0}})
    search = RandomSearch((1, 8, 8), 10, space, NetworkConfig(4, 1), budget=budget)
    drawn = [search._draw(number) for number in range(2700)]
    counts = np.unique([str(support) for support in drawn], return_counts=True)[1]
    assert len(counts) == 27
    assert ((counts - 100) ** 2 / 100).sum() < 60  # chi-squared, 26 degrees of freedom


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs_each": 0}, "epochs_each is 0"),
        ({"budget": Budget(max_params=1.0)}, "refused 10000 random architectures in a row"),
    ],
)
def test_mistakes_are_explained(options, message, make_random):
    with pytest.raises(ConfigError, match=message):
        make_random(**options)


def test_trainings_fill_the_run(make_random, fit_random):
    with pytest.raises(
        ConfigError, match=r"max_epochs is 3, epochs_each 2: the last architecture would not be trained"
    ):
        fit_random(make_random(epochs_each=2), batches=1, epochs=3)


@pytest.mark.slow
def test_a_schedule_goes_over_one_training(make_random, fit_random, capsys):
    fit_random(make_random(epochs_each=2, training=WeightTraining(schedule=Schedule(epochs=4))), batches=2, epochs=4)
    told = "training.schedule.epochs is 4, but the schedule goes over 2 epochs: the learning rate never reaches its end"
    assert told in capsys.readouterr().out
