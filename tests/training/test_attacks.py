"""Attacks keep to their ball and to what pixels can be, raise the loss, and are those of another implementation."""

import warnings

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from sparsenas.errors import ConfigError
from sparsenas.training.attacks import Attack, PixelScale

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own imports
    import foolbox

MEAN, STD = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.3])
SCALE = PixelScale.of(MEAN, STD)


def normalised(pixels):
    return (pixels - MEAN[:, None, None]) / STD[:, None, None]


def pixels_of(images):
    return images * STD[:, None, None] + MEAN[:, None, None]


@pytest.fixture
def body():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = (nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 64, 5))
    return nn.Sequential(*layers).eval()


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(16, 3, 8, 8, generator=generator)
    pixels[0], pixels[1] = 0.0, 1.0  # at the ends of the range
    return pixels, torch.randint(5, (16,), generator=generator)


def changed(attack, body, pixels, labels, seed=0):
    images = normalised(pixels)
    start = attack.start(images, SCALE, torch.Generator().manual_seed(seed))
    loss = lambda point: functional.cross_entropy(body(point), labels)  # noqa: E731
    return images, attack.change(images, loss, SCALE, start), loss


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    epsilon=st.floats(0, 255),
    steps=st.integers(1, 4),
    step_size=st.none() | st.floats(0.01, 500),
    random_start=st.booleans(),
    seed=st.integers(0, 99),
)
def test_changes_keep_to_the_ball_and_the_range(body, batch, epsilon, steps, step_size, random_start, seed):
    attack = Attack(epsilon, steps, step_size, random_start)
    images, change, _ = changed(attack, body, *batch, seed)
    levels = 255 * change * STD[:, None, None]
    assert levels.abs().max() <= epsilon + 1e-3
    pixels = pixels_of(images + change)
    assert pixels.min() >= -1e-6
    assert pixels.max() <= 1 + 1e-6


@pytest.mark.parametrize("attack", [Attack(8, 1, random_start=False), Attack(8), Attack(8, 10), Attack(2, 3)])
def test_the_loss_rises(body, batch, attack):
    images, change, loss = changed(attack, body, *batch)
    assert loss(images + change) > loss(images) + 0.01 * attack.epsilon


def test_more_steps_find_more(body, batch):
    losses = []
    for attack in (Attack(16, 1, random_start=False), Attack(16, 10), Attack(16, 50)):
        images, change, loss = changed(attack, body, *batch)
        losses.append(float(loss(images + change).detach()))
    assert losses[0] <= losses[1] + 1e-3
    assert losses[1] <= losses[2] + 1e-3


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_agrees_with_foolbox(body, batch, steps):
    """An implementation that knows pixels in [0, 1] and normalises by itself."""
    pixels, labels = batch
    attack = Attack(8, steps, random_start=False)
    _, change, _ = changed(attack, body, pixels, labels)
    normalisation = {"mean": MEAN.tolist(), "std": STD.tolist(), "axis": -3}
    model = foolbox.PyTorchModel(body, bounds=(0, 1), preprocessing=normalisation)
    theirs = foolbox.attacks.LinfPGD(abs_stepsize=attack.step / 255, steps=steps, random_start=False)
    found, _, _ = theirs(model, pixels, labels, epsilons=8 / 255)
    torch.testing.assert_close(pixels_of(normalised(pixels) + change), found, atol=1e-5, rtol=0)


def test_a_gradient_that_is_no_number_moves_nothing():
    images = torch.zeros(2, 3, 4, 4)
    gradient = torch.full_like(images, torch.nan)
    gradient[1] = 1.0
    change = Attack(8, random_start=False).stepped(images, torch.zeros_like(images), gradient, SCALE)
    assert not change[0].any()
    assert (change[1] > 0).all()


def test_no_gradient_flows_through_the_change(body, batch):
    pixels, labels = batch
    images = normalised(pixels).requires_grad_()
    weight = torch.ones((), requires_grad=True)
    change = Attack(8, 2, random_start=False).change(
        images.detach(), lambda point: functional.cross_entropy(weight * body(point), labels), SCALE, torch.zeros(())
    )
    assert not change.requires_grad
    assert weight.grad is None
    assert all(parameter.grad is None for parameter in body.parameters())


@pytest.mark.parametrize(
    ("attack", "step", "text"),
    [
        (Attack(8, 1, random_start=False), 8, "FGSM, 8/255, steps of 8/255 from the image"),
        (Attack(8), 10, "FGSM, 8/255, steps of 10/255 from a random start"),
        (Attack(8, 10), 2, "PGD-10, 8/255, steps of 2/255 from a random start"),
        (Attack(0.5, 5, 0.25), 0.25, "PGD-5, 0.5/255, steps of 0.25/255 from a random start"),
    ],
)
def test_lengths_of_steps_are_those_of_the_papers(attack, step, text):
    assert attack.step == step
    assert str(attack) == text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": -1}, "epsilon is -1, a number of the 255 levels of a pixel: use 8 for 8/255, and at most 255"),
        ({"epsilon": 256}, "epsilon is 256, a number of the 255 levels of a pixel: use 8 for 8/255, and at most 255"),
        ({"epsilon": float("nan")}, "epsilon is nan"),
        ({"steps": 0}, "steps of an attack are 0; use a whole number from 1 on"),
        ({"step_size": 0.0}, "step_size of an attack is 0.0; use a positive number of levels, or null"),
    ],
)
def test_impossible_attacks_are_refused(options, message):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        Attack(**options)
