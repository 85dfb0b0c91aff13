"""Latency tables: what is timed, what is kept, what is refused; and the budget made of them."""

import json

import numpy as np
import pytest

from sparsenas.cli import main
from sparsenas.errors import ConfigError
from sparsenas.latency import LatencyTable, measure_latency, read_latency
from sparsenas.networks import SuperNet
from sparsenas.search import Budget
from sparsenas.search.size_band import SizeBand
from sparsenas.spaces import DartsSpace, NasBench201Space, WeightSharing64Space

SPACES = [DartsSpace(nodes=2), NasBench201Space(), WeightSharing64Space()]


@pytest.fixture
def table():
    space = WeightSharing64Space()
    (block,) = space.blocks
    return LatencyTable(space.name, (tuple(float(i) for i in range(len(block))),), 2.5, {"device": "cpu"})


@pytest.fixture
def path(table, tmp_path):
    table.write(tmp_path / "table.json", WeightSharing64Space())
    return tmp_path / "table.json"


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_every_candidate_takes_time_and_nothing_is_changed(space):
    network = SuperNet(space, (3, 8, 8), 10, channels=8, cells=3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    table = measure_latency(network, rounds=2)
    assert [len(row) for row in table.candidates] == [len(block) for block in space.blocks]
    assert min(map(min, table.candidates)) > 0
    assert table.base >= 0
    assert all(module.training for module in network.modules())
    assert all((tensor == before[name]).all() for name, tensor in network.state_dict().items())


def test_it_is_read_as_written(table, path):
    assert read_latency(path, WeightSharing64Space()) == table


def test_the_budget_holds_and_the_band_is_of_it(table, path):
    space = WeightSharing64Space()
    budget = Budget(max_latency_ms=18.0, latency_table=str(path))
    assert not budget.needs_costs
    constraints = budget.constraints(space)
    rng = np.random.default_rng(0)
    for support in (space.sample_support(rng) for _ in range(50)):
        assert constraints.allows(support) == (table.base + sum(support[0]) <= 18.0)
    band = SizeBand(space, constraints, ((0.0,) * 12,), 0.0, 0.8)
    assert band.effective_cost(band.largest) == 17.5  # the largest sum of one candidate per edge within 15.5
    drawn = band.draw(20, rng)
    assert all(0.8 * 17.5 <= table.base + sum(kept) <= 18.0 for (kept,) in drawn)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "other"}, "no latency table; its schema must be 'sparsenas.latency/1'"),
        ({"space": "darts"}, "a latency table of the space 'darts', not of 'weight_sharing64'"),
        ({"base": -1}, "a latency is -1; milliseconds are a number not below 0"),
        ({"base": "fast"}, "a latency is 'fast'"),
        ({"blocks": []}, r"no latency of max_pool_3x3 on edge 0->1 in the normal cell; measure the table anew"),
        ({"blocks": [{"cell": "normal"}]}, "a damaged latency table .'candidates'.; measure it anew"),
    ],
)
def test_a_table_that_does_not_fit(path, change, message):
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ConfigError, match=message):
        read_latency(path, WeightSharing64Space())


def test_no_table(tmp_path):
    with pytest.raises(ConfigError, match=r"no readable latency table .* write one by `python -m sparsenas latency`"):
        read_latency(tmp_path / "none.json", WeightSharing64Space())


@pytest.mark.parametrize("half", [{"max_latency_ms": 3.0}, {"latency_table": "table.json"}])
def test_a_limit_needs_a_table_and_a_table_a_limit(half):
    with pytest.raises(ConfigError, match="a limit needs a table, and a table a limit"):
        Budget(**half)


def test_the_command_writes_a_table_that_a_search_takes(tmp_path, capsys):
    target = tmp_path / "mine.json"
    size = "--space weight_sharing64 --image_shape 1 8 8 --channels 8 --cells 2 --rounds 1"
    assert main(["latency", *size.split(), "--to", str(target)]) == 0
    assert f"{target}: base " in capsys.readouterr().out
    table = read_latency(target, WeightSharing64Space())
    assert table.about["network"] == "8 channels, 2 cells, images 1x8x8"


@pytest.mark.parametrize(
    ("words", "message"),
    [("--rounds 0", "rounds is 0; both are at least 1"), ("--device moon", "--device moon: "), ("--cells 0", "cells")],
)
def test_impossible_options_of_the_command(tmp_path, capsys, words, message):
    size = "--space weight_sharing64 --image_shape 1 8 8 --channels 8"
    assert main(["latency", *size.split(), *words.split(), "--to", str(tmp_path / "mine.json")]) == 2
    assert message in capsys.readouterr().err
