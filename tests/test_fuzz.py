"""Inputs that nobody wrote: every reader ends in our errors, in a message that is not long.

``SPARSENAS_FUZZ_SEED`` chooses other inputs and ``SPARSENAS_FUZZ_TIMES`` makes more of the slow tests: with 4 there are
20,000 in all.
"""

import contextlib
import copy
import json
import os
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml

from sparsenas.checkpoints import load, pack
from sparsenas.comparison import read_plan, read_records, read_settings
from sparsenas.comparison.images import read_image_plan
from sparsenas.data import NpzImages
from sparsenas.errors import SparseNASError
from sparsenas.export import load as load_export
from sparsenas.export import read_manifest
from sparsenas.latency import read_latency, read_layer_times
from sparsenas.search.measured.prior import read_prior
from sparsenas.search.measured.record_file import RecordFile
from sparsenas.spaces import DartsSpace, Genotype, read_genotype

SEED = int(os.environ.get("SPARSENAS_FUZZ_SEED", "0"))
TIMES = int(os.environ.get("SPARSENAS_FUZZ_TIMES", "1"))
LONGEST = 500
#: In place of brackets that are nested too deeply for those who write JSON.
DEEP = "nested deeply"
#: What a value is replaced by.
VALUES = [
    None, True, 0, -1, 10**400, 1e308, -0.5, float("nan"), float("inf"), "", "x", "\0", "\ud800", "a" * 10_000, [], {},
    [[]], [None], {"": 0}, {"class_path": "os.system"}, "os:abort", [0] * 1000, DEEP, DEEP,
]  # fmt: skip


def places(tree):
    """Paths to all values of a tree."""
    found, left = [()], [((), tree)]
    while left:
        path, value = left.pop()
        inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in inside:
            found.append((*path, key))
            left.append((found[-1], inner))
    return found


def mutated(tree, rng):
    """Copy of a tree in which a few values are others, gone, or there twice."""
    tree = json.loads(json.dumps(tree))
    for _ in range(rng.integers(1, 4)):
        paths = places(tree)
        path = paths[rng.integers(len(paths))]
        value = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
        if not path:
            return value
        inner = tree
        for step in path[:-1]:
            inner = inner[step]
        if rng.random() < 0.8:
            inner[path[-1]] = value
        elif isinstance(inner, list):
            inner.insert(path[-1], value)
        else:
            del inner[path[-1]]
    return tree


def damaged(data, rng):
    """Copy of bytes in which some are others, gone, or there twice."""
    found = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        start = int(rng.integers(len(found) + 1))
        length = int(rng.choice([1, 1, 4, 64, 1024]))
        kind = rng.integers(4)
        if kind == 0:
            found[start : start + length] = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
        elif kind == 1:
            del found[start : start + length]
        elif kind == 2:
            found[start:start] = found[start : start + length]
        else:
            found[start:start] = rng.choice([b"[" * 3000, b"{", b'"', b"\0", b"\xff\xfe", b"NaN", b"9" * 5000, b"!!x "])
    return bytes(found)


def text_of(tree, rng):
    """JSON of a tree, sometimes with a key twice; half a pair of UTF-16 stays as it is in the bytes."""
    text = json.dumps(tree, ensure_ascii=bool(rng.random() < 0.5))
    depth = int(rng.choice([20, 100, 900, 5000]))
    text = text.replace(f'"{DEEP}"', "[" * depth + "]" * depth)
    if rng.random() < 0.1 and text.startswith("{") and len(text) > 2:
        text = text[:-1] + ", " + text[1:]
    return text.encode("utf-8", "surrogatepass")


GENOTYPE = json.loads(read_genotype("darts_v2").to_json())
SPACE = DartsSpace(nodes=2)
LATENCY = {
    "schema": "sparsenas.latency/1",
    "space": "darts",
    "about": {"device": "cpu"},
    "base": 1.0,
    "blocks": [
        {
            "cell": block.cell,
            "candidates": [
                {"target": c.target, "source": c.source, "primitive": c.primitive, "ms": 1.0} for c in block.candidates
            ],
        }
        for block in SPACE.blocks
    ],
}
LAYERS = {"schema": "sparsenas.layer_times/1", "about": {}, "error": 0.1}
LAYERS["layers"] = {"conv": {"fixed": 1.0, "per_mac": 1.0, "per_value": 1.0}}
RECORD = {
    "searcher": "a", "seed": 0, "digest": "x", "chosen": [[None, "t"]], "timeline": [[0.1, "t"]],
    "scored": [[1.0, [["t", 0.5]]]], "visited": 3, "seconds": 1.0, "cut": False, "remarks": [[None, "r"]],
}  # fmt: skip
MEASUREMENT = {
    "entrant": {"number": 0, "key": "k", "origin": "prior", "wave": 0}, "rung": 0, "losses": [0.5, "inf"],
    "accuracy": 0.5, "length": 1.0, "spent": 1.0, "bonus": 0.0, "expected": 0.0, "repeat": 0,
}  # fmt: skip
HEAD = json.dumps({"schema": 1, "settings": {"seed": 0}}, sort_keys=True).encode() + b"\n"
PRIOR = {"schema": "sparsenas.prior/1", "space": "stage", "source": "s", "features": [["d", "w", 0.5, 1.0]] * 3}
CONFIGS = Path(__file__).resolve().parents[1] / "configs"
PLANS = {
    name: yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    for name in ("compare_images", "compare_nasbench201")
    if (CONFIGS / f"{name}.yaml").is_file()
}


def read_record_file(path):
    path.write_bytes(HEAD + path.read_bytes())
    RecordFile(path, {"seed": 0})


def read_export(path, exported, name):
    whole = (exported / name).read_bytes()
    (exported / name).write_bytes(path.read_bytes())
    try:
        read_manifest(exported)
        load_export(exported)
    finally:
        (exported / name).write_bytes(whole)


#: Name -> tree that is right, and who reads it.
TREES = {
    "genotype": (GENOTYPE, Genotype.load),
    "genotype option": (GENOTYPE, lambda path: read_genotype(path.read_text())),
    "latency": (LATENCY, lambda path: read_latency(path, SPACE)),
    "layers": (LAYERS, read_layer_times),
    "records": (RECORD, read_records),
    "tournament": (MEASUREMENT, read_record_file),
    "prior": (PRIOR, lambda path: read_prior(str(path), "stage")),
    "settings": (next(iter(PLANS.values())), read_settings),
    **{f"plan {name}": (tree, read_image_plan if "images" in name else read_plan) for name, tree in PLANS.items()},
}


def check(reader, path, content):
    """Let a reader read; what it raises is ours, and short."""
    path.write_bytes(content)
    try:
        reader(path)
    except SparseNASError as error:
        message = str(error).replace(str(path), path.name).replace(str(path.parent), "")
        assert len(message) <= LONGEST, message
        message.encode()
    except UnicodeDecodeError:  # of this file's own way to read an option
        assert reader is TREES["genotype option"][1]


@pytest.mark.parametrize("count", [30, pytest.param(300 * TIMES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", TREES)
def test_trees(tmp_path, name, count):
    tree, reader = TREES[name]
    rng = np.random.default_rng([SEED, 1])
    for _ in range(count):
        check(reader, tmp_path / "input", text_of(mutated(tree, rng), rng))


@pytest.mark.parametrize("count", [30, pytest.param(200 * TIMES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", TREES)
def test_bytes(tmp_path, name, count):
    tree, reader = TREES[name]
    rng = np.random.default_rng([SEED, 2])
    for _ in range(count):
        check(reader, tmp_path / "input", damaged(json.dumps(tree).encode(), rng))


@pytest.mark.parametrize("count", [40, pytest.param(400 * TIMES, marks=pytest.mark.slow)])
def test_checkpoints(tmp_path, count):
    rng = np.random.default_rng([SEED, 3])
    data = pack({"state_dict": {}, "names": ["a"] * 50})
    for _ in range(count):
        check(load, tmp_path / "input", damaged(data, rng))


@pytest.mark.parametrize("count", [30, pytest.param(400 * TIMES, marks=pytest.mark.slow)])
def test_archives(tmp_path, count):
    rng = np.random.default_rng([SEED, 4])
    np.savez_compressed(
        tmp_path / "a.npz", x_train=np.zeros((12, 8, 8), np.uint8), y_train=np.arange(12) % 2, classes=["a", "b"]
    )
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    whole = (tmp_path / "a.npz").read_bytes()
    for number in range(count):
        path = tmp_path / "input.npz"
        if number % 2:
            content = damaged(whole, rng)
        else:
            with zipfile.ZipFile(path, "w") as archive:
                for name, data in members.items():
                    archive.writestr(name, damaged(data, rng) if rng.random() < 0.5 else data)
            content = path.read_bytes()
        with contextlib.redirect_stderr(None):
            check(lambda path: NpzImages(str(path), batch_size=2).setup("fit"), path, content)


@pytest.mark.parametrize("count", [30, pytest.param(300 * TIMES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["manifest.json", "genotype.json"])
def test_exports(tmp_path, exported_network, name, count):
    rng = np.random.default_rng([SEED, 5])
    tree = json.loads((exported_network / name).read_text())
    reader = partial(read_export, exported=exported_network, name=name)
    for number in range(count):
        content = text_of(mutated(tree, rng), rng) if number % 3 else damaged(json.dumps(tree).encode(), rng)
        check(reader, tmp_path / "input", content)


@pytest.fixture(scope="module")
def exported_network(tmp_path_factory):
    """Folder of a small export."""
    import torch

    from sparsenas.export import Description, Preparation, export_network
    from sparsenas.networks import DerivedNet

    network = DerivedNet(read_genotype("darts_v2"), (1, 8, 8), 2, channels=4, cells=3, stem="small").eval()
    folder = tmp_path_factory.mktemp("exports") / "network"
    description = Description(Preparation((1, 8, 8), (0.5,), (0.25,)), ("a", "b"))
    export_network(network, network, torch.zeros(2, 1, 8, 8), description, folder, formats=("safetensors",))
    return folder
