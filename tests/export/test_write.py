"""An export appears whole, proven and described, or not at all."""

import json
import os

import pytest
import torch
from torch import nn

import sparsenas
from sparsenas import runtimes
from sparsenas.errors import ConfigError, ExportError
from sparsenas.export import FORMATS, check_target, export_network, formats, read_manifest, target
from sparsenas.export.comparison import compare
from sparsenas.networks import PRIMITIVES, Operation
from sparsenas.spaces import DartsSpace


def contents(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_the_manifest_says(write, network, tmp_path):
    manifest = write()
    folder = tmp_path / "export"
    assert contents(tmp_path) == ["export"]
    assert contents(folder) == ["genotype.json", "manifest.json", "model.safetensors"]
    assert read_manifest(folder) == manifest
    tree = json.loads((folder / "manifest.json").read_text())
    assert tree["schema"] == "sparsenas.export/1"
    assert tree["versions"]["sparsenas"] == sparsenas.__version__
    assert tree["input"] == {
        "shape": [1, 8, 8], "layout": "CHW", "dtype": "float32", "range": [0.0, 1.0], "mean": [0.5], "std": [0.25],
        "resize": None,
    }  # fmt: skip
    assert tree["classes"] == ["ant", "bee", "cat"]
    assert tree["accuracy"] == {"val": {"accuracy": 0.75, "images": 8}, "test": None}
    assert tree["parameters"] == sum(p.numel() for p in network.parameters())
    assert tree["comparison"] == {"images": 150, "tolerance": 1e-4}
    assert tree["files"]["model.safetensors"]["bytes"] == (folder / "model.safetensors").stat().st_size
    assert tree["files"]["model.safetensors"]["max_difference"] <= 1e-4


def test_a_network_that_computes_no_numbers_is_refused_as_such(write, make_network, tmp_path):
    spoilt = make_network()
    spoilt.classifier.bias.data[0] = float("nan")
    with pytest.raises(ExportError, match=r"weights of the network are not finite \(classifier\.bias\): its training"):
        write(net=spoilt, reference=spoilt)
    huge = make_network()
    huge.classifier.weight.data.fill_(3e38)
    with pytest.raises(ExportError, match=r"logits of \d+ of 150 images are not finite: its training has diverged"):
        write(net=huge, reference=huge)
    assert not contents(tmp_path)


def test_every_file_can_be_read_by_others(exported):
    modes = {path.stat().st_mode & 0o777 for path in exported.iterdir()}
    (exported / "plain").touch()
    assert modes == {(exported / "plain").stat().st_mode & 0o777}


def test_the_network_stays_as_it_is(write, network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    write(net=network, reference=lambda images: network.eval()(images), fuse=True)
    assert before.keys() == network.state_dict().keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_fused_export_is_smaller_and_computes_the_same(write, network, images, tmp_path):
    plain, fused = write(tmp_path / "plain"), write(tmp_path / "fused", fuse=True)
    assert fused.parameters < plain.parameters
    assert fused.blueprint.fused
    with torch.no_grad():
        loaded = sparsenas.load(tmp_path / "fused")(images)
        torch.testing.assert_close(loaded, network(images), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (lambda logits: logits + 1e-3, r"differ by up to 1\.0e-03 \(at most 1e-04 is allowed\) and 0 of 150 images"),
        (lambda logits: -logits, r"and 150 of 150 images get another class; nothing was exported"),
        (lambda logits: logits * torch.nan, r"differ by up to nan"),
        (lambda logits: logits[:, :2], r"gives logits of shape \(150, 3\), not \(150, 2\)"),
    ],
)
def test_a_file_that_computes_something_else(write, network, tmp_path, reference, message):
    with pytest.raises(ExportError, match=f"model.safetensors: .*{message}"):
        write(reference=lambda images: reference(network(images)))
    assert contents(tmp_path) == []


def test_logits_within_the_tolerance_but_of_another_class():
    images = torch.zeros(1, 1, 1, 1)
    with pytest.raises(ExportError, match=r"differ by up to 1\.0e-05 .* 1 of 1 images"):
        compare(lambda _: torch.tensor([[0.0, 1e-5]]), images, torch.tensor([[0.0, 0.0]]), "x")


def test_comparison_takes_batches_of_one_of_many_and_the_rest(write, network):
    sizes = []

    def reference(images):
        sizes.append(len(images))
        assert images.is_contiguous()
        return network(images)

    write(reference=reference)
    assert sizes == [1, 100, 49]


def damaging(monkeypatch, damage):
    """Damage the file of the weights after it was written."""
    monkeypatch.setattr(formats.Safetensors, "write", lambda self, network, given, path: damage(path) or path.touch())


def test_a_file_that_cannot_be_read_back(write, monkeypatch, tmp_path):
    damaging(monkeypatch, lambda path: None)
    with pytest.raises(ExportError, match=r"model.safetensors: does not hold the weights of its network"):
        write()
    assert contents(tmp_path) == []


def raising(error):
    def act(*args):
        raise error

    return act


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_interruption_leaves_nothing(write, monkeypatch, tmp_path, overwrite):
    before = write() if overwrite else None
    damaging(monkeypatch, raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        write(overwrite=overwrite)
    assert contents(tmp_path) == (["export"] if overwrite else [])
    if overwrite:
        assert contents(tmp_path / "export") == ["genotype.json", "manifest.json", "model.safetensors"]
        assert read_manifest(tmp_path / "export") == before


def test_a_full_disk(write, monkeypatch, tmp_path):
    damaging(monkeypatch, raising(OSError(28, "No space left on device")))
    with pytest.raises(ConfigError, match=r"export: cannot be written \(No space left on device\); name a folder"):
        write()
    assert contents(tmp_path) == []


def test_an_empty_folder_is_filled(write, tmp_path):
    (tmp_path / "export").mkdir()
    write()
    assert contents(tmp_path / "export") == ["genotype.json", "manifest.json", "model.safetensors"]


def test_overwriting_replaces_an_export_and_nothing_else(write, make_network, exported, images):
    (exported / "model.onnx").write_text("of the earlier network")
    (exported / "notes.txt").write_text("mine")
    other = make_network(genotype_seed=5, channels=6)
    write(net=other, reference=other, overwrite=True)
    assert contents(exported) == ["genotype.json", "manifest.json", "model.safetensors", "notes.txt"]
    assert (exported / "notes.txt").read_text() == "mine"
    torch.testing.assert_close(sparsenas.load(exported)(images), other(images))


def test_the_manifest_is_placed_last():
    assert target.OWN_FILES[-1] == "manifest.json"
    assert {made.filename for made in FORMATS.values()} < set(target.OWN_FILES)


def test_targets_that_are_refused(exported, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "manifest.json").write_text('{"schema": "another/1"}')
    foreign = "is not empty and holds no earlier export that could be replaced; name a folder that is empty"
    for name, overwrite, message in (
        ("export", False, "holds an earlier export; replace it by --overwrite, or name another folder"),
        ("file", True, "is a file; name a folder that is empty or does not exist yet"),
        ("full", True, foreign),
        ("foreign", True, foreign),
        ("no/where", False, "no is no folder; make it first, or name another target"),
        ("file/below", False, "file is no folder; make it first"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_target(tmp_path / name, overwrite)
    check_target(exported, overwrite=True)
    check_target(tmp_path / "new")
    assert contents(tmp_path) == ["export", "file", "foreign", "full"]
    assert contents(exported) == ["genotype.json", "manifest.json", "model.safetensors"]
    monkeypatch.setattr(os, "mkdir", raising(PermissionError(13, "Permission denied")))
    with pytest.raises(ConfigError, match=r"new: cannot be written \(Permission denied\); name a folder that can be"):
        check_target(tmp_path / "new")


def test_formats_are_checked_before_any_work(write, monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match="formats: 'tflite' is unknown; known are safetensors, pt2, python, onnx"):
        write(formats=("tflite",))
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(ConfigError, match=r"onnx needs onnxruntime: install them by pip install 'sparsenas\[onnx\]'"):
        write(formats=("onnx",), reference=raising(AssertionError))
    assert contents(tmp_path) == []


def test_names_and_images_must_be_there(network, images, description, tmp_path):
    with pytest.raises(ConfigError, match="compared on 0 images; give one name per class and at least one image"):
        export_network(network, network, images[:0], description, tmp_path / "export")


class DependsOnData(Operation):
    def forward(self, x, scale=None):
        y = self.body(x)
        return y if y.sum() > 0 else -y


def test_a_network_that_cannot_be_traced(write, make_network, monkeypatch, tmp_path):
    monkeypatch.setitem(PRIMITIVES, "own", lambda channels, stride, norms: DependsOnData(nn.AvgPool2d(stride), None))
    network = make_network(space=DartsSpace(nodes=2, primitives=("own",)))
    with pytest.raises(ExportError, match=r"model.pt2: the network cannot be written in this format \(.*leave it out"):
        write(net=network, formats=("pt2",), reference=network)
    assert contents(tmp_path) == []
