"""Files for other runtimes: what they compute, how good they are, and what must be installed."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from sparsenas import runtimes
from sparsenas.errors import ConfigError, ExportError
from sparsenas.export import Accuracy, Calibration, Quantisation, export_network, read_manifest
from sparsenas.export.comparison import compare
from sparsenas.networks import DerivedNet
from sparsenas.spaces import REFERENCES


@pytest.fixture
def small():
    """A network without depthwise convolutions, which few bits suit."""
    torch.manual_seed(0)
    return DerivedNet(REFERENCES["plain_cnn"].genotype, (1, 8, 8), 3, 8, None).eval()


@pytest.fixture
def run_here(monkeypatch, write, small, images):
    """Export that network; 8 bits are measured on the images themselves, by the network's classes."""
    classes = small(images).argmax(1)

    def accuracy(runner):
        right = int((runner(images).argmax(1) == classes).sum())
        return {"val": Accuracy(right / len(images), len(images)), "test": None}

    return lambda *formats, **options: write(
        net=small, reference=small, formats=formats, quantisation=Quantisation(images, accuracy), **options
    )


@pytest.mark.slow
@pytest.mark.parametrize("fuse", [False, True])
def test_8_bits_are_near_the_network_and_measured(run_here, small, images, tmp_path, fuse):
    manifest = run_here("onnx-int8", fuse=fuse)
    record = manifest.files["model.int8.onnx"]
    assert {path.name for path in (tmp_path / "export").iterdir()} == {*manifest.files, "manifest.json"}
    assert read_manifest(tmp_path / "export") == manifest
    onnx = pytest.importorskip("onnx")
    model = onnx.load(tmp_path / "export" / "model.int8.onnx")
    weights = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 4]
    assert {tensor.data_type for tensor in weights} == {onnx.TensorProto.INT8}
    with torch.no_grad():
        expected = small(images)
    found = runtimes.onnx_runner(tmp_path / "export" / "model.int8.onnx")(images)
    spread = float(expected.std(0).mean())
    assert 1e-4 < record.max_difference == pytest.approx(float((found - expected).abs().max()), rel=1e-3)
    assert record.max_difference < 3 * spread
    assert record.agreement == record.accuracy["val"].accuracy > 0.9
    assert record.milliseconds > 0


@pytest.mark.slow
def test_openvino_computes_the_same(run_here, small, images, tmp_path):
    openvino = pytest.importorskip("openvino")
    manifest = run_here("openvino")
    assert {path.name for path in (tmp_path / "export").iterdir()} == {
        "genotype.json", "manifest.json", "model.bin", "model.safetensors", "model.xml",
    }  # fmt: skip
    assert manifest.files["model.xml"].max_difference <= 1e-4
    assert manifest.files["model.bin"].max_difference is None
    compiled = openvino.Core().compile_model(tmp_path / "export" / "model.xml", "CPU")
    np.testing.assert_allclose(compiled(images.numpy())[0], small(images).detach().numpy(), rtol=0, atol=0.05)


def test_what_quantised_formats_need(write):
    with pytest.raises(ConfigError, match="quantised formats need images that trained the network, for the ranges"):
        write(formats=("onnx-int8",))


@pytest.mark.parametrize(
    ("name", "missing", "message"),
    [
        (
            "onnx-int8",
            "onnxruntime",
            r"the format onnx-int8 needs onnxruntime: .* by pip install 'sparsenas\[onnx\]', or",
        ),
        ("openvino", "openvino", r"the format openvino needs openvino: .* by pip install 'sparsenas\[openvino\]', or"),
    ],
)
def test_a_runtime_that_is_not_installed_is_named_before_any_work(write, monkeypatch, name, missing, message):
    monkeypatch.setattr(runtimes, "find_spec", lambda package: None if package == missing else package)
    with pytest.raises(ConfigError, match=message):
        write(formats=(name,), reference=None)


def test_a_file_that_may_differ_must_still_compute_numbers():
    images, expected = torch.zeros(2, 1, 1, 1), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    turned = torch.tensor([[0.0, 1.0], [3.0, 1.0]])
    assert compare(lambda x: turned[: len(x)] if len(x) > 1 else turned[1:], images, expected, "x", exact=False) == (
        3.0,
        0.0,
    )
    with pytest.raises(ExportError, match="x: its logits are not finite; leave it out of the formats"):
        compare(lambda x: torch.full((len(x), 2), torch.nan), images, expected, "x", exact=False)


def test_every_file_is_timed_and_older_exports_are_read(write, tmp_path):
    manifest = write(formats=("python",))
    assert {name for name, record in manifest.files.items() if record.milliseconds} == {"model.py", "model.safetensors"}
    path = tmp_path / "export" / "manifest.json"
    tree = json.loads(path.read_text())
    for record in tree["files"].values():
        record.pop("agreement", None)
        record.pop("milliseconds", None)
    path.write_text(json.dumps(tree))
    older = read_manifest(tmp_path / "export")
    assert {record.milliseconds for record in older.files.values()} == {None}
    assert (older.temperature, older.calibration) == (1.0, None)


def test_the_temperature_is_kept_and_bounded(description, images, network, tmp_path):
    chosen = Calibration(1.5, 0.25, 0.125, 8)
    given = replace(description, calibration=chosen)
    manifest = export_network(network, network, images, given, tmp_path / "warm", ("python",))
    assert read_manifest(tmp_path / "warm") == manifest
    assert (manifest.calibration, manifest.temperature) == (chosen, 1.5)
    assert "TEMPERATURE = 1.5\n" in (tmp_path / "warm" / "model.py").read_text()
    path = tmp_path / "warm" / "manifest.json"
    path.write_text(path.read_text().replace('"temperature": 1.5', '"temperature": 0.0'))
    with pytest.raises(ExportError, match=r"temperature is '0.0'; it must be from 0.001 to 1,000"):
        read_manifest(tmp_path / "warm")
