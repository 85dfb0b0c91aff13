import math

import pytest
import torch

from sparsenas.errors import ConfigError
from sparsenas.sparse_coding import (
    make_dictionary,
    mutual_coherence,
)

SIZES = (14, 21, 28, 35)
KINDS = ("uniform", "gaussian", "low_coherence")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", KINDS)
def test_shape_padding_and_seed(kind):
    sizes = (3, 1, 5)
    dictionary = make_dictionary(kind, sizes, 4, seeded())
    assert dictionary.shape == (3, 4, 5)
    assert dictionary.dtype == torch.float64
    assert dictionary.device.type == "cpu"
    for block, size in enumerate(sizes):
        assert (dictionary[block, :, size:] == 0).all()
        assert (torch.linalg.vector_norm(dictionary[block, :, :size], dim=0) > 0).all()
    assert torch.equal(dictionary, make_dictionary(kind, sizes, 4, seeded()))
    assert not torch.equal(dictionary, make_dictionary(kind, sizes, 4, seeded(1)))


@pytest.mark.parametrize("kind", KINDS)
def test_draws_leave_the_global_generator_alone(kind):
    before = torch.random.get_rng_state()
    make_dictionary(kind, SIZES, 7, seeded())
    assert torch.equal(before, torch.random.get_rng_state())


def test_uniform_is_the_official_distribution():
    entries = make_dictionary("uniform", [2000], 7, seeded())
    assert 0 <= entries.min() < 0.001
    assert 0.999 < entries.max() < 1
    assert entries.mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("kind", ["gaussian", "low_coherence"])
def test_columns_have_unit_norm(kind):
    dictionary = make_dictionary(kind, SIZES, 7, seeded())
    for block, size in enumerate(SIZES):
        norms = torch.linalg.vector_norm(dictionary[block, :, :size], dim=0)
        torch.testing.assert_close(norms, torch.ones(size, dtype=torch.float64))


@pytest.mark.parametrize("m", [7, 8])
def test_low_coherence_is_far_below_its_gaussian_start_and_duplicates_nothing(m):
    start = mutual_coherence(make_dictionary("gaussian", SIZES, m, seeded()), SIZES)
    spread = mutual_coherence(make_dictionary("low_coherence", SIZES, m, seeded()), SIZES)
    assert (spread < 0.6 * start).all()
    # The best packings known at m = 7 have 0.277, 0.333, 0.333 and 0.43; equal columns would have coherence 1.
    assert (spread < 0.5).all()
    for value, size in zip(spread.tolist(), SIZES, strict=True):
        assert value >= math.sqrt((size - m) / (m * (size - 1))) - 1e-12  # Welch's bound


def test_low_coherence_reaches_the_28_equiangular_lines_in_7_dimensions():
    assert mutual_coherence(make_dictionary("low_coherence", [28], 7, seeded()), [28]).item() == pytest.approx(
        1 / 3, abs=1e-3
    )


@pytest.mark.parametrize("m", [1, 2, 9])
def test_low_coherence_of_few_candidates_is_orthogonal_if_it_fits(m):
    coherence = mutual_coherence(make_dictionary("low_coherence", [1, 2, 3], m, seeded()), [1, 2, 3])
    assert coherence[0] == 0
    assert (coherence[torch.tensor([1, 2, 3]) <= m] < 1e-3).all()


def test_coherence_is_the_largest_cosine_and_ignores_length_and_padding():
    dictionary = torch.tensor([[[2.0, 0.0, 3.0], [0.0, 1.0, 3.0]], [[1.0, 0.0, 0.0], [0.0, 5.0, 0.0]]]).double()
    torch.testing.assert_close(mutual_coherence(dictionary, [3, 2]), torch.tensor([0.5**0.5, 0.0]).double())


def test_official_dictionaries_are_as_coherent_as_measured():
    coherence = mutual_coherence(make_dictionary("uniform", SIZES * 10, 7, seeded()), SIZES * 10)
    assert 0.95 < coherence.mean() < 0.99


@pytest.mark.parametrize(
    ("kind", "sizes", "m", "message"),
    [
        ("sparse", [3], 4, r"dictionary is 'sparse'; choose one of uniform, gaussian, low_coherence"),
        ("uniform", [3], 0, r"m is 0; the compressed size is at least 1"),
        ("gaussian", [], 4, r"block sizes are \[\]; give at least one block"),
        ("low_coherence", [3, 0], 4, r"block sizes are \[3, 0\]; .* at least 1 candidate"),
    ],
)
def test_errors(kind, sizes, m, message):
    with pytest.raises(ConfigError, match=message):
        make_dictionary(kind, sizes, m, seeded())
