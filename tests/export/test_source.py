"""``model.py``: plain PyTorch that computes what the network does, without sparsenas."""

import ast
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sparsenas.errors import ExportError
from sparsenas.export import Blueprint, Preparation
from sparsenas.export.formats import Python, Safetensors
from sparsenas.export.source import network_source
from sparsenas.networks import PRIMITIVES, DerivedNet, NormOptions, Operation, SuperNet, fold, fuse_batchnorm
from sparsenas.spaces import (
    REFERENCES,
    DartsSpace,
    NasBench201Space,
    NasBenchMacroSpace,
    ProxylessSpace,
    StageSpace,
    WeightSharing64Space,
)

SHAPE, CLASSES = (3, 64, 64), ("ant", 'the "bee"', "кот")
PREPARATION = Preparation(SHAPE, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
#: Spaces, their numbers of cells, and stems.
SPACES = [
    (DartsSpace(), 4, "small"),
    (DartsSpace(nodes=2), 3, "imagenet"),
    (NasBench201Space(), 5, "cifar"),
    (WeightSharing64Space(), 2, "cifar"),
    (NasBenchMacroSpace(), None, "cifar"),
    (ProxylessSpace(), None, "cifar"),
    (StageSpace(), None, "cifar"),
]
#: Classifies in a process that can import neither sparsenas nor what torch does not need.
WITHOUT_OTHERS = """
import sys
sys.modules.update(dict.fromkeys(("sparsenas", "safetensors", "torchvision", "PIL"), None))
sys.path.insert(0, sys.argv[1])
import model, torch
images = torch.load(sys.argv[2], weights_only=True)
with torch.no_grad():
    torch.save(model.load()(images), sys.argv[3])
network = model.load().train()
loss = torch.nn.functional.cross_entropy(network(images), torch.zeros(len(images), dtype=torch.int64))
loss.backward()
assert all(p.grad is not None for p in network.parameters() if p.numel())
"""


def shaken(network):
    """Give batch-norms gammas of both signs, betas and statistics."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                if tensor is not None:
                    tensor.data.copy_(torch.randn(tensor.shape, generator=generator))
    return network.eval()


def written(network, folder, preparation=PREPARATION, temperature=1.0):
    """Text of the source, and what runs it."""
    Safetensors().write(network, None, folder / "model.safetensors")
    text = network_source(network, preparation, CLASSES, temperature, "model.safetensors")
    (folder / "model.py").write_text(text, encoding="utf-8")
    return text, Python().runner(folder / "model.py", Blueprint.of(network))


@torch.no_grad()
def assert_same(network, folder, shape=SHAPE):
    _, run = written(network, folder)
    images = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(run(images), network(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("space", "cells", "stem"), SPACES, ids=lambda value: getattr(value, "name", value))
def test_networks_of_every_space(space, cells, stem, fused, tmp_path):
    norms = NormOptions(append="pools_and_skips") if cells == 4 else NormOptions()
    network = DerivedNet(space.sample(np.random.default_rng(3)), SHAPE, 3, 4, cells, stem, norms=norms)
    assert_same(fuse_batchnorm(shaken(network)) if fused else shaken(network), tmp_path)


@pytest.mark.parametrize("name", REFERENCES)
def test_reference_networks(name, tmp_path):
    assert_same(shaken(DerivedNet(REFERENCES[name].genotype, SHAPE, 3, 4, None)), tmp_path)


@pytest.mark.parametrize("norms", [NormOptions(affine=False), NormOptions(False, False), NormOptions(append="pools")])
def test_norms(norms, tmp_path):
    genotype = DartsSpace().sample(np.random.default_rng(0))
    assert_same(shaken(DerivedNet(genotype, SHAPE, 3, 4, 3, norms=norms)), tmp_path)


def test_a_folded_one_stage_network_of_odd_images(tmp_path):
    space, norms = DartsSpace(nodes=2), NormOptions(append="pools_and_skips")
    supernet = shaken(SuperNet(space, (3, 19, 21), 3, 4, 3, norms=norms))
    support = space.sample_support(np.random.default_rng(0))
    weights = torch.randn(len(space.blocks), 2, generator=torch.Generator().manual_seed(0))
    assert_same(fold(supernet, support, weights), tmp_path, (3, 19, 21))


@pytest.mark.slow
def test_it_runs_and_trains_where_there_is_torch_only(make_network, images, tmp_path):
    network = make_network()
    text, _ = written(network, tmp_path)
    torch.save(images, tmp_path / "images")
    arguments = [tmp_path, tmp_path / "images", tmp_path / "logits"]
    subprocess.run([sys.executable, "-c", WITHOUT_OTHERS, *map(str, arguments)], check=True, env={})
    logits = torch.load(tmp_path / "logits", weights_only=True)
    torch.testing.assert_close(logits, network(images).detach(), rtol=0, atol=1e-4)
    assert max(map(len, text.splitlines())) <= 120
    assert "sparsenas" not in text


@pytest.mark.parametrize("sides", [SHAPE[1:], (20, 33)])
@pytest.mark.parametrize("resize", [None, "squash", "pad", 70])
@pytest.mark.parametrize(
    ("mode", "size"), [("RGB", (90, 71)), ("RGBA", (64, 64)), ("L", (64, 80)), ("P", (200, 301)), ("CMYK", (50, 40))]
)
def test_images_are_prepared_as_here(make_network, tmp_path, sides, resize, mode, size):
    preparation = Preparation((3, *sides), (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), resize)
    text, _ = written(make_network(image_shape=(3, *sides)), tmp_path, preparation)
    scope = {"__name__": "model", "__file__": str(tmp_path / "model.py")}
    exec(text, scope)
    values = np.random.default_rng(0).integers(0, 256, (*reversed(size), 4), dtype=np.uint8)
    image = Image.fromarray(values).convert("RGB").convert(mode) if mode != "RGBA" else Image.fromarray(values)
    assert torch.allclose(scope["prepare"](image), preparation(image, adapt=True), atol=1e-6)
    image = image.convert("RGB")
    image.getexif()[0x0112] = 6  # turned by a camera
    assert torch.allclose(scope["prepare"](image), preparation(image, adapt=True), atol=1e-6)
    deep = Image.fromarray(257 * values[..., 0].astype(np.uint16))
    assert torch.allclose(scope["prepare"](deep), preparation(deep, adapt=True), atol=1e-6)
    with pytest.raises(ValueError, match="pixels of mode F; scale them to 8 bits first"):
        scope["prepare"](Image.fromarray(values[..., 0].astype(np.float32)))
    assert scope["CLASS_NAMES"] == list(CLASSES)


@pytest.mark.slow
def test_the_command_classifies_as_the_export_does(make_network, tmp_path):
    network = make_network(image_shape=SHAPE)
    written(network, tmp_path, temperature=2.0)
    values = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "new.png")
    command = [sys.executable, "model.py", "new.png"]
    printed = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, encoding="utf-8")
    with torch.no_grad():
        probability, best = (network(PREPARATION(tmp_path / "new.png")[None])[0]).softmax(0).max(0)
    assert printed.stdout == f"new.png  {CLASSES[int(best)]}  {float(probability):.4f}\n"


def test_operations_that_repeat_are_written_once(tmp_path):
    network = DerivedNet(REFERENCES["resnet20"].genotype, SHAPE, 3, 4, None)
    text, _ = written(network, tmp_path)
    functions = [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    assert functions == ["residual_3x3", "residual_3x3_2", "read_weights", "prepare", "load", "main"]


class Own(nn.Module):
    def forward(self, x):
        return x


def test_a_part_of_one_s_own_is_named(monkeypatch, write, make_network, tmp_path):
    monkeypatch.setitem(PRIMITIVES, "own", lambda channels, stride, norms: Operation(Own(), None))
    network = make_network(space=DartsSpace(nodes=2, primitives=("own",)), cells=1)
    with pytest.raises(ExportError, match="its part Own is none of PyTorch's, so no plain source can be written"):
        written(network, tmp_path)


def test_the_source_is_a_file_of_the_export(write, tmp_path):
    manifest = write(formats=("python",), fuse=True)
    assert manifest.files["model.py"].max_difference <= 1e-4
    assert sorted(path.name for path in (tmp_path / "export").iterdir()) == [
        "genotype.json", "manifest.json", "model.py", "model.safetensors",
    ]  # fmt: skip
