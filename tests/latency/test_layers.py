"""Times of layers at any width: what is fitted, what is kept, what fills a budget."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from sparsenas.cli import main
from sparsenas.complexity import Complexity, network_cost
from sparsenas.errors import ConfigError
from sparsenas.latency import LayerTimes, Line, measure_layers, read_layer_times
from sparsenas.latency.layers import HEAD, _layers
from sparsenas.limits import Limits
from sparsenas.networks import CHANNEL_GRID, DerivedNet, NetworkConfig
from sparsenas.spaces import REFERENCES, StageSpace, read_genotype
from sparsenas.spaces.stage import ALL_TYPES, DOWNSAMPLINGS, Layer
from sparsenas.training import StandAloneTraining, WeightTraining

SHAPE = (3, 16, 16)
LINE = {"fixed": -1, "per_mac": 0, "per_value": 0}
FILLED = NetworkConfig(channels=None, cells=None)
KINDS = [str(Layer(type, down)) for type in ALL_TYPES for down in (None, *DOWNSAMPLINGS)]


@pytest.fixture
def times():
    rng = np.random.default_rng(0)
    rows = rng.uniform(0.5, 1.5, (len(KINDS), 3)) * [0.05, 1e-8, 1e-6]
    return LayerTimes(
        {**{kind: Line(*row) for kind, row in zip(KINDS, rows, strict=True)}, HEAD: Line(0.02, 0, 0)}, 0.1, {}
    )


@pytest.fixture
def path(times, tmp_path):
    times.write(tmp_path / "times.json")
    return str(tmp_path / "times.json")


def test_they_are_read_as_written(times, path):
    assert read_layer_times(path) == times


def test_the_time_of_a_chain_is_the_sum_over_its_layers(times):
    """Counted by hand for two layers and the head."""
    genotype = StageSpace(stages=1, layers=1, types=["conv_5x5"], growths=[2.0]).sample(np.random.default_rng(0))
    stem, layer, head = times.lines["conv_3x3"], times.lines["conv_5x5"], times.lines[HEAD]
    by_hand = stem(27 * 4 * 256, (3 + 4) * 256) + layer(25 * 4 * 8 * 256, (4 + 8) * 256) + head(80, 8)
    assert times.latency(genotype, SHAPE, 10, 4) == pytest.approx(by_hand)


def test_all_macs_of_a_network_are_those_of_its_layers_and_its_head(times):
    rng = np.random.default_rng(0)
    ones = LayerTimes({name: Line(0.0, 1.0, 0.0) for name in times.lines}, 0.0, {})
    for _ in range(100):
        genotype, channels = StageSpace(layers=4).sample(rng), 2 * int(rng.integers(1, 20))
        macs = network_cost(genotype, SHAPE, 10, channels, FILLED).macs
        assert ones.latency(genotype, SHAPE, 10, channels) == macs


def test_the_widest_network_within_all_limits_is_taken(times, path):
    rng = np.random.default_rng(1)
    deciding = set()
    for _ in range(300):
        genotype = StageSpace().sample(rng)
        numbers = {"max_params": rng.uniform(2e4, 2e6), "max_macs": rng.uniform(1e6, 1e8)}
        limits = Limits(**numbers, max_latency_ms=rng.uniform(1, 2), latency_table=path)
        width = limits.fill(genotype, SHAPE, 10, FILLED)
        for channels, kept in ((width, True), (width + CHANNEL_GRID, False)):
            cost = network_cost(genotype, SHAPE, 10, channels, FILLED)
            broken = {
                "params": cost.parameters > limits.max_params,
                "macs": cost.macs > limits.max_macs,
                "ms": times.latency(genotype, SHAPE, 10, channels) > limits.max_latency_ms,
            }
            assert any(broken.values()) != kept
            deciding |= {name for name, wrong in broken.items() if wrong}
    assert deciding == {"params", "macs", "ms"}


def test_a_table_that_was_measured_anew_counts(times, path):
    genotype = REFERENCES["vgg_like"].genotype
    limits = Limits(max_latency_ms=1.0, latency_table=path)
    before = limits.fill(genotype, SHAPE, 10, FILLED)
    lines = {name: Line(*(np.array(line) / 2)) for name, line in times.lines.items()}
    replace(times, lines=lines).write(path)
    assert limits.fill(genotype, SHAPE, 10, FILLED) > before


@pytest.mark.slow
def test_measured_lines_tell_the_order_of_layers():
    times = measure_layers((3, 8, 8), torch.device("cpu"), rounds=2)
    assert set(times.lines) == {*KINDS, HEAD}
    assert times.error < 0.5
    genotype = REFERENCES["resnet8"].genotype
    assert 0 < times.latency(genotype, SHAPE, 10, 8) < times.latency(genotype, SHAPE, 10, 64)


def test_a_training_keeps_the_latency(path, times):
    genotype = REFERENCES["resnet8"].genotype
    budget = Limits(max_latency_ms=1.0, latency_table=path)
    module = StandAloneTraining(SHAPE, 10, genotype.to_json(), FILLED, budget=budget, training=WeightTraining())
    assert isinstance(module.network, DerivedNet)
    assert times.latency(genotype, SHAPE, 10, module.config.channels) <= 1.0
    with pytest.raises(
        ConfigError, match=r"network\.channels 200 the network needs .*, and takes .* ms; allowed are any"
    ):
        budget.sized(genotype, SHAPE, 10, NetworkConfig(channels=200, cells=None))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read .not JSON"),
        ("[]", "its schema is None"),
        (json.dumps({"schema": "sparsenas.latency/1"}), "its schema is 'sparsenas.latency/1', not .*--any_width"),
        (json.dumps({"schema": "sparsenas.layer_times/1"}), "damaged times of layers"),
        (
            json.dumps({"schema": "sparsenas.layer_times/1", "about": {}, "error": 0, "layers": {"a": LINE}}),
            "a latency is -1; milliseconds are a number not below 0",
        ),
    ],
)
def test_a_file_that_is_no_table_is_named(tmp_path, text, message):
    (tmp_path / "times.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_layer_times(tmp_path / "times.json")


def test_large_images_have_times_of_all_layers():
    """Layers that take too long at their size are timed at others."""
    for side in (1, 8, 224, 2048):
        found = {}
        for layer in _layers((3, side, side)):
            found[layer.primitive] = found.get(layer.primitive, 0) + 1
        assert set(found) == set(KINDS)
        assert min(found.values()) >= 3


def test_a_table_of_equal_times_limits_nothing(path, times):
    flat = {name: Line(0.01, 0.0, 0.0) for name in times.lines}
    replace(times, lines=flat).write(path)
    with pytest.raises(ConfigError, match=r"budget: it allows more than 16,384 channels, so it limits nothing: .* ms"):
        Limits(max_latency_ms=1.0, latency_table=path).fill(REFERENCES["resnet8"].genotype, SHAPE, 10, FILLED)


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be read \(.*directory"):
        read_layer_times(tmp_path)


def test_what_a_table_cannot_tell_is_named(path, times, tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.json: No such file .*; write one by `python -m sparsenas latency"):
        Limits(max_latency_ms=1.0, latency_table=str(tmp_path / "gone.json")).fill(
            REFERENCES["resnet8"].genotype, SHAPE, 10, FILLED
        )
    limits = Limits(max_latency_ms=1.0, latency_table=path)
    with pytest.raises(ConfigError, match=r"times at any width are known of the space 'stage' only, and .* 'darts'"):
        limits.fill(read_genotype("darts_v2"), SHAPE, 10, NetworkConfig(channels=None, cells=3))
    with pytest.raises(ConfigError, match=r"width, 2, .*, and takes .* ms; allowed are any and any, and 0\.01 ms"):
        replace(limits, max_latency_ms=0.01).fill(REFERENCES["resnet8"].genotype, SHAPE, 10, FILLED)
    del times.lines["residual_3x3/stride"]
    times.write(path)
    with pytest.raises(ConfigError, match="no time of the layer residual_3x3/stride; measure the table anew"):
        limits.fill(REFERENCES["resnet8"].genotype, SHAPE, 10, FILLED)
    assert limits.allow(Complexity(1, 1), 0.5)


@pytest.mark.slow
def test_the_command_writes_what_fills_a_budget(tmp_path, capsys):
    file = tmp_path / "times.json"
    options = ["--image_shape", "1", "8", "8", "--rounds", "1", "--to", str(file)]
    assert main(["latency", "--space", "stage", "--any_width", *options]) == 0
    assert f"{file}: 46 kinds of layers, within " in capsys.readouterr().out
    assert read_layer_times(file).about["images"] == "1x8x8"
    assert main(["latency", "--any_width", *options]) == 2
    assert "layers have times of their own in --space stage only" in capsys.readouterr().err
