"""A blueprint builds a network with the same tensors."""

from itertools import product

import pytest
import torch

from sparsenas.export import Blueprint
from sparsenas.networks import NormOptions
from sparsenas.spaces import DartsSpace

NORMS = [NormOptions(affine, True, append) for affine, append in product([True, False], ["none", "pools_and_skips"])]


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("norms", [*NORMS, NormOptions(append="pools"), NormOptions(False, False)], ids=str)
@pytest.mark.parametrize("only", ["max_pool_3x3", "skip_connect", None])
def test_norms_and_primitives(make_network, norms, only, fused):
    space = DartsSpace(nodes=2, primitives=(only,)) if only else None
    assert_rebuilt(make_network(norms=norms, space=space), (1, 8, 8), fused)


@pytest.mark.parametrize("cells", [1, 2, 3, 4])
@pytest.mark.parametrize(("stem", "side"), [("small", 8), ("cifar", 12), ("imagenet", 64)])
@pytest.mark.parametrize("channels", [2, 5])
def test_sizes(make_network, cells, stem, side, channels):
    network = make_network(image_shape=(3, side, side), cells=cells, stem=stem, channels=channels)
    blueprint = Blueprint.of(network)
    assert (blueprint.channels, blueprint.cells, blueprint.stem) == (channels, cells, stem)
    assert_rebuilt(network, (3, side, side), False)


def assert_rebuilt(network, image_shape, fused):
    blueprint = Blueprint.of(network, fused)
    state = torch.get_rng_state()
    rebuilt = blueprint.build()
    assert torch.equal(torch.get_rng_state(), state)
    assert not rebuilt.training
    if not fused:
        rebuilt.load_state_dict(network.state_dict())
        images = torch.randn(2, *image_shape)
        torch.testing.assert_close(rebuilt(images), network(images), rtol=1e-4, atol=1e-4)
