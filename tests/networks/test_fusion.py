"""Folding batch-norm into convolutions changes the modules, not the function."""

from itertools import product

import pytest
import torch
from torch import nn

from sparsenas.networks import PRIMITIVES, DerivedNet, NormOptions, Operation, ScaledBatchNorm, fuse_batchnorm
from sparsenas.spaces import Candidate, Genotype


def settle(network, seed=0):
    """Give every batch-norm statistics, gammas of both signs and betas, as a trained and folded network has them."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            shape = (module.num_features,)
            if module.running_mean is not None:
                module.running_mean.copy_(torch.randn(shape, generator=generator))
                module.running_var.copy_(torch.rand(shape, generator=generator) + 0.5)
            if module.affine:
                module.weight.data = torch.randn(shape, generator=generator)
                module.bias.data = torch.randn(shape, generator=generator)
    return network.eval()


#: Every operation ends in a batch-norm.
EVERYWHERE = NormOptions(append="pools_and_skips")


def network_of(primitive, stem="small", image_shape=(1, 9, 10), channels=4, norms=EVERYWHERE):
    """Three cells, two of them reducing, that hold one primitive only: with stride 1 and with stride 2."""
    cells = {
        cell: [Candidate(2, 0, primitive), Candidate(2, 1, primitive), Candidate(3, 2, primitive)]
        for cell in ("normal", "reduce")
    }
    genotype = Genotype.build("darts", cells)
    torch.manual_seed(0)
    return settle(DerivedNet(genotype, image_shape, 3, channels, 3, stem, norms=norms))


def count(network, kind):
    return sum(isinstance(module, kind) for module in network.modules())


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("append", ["none", "pools_and_skips"])
@pytest.mark.parametrize("primitive", PRIMITIVES)
def test_logits_stay_the_same(primitive, append, affine):
    network = network_of(primitive, norms=NormOptions(affine=affine, append=append)).double()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    images = torch.randn(3, 1, 9, 10, dtype=torch.float64)
    fused = fuse_batchnorm(network)
    torch.testing.assert_close(fused(images), network(images), rtol=1e-9, atol=1e-9)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert count(fused, nn.Module) < count(network, nn.Module)


@pytest.mark.parametrize(("stem", "side"), [("small", 8), ("cifar", 8), ("imagenet", 64)])
def test_every_stem_is_fused_in_single_precision_too(stem, side):
    network = network_of("sep_conv_3x3", stem, (3, side, side))
    images = torch.randn(4, 3, side, side)
    fused = fuse_batchnorm(network)
    assert not count(fused, nn.BatchNorm2d)
    with torch.no_grad():
        expected = network(images)
        assert (fused(images) - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))


def test_only_norms_behind_convolutions_go():
    for primitive, append in product(PRIMITIVES, ("none", "pools_and_skips")):
        network = network_of(primitive, norms=NormOptions(append=append))
        kept = [m for m in fuse_batchnorm(network).modules() if isinstance(m, Operation) and m.norm is not None]
        bare = [
            m for m in network.modules()
            if isinstance(m, Operation) and isinstance(m.body, nn.MaxPool2d | nn.AvgPool2d | nn.Identity) and m.norm
        ]  # fmt: skip
        assert len(kept) == len(bare), primitive


def test_parameters_fall_by_one_per_channel_and_fused_norm():
    network = network_of("sep_conv_3x3")
    gone = sum(m.num_features for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    before, after = (sum(p.numel() for p in n.parameters()) for n in (network, fuse_batchnorm(network)))
    assert before - after == gone


def test_norms_without_running_statistics_stay():
    network = network_of("sep_conv_3x3", norms=NormOptions(affine=False, track=False))
    images = torch.randn(3, 1, 9, 10)
    fused = fuse_batchnorm(network)
    assert count(fused, ScaledBatchNorm) == count(network, ScaledBatchNorm)
    torch.testing.assert_close(fused(images), network(images))


class Doubled(nn.Sequential):
    """Runs its parts in an order of its own, so that nothing inside may be fused."""

    def forward(self, x):
        return self[1](self[1](self[0](x)))


@pytest.mark.parametrize(
    ("body", "norms_left"),
    [
        (nn.Conv2d(4, 4, 3, padding=1), 0),
        (nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)), 0),
        (nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()), 2),
        (Doubled(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)), 2),
        (nn.Sequential(), 1),
        (nn.ConvTranspose2d(4, 4, 3, padding=1), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_operations_of_ones_own(monkeypatch, body, norms_left):
    def make(channels, stride, norms):
        return Operation(body, norms.layer(channels))

    monkeypatch.setitem(PRIMITIVES, "own", make)
    skips = [Candidate(2, 0, "skip_connect"), Candidate(2, 1, "skip_connect")]
    genotype = Genotype.build("darts", {"normal": [Candidate(2, 0, "own")], "reduce": skips})
    network = settle(DerivedNet(genotype, (1, 8, 8), 3, 4, 3, "small")).double()
    images = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    fused = fuse_batchnorm(network)
    torch.testing.assert_close(fused(images), network(images))
    assert count(fused.cells[0].operations["0_2_own"], nn.BatchNorm2d) == norms_left
