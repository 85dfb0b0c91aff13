"""Copies of files are told, and files that cannot be read are left out if asked for."""

import shutil

import numpy as np
import pytest

from sparsenas.callbacks import PartsFile
from sparsenas.cli import main
from sparsenas.data import ImageFolder, broken_files, duplicates
from sparsenas.errors import DataError

OPTIONS = {"size": 8, "batch_size": 4, "num_workers": 0, "arch_fraction": 0.0}


def test_equal_files_are_found_by_as_few_bytes_as_possible(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    head, tail = rng.bytes(duplicates.HEAD), rng.bytes(100)
    contents = [head + tail, head + tail[::-1], head + tail, b"short", tail, tail[::-1], tail, head]
    files = [tmp_path / str(number) for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    read = []
    whole = duplicates._hash
    monkeypatch.setattr(duplicates, "_hash", lambda file: read.append(file.name) or whole(file))
    assert sorted(duplicates.duplicates([*files, tmp_path / "gone"])) == [[0, 2], [4, 6]]
    assert sorted(read) == ["0", "1", "2", "4", "6"]


def warnings_of(data):
    return [line for line in data.parts.report() if line.startswith("warning")]


def test_copies_in_two_parts_and_of_two_classes_are_told(folder, tmp_path):
    folder({"ant": 10, "bee": 10}, "set/train")
    folder({"ant": 4, "bee": 4}, "set/test")
    root = tmp_path / "set"
    for number, file in enumerate(sorted(root.glob("test/*/*.png"))):
        file.write_bytes(file.read_bytes() + bytes(number + 1))  # the fixture draws the same pictures for both
    options = OPTIONS | {"val_fraction": 0.0}
    assert warnings_of(ImageFolder(str(root), **options)) == []
    shutil.copy(root / "train/ant/00.png", root / "test/ant/copy.png")
    shutil.copy(root / "train/ant/00.png", root / "train/ant/again.png")  # within a part: no harm
    assert warnings_of(ImageFolder(str(root), **options)) == [
        "warning: 1 images are in files of two parts, byte by byte, such as ant/00.png (train) and ant/copy.png (test)"
    ]
    shutil.copy(root / "train/ant/01.png", root / "train/bee/copy.png")
    assert warnings_of(ImageFolder(str(root), **options))[1:] == [
        "warning: 1 images are in files of two classes, byte by byte, such as ant/01.png (ant) and bee/copy.png (bee)"
    ]


def test_parts_that_are_drawn_are_compared_too(folder):
    root = folder({"ant": 30, "bee": 30})
    data = ImageFolder(str(root), **OPTIONS)
    test, train = data.parts.test.names[0], data.parts.weights.names[0]
    shutil.copy(root / test, root / train)
    told = warnings_of(ImageFolder(str(root), **OPTIONS))
    assert len(told) == 1
    assert f"{test} (test)" in told[0]
    assert f"{train} (train)" in told[0]


def test_files_that_cannot_be_read_are_left_out_if_asked_for(folder, recorder, trainer, capsys, tmp_path):
    root = folder({"ant": 12, "bee": 12})
    broken = ["ant/03.png", "ant/05.png", "bee/00.png", "bee/11.png"]
    for name in broken:
        (root / name).write_bytes((root / name).read_bytes()[:60])
    with pytest.raises(DataError, match=r"not a readable image .*; data\.skip_broken true leaves such files out"):
        trainer(max_epochs=1, enable_checkpointing=False).fit(recorder(), ImageFolder(str(root), **OPTIONS))
    capsys.readouterr()
    data = ImageFolder(str(root), skip_broken=True, **OPTIONS)
    trainer(max_epochs=1, enable_checkpointing=False, callbacks=[PartsFile()]).fit(recorder(), data)
    said = capsys.readouterr().out.splitlines()
    shown = ", ".join(broken[:3])
    assert f"images        left out: 4 files that cannot be read ({shown}, ...); all are in broken.txt" in said
    assert "20 images of 2 classes" in said[0]
    lines = (tmp_path / "broken.txt").read_text(encoding="utf-8").splitlines()
    assert [line.partition(": ")[0] for line in lines] == broken
    assert all("not a readable image (" in line for line in lines)
    assert set(data.parts.names).isdisjoint(broken)
    for name in root.glob("ant/*"):
        name.write_bytes(b"")
    with pytest.raises(DataError, match="class 'ant' has no training image"):
        ImageFolder(str(root), skip_broken=True, **OPTIONS).setup("fit")


@pytest.mark.slow
def test_a_run_that_chooses_by_its_images_reads_each_of_them_once(folder, monkeypatch, capsys):
    root = folder({"ant": 12, "bee": 12})
    read = []
    decode = broken_files.decode
    monkeypatch.setattr(broken_files, "decode", lambda file: read.append(file.name) or decode(file))
    plan = ["fit", "--config", "photos", "--data.path", str(root), "--data.skip_broken", "true", "--plan"]
    assert main(plan) == 0
    assert "chosen" in capsys.readouterr().out
    assert len(read) == 24
    (root / "ant/03.png").write_bytes(b"")
    assert ImageFolder(str(root), skip_broken=True, **OPTIONS).source.broken[0][0] == "ant/03.png"
    assert len(read) == 48
