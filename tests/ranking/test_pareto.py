"""Pareto sets: their definition, on random items."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sparsenas.errors import RankingError
from sparsenas.ranking import non_dominated

ITEMS = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(0, 3))


@given(ITEMS)
def test_it_is_what_the_definition_says(items):
    expected = [not any((other >= item).all() and (other > item).any() for other in items) for item in items]
    assert non_dominated(items).tolist() == expected
    assert any(expected)


@given(ITEMS)
def test_what_is_outside_is_dominated_from_inside(items):
    inside = non_dominated(items)
    for item in items[~inside]:
        assert any((other >= item).all() and (other > item).any() for other in items[inside])


def test_figures_that_are_no_numbers_are_refused():
    with pytest.raises(RankingError):
        non_dominated([[1.0, np.nan]])
