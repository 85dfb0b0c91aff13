"""The index of the documentation names everything that a researcher could look for."""

import inspect
from pathlib import Path

import pytest

from sparsenas import data, search, spaces, sparse_coding, tables, zero_cost

INDEX = Path(__file__).parents[1] / "docs" / "index.md"


@pytest.mark.parametrize(
    ("room", "base"),
    [
        (search, search.Searcher),
        (search, search.PathSampling),
        (search, search.Relaxation),
        (search, search.Sampling),
        (search, search.Selection),
        (search, search.SettlingRule),
        (search, search.Signal),
        (sparse_coding, sparse_coding.CodeRegression),
        (sparse_coding, sparse_coding.Solver),
        (spaces, spaces.SearchSpace),
        (tables, tables.BenchmarkTable),
        (zero_cost, zero_cost.ZeroCostScore),
        (data, data.ImageData),
    ],
    ids=lambda value: value.__name__,
)
def test_the_index_names_every_class_of_a_kind(room, base):
    public = {name: getattr(room, name) for name in room.__all__}
    kinds = {name for name, value in public.items() if inspect.isclass(value) and issubclass(value, base)}
    kinds -= {base.__name__, "SearchModule"}
    text = INDEX.read_text(encoding="utf-8")
    assert kinds
    assert {name for name in kinds if f"`{name}`" not in text} == set()
