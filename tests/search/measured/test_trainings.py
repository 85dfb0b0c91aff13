"""Trainings of entrants: they go on where they stopped, by the schedule of the whole."""

import math

import pytest
import torch

from sparsenas.data import Digits
from sparsenas.errors import CheckpointError
from sparsenas.networks import DerivedNet, NormOptions
from sparsenas.schedules import Schedule
from sparsenas.search.measured.history import Entrant
from sparsenas.search.measured.trainings import PARTS, Trainings
from sparsenas.spaces import REFERENCES, read_genotype
from sparsenas.training import ClassificationLoss, WeightTraining
from sparsenas.zero_cost import Snip

ENTRANT = Entrant(0, REFERENCES["plain_cnn"].genotype.to_json(), "plain_cnn")
#: Steps of an epoch of 1,293 images.
EPOCH = 20


def sgd(parameters, rate=0.1):
    return torch.optim.SGD(parameters, rate, momentum=0.9, weight_decay=5e-4)


@pytest.fixture(scope="module")
def images():
    return Digits(arch_fraction=0.0, batch_size=64)


def build(key):
    return DerivedNet(read_genotype(key), (1, 8, 8), 10, channels=4, cells=None, norms=NormOptions())


def make(images, folder, **options):
    given = {"optimizer": sgd, "schedule": Schedule(warmup_share=0.1), "steps": 4 * EPOCH, **options}
    return Trainings(build, images, WeightTraining(**given), torch.device("cpu"), folder, seed=0)


@pytest.mark.slow
def test_two_rungs_are_one_training(images, tmp_path):
    parts, whole = make(images, tmp_path / "parts"), make(images, tmp_path / "whole")
    parts.train(ENTRANT, 0, 0.25)
    second = parts.train(ENTRANT, 1, 0.75)
    once = whole.train(ENTRANT, 0, 0.75)
    assert (second.length, second.spent, once.length) == (3 * EPOCH, 2 * EPOCH, 3 * EPOCH)
    first, other = parts.load(ENTRANT), whole.load(ENTRANT)
    for name, value in first["network"].items():
        if "running" not in name and "tracked" not in name:  # young ones were taken anew in between
            assert torch.equal(value, other["network"][name]), name
    assert second.losses == pytest.approx(once.losses, rel=0.2)
    momentum = [state["momentum_buffer"] for state in first["optimizer"]["state"].values()]
    assert all(
        torch.equal(x, y["momentum_buffer"])
        for x, y in zip(momentum, other["optimizer"]["state"].values(), strict=True)
    )


def test_the_rate_is_that_of_the_whole_run(images, tmp_path):
    rates = []

    class Noting(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    schedule = Schedule(warmup_share=0.1)
    trainings = make(images, tmp_path, optimizer=lambda p: Noting(p, 0.2), schedule=schedule)
    rates.clear()  # of a step by which options are checked
    trainings.train(ENTRANT, 0, 0.25)
    trainings.train(ENTRANT, 1, 0.5)
    assert rates == pytest.approx([0.2 * schedule.at(step / (4 * EPOCH)) for step in range(2 * EPOCH)])


@pytest.mark.parametrize(
    ("on_nonfinite", "every", "survives"), [("stop", False, False), ("skip", False, True), ("skip", True, False)]
)
def test_a_step_of_infinite_pixels(images, tmp_path, on_nonfinite, every, survives):
    class Spoilt:
        evaluation_batches = images.evaluation_batches

        def training_batches(self, *args):
            for number, (batch, labels) in enumerate(images.training_batches(*args)):
                if every or number == 3:
                    batch[0, 0, 0] = math.inf
                yield batch, labels

    measured = make(Spoilt(), tmp_path, on_nonfinite=on_nonfinite).train(ENTRANT, 0, 0.25)
    assert math.isfinite(measured.loss) == survives


@pytest.mark.slow
def test_it_learns_and_says_so(images, tmp_path):
    measured = make(images, tmp_path).train(ENTRANT, 0, 0.9)
    assert measured.accuracy > 0.8
    assert len(measured.losses) == PARTS
    assert measured.loss < 1.0


def test_equal_seeds_give_equal_numbers_and_leave_random_numbers_alone(images, tmp_path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = make(images, tmp_path / "a").train(ENTRANT, 0, 0.1)
    assert torch.equal(torch.rand(3), expected)
    second = make(images, tmp_path / "b").train(ENTRANT, 0, 0.1)
    assert first == second


def test_seconds_end_a_training_too(images, tmp_path):
    measured = make(images, tmp_path, steps=None, seconds=2.0).train(ENTRANT, 0, 0.2)
    assert 0.4 <= measured.length < 0.8
    assert measured.spent >= measured.length


def test_a_divergence_is_a_measurement_and_keeps_nothing(images, tmp_path):
    trainings = make(images, tmp_path, optimizer=lambda p: sgd(p, 1e12))
    measured = trainings.train(ENTRANT, 0, 0.1)
    assert measured.losses == (math.inf,) * PARTS
    assert measured.accuracy == 0.0
    assert not list(tmp_path.iterdir())


def test_a_kill_between_file_and_record_trains_and_charges_nothing_twice(images, tmp_path):
    trainings = make(images, tmp_path)
    trainings.train(ENTRANT, 0, 0.25)
    killed = trainings.train(ENTRANT, 1, 0.5)  # its record is lost
    assert trainings.train(ENTRANT, 1, 0.5) == killed


def test_few_images_have_few_parts_whatever_happens(images, tmp_path):
    for number, rate in enumerate((0.1, 1e12)):
        trainings = make(images, tmp_path / str(number), optimizer=lambda p, rate=rate: sgd(p, rate))
        trainings.most = 5
        assert len(trainings.train(ENTRANT, 0, 0.1).losses) == 5


def test_what_is_forgotten_cannot_go_on(images, tmp_path):
    trainings = make(images, tmp_path)
    trainings.train(ENTRANT, 0, 0.05)
    (file,) = tmp_path.iterdir()
    trainings.forget(ENTRANT)
    trainings.forget(ENTRANT)
    assert not list(tmp_path.iterdir())
    with pytest.raises(CheckpointError, match=f"{file.name}: is gone: the search of this folder is over"):
        trainings.train(ENTRANT, 1, 0.1)
    file.write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=f"{file.name}: what was trained in the search is damaged"):
        trainings.train(ENTRANT, 1, 0.1)


def test_at_most_so_many_images_compare(images, tmp_path):
    trainings = make(images, tmp_path)
    trainings.most = 1
    assert len(trainings.validation) == 1


def test_entrants_are_ranked_by_the_weighted_loss(images, tmp_path):
    trainings = make(images, tmp_path)
    trainings.loss = ClassificationLoss(trainings.training)
    trainings.loss.weights = torch.linspace(0.1, 1.9, 10)
    torch.manual_seed(0)
    network = build(ENTRANT.key)
    losses, _ = trainings._validate(network)
    logits, labels = (torch.cat(parts) for parts in zip(*trainings.validation, strict=True))
    with torch.no_grad():
        each = torch.nn.functional.cross_entropy(network.eval()(logits), labels, reduction="none")
    parts = [part.mean() for part in (each * trainings.loss.weights[labels]).tensor_split(PARTS)]
    assert losses == pytest.approx(torch.stack(parts).tolist(), rel=1e-4)


def test_a_zero_cost_score_sees_an_untrained_network_its_images_and_their_labels(images, tmp_path):
    trainings = make(images, tmp_path)
    genotype, first = REFERENCES["plain_cnn"].genotype, trainings.validation[0]
    found = trainings.zero_cost(Snip())(genotype)
    torch.manual_seed(0)
    assert found == pytest.approx(Snip()(build(genotype.to_json()), first[0][:64], first[1][:64]), rel=1e-5)
    assert trainings.zero_cost(None) is None
