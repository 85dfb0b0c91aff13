"""What is measured of an architecture, and that nothing else changes by it."""

import random

import numpy as np
import pytest
import torch
from torch.nn import functional

from sparsenas.complexity import count_macs, count_parameters, effective_support
from sparsenas.errors import ConfigError
from sparsenas.networks import DerivedNet, NormOptions
from sparsenas.search.measured import (
    EffectiveCost,
    Measured,
    Measuring,
    Proxy,
    ShortTraining,
    ZeroCost,
    measure,
)
from sparsenas.spaces import NasBench201Space, WeightSharing64Space
from sparsenas.zero_cost import JacobianCovariance, Naswot, SynFlow, Trainability, ZeroCostScore

NB201, WS64 = NasBench201Space(), WeightSharing64Space()
(NB201_BLOCK,) = NB201.blocks
SUPPORT, OTHER = (WS64.support(WS64.from_string(text)) for text in ("234", "111"))


class Constant(Proxy):
    """Gives what it is told, and remembers the repeats."""

    name = "constant"

    def __init__(self, value=1.0):
        self.value, self.asked = value, []

    def __call__(self, support, bench, repeat):
        self.asked.append(repeat)
        return self.value


class Once(Constant):
    name = "once"
    repeatable = False


class Seen(ZeroCostScore):
    """Keeps the network and the images, and gives a weight."""

    def __init__(self):
        self.calls = []

    def __call__(self, network, images):
        self.calls.append((network, images))
        return network.classifier.weight.flatten()[0].item()


class SeenToo(Seen):
    """Another of the kind: one alone cannot be named twice."""


def random_states():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()


@pytest.mark.parametrize("unit", ["parameters", "macs"])
def test_effective_cost_is_that_of_the_network_without_dead_edges(make_bench, unit, drawn):
    bench = make_bench(NB201, norms=NormOptions(affine=True, track=True))
    base = getattr(bench.costs, f"base_{unit}")
    for support in drawn(NB201, 12):
        (live,) = effective_support(NB201, support)
        lively = [
            candidate if index in live else candidate._replace(primitive="none")
            for index, candidate in ((i, NB201_BLOCK.candidates[i]) for i in support[0])
        ]
        genotype = NB201.genotype((tuple(map(NB201_BLOCK.candidates.index, lively)),))
        network = DerivedNet(genotype, (1, 8, 8), 10, 4, 3, norms=bench.norms)
        cost = count_parameters(network) if unit == "parameters" else count_macs(network, (1, 8, 8))
        assert EffectiveCost(unit)(support, bench, 0) + base == cost


def test_a_score_is_of_new_weights_on_the_images_of_the_repeat(make_bench):
    bench, score = make_bench(), Seen()
    proxy = ZeroCost(score, images=8)
    values = [proxy(SUPPORT, bench, repeat) for repeat in (0, 1, 0, 8)]
    assert values[0] == values[2]
    assert len(set(values)) == 3  # the eighth repeat has the first images again, but other weights
    for repeat, (network, images) in zip((0, 1, 0, 0), score.calls, strict=True):
        assert torch.equal(images, bench.batches[repeat][0][:8])
        assert network.genotype == WS64.genotype(SUPPORT)
        assert network.size == bench.size
    assert proxy.name == "Seen"


def test_weights_of_neighbouring_seeds_are_not_shared(make_bench):
    weights = [
        ZeroCost(Seen(), images=8)(SUPPORT, make_bench(seed=seed), repeat) for seed in range(3) for repeat in range(3)
    ]
    assert len(set(weights)) == 9


def test_scores_may_look_at_smaller_images(make_bench):
    bench, score = make_bench(), Seen()
    ZeroCost(score, pixels=4, images=16)(SUPPORT, bench, 0)
    ((network, images),) = score.calls
    torch.testing.assert_close(images, functional.avg_pool2d(bench.batches[0][0][:16], 2))
    assert network.size["image_shape"] == (1, 4, 4)
    assert network.size["cells"] == bench.size["cells"]


def test_the_network_of_a_bench_may_be_smaller(make_bench):
    network = make_bench().network(SUPPORT, 0, 4, channels=2, cells=1)
    alone = DerivedNet(WS64.genotype(SUPPORT), (1, 4, 4), 10, 2, 1, norms=NormOptions(track=False))
    assert [p.shape for p in network.parameters()] == [p.shape for p in alone.parameters()]


def test_too_few_images(make_bench):
    proxy = ZeroCost(Naswot(), images=33)
    with pytest.raises(
        ConfigError, match=r"Naswot: images is 33, but a batch has 32: set data\.batch_size to at least as many"
    ):
        proxy(SUPPORT, make_bench(), 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ZeroCost(SynFlow(), images=1), "SynFlow: images is 1, .*need at least 2 images and 1 pixel"),
        (lambda: ZeroCost(SynFlow(), pixels=0), "pixels is 0; need at least 2 images and 1 pixel"),
    ],
)
def test_numbers_out_of_range(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_scores_of_a_repeat_share_a_network_and_trainings_do_not(make_bench):
    bench, first, second = make_bench(), Seen(), SeenToo()
    proxies = [ZeroCost(first, images=8), ShortTraining(4, cells=3), ZeroCost(second, images=8)]
    measure(SUPPORT, bench, Measuring(proxies=proxies), train=False)
    assert [call[0] for call in first.calls] == [call[0] for call in second.calls]
    assert first.calls[0][0] is not first.calls[1][0]
    fresh = bench.network(SUPPORT, 0, 8).state_dict()
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in first.calls[0][0].state_dict().items())


@pytest.mark.parametrize("gradients", [True, False])
def test_measuring_changes_nothing(make_bench, gradients, drawn):
    """Not the random numbers of others, not the images; gradients may be off."""
    bench = make_bench(NB201)
    before = [(images.clone(), labels.clone()) for images, labels in bench.batches]
    options = Measuring(
        proxies=[
            *(ZeroCost(score, images=8) for score in (JacobianCovariance(norms="auto"), Naswot(), SynFlow())),
            ZeroCost(Trainability(), images=8),
            EffectiveCost(),
        ],
        training=ShortTraining(4),
    )
    support, states = drawn(NB201, 1)[0], random_states()
    expected = measure(support, bench, options, train=True)
    with torch.set_grad_enabled(gradients):
        assert measure(support, bench, options, train=True) == expected
    assert random_states() == states
    for (images, labels), (old_images, old_labels) in zip(bench.batches, before, strict=True):
        assert torch.equal(images, old_images)
        assert torch.equal(labels, old_labels)
        assert not images.requires_grad


def test_what_cannot_be_repeated_is_measured_once():
    again, once = Constant(1.5), Once(2.5)
    options = Measuring(proxies=[again, once], repeats=3)
    assert measure(SUPPORT, None, options, train=True) == Measured(((1.5,) * 3, (2.5,) * 3), None)
    assert (again.asked, once.asked) == ([0, 1, 2], [0])


def test_only_what_shall_be_trained_is(make_bench):
    options = Measuring(proxies=[Constant()], training=ShortTraining(4, cells=1))
    assert measure(SUPPORT, make_bench(), options, train=False).trained is None
    trained = measure(SUPPORT, make_bench(), options, train=True).trained
    assert trained == ShortTraining(4, cells=1)(SUPPORT, make_bench(), 0)


def test_a_proxy_without_a_number_is_named(make_bench):
    options = Measuring(proxies=[Constant(float("nan"))])
    with pytest.raises(ConfigError, match=r"constant gives NaN for the architecture .*; scores are numbers or"):
        measure(SUPPORT, make_bench(), options, train=False)
    assert measure(SUPPORT, None, Measuring(proxies=[Constant(-np.inf)]), False).values == ((-np.inf,) * 2,)
