"""Batch-norm with an output scale, frozen statistics, recalibration."""

import copy
import math
from threading import Barrier, Thread

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparsenas.networks import (
    NormOptions,
    ScaledBatchNorm,
    forget_statistics,
    frozen_statistics,
    horizon,
    recalibrate,
    young_norms,
)

CHANNELS = 5
SCALES = [0.7, -1.3, 0.0, None]


def pair(affine=True, track=True, momentum=0.1, dtype=torch.float64):
    """A scaled batch-norm and a plain one with the same random state."""
    generator = torch.Generator().manual_seed(0)
    ours = ScaledBatchNorm(CHANNELS, affine=affine, track_running_stats=track, momentum=momentum, dtype=dtype)
    plain = nn.BatchNorm2d(CHANNELS, affine=affine, track_running_stats=track, momentum=momentum, dtype=dtype)
    for name, tensor in ours.state_dict().items():
        if name != "num_batches_tracked":
            tensor.copy_(torch.rand(CHANNELS, generator=generator) + 0.5)
    plain.load_state_dict(ours.state_dict())
    return ours, plain


def images(seed, dtype=torch.float64):
    return torch.randn(4, CHANNELS, 3, 6, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2 + 1


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("track", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_equals_scale_times_batch_norm(training, affine, track, momentum, scale):
    ours, plain = pair(affine, track, momentum)
    ours.train(training)
    plain.train(training)
    factor = None if scale is None else torch.tensor(scale, dtype=torch.float64)
    for seed in range(3):
        x = images(seed)
        torch.testing.assert_close(
            ours(x, factor), (1.0 if scale is None else scale) * plain(x), rtol=1e-12, atol=1e-12
        )
    for name, tensor in plain.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name


def test_equals_functional_batch_norm():
    ours, _ = pair()
    x = images(0)
    expected = -2 * functional.batch_norm(x, ours.running_mean, ours.running_var, ours.weight, ours.bias, eps=ours.eps)
    torch.testing.assert_close(ours.eval()(x, torch.tensor(-2.0, dtype=torch.float64)), expected)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_equal_finite_differences(training, affine):
    ours, _ = pair(affine)
    ours.train(training)
    x = images(1)[:2].requires_grad_()
    scale = torch.tensor(-0.8, dtype=torch.float64, requires_grad=True)
    with frozen_statistics(ours):
        assert torch.autograd.gradcheck(lambda x, scale: ours(x, scale), (x, scale))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("training", [True, False])
def test_frozen_statistics(training, scale):
    ours, plain = pair()
    plain.train(training)
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    factor = None if scale is None else torch.tensor(scale, dtype=torch.float64)
    with frozen_statistics(ours.train(training)):
        frozen = ours(images(0), factor)
    torch.testing.assert_close(frozen, (1.0 if scale is None else scale) * plain(images(0)))
    assert all(torch.equal(tensor, before[name]) for name, tensor in ours.state_dict().items())
    assert ours.track_running_stats


def test_frozen_statistics_end_after_an_error_and_leave_untracked_norms_alone():
    norms = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2, track_running_stats=False))
    with pytest.raises(ZeroDivisionError), frozen_statistics(norms):
        raise ZeroDivisionError
    assert [norm.track_running_stats for norm in norms] == [True, False]


def test_norm_options_make_the_layer():
    layer = NormOptions(affine=False, track=False).layer(7)
    assert (layer.num_features, layer.affine, layer.track_running_stats) == (7, False, False)
    assert not list(layer.parameters())
    assert not list(layer.buffers())


@pytest.mark.parametrize("momentum", [0.01, 0.1, 0.5, 0.99])
def test_at_the_horizon_a_running_average_has_forgotten_its_start(momentum):
    norm = nn.BatchNorm2d(1, momentum=momentum)
    still = nn.BatchNorm2d(1, momentum=momentum).double()
    x = torch.full((2, 1, 1, 1), 7.0, dtype=torch.float64)  # of variance 0
    for _ in range(int(horizon(norm)) - 1):
        still(x)
    assert float(still.running_var) > 1e-5
    still(x)
    assert float(still.running_var) <= 1e-5


def test_averages_that_never_forget_or_never_move():
    assert [horizon(nn.BatchNorm2d(1, momentum=m)) for m in (None, 0.0, 1.0)] == [math.inf, 0, 1]


@pytest.mark.parametrize(("momentum", "until"), [(0.9, 5), (1.0, 1), (0.0, 0), (None, math.inf)])
def test_statistics_are_young_up_to_their_horizon(momentum, until):
    norm = ScaledBatchNorm(2, momentum=momentum)
    network = nn.Sequential(norm, nn.BatchNorm2d(2, track_running_stats=False))
    for age in range(7):
        assert young_norms(network) == ([norm] if 0 < age < until else [])
        network(torch.randn(3, 2, 2, 2))
    with frozen_statistics(network):
        network(torch.randn(3, 2, 2, 2))
    assert norm.num_batches_tracked == 7
    forget_statistics(network)
    assert young_norms(network) == []
    assert young_norms(nn.Sequential(nn.ReLU())) == []


def chain(dtype=torch.float64):
    """Convolutions and batch-norms, the last of which no image meets."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), ScaledBatchNorm(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)]
    network = nn.Sequential(*layers).to(dtype)
    network.append(nn.Identity())
    network[-1].apart = nn.BatchNorm2d(5).to(dtype)
    return network


def pictures(sizes, dtype=torch.float64, shift=0.0):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(size, 3, 8, 7, generator=generator, dtype=dtype) * 2 + shift + size for size in sizes]


def norms_of(network):
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def alone(x):
    return x


class TestRecalibration:
    def test_statistics_are_those_of_all_values_a_norm_meets(self):
        """Met in training mode, by batches of different sizes; collected by another program."""
        network, batches = chain(), pictures([5, 1, 3])
        other = copy.deepcopy(network)
        other[3].p = 0.0
        met = {1: [], 5: []}
        for index, values in met.items():
            other[index].register_forward_pre_hook(lambda _, args, values=values: values.append(args[0].detach()))
        for batch in batches:
            other(batch)
        recalibrate(network, norms_of(network), batches, network, alone)
        for index, values in met.items():
            every = torch.cat([x.transpose(0, 1).flatten(1) for x in values], dim=1)
            torch.testing.assert_close(network[index].running_mean, every.mean(1), rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(network[index].running_var, every.var(1), rtol=1e-12, atol=1e-12)

    def test_of_one_batch_they_are_those_of_a_training_step_with_momentum_one(self):
        network, (batch,) = chain(), pictures([6])
        other = copy.deepcopy(network)
        other[3].p = 0.0
        for norm in norms_of(other):
            norm.momentum = 1.0
        other(batch)
        recalibrate(network, norms_of(network), [batch], network, alone)
        for ours, theirs in zip(norms_of(network), norms_of(other), strict=True):
            torch.testing.assert_close(ours.running_mean, theirs.running_mean, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=1e-12, atol=1e-12)

    def test_far_from_zero_no_digits_are_lost(self):
        network, batches = nn.Sequential(nn.BatchNorm2d(3)), pictures([50, 50], torch.float32, 3000.0)
        recalibrate(network, norms_of(network), batches, network, alone)
        every = torch.cat(batches).double().transpose(0, 1).flatten(1)
        torch.testing.assert_close(network[0].running_var.double(), every.var(1), rtol=1e-3, atol=0)

    def test_all_else_stays(self):
        network = chain()
        network[4].eval()
        before, random = copy.deepcopy(network.state_dict()), torch.get_rng_state()
        recalibrate(network, norms_of(network)[1:], pictures([4]), network, alone)
        changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
        assert changed == {"5.running_mean", "5.running_var"}
        assert [module.training for module in network] == [True, True, True, True, False, True, True]
        assert all(norm.track_running_stats for norm in norms_of(network))
        assert torch.equal(torch.get_rng_state(), random)

    def test_after_an_error_everything_is_as_before(self):
        network = chain()
        before = copy.deepcopy(network.state_dict())

        def fail(x):
            network(x)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            recalibrate(network, norms_of(network), pictures([4]), fail, alone)
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
        assert network.training
        assert not any(norm._forward_pre_hooks for norm in norms_of(network))

    def test_processes_get_the_statistics_of_all_their_images(self):
        """Also where one has fewer batches."""
        batches = pictures([5, 1, 3])
        together, *ranks = chain(), chain(), chain()
        recalibrate(together, norms_of(together), batches, together, alone)
        barrier, parts = Barrier(2), [None, None]

        def run(rank, own):
            def add_up(tensor):
                parts[rank] = tensor
                barrier.wait()
                total = parts[0] + parts[1]
                barrier.wait()
                return total

            recalibrate(ranks[rank], norms_of(ranks[rank]), own, ranks[rank], add_up)

        threads = [Thread(target=run, args=(0, batches[:2])), Thread(target=run, args=(1, batches[2:]))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name, tensor in together.state_dict().items():
            assert torch.equal(ranks[0].state_dict()[name], ranks[1].state_dict()[name]), name
            torch.testing.assert_close(ranks[0].state_dict()[name], tensor, rtol=1e-12, atol=1e-12)
