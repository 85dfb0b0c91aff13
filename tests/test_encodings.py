"""Names in any encoding, on any terminal: every command works, or refuses in one line."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparsenas.cli import main
from sparsenas.data import NpzImages
from sparsenas.texts import readable

CAFE = os.fsdecode(b"caf\xe9")  # latin-1, as old archives have it
TINY = (
    "--data ImageFolder --data.path photos --data.size 8 --data.batch_size 4 --data.num_workers 0 "
    "--data.arch_fraction 0 --model.network.channels 4 --model.network.cells 3 "
    "--model.training.schedule.warmup_epochs 0 --trainer.max_epochs 1 "
    "--trainer.accelerator cpu --trainer.log_every_n_steps 1"
)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in (CAFE, "Käse 日本"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(16):
            image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            image.save(tmp_path / "photos" / name / f"{name}{number}.png")
    return tmp_path


@pytest.mark.slow
def test_all_commands_on_a_terminal_that_knows_only_ascii(photos):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1]), "OMP_NUM_THREADS": "1"}
    environment |= {"PYTHONIOENCODING": "ascii:strict", "LC_ALL": "C", "PYTHONUTF8": "0"}
    folder = "lightning_logs/version_0"
    checkpoint = ["--config", f"{folder}/config.yaml", "--ckpt_path", f"{folder}/checkpoints/last.ckpt"]
    picture = next(Path("photos", CAFE).iterdir())
    for args in (
        ["fit", "--config", "train_digits", *TINY.split()],
        ["predict", *checkpoint, "--trainer.logger", "false"],
        ["export", f"{folder}/checkpoints/last.ckpt", "--to", "exported"],
        ["predict", "exported", str(picture)],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "sparsenas", *args], env=environment, capture_output=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
    assert b"photos/caf\\xe9/caf\\xe9" in done.stdout
    rows = list(csv.DictReader(Path(folder, "predictions.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["file"].partition("/")[0] for row in rows} == {"caf\\xe9", "Käse 日本"}
    assert {row["predicted"] for row in rows} <= {"caf\\xe9", "Käse 日本"}


def test_a_path_that_no_config_can_keep_is_refused(photos, capsys):
    assert main(["fit", "--config", "train_digits", "--data", "ImageFolder", "--data.path", f"photos/{CAFE}"]) == 2
    assert capsys.readouterr().err == (
        "sparsenas: error: photos/caf\\xe9: holds bytes that are no UTF-8, which no config can keep; rename it\n"
    )


def test_a_config_in_another_encoding_is_refused(photos, capsys):
    Path("own.yaml").write_bytes(b"seed_everything: 0  # caf\xe9\n")
    assert main(["fit", "--config", "train_digits", "--config", "own.yaml"]) == 2
    assert (
        "--config own.yaml: cannot be read as UTF-8 (invalid continuation byte, at byte 25)" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"caf\xe9", "caf\\xe9"),
        (CAFE, "caf\\xe9"),
        ("Ka\u0308se", "Käse"),
        ("two\nlines\t", "two\\nlines\\t"),
        ("\ud800", "\\ud800"),
        ("日本 👩\u200d🔬", "日本 👩\u200d🔬"),
    ],
)
def test_readable_names_are_text_of_one_line_in_one_composition(text, expected):
    assert readable(text) == expected
    assert readable(expected) == expected
    expected.encode()


def test_class_names_of_an_archive_in_bytes(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    classes = np.array(["ä".encode("latin-1"), b"b"])
    np.savez(tmp_path / "a.npz", x_train=images, y_train=np.arange(40) % 2, classes=classes)
    assert NpzImages(str(tmp_path / "a.npz"), batch_size=4).class_names == ("\\xe4", "b")
