"""Latency tables: what is timed, what is kept, what is refused; and the budget made of them."""

import json
import re

import numpy as np
import pytest
import yaml
from PIL import Image

from sparsenas import runtimes
from sparsenas.api.shipped import shipped_configs
from sparsenas.cli import main
from sparsenas.cli.latency_check import latency_text
from sparsenas.errors import ConfigError
from sparsenas.latency import LatencyTable, LayerTimes, Line, candidates, measure_latency, read_latency
from sparsenas.networks import NetworkConfig, SuperNet
from sparsenas.search import Budget, TournamentSearch, TwoStageSearch
from sparsenas.search.size_band import SizeBand
from sparsenas.spaces import DartsSpace, NasBench201Space, StageSpace, WeightSharing64Space
from sparsenas.spaces.stage import ALL_TYPES

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
    assert min(map(min, table.candidates)) >= 0 < min(map(max, table.candidates))
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
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{target}: base ")
    assert re.fullmatch(r"measured on .+, cpu, torch [\d.+a-z]+, threads \d+", lines[1])
    assert re.fullmatch(r"a network .*: [\d.]+ ms predicted, [\d.]+ ms measured, ratio [\d.]+", lines[2])
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


def test_a_table_sums_to_the_network_it_was_made_with(monkeypatch):
    """Parts that take longer alone are scaled; the time of an empty call counts once."""
    alone = {"whole": 5.0, "nothing": 1.0}
    monkeypatch.setattr(candidates, "times", lambda runs, rounds, device: {kind: alone.get(kind, 4.0) for kind in runs})
    space = WeightSharing64Space()
    network = SuperNet(space, (1, 8, 8), 3, channels=4, cells=2)
    table = measure_latency(network)
    support = space.sample_support(np.random.default_rng(0))
    count = 2 * sum(map(len, support))  # in each of two cells
    assert (table.base, table.about["together"]) == (0.0, f"{5 / (3 * count):.2f}")
    assert table.latency(support) == pytest.approx(5.0)
    alone["whole"] = 100.0
    table = measure_latency(network)
    assert table.base == 100.0 - 3 * count
    assert table.candidates == ((6.0,) * len(space.blocks[0]),)


@pytest.mark.slow
def test_candidates_are_timed_in_onnxruntime(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    target = tmp_path / "mine.json"
    size = "--space weight_sharing64 --image_shape 1 8 8 --channels 4 --cells 1 --rounds 3 --runtime onnxruntime"
    assert main(["latency", *size.split(), "--to", str(target)]) == 0
    about = read_latency(target, WeightSharing64Space()).about
    assert (about["runtime"].split()[0], about["threads"]) == ("onnxruntime", "1")


def test_the_runtime_must_be_there(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None)
    assert main(["latency", "--runtime", "onnxruntime", "--to", str(tmp_path / "mine.json")]) == 2
    message = capsys.readouterr().err
    assert "the runtime onnxruntime needs onnx, onnxscript, onnxruntime: install them by pip install" in message


@pytest.mark.parametrize("config", ["search_two_stage_digits", "photos"])
def test_sizes_are_those_of_a_config(config, tmp_path, monkeypatch):
    """Of a search for a width, only the images count."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # restored afterwards; runs set it
    seen = []
    monkeypatch.setattr("sparsenas.cli.latency._candidates", lambda network, options: seen.append(network) or 0)
    monkeypatch.setattr("sparsenas.cli.latency._layers", lambda shape, device, options: seen.append(shape) or 0)
    for label in ("a", "b"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(12):
            pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    data = ["--data", str(tmp_path / "photos")] if config == "photos" else []
    assert main(["latency", "--config", config, *data, "--to", str(tmp_path / "mine.json")]) == 0
    (found,) = seen
    settings = yaml.safe_load(shipped_configs()[config].read_text(encoding="utf-8"))
    if config == "photos":
        assert found == (3, 32, 32)  # the smallest, for such images
    else:
        wanted = settings["model"]["init_args"]["network"]
        assert (found.size["image_shape"], found.size["num_classes"]) == ((1, 8, 8), 10)
        assert (found.size["channels"], found.size["cells"]) == (wanted["channels"], wanted["cells"])


def test_a_table_of_another_size_is_refused(tmp_path):
    """Its milliseconds are those of another network, however well the candidates' names fit."""
    space, target = WeightSharing64Space(), tmp_path / "mine.json"
    measured = SuperNet(space, (1, 8, 8), 3, channels=4, cells=2)
    measure_latency(measured, rounds=1).write(target, space)
    budget = Budget(max_latency_ms=100.0, latency_table=str(target))
    assert budget.of_network(measured) == budget.constraints(space)
    for shape, channels, cells in (((1, 8, 8), 8, 2), ((1, 8, 8), 4, 1), ((1, 16, 16), 4, 2)):
        size = f"{channels} channels, {cells} cells, images {'x'.join(map(str, shape))}"
        message = f"network of 4 channels, 2 cells, images 1x8x8, and this one has {size}: measure it anew"
        with pytest.raises(ConfigError, match=re.escape(message)):
            TwoStageSearch(shape, 3, space=space, network=NetworkConfig(channels, cells), budget=budget)


@pytest.mark.parametrize(("timed", "told"), [("1x8x8", False), ("3x96x96", True)])
def test_layers_that_were_timed_on_other_images_are_told(tmp_path, timed, told):
    """Times of layers hold at any size, but not as surely at all."""
    layers = ["head", *(f"{layer}{down}" for layer in ALL_TYPES for down in ("", "/stride", "/max_pool"))]
    times = LayerTimes(dict.fromkeys(layers, Line(0.1, 0.0, 0.0)), 0.0, {"images": timed})
    times.write(tmp_path / "times.json")
    budget = Budget(max_params=5000, max_latency_ms=10.0, latency_table=str(tmp_path / "times.json"))
    searcher = TournamentSearch((1, 8, 8), 3, StageSpace(stages=2, layers=2), budget=budget, genotype="resnet8")
    assert ("layers timed on images of 3x96x96 instead of 1x8x8" in latency_text(searcher)) == told


def test_after_a_search_the_prediction_stands_beside_a_measurement(table, path):
    config = NetworkConfig(channels=4, cells=2)
    budget = Budget(max_latency_ms=100.0, latency_table=str(path))
    searcher = TwoStageSearch((1, 8, 8), 3, space=WeightSharing64Space(), network=config, budget=budget)
    predicted = f"{table.latency(searcher.support):.3g} ms predicted by table.json, made on cpu; "
    text = latency_text(searcher)
    assert text.startswith(predicted)
    assert re.search(r"; [\d.]+ ms measured here in torch, cpu, threads 1$", text)
    path.unlink()
    assert latency_text(searcher).startswith(f"not compared with the table: {path}: no readable latency table")
    assert latency_text(TwoStageSearch((1, 8, 8), 3, space=WeightSharing64Space(), network=config)) is None
