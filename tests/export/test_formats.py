"""The files that need no sparsenas, run without it."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

#: Runs a ``.pt2`` file in a process that cannot import sparsenas.
WITHOUT_SPARSENAS = """
import sys
sys.modules["sparsenas"] = None  # any import of it fails
import torch
program = torch.export.load(sys.argv[1]).module()
images = torch.load(sys.argv[2], weights_only=True)
torch.save([program(images[:count]) for count in (1, 2, 7, 150)], sys.argv[3])
assert not [name for name in sys.modules if name.startswith("sparsenas.")]
"""


@pytest.mark.slow
@pytest.mark.parametrize("fuse", [False, True])
def test_pt2_runs_in_a_process_without_sparsenas(write, network, images, tmp_path, fuse):
    manifest = write(formats=("pt2",), fuse=fuse)
    assert manifest.files["model.pt2"].max_difference <= 1e-4
    torch.save(images, tmp_path / "images")
    arguments = [tmp_path / "export" / "model.pt2", tmp_path / "images", tmp_path / "logits"]
    subprocess.run([sys.executable, "-c", WITHOUT_SPARSENAS, *map(str, arguments)], check=True, cwd=tmp_path, env={})
    found = torch.load(tmp_path / "logits", weights_only=True)
    for logits, count in zip(found, (1, 2, 7, 150), strict=True):
        torch.testing.assert_close(logits, network(images[:count]), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_onnx_is_one_valid_quiet_file(write, network, images, tmp_path, capfd):
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    manifest = write(formats=("onnx",), fuse=True)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
    assert sorted(path.name for path in (tmp_path / "export").iterdir()) == [
        "genotype.json", "manifest.json", "model.onnx", "model.safetensors",
    ]  # fmt: skip
    assert manifest.files["model.onnx"].max_difference <= 1e-4
    model = onnx.load(tmp_path / "export" / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert "sparsenas" not in json.dumps([entry.value for entry in model.metadata_props])
    session = onnxruntime.InferenceSession(tmp_path / "export" / "model.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 2, 7, 150):
        (logits,) = session.run(["logits"], {"images": images[:count].numpy()})
        np.testing.assert_allclose(logits, network(images[:count]).detach().numpy(), rtol=0, atol=1e-4)
