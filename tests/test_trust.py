"""No file decides what is imported: neither a genotype, nor a checkpoint, nor an export."""

import os
import shlex
import sys
from pathlib import Path

import pytest

import sparsenas
from sparsenas.checkpoints import load, save
from sparsenas.cli import main
from sparsenas.errors import CheckpointError, ConfigError, ExportError, SparseNASError
from sparsenas.imports import check_classes, find, is_trusted, trust
from sparsenas.networks import NormOptions, make_operation
from sparsenas.spaces import Genotype
from sparsenas.spaces.topology import Candidate

TRAINING = shlex.split(
    "fit --config train_digits --model.network.channels 4 --model.network.cells 3 --trainer.accelerator cpu "
    "--trainer.max_epochs 1 --trainer.limit_train_batches 2 --trainer.limit_val_batches 1 "
    "--trainer.log_every_n_steps 1 --trainer.callbacks ModelCheckpoint --trainer.callbacks.filename last"
)
TOUCH = "touch imported"
#: A module that shows that it was imported, and has a primitive.
MODULE = """
from pathlib import Path

from torch import nn

from sparsenas.networks import Operation
from sparsenas.training import StandAloneTraining

Path("imported").touch()


class Training(StandAloneTraining):
    pass


def conv(channels, stride, norms):
    return Operation(nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False), norms.layer(channels))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, from which ``python -m`` imports, has a module ``users``; nothing is trusted."""
    monkeypatch.setenv("SPARSENAS_TRUST", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("users.py").write_text(MODULE)
    yield tmp_path
    sys.modules.pop("users", None)


def genotype_of(primitive):
    """A cell with a primitive on each edge but one."""
    cell = [Candidate(2, 0, primitive), Candidate(2, 1, "skip_connect")]
    cell += [Candidate(3, source, "skip_connect") for source in (0, 2)]
    return Genotype.build("darts", {"normal": cell, "reduce": cell})


def refused(capsys, *args):
    assert main(list(map(str, args))) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert not Path("imported").exists()
    return error


@pytest.mark.slow
@pytest.mark.parametrize("primitive", ["os:abort", "os:system", "sys:exit", "users:conv", "sparsenas.cli:main"])
def test_no_genotype_names_code(capsys, primitive):
    Path("genotype.json").write_text(genotype_of(primitive).to_json())
    module = primitive.partition(":")[0]
    for args in (["--model.genotype", "genotype.json"], ["--model.genotype", genotype_of(primitive).to_json()]):
        message = refused(capsys, *TRAINING, *args)
        assert f"primitive '{primitive}': would run code of the module '{module}'" in message
        assert f"add --trust {module}" in message


@pytest.mark.slow
def test_a_trusted_module_is_run(capsys):
    Path("genotype.json").write_text(genotype_of("users:conv").to_json())
    assert main([*TRAINING, "--model.genotype", "genotype.json", "--trust", "users"]) == 0
    assert Path("imported").exists()
    (path,) = Path().rglob("last.ckpt")
    assert "trust:\n- users" in next(Path().rglob("config.yaml")).read_text()
    os.environ["SPARSENAS_TRUST"] = ""
    Path("imported").unlink()
    sys.modules.pop("users")
    assert "would run code of the module 'users'" in refused(capsys, "export", path, "--to", "network")
    export = ["export", str(path), "--to", "network", "--formats", "safetensors"]
    assert main([*export, "--trust", "users"]) == 0
    os.environ["SPARSENAS_TRUST"] = ""
    with pytest.raises(ExportError, match="would run code of the module 'users'"):
        sparsenas.load("network")
    sparsenas.trust("users")
    sparsenas.load("network")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("_class_path", "users.Training"),
        ("_class_path", "os.system"),
        ("training", {"optimizer": {"class_path": "users.Optimizer"}}),
        ("training", {"optimizer": [{"a": {"class_path": "subprocess.Popen", "init_args": {"args": "id"}}}]}),
    ],
)
def test_no_checkpoint_names_classes_of_others(checkpoint, capsys, key, value):
    content = load(checkpoint)
    content["hyper_parameters"][key] = value
    save("evil.ckpt", content)
    for args in (["export", "evil.ckpt", "--to", "network"], [*TRAINING, "--ckpt_path", "evil.ckpt"]):
        assert "names the class" in refused(capsys, *args)
        assert "add --trust" in refused(capsys, *args)
    with pytest.raises(CheckpointError, match=r"names the class .* sparsenas.trust"):
        sparsenas.load_checkpoint("evil.ckpt")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training", {"optimizer": "users.Training"}),
        ("training", {"optimizer": "users.conv"}),
        ("training", {"optimizer": '{"class_path": "users.Training"}'}),
        ("training", {"optimizer": "optimizer.yaml"}),
        ("training", {"optimizer.class_path": "users.Training"}),
        ("training.optimizer", "users.conv"),
        ("training", "users.Training"),
        ("network", "users.Training"),
        ("training", {"optimizer": {"class_path": "sparsenas.imports.os.system", "init_args": {"command": TOUCH}}}),
        (
            "training",
            {"optimizer": {"class_path": "sparsenas.training.torch.os.system", "init_args": {"command": TOUCH}}},
        ),
        (
            "training",
            {"optimizer": {"class_path": "sparsenas.files.write_atomically", "init_args": {"path": "imported"}}},
        ),
    ],
)
def test_there_is_no_other_way_to_name_code(checkpoint, capsys, key, value):
    Path("optimizer.yaml").write_text("class_path: users.Training")
    content = load(checkpoint)
    content["hyper_parameters"][key] = value
    save("evil.ckpt", content)
    refused(capsys, "export", "evil.ckpt", "--to", "network")
    refused(capsys, *TRAINING, "--ckpt_path", "evil.ckpt")
    with pytest.raises(SparseNASError):
        sparsenas.load_checkpoint("evil.ckpt")
    assert not Path("imported").exists()


def test_images_of_a_checkpoint_are_no_others_class(checkpoint):
    content = load(checkpoint)
    content["datamodule_hyper_parameters"]["_class_path"] = "users.Images"
    save("evil.ckpt", content)
    with pytest.raises(CheckpointError, match=r"names the class users.Images"):
        sparsenas.load_checkpoint("evil.ckpt")
    assert not Path("imported").exists()


@pytest.mark.slow
def test_a_class_that_the_command_names_is_trusted(capsys):
    command = [*TRAINING, "--model", "users.Training", "--model.genotype", "darts_v2"]
    assert main(command) == 0
    (path,) = Path().rglob("last.ckpt")
    assert load(path)["hyper_parameters"]["_class_path"] == "users.Training"
    assert main([*command, "--ckpt_path", str(path), "--trainer.max_epochs", "2"]) == 0
    capsys.readouterr()
    sys.modules.pop("users")
    Path("imported").unlink()
    assert "names the class users.Training" in refused(capsys, "export", path, "--to", "network")


def test_trust_reaches_what_lies_in_a_package_and_nothing_else():
    trust("package.part")
    assert is_trusted("package.part")
    assert is_trusted("package.part.module")
    assert not is_trusted("package")
    assert not is_trusted("package.party")
    check_classes([{"class_path": "package.part.Net"}, {"class_path": "Net"}, {"class_path": "torch.optim.SGD"}])
    with pytest.raises(ConfigError, match=r"names the class torch.hub.load"):
        check_classes({"a": [{"class_path": "torch.hub.load"}]})


@pytest.mark.parametrize("name", ["", "a b", "../users", "users.py;", "a..b"])
def test_only_names_of_modules_are_trusted(name):
    with pytest.raises(ConfigError, match="is no module; give a dotted name"):
        trust(name)


@pytest.mark.slow
def test_processes_inherit_what_is_trusted(monkeypatch, run_program):
    trust("users")
    run_program("import sparsenas.imports as i; assert i.is_trusted('users') and i.find('users', 'conv')")


def test_a_primitive_of_this_package_needs_trust_too():
    with pytest.raises(ConfigError, match="would run code"):
        make_operation("sparsenas.files:write_atomically", 4, 1, NormOptions())
    with pytest.raises(ConfigError, match="would run code"):
        find("sparsenas.files", "write_atomically")
