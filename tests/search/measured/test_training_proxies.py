"""What training steps tell of an architecture."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from sparsenas.errors import ConfigError
from sparsenas.networks import NormOptions
from sparsenas.search.measured import ShortTraining, StepTime, training_proxies
from sparsenas.spaces import DartsSpace, WeightSharing64Space

WS64 = WeightSharing64Space()
SUPPORT, OTHER = (WS64.support(WS64.from_string(text)) for text in ("234", "111"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ShortTraining(steps=3), "steps=3, .*need at least 4 steps"),
        (lambda: ShortTraining(learning_rate=0.0), r"learning_rate=0\.0"),
        (lambda: ShortTraining(learning_rate=float("nan")), "learning_rate=nan"),
        (lambda: ShortTraining(weight_decay=-1.0), r"weight_decay=-1\.0"),
        (lambda: ShortTraining(warmup=-1), "warmup=-1"),
        (lambda: StepTime(steps=0), "step time: steps is 0; time at least 1"),
        (lambda: ShortTraining(gradient_clip=0.0), r"gradient_clip=0\.0"),
        (lambda: ShortTraining(pixels=0), "pixels=0, channels=None, cells=None; each is at least 1, or null"),
        (lambda: ShortTraining(channels=0), "channels=0"),
        (lambda: ShortTraining(cells=0), "cells=0"),
    ],
)
def test_numbers_out_of_range(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_training_longer_gives_a_smaller_loss(make_bench):
    bench = make_bench()
    few, many = (ShortTraining(steps, channels=4, cells=1)(SUPPORT, bench, 0) for steps in (4, 60))
    assert -np.log(10) * 1.3 < few < many < 0
    assert -many < 0.7 * np.log(10)


def test_the_same_seed_trains_the_same(make_bench):
    short = ShortTraining(6, cells=1)
    first = short(SUPPORT, make_bench(), 0)
    assert short(SUPPORT, make_bench(), 0) == first
    assert short(SUPPORT, make_bench(), 1) != first
    assert short(SUPPORT, make_bench(seed=1), 0) != first
    assert short(OTHER, make_bench(), 0) != first


def test_it_is_the_beginning_of_a_training(make_bench):
    """By a schedule of torch; the sixth step sees the sixth batch, the ninth the first one again."""
    bench, short = make_bench(), ShortTraining(40, learning_rate=0.05, warmup=4, gradient_clip=1.0, cells=1)
    network = bench.network(SUPPORT, 0, 8, cells=1).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=3e-4)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 0.25, total_iters=3)
    losses = []
    for step in range(40):
        images, labels = bench.batches[step % 8]
        loss = functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        warm.step()
        losses.append(loss.item())
    assert short(SUPPORT, bench, 0) == pytest.approx(-np.mean(losses[20:]), rel=1e-4)


def test_a_training_that_diverges_is_the_worst(make_bench):
    assert ShortTraining(8, learning_rate=1e30, cells=1)(SUPPORT, make_bench(), 0) == -np.inf


def test_the_time_of_a_step_is_that_of_the_fastest(make_bench, monkeypatch):
    """By a clock of ours: steps of 9 (not counted), 4, 2 and 3 seconds."""
    ticks = iter([0, 9, 10, 14, 20, 22, 30, 33])
    monkeypatch.setattr(training_proxies, "perf_counter", lambda: next(ticks))
    assert StepTime(steps=3)(SUPPORT, make_bench(), 0) == -2


def test_a_longer_network_takes_longer(make_bench):
    """Nine separable convolutions of 5x5 pixels against none: no noise of a machine turns that around."""
    space = DartsSpace()
    supports = []
    for primitive in ("skip_connect", "sep_conv_5x5"):
        genotype = DartsSpace(primitives=(primitive,)).sample(np.random.default_rng(0))
        supports.append(space.support(genotype))
    bench = make_bench(space, norms=NormOptions())
    with torch.no_grad():
        short, long = (StepTime()(support, bench, 0) for support in supports)
    assert long < short < 0
