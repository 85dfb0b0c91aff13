"""What the tests of networks share."""

import numpy as np
import pytest

from sparsenas.spaces import DartsSpace


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def small_space():
    """Two nodes and one primitive of each kind: pool, skip, separable and dilated convolution."""
    return DartsSpace(nodes=2, primitives=("avg_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3"))
