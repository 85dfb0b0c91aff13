"""The learning-rate schedule against closed forms and against torch's own."""

import math

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from sparsenas.errors import ConfigError
from sparsenas.training import WarmupDecay


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
    ours = rates(lambda o: WarmupDecay(o, 12, final_ratio=final_ratio), 13)
    theirs = rates(lambda o: CosineAnnealingLR(o, 12, eta_min=0.4 * final_ratio), 13)
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)
    assert ours[0] == 0.4
    assert ours[-1] == pytest.approx(0.4 * final_ratio)


def test_warm_up_then_cosine():
    ours = rates(lambda o: WarmupDecay(o, 10, warmup_epochs=4, final_ratio=0.2), 11)
    expected = [0.1, 0.2, 0.3, 0.4]
    expected += [0.08 + 0.32 * (1 + math.cos(math.pi * k / 6)) / 2 for k in range(7)]
    assert ours == pytest.approx(expected)


def test_warm_up_then_linear():
    ours = rates(lambda o: WarmupDecay(o, 10, warmup_epochs=5, shape="linear"), 11)
    assert ours == pytest.approx([0.08, 0.16, 0.24, 0.32, 0.4, 0.4, 0.32, 0.24, 0.16, 0.08, 0.0])


def test_it_stays_at_the_end():
    assert rates(lambda o: WarmupDecay(o, 3, final_ratio=0.5), 6)[-3:] == pytest.approx([0.2] * 3)


def test_it_goes_on_from_a_safe_state(tmp_path):
    first, second = optimizer(), optimizer()
    schedule, resumed = WarmupDecay(first, 8, 2), WarmupDecay(second, 8, 2)
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
    "options",
    [
        {"epochs": 0},
        {"epochs": 5, "warmup_epochs": 5},
        {"epochs": 5, "warmup_epochs": -1},
        {"epochs": 5, "final_ratio": 1.5},
        {"epochs": 5, "final_ratio": float("nan")},
    ],
)
def test_numbers_that_do_not_fit(options):
    with pytest.raises(ConfigError, match=f"scheduler: epochs={options['epochs']}.*need 0 <= warmup_epochs < epochs"):
        WarmupDecay(optimizer(), **options)
