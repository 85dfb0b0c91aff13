"""The command that classifies image files by an export."""

import csv
from pathlib import Path

import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score

import sparsenas
from sparsenas.cli import main
from sparsenas.export import read_manifest


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Commands run in an empty folder."""
    monkeypatch.chdir(tmp_path)


def test_predict_prints_one_line_per_file(digits_export, digits, capsys):
    names = [path.name for path in digits]
    assert main(["predict", str(digits_export), *names]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    manifest, network = read_manifest(digits_export), sparsenas.load(digits_export)
    logits = network(torch.stack([manifest.preparation(path) for path in digits]))
    probabilities = logits.softmax(1)
    assert [row[0] for row in rows] == names
    assert [int(row[1]) for row in rows] == probabilities.argmax(1).tolist()
    assert [float(row[2]) for row in rows] == pytest.approx(probabilities.amax(1).tolist(), abs=1e-4)
    assert main(["predict", str(digits_export), names[0], "--calibrated"]) == 0
    calibrated = (logits[0].detach() / manifest.temperature).softmax(0).max()
    assert float(capsys.readouterr().out.split()[2]) == pytest.approx(float(calibrated), abs=1e-4)
    assert main(["predict", str(digits_export), names[0], "--top", "10"]) == 0
    row = capsys.readouterr().out.split()
    assert sorted(row[1::2]) == list("0123456789")
    assert sum(map(float, row[2::2])) == pytest.approx(1, abs=1e-3)


def test_predict_adapts_images_only_if_told_to(digits_export, digits, run_error, capsys):
    Image.open(digits[0]).resize((20, 30)).convert("RGB").save("photo.jpg")
    message = run_error("predict", digits_export, digits[0], "photo.jpg")
    assert message == (
        "photo.jpg: is 30x20 colour, but the network takes 8x8 grey; give such an image, or let it be converted and "
        "resized (--adapt)"
    )
    assert main(["predict", str(digits_export), "photo.jpg", "--adapt"]) == 0
    assert capsys.readouterr().out.startswith("photo.jpg  ")


def test_predict_refuses_before_it_prints(digits_export, digits, run_error, tmp_path):
    (tmp_path / "text.png").write_text("hello")
    for args, message in (
        ([digits[0], "text.png"], "text.png: not a readable image (cannot identify image file"),
        ([digits[0], "absent.png"], "absent.png: no such file"),
        ([digits[0], "--top", "11"], "--top is 11; the network has 10 classes"),
        ([], "the following arguments are required: IMAGE; see python -m sparsenas predict --help"),
    ):
        assert run_error("predict", digits_export, *args).startswith(message)
    assert run_error("predict", "absent", digits[0]).startswith("absent: no such folder; name one that")
    assert "so . is no whole export" in run_error("predict", ".", digits[0])


@pytest.fixture
def labelled(digits, tmp_path):
    """A folder of digits in folders named after their classes, one level below it."""
    for number, path in enumerate(digits):
        target = tmp_path / "new" / "test" / str(number) / path.name
        target.parent.mkdir(parents=True)
        path.rename(target)
    return tmp_path / "new"


def test_predict_takes_folders_and_knows_their_classes(digits_export, labelled, capsys):
    Image.new("L", (8, 8)).save(labelled / "unknown.png")
    (labelled / "notes.txt").touch()
    assert main(["predict", str(digits_export), "new", "--csv", "all.csv"]) == 0
    *lines, accuracy, macro_f1, _ = capsys.readouterr().out.splitlines()
    found = sparsenas.predict(digits_export, labelled)
    rows = list(csv.DictReader(Path("all.csv").read_text().splitlines()))
    assert [line.split()[0] for line in lines] == [row["file"] for row in rows]
    assert [row["file"] for row in rows] == [f"new/test/{number}/{number}.png" for number in range(5)] + [
        "new/unknown.png"
    ]
    assert [row["label"] for row in rows] == [*"01234", ""]
    predicted = [best.label for best in found]
    assert [row["predicted"] for row in rows] == predicted
    assert [float(row["probability"]) for row in rows] == pytest.approx([best.probability for best in found], abs=1e-6)
    assert accuracy.split()[1] == f"{accuracy_score(list('01234'), predicted[:5]):.4f}"
    by_hand = f1_score(list("01234"), predicted[:5], labels=list("01234"), average="macro", zero_division=0)
    assert macro_f1.split()[1] == f"{by_hand:.4f}"


def test_predict_takes_any_mixture_of_images(digits_export, labelled):
    files = sorted(labelled.rglob("*.png"))
    images = [Image.open(file) for file in files]
    (every,) = {tuple(sparsenas.predict(digits_export, *given)) for given in (files, [files], [labelled], images)}
    assert sparsenas.predict(digits_export, labelled / "test" / "3", [files[0]], images[1]) == [
        every[i] for i in (3, 0, 1)
    ]
    assert sparsenas.predict(digits_export) == []


def test_predict_stops_at_a_broken_file_unless_told_to_skip(digits_export, labelled, run_error, capsys):
    for name in ("a.png", "b.png"):
        (labelled / name).write_text("hello")
    message = run_error("predict", digits_export, "new")
    assert message.startswith("new/a.png: not a readable image (")
    assert message.endswith("; or leave such files out by --skip_broken")
    assert main(["predict", str(digits_export), "new", "--skip_broken"]) == 0
    captured = capsys.readouterr()
    assert "note: 2 files were left out: new/a.png: not a readable image" in captured.err
    assert len(captured.out.splitlines()) == 5 + 2
    message = run_error("predict", digits_export, "new/a.png", "new/b.png", "--skip_broken")
    assert message.startswith("none of 2 files is an image that the network takes; the first: new/a.png: not a")
    Path("empty").mkdir()
    Path("empty", "letter.txt").touch()
    message = run_error("predict", digits_export, "empty")
    assert message == "empty: no images below it; left out: 1 files .txt; name a folder of images, or files"


def test_predict_without_a_folder_is_the_trainer_s(run_error):
    assert run_error("predict", "--config", "train_digits").startswith("predict needs a trained network: give its")
