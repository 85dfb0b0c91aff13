"""Which folders are parts and classes, and what is left out."""

import os
import unicodedata

import pytest
from PIL import Image

from sparsenas.data.folder_tree import LeftOut, images_below, read_tree
from sparsenas.errors import DataError


def plant(root, *files):
    """Write small images, or other files, at some paths; a path that ends in a slash is a folder."""
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.endswith("/"):
            path.mkdir(exist_ok=True)
        elif path.suffix in (".png", ".jpg", ".JPG"):
            Image.new("L", (2, 2)).save(path)
        else:
            path.write_text("no image")
    return root


def seen(root):
    """Parts and classes with their files, and what was left out."""
    tree = read_tree(root)
    files = {
        part: {
            name: [found.path.relative_to(root).as_posix() for found in images_below(folder, tree.left_out)]
            for name, folder in classes.items()
        }
        for part, classes in tree.parts.items()
    }
    return files, dict(tree.left_out.counts)


PLAIN = ("cat/1.png", "dog/1.png")


def test_every_folder_is_a_class_and_depth_does_not_matter(tmp_path):
    plant(tmp_path, "dog/2.png", "dog/old/day 1/1.JPG", "cat/1.png")
    assert seen(tmp_path) == ({"train": {"cat": ["cat/1.png"], "dog": ["dog/2.png", "dog/old/day 1/1.JPG"]}}, {})


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "val", "test"), ("Training", "Validation", "Testing"), ("TRAIN", "valid", "Test")],
)
def test_folders_of_parts(tmp_path, train, val, test):
    plant(tmp_path, *(f"{part}/{file}" for part in (train, val, test) for file in PLAIN))
    files, left_out = seen(tmp_path)
    assert list(files) == ["train", "val", "test"]
    assert files["val"] == {"cat": [f"{val}/cat/1.png"], "dog": [f"{val}/dog/1.png"]}
    assert not left_out


def test_a_train_folder_alone_and_what_lies_beside_it(tmp_path):
    plant(tmp_path, "train/cat/1.png", "train/dog/1.png", "raw/cat/1.png", "test/1.png", "test/2.png", "cover.png")
    files, left_out = seen(tmp_path)
    assert list(files) == ["train"]
    assert left_out == {
        "images beside the class folders": 1,
        "folder test, which has no class folders": 1,
        "folder raw beside train": 1,
    }


def test_a_class_may_be_called_train(tmp_path):
    plant(tmp_path, "train/1.png", "train/2.png", "bus/1.png")
    assert list(seen(tmp_path)[0]["train"]) == ["bus", "train"]


def test_a_few_stray_images_beside_class_folders_change_nothing(tmp_path):
    plant(
        tmp_path, *(f"{part}/{file}" for part in ("train", "test") for file in PLAIN), "train/all.png", "test/all.png"
    )
    files, left_out = seen(tmp_path)
    assert list(files) == ["train", "test"]
    assert left_out == {"images beside the class folders": 2}


def test_a_part_of_folders_and_many_images_is_refused(tmp_path):
    plant(tmp_path, *(f"train/{file}" for file in PLAIN), "test/cat/1.png", "test/1.png", "test/2.png")
    with pytest.raises(DataError, match="test: holds 2 images beside 1 folders; move them, or the folders, away"):
        read_tree(tmp_path)


@pytest.mark.parametrize(
    "folders",
    [
        ("val", "test"),
        ("Test",),
        ("seg_train", "seg_test"),
        ("train_images", "val_images"),
        ("fold1", "fold2", "fold3"),
        ("set a", "set b"),
        ("TrainingData", "TestData"),
        ("images/train", "labels/train"),
        ("data/train", "data/val"),
    ],
)
def test_parts_without_a_train_are_refused(tmp_path, folders):
    plant(tmp_path, *(f"{part}/{file}" for part in folders for file in PLAIN))
    with pytest.raises(DataError, match=r"look like parts, but none is a train that holds class folders; call them"):
        read_tree(tmp_path)


@pytest.mark.parametrize(
    "files",
    [
        ("train/1.png", "test/1.png", "labels.csv"),
        ("train/1.png", "test/1.png", "docs/1.png"),
        ("train/cat.1.png", "test1/1.png"),
        ("seg_train/seg_train/a/1.png", "seg_test/seg_test/a/1.png", "seg_pred/1.png"),
        ("train_set/cat/1.png", "train_set/dog/1.png", "test_set/cat/1.png"),
    ],
)
def test_parts_are_never_classes(tmp_path, files):
    plant(tmp_path, *files)
    with pytest.raises(DataError, match="look like parts, but none is a train that holds class folders"):
        read_tree(tmp_path)


def test_two_names_of_one_part_are_refused(tmp_path):
    plant(tmp_path, *(f"{part}/{file}" for part in ("train", "val", "valid") for file in PLAIN))
    with pytest.raises(DataError, match="val and valid are both names of the part val; keep one of them"):
        read_tree(tmp_path)


def test_classes_with_equal_folders_below_are_classes(tmp_path):
    for one, other in (("female", "male"), ("sunrise", "sunset"), ("hill", "valley")):
        plant(tmp_path / one, *(f"{name}/{year}/1.png" for name in (one, other) for year in ("2020", "2021")))
        assert list(seen(tmp_path / one)[0]["train"]) == [one, other]


def test_a_class_is_no_run_for_one_file_that_runs_write_too(tmp_path):
    plant(
        tmp_path, *PLAIN, "cat/manifest.json", "cat/config.yaml", "dog/hparams.yaml", "dog/last.ckpt", "dog/version_1"
    )
    assert list(seen(tmp_path)[0]["train"]) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        (".thumbnails", "hidden folder .thumbnails"),
        (".ipynb_checkpoints", "hidden folder .ipynb_checkpoints"),
        ("@eaDir", "folder @eaDir of the system"),
        ("__MACOSX", "folder __MACOSX of the system"),
        ("lightning_logs", "folder lightning_logs of runs"),
        ("export", "folder export of runs"),
        ("checkpoints", "folder checkpoints of runs"),
    ],
)
@pytest.mark.parametrize("where", ["", "cat/", "cat/day 1/", "train/", "train/cat/"])
def test_copies_and_runs_are_left_out_at_any_depth(tmp_path, folder, reason, where):
    plant(tmp_path, *(f"{'train/' if where.startswith('train') else ''}{file}" for file in PLAIN))
    plant(tmp_path, f"{where}{folder}/copy.png")
    if folder == "lightning_logs":
        plant(tmp_path, f"{where}{folder}/version_0/hparams.yaml", f"{where}{folder}/version_0/genotype.png")
    if folder == "checkpoints":
        plant(tmp_path, f"{where}{folder}/last.ckpt")
    if folder == "export":
        plant(tmp_path, f"{where}{folder}/manifest.json", f"{where}{folder}/genotype.json")
    files, left_out = seen(tmp_path)
    assert list(files["train"]) == ["cat", "dog"]
    assert all(len(images) == 1 for images in files["train"].values())
    assert left_out == {reason: 1}


def test_links_are_followed_once(tmp_path):
    plant(tmp_path, "photos/cat/1.png", "photos/dog/1.png", "store/2.png", "store/deep/3.png", "kinds/4.png")
    photos = tmp_path / "photos"
    (photos / "cat" / "session").symlink_to("../../store")
    (photos / "bird").symlink_to("../kinds")
    (photos / "dog" / "2.png").symlink_to("../../store/2.png")
    (photos / "dog" / "gone.png").symlink_to("../../gone.png")
    (photos / "dog" / "loop").symlink_to("..")
    (tmp_path / "store" / "deep" / "up").symlink_to("..")
    (photos / "dog" / "self").symlink_to("self")
    (photos / "self").symlink_to("self")
    files, left_out = seen(photos)
    assert files["train"] == {
        "bird": ["bird/4.png"],
        "cat": ["cat/1.png", "cat/session/2.png", "cat/session/deep/3.png"],
        "dog": ["dog/1.png", "dog/2.png"],
    }
    assert left_out == {"links to a folder above": 2, "links to nothing": 1, "files without a suffix": 1}


def test_other_files_are_counted(tmp_path):
    plant(tmp_path, *PLAIN, "cat/notes.txt", "cat/a.heic", "cat/b.HEIC", "cat/README", "cat/._1.png", "dog/.DS_Store")
    assert seen(tmp_path)[1] == {"hidden files": 2, "files .heic": 2, "files .txt": 1, "files without a suffix": 1}


def test_the_report_says_what_was_taken_and_left_out(tmp_path):
    left_out = LeftOut()
    left_out.counts.update({"hidden files": 2, "links to nothing": 1})
    assert str(left_out) == "2 hidden files, 1 links to nothing"


def test_names_of_any_encoding_are_readable_and_composed(tmp_path):
    os.makedirs(os.path.join(os.fsencode(tmp_path), b"caf\xe9"))
    Image.new("L", (2, 2)).save(tmp_path / os.fsdecode(b"caf\xe9") / "1.png")
    plant(tmp_path, unicodedata.normalize("NFD", "Käse") + "/1.png", "a\nb/1.png")
    files, _ = seen(tmp_path)
    assert list(files["train"]) == ["Käse", "a\\nb", "caf\\xe9"]


def test_one_name_written_in_two_ways_is_refused(tmp_path):
    plant(tmp_path, unicodedata.normalize("NFD", "Käse") + "/1.png", unicodedata.normalize("NFC", "Käse") + "/1.png")
    with pytest.raises(DataError, match="there are two folders of the name Käse, written differently; rename one"):
        read_tree(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_named(tmp_path):
    plant(tmp_path, *PLAIN)
    (tmp_path / "cat").chmod(0)
    with pytest.raises(DataError, match=r"cat: cannot be read \(Permission denied\); give it the rights, or remove it"):
        read_tree(tmp_path)
