"""``sparsenas.load``: the network of an intact export, or a clear error."""

import json
import subprocess
import sys

import pytest
import torch

import sparsenas
from sparsenas.errors import ExportError
from sparsenas.export import read_manifest


def test_the_loaded_network_is_ready(exported, network, images):
    state = torch.get_rng_state()
    loaded = sparsenas.load(str(exported))
    assert torch.equal(torch.get_rng_state(), state)
    assert not loaded.training
    assert loaded.genotype == network.genotype
    with torch.no_grad():
        assert torch.equal(loaded(images), network(images))


def test_importing_the_package_stays_light():
    script = "import sys, sparsenas; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    with pytest.raises(AttributeError, match="has no attribute 'laod'"):
        _ = sparsenas.laod


def change(exported, **fields):
    """Replace fields of the manifest, given by their path with two underscores for every step."""
    path = exported / "manifest.json"
    tree = json.loads(path.read_text())
    for name, value in fields.items():
        *steps, last = name.split("__")
        inner = tree
        for step in steps:
            inner = inner[step]
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
    path.write_text(json.dumps(tree))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schema": "sparsenas.export/2"}, "is of layout sparsenas.export/2, this version of sparsenas reads"),
        ({"schema": "another/1"}, "not the manifest of an export .schema is 'another/1', not 'sparsenas.export/1'"),
        ({"schema": ...}, "not the manifest of an export .schema is None"),
        ({"classes": ...}, "manifest.json: has no classes; export the network again"),
        ({"network__stem": "x"}, "network.stem is 'x'; it must be one of cifar, small, imagenet"),
        ({"network__channels": True}, "network.channels is 'True'; it must be int"),
        ({"network__norms": 3}, "network.norms is '3'; it must be an object"),
        ({"input__mean": "dark"}, "input.mean is 'dark'; it must be a list"),
        ({"input__shape": [1, 8]}, "input.shape is '2 values'; it must be a list of 3"),
        ({"files": {}}, "has no record of genotype.json; export the network again"),
        ({"network__channels": 5}, "cannot be built: model.safetensors: does not hold the weights of its"),
        ({"input__shape": [1, 2, 2]}, "export: its network cannot be built: images are 2x2"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value),
)
def test_manifests_that_do_not_fit(exported, fields, message):
    change(exported, **fields)
    with pytest.raises(ExportError, match=message):
        sparsenas.load(exported)


def test_a_whole_number_is_a_number(exported):
    change(exported, input__mean=[0])
    assert read_manifest(exported).preparation.mean == (0.0,)


def test_damaged_files(exported):
    weights, genotype = exported / "model.safetensors", exported / "genotype.json"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ExportError, match=r"model.safetensors: damaged or replaced .*; export the network again"):
        sparsenas.load(exported)
    weights.unlink()
    with pytest.raises(ExportError, match=r"model.safetensors: cannot be read \(No such file"):
        sparsenas.load(exported)
    genotype.write_text(genotype.read_text() + "\n")
    with pytest.raises(ExportError, match=r"genotype.json: damaged or replaced"):
        sparsenas.load(exported)
    genotype.write_text("{")
    with pytest.raises(ExportError, match=r"genotype.json: not JSON .*; export the network again"):
        sparsenas.load(exported)
    genotype.unlink()
    with pytest.raises(ExportError, match=r"genotype.json: no such file, so .* is no whole export"):
        sparsenas.load(exported)


def test_folders_that_are_no_export(tmp_path):
    with pytest.raises(ExportError, match=r"absent: no such folder; name one that `python -m sparsenas export` wrote"):
        sparsenas.load(tmp_path / "absent")
    with pytest.raises(ExportError, match=r"manifest.json: no such file, so .* is no whole export"):
        sparsenas.load(tmp_path)
    for text, reason in (
        ("{", "not a manifest .not JSON"),
        ("[" * 100_000, "brackets are nested too deeply"),
        ("[]", "schema is None"),
    ):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(ExportError, match=reason):
            sparsenas.load(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ExportError, match=r"cannot be read \(not text in UTF-8\)"):
        sparsenas.load(tmp_path)
