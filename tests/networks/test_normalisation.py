"""Batch-norm with an output scale, frozen statistics, recalibration."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparsenas.networks import NormOptions, ScaledBatchNorm, frozen_statistics

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
