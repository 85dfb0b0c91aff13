"""The learning-rate schedule against closed forms and against torch's own."""

import math

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from sparsenas.errors import ConfigError
from sparsenas.schedules import Schedule, Stretch
from sparsenas.training import WeightTraining


def optimizer(lr=0.4):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def rates(make, epochs):
    owner = optimizer()
    scheduler = make(owner)
    values = []
    for _ in range(epochs):
        values.append(owner.param_groups[0]["lr"])
        owner.step()
        scheduler.step()
    return values


@pytest.mark.parametrize("final_ratio", [0.0, 0.1, 1.0])
def test_without_warm_up_it_is_cosine_annealing(final_ratio):
    ours = rates(lambda o: Schedule(final_ratio=final_ratio).scheduler(o, 12), 13)
    theirs = rates(lambda o: CosineAnnealingLR(o, 12, eta_min=0.4 * final_ratio), 13)
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)
    assert ours[0] == 0.4
    assert ours[-1] == pytest.approx(0.4 * final_ratio)


def test_warm_up_then_cosine():
    ours = rates(lambda o: Schedule(warmup_epochs=4, final_ratio=0.2).scheduler(o, 10), 11)
    expected = [0.1, 0.2, 0.3, 0.4]
    expected += [0.08 + 0.32 * (1 + math.cos(math.pi * k / 6)) / 2 for k in range(7)]
    assert ours == pytest.approx(expected)


def test_warm_up_then_linear():
    ours = rates(lambda o: Schedule("linear", warmup_epochs=5).scheduler(o, 10), 11)
    assert ours == pytest.approx([0.08, 0.16, 0.24, 0.32, 0.4, 0.4, 0.32, 0.24, 0.16, 0.08, 0.0])


def test_warm_up_then_constant():
    """Its final share is not read."""
    ours = rates(lambda o: Schedule("constant", warmup_epochs=2, final_ratio=0.1).scheduler(o, 3), 6)
    assert ours == pytest.approx([0.2, 0.4, 0.4, 0.4, 0.4, 0.4])


def test_it_stays_at_the_end():
    assert rates(lambda o: Schedule(final_ratio=0.5).scheduler(o, 3), 6)[-3:] == pytest.approx([0.2] * 3)


@pytest.mark.parametrize("shape", ["cosine", "linear", "constant"])
@pytest.mark.parametrize("run", [3, 8, 40])
def test_a_length_of_its_own_wins_over_that_of_the_run(shape, run):
    own, followed = Schedule(shape, 2, 0.1, epochs=8), Schedule(shape, 2, 0.1)
    assert [own.factor(k, run) for k in range(45)] == [followed.factor(k, 8) for k in range(45)]


def test_it_goes_on_from_a_safe_state(tmp_path):
    first, second = optimizer(), optimizer()
    schedule, resumed = (Schedule(warmup_epochs=2).scheduler(owner, 8) for owner in (first, second))
    for _ in range(3):
        first.step()
        schedule.step()
    torch.save([first.state_dict(), schedule.state_dict()], tmp_path / "state.pt")
    of_optimizer, of_schedule = torch.load(tmp_path / "state.pt", weights_only=True)
    second.load_state_dict(of_optimizer)
    resumed.load_state_dict(of_schedule)
    for _ in range(5):
        assert first.param_groups[0]["lr"] == second.param_groups[0]["lr"]
        for part in (first, second, schedule, resumed):
            part.step()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs=0, warmup_epochs=0; need warmup_epochs < epochs, or epochs null to follow the run"),
        ({"epochs": 5, "warmup_epochs": 5}, "epochs=5, warmup_epochs=5; need warmup_epochs < epochs"),
        ({"warmup_epochs": -1}, "warmup_epochs=-1, final_ratio=0.0; need warmup_epochs >= 0 and 0 <= final_ratio <= 1"),
        ({"final_ratio": 1.5}, "warmup_epochs=0, final_ratio=1.5; need"),
        ({"final_ratio": float("nan")}, "warmup_epochs=0, final_ratio=nan; need"),
    ],
)
def test_numbers_that_do_not_fit(options, message):
    with pytest.raises(ConfigError, match=f"^schedule: {message}"):
        Schedule(**options)


@pytest.mark.parametrize(
    ("options", "remark"),
    [
        ({}, ""),
        ({"epochs": 36}, ""),
        (
            {"epochs": 30},
            "x.epochs is 30, but the schedule goes over 36 epochs: the last 6 run at 0 of the peak; leave x.epochs out "
            "to follow the run",
        ),
        (
            {"epochs": 35, "final_ratio": 0.1},
            "x.epochs is 35, but the schedule goes over 36 epochs: the last 1 run at 0.1 of the peak; leave x.epochs "
            "out to follow the run",
        ),
        (
            {"shape": "linear", "epochs": 40},
            "x.epochs is 40, but the schedule goes over 36 epochs: the learning rate never reaches its end; leave "
            "x.epochs out to follow the run",
        ),
        ({"shape": "constant", "epochs": 40}, ""),
        ({"epochs": 30, "final_ratio": 1.0}, ""),
        (
            {"warmup_epochs": 36},
            "x.warmup_epochs is 36, but the schedule goes over 36 epochs: the learning rate never reaches its peak",
        ),
        ({"shape": "constant", "warmup_epochs": 35}, ""),
    ],
)
def test_a_rate_that_misses_its_peak_or_its_end_is_told(options, remark):
    assert Stretch("x", Schedule(**options), 36).remark == remark


def test_a_run_of_no_epochs_has_no_rate():
    assert Stretch("x", Schedule(epochs=30), 0).remark == ""


@pytest.mark.parametrize("shape", ["cosine", "linear", "constant"])
def test_by_the_share_that_is_done_it_is_that_of_many_epochs(shape):
    """A run of 1,000 epochs, read at their beginnings."""
    schedule = Schedule(shape, final_ratio=0.1)
    for epoch in range(0, 1001, 50):
        assert schedule.at(epoch / 1000) == pytest.approx(schedule.factor(epoch, 1000))


def test_warm_up_by_share():
    schedule = Schedule("linear", warmup_share=0.2)
    assert [schedule.at(share) for share in (0.0, 0.1, 0.2, 0.6, 1.0)] == pytest.approx([0.01, 0.5, 1.0, 0.5, 0.0])


def test_lengths_and_warm_ups_that_do_not_fit():
    with pytest.raises(ConfigError, match=r"warmup_share=0.1 is for runs of training.steps or training.seconds"):
        WeightTraining(schedule=Schedule(warmup_share=0.1))
    with pytest.raises(ConfigError, match=r"warmup_epochs=2, epochs=None, but .* use warmup_share"):
        WeightTraining(schedule=Schedule(warmup_epochs=2), steps=10)
    with pytest.raises(ConfigError, match=r"training.steps is 3 and training.seconds 2; set one"):
        WeightTraining(steps=3, seconds=2)
    with pytest.raises(ConfigError, match=r"training.seconds is -1; use a positive number"):
        WeightTraining(seconds=-1)
    with pytest.raises(ConfigError, match="need 0 <= warmup_share < 1"):
        Schedule(warmup_share=1.0)
