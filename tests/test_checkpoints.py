"""Checkpoints: every damaged one is refused by every reader, and none is torn or lost by writing."""

import os
import resource
import shlex
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

import sparsenas
from sparsenas.checkpoints import WholeCheckpoints, is_whole, load, pack, save, unpack
from sparsenas.cli import main
from sparsenas.data import Digits
from sparsenas.errors import CheckpointError, ConfigError
from sparsenas.export import load as load_export
from sparsenas.training import StandAloneTraining

CONTENT = {"weights": torch.arange(600.0).view(20, 30), "epoch": 3, "names": ("a", "b")}
TRAINING = shlex.split(
    "fit --config train_digits --model.network.channels 4 --model.network.cells 3 --trainer.accelerator cpu "
    "--trainer.max_epochs 2 --trainer.limit_train_batches 2 --trainer.limit_val_batches 1 "
    "--trainer.log_every_n_steps 1 --trainer.callbacks ModelCheckpoint --trainer.callbacks.filename last"
)


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name]) if torch.is_tensor(value) else value == other[name]
        for name, value in one.items()
    )


def flips(data, count, seed):
    """Copies of a file with one bit that is not as it was."""
    rng = np.random.default_rng(seed)
    for position in rng.integers(0, 8 * len(data), count):
        damaged = bytearray(data)
        damaged[position // 8] ^= 1 << (position % 8)
        yield bytes(damaged)


@contextmanager
def full_disk(most):
    """No file may become longer than ``most`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class TestBytes:
    def test_what_is_written_is_read_by_this_and_by_torch(self, tmp_path):
        (tmp_path / "a.ckpt").write_bytes(pack(CONTENT))
        assert same(load(tmp_path / "a.ckpt"), CONTENT)
        for mmap in (False, True):
            assert same(torch.load(tmp_path / "a.ckpt", weights_only=True, mmap=mmap), CONTENT)

    def test_every_flipped_bit_is_noticed(self):
        data = pack({"epoch": 3})
        assert unpack(data) == {"epoch": 3}
        for position in range(8 * len(data)):
            damaged = bytearray(data)
            damaged[position // 8] ^= 1 << (position % 8)
            with pytest.raises(CheckpointError, match="damaged, or not a checkpoint"):
                unpack(bytes(damaged))

    def test_every_cut_and_every_addition_is_noticed(self):
        data = pack({"epoch": 3})
        for broken in (*(data[:length] for length in range(len(data))), data + b"\0", data + data, b"\0" + data):
            with pytest.raises(CheckpointError, match="damaged"):
                unpack(broken)

    def test_other_writers_have_checksums_of_their_contents(self, tmp_path):
        torch.save(CONTENT, tmp_path / "other.ckpt")
        data = (tmp_path / "other.ckpt").read_bytes()
        assert same(unpack(data), CONTENT)
        start = data.index(CONTENT["weights"].numpy().tobytes())
        for position in range(start, start + 2400, 7):
            damaged = bytearray(data)
            damaged[position] ^= 1
            with pytest.raises(CheckpointError, match="damaged"):
                unpack(bytes(damaged))

    def test_no_code_is_run(self):
        with pytest.raises(CheckpointError, match=r"holds more than tensors and plain values \(UnpicklingError"):
            unpack(pack({"path": Path("code")}))
        assert unpack(pack({"path": Path("code")}), weights_only=False) == {"path": Path("code")}


class TestWriting:
    def test_what_was_there_before_is_kept_and_goes_with_it(self, tmp_path):
        path = tmp_path / "new" / "last.ckpt"
        for epoch in range(3):
            save(path, {"epoch": epoch})
        names = [path.name, f"{path.name}.previous"]
        assert sorted(os.listdir(path.parent)) == names
        assert [load(path.parent / name)["epoch"] for name in names] == [2, 1]
        WholeCheckpoints().remove_checkpoint(path)
        assert os.listdir(path.parent) == []

    def test_file_systems_without_links_keep_it_too(self, tmp_path, monkeypatch):
        def refuse(*_):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
        for epoch in range(2):
            save(tmp_path / "last.ckpt", {"epoch": epoch})
        assert load(tmp_path / "last.ckpt.previous") == {"epoch": 0}

    @pytest.mark.parametrize("most", [0, 100, 3000])
    def test_a_full_disk_takes_nothing_away(self, tmp_path, most):
        path = tmp_path / "last.ckpt"
        save(path, {"epoch": 0})
        save(path, {"epoch": 1})
        before = sorted(os.listdir(tmp_path))
        with (
            full_disk(most),
            pytest.raises(ConfigError, match=r"last.ckpt: .*File too large.*; free some space"),
        ):
            save(path, CONTENT)
        assert sorted(os.listdir(tmp_path)) == before
        assert load(path) == {"epoch": 1}

    def test_a_damaged_one_does_not_take_the_place_of_the_one_before(self, tmp_path):
        path = tmp_path / "last.ckpt"
        save(path, {"epoch": 0})
        save(path, {"epoch": 1})
        path.write_bytes(next(flips(path.read_bytes(), 1, seed=0)))
        with full_disk(100), pytest.raises(ConfigError, match="cannot write"):
            save(path, CONTENT)
        assert load(tmp_path / "last.ckpt.previous") == {"epoch": 0}
        save(path, {"epoch": 2})
        assert load(path) == {"epoch": 2}

    def test_the_home_folder_is_known(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        save("~/last.ckpt", {"epoch": 0})
        assert load("~/last.ckpt") == load(tmp_path / "last.ckpt") == {"epoch": 0}
        WholeCheckpoints().remove_checkpoint(tmp_path / "last.ckpt")
        assert os.listdir(tmp_path) == []

    def test_temporary_files_are_never_elsewhere(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TMPDIR", str(tmp_path / "of another file system"))  # that is not there
        monkeypatch.setattr("tempfile.tempdir", None)
        save(tmp_path / "last.ckpt", {"epoch": 0})
        assert load(tmp_path / "last.ckpt") == {"epoch": 0}

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError, match=r"file/last.ckpt: cannot make its folder"):
            save(tmp_path / "file" / "last.ckpt", CONTENT)


class TestReading:
    def test_the_message_names_the_newest_whole_one(self, tmp_path):
        path = tmp_path / "last.ckpt"
        for number, name in enumerate(("old.ckpt", "new.ckpt", "broken.ckpt")):
            (tmp_path / name).write_bytes(pack({"epoch": number})[name == "broken.ckpt" :])
            os.utime(tmp_path / name, (number, number))
        path.write_bytes(b"torn")
        with pytest.raises(CheckpointError, match=r"last.ckpt: damaged, or not a checkpoint; whole is .*/new.ckpt$"):
            load(path)
        (tmp_path / "last.ckpt.previous").write_bytes(pack({"epoch": 9}))
        with pytest.raises(CheckpointError, match=r"whole is .*/last.ckpt.previous$"):
            load(path)
        assert not is_whole(path)

    def test_a_missing_one_is_named(self, tmp_path):
        with pytest.raises(CheckpointError, match=r"gone.ckpt: no such file; give a .ckpt file that a run wrote"):
            load(tmp_path / "gone.ckpt")
        with pytest.raises(CheckpointError, match=r"is no file; give a .ckpt file"):
            load(tmp_path)
        assert not is_whole(tmp_path)

    def test_a_run_writes_sealed_ones(self, checkpoint):
        data = checkpoint.read_bytes()
        assert b"sparsenas.sha256:" in data[-100:]
        for damaged in flips(data, 100, seed=0):
            with pytest.raises(CheckpointError, match="damaged"):
                unpack(damaged)

    @pytest.mark.slow
    @pytest.mark.parametrize("damage", ["flip", "cut"])
    def test_every_reader_refuses_a_damaged_one(self, checkpoint, tmp_path, monkeypatch, capsys, damage):
        monkeypatch.chdir(tmp_path)
        data = checkpoint.read_bytes()
        broken = next(flips(data, 1, seed=1)) if damage == "flip" else data[: len(data) // 2]
        Path("last.ckpt").write_bytes(broken)
        Path("last.ckpt.previous").write_bytes(data)
        for command in ("fit", "validate", "test", "predict"):
            assert main([command, *TRAINING[1:], "--ckpt_path", "last.ckpt"]) == 2
        assert main(["export", "last.ckpt", "--to", "network"]) == 2
        lines = capsys.readouterr().err.splitlines()
        message = "damaged, or not a checkpoint; whole is last.ckpt.previous"
        assert [line.endswith(message) for line in lines] == [True] * 5
        for read in (sparsenas.load_checkpoint, StandAloneTraining.load_from_checkpoint, Digits.load_from_checkpoint):
            with pytest.raises(CheckpointError, match=message):
                read("last.ckpt")
        model = sparsenas.load_checkpoint(checkpoint).model
        trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
        with pytest.raises(CheckpointError, match=message):
            trainer.test(model, Digits(arch_fraction=0.0), ckpt_path="last.ckpt", weights_only=True)
        assert sorted(os.listdir()) == ["last.ckpt", "last.ckpt.previous"]

    def test_the_one_before_can_be_used(self, checkpoint, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("last.ckpt.previous").write_bytes(checkpoint.read_bytes())
        assert main(["export", "last.ckpt.previous", "--to", "network", "--formats", "safetensors"]) == 0
        load_export("network")


@pytest.mark.slow
def test_a_way_of_ones_own_to_write_checkpoints_is_left(fit_briefly):
    class Own(TorchCheckpointIO):
        pass

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for plugins, kind in ((None, WholeCheckpoints), ([Own()], Own)):
            model = StandAloneTraining((1, 8, 8), 10, "darts_v2")
            trainer = fit_briefly(model, Digits(arch_fraction=0.0), epochs=0, plugins=plugins)
            assert type(trainer.strategy.checkpoint_io) is kind


def test_a_url_is_left_to_lightning(tmp_path):
    io, url = WholeCheckpoints(), f"file://{tmp_path / 'a.ckpt'}"
    io.save_checkpoint(CONTENT, url)
    assert same(io.load_checkpoint(url, weights_only=True), CONTENT)
    assert not is_whole(tmp_path / "a.ckpt")  # it has no seal


@pytest.mark.slow
def test_no_kill_tears_a_checkpoint(run_program):
    run_program("""
import os, random, signal, time
from pathlib import Path
import torch
from sparsenas import files
from sparsenas.checkpoints import load, save

random.seed(0)
content = {"weights": torch.zeros(50_000), "number": 0}
save("last.ckpt", content)
newest = 0
for kill in range(40):
    child = os.fork()
    if child == 0:
        for number in range(newest + 1, newest + 1000):
            save("last.ckpt", {**content, "number": number})
        os._exit(0)
    time.sleep(random.uniform(0.0, 0.06))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found = load("last.ckpt")["number"]
    assert newest <= found, (kill, newest, found)
    if Path("last.ckpt.previous").exists():
        assert load("last.ckpt.previous")["number"] in (found, found - 1)
    newest = found
assert newest > 40
files.OLD = -1.0
save("last.ckpt", content)
left = {path.name for path in Path().iterdir()} - {"program.py"}
assert left == {"last.ckpt", "last.ckpt.previous"}, left
""")
