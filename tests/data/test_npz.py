import io
import os
import warnings
import zipfile

import numpy as np
import pytest
import torch

from sparsenas.data import NpzImages
from sparsenas.errors import DataError


def test_grey_images_without_names_or_test_part(archive):
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.integers(0, 256, (40, 8, 9), dtype=np.uint8), "y_train": np.arange(40) % 2}
    data = NpzImages(archive(arrays), test_fraction=0.25, batch_size=4)
    assert data.image_shape == (1, 8, 9)
    assert data.class_names == ("0", "1")
    assert len(data.parts.test.indices) == 10
    dataset = data.parts.weights.dataset
    assert dataset.images.shape == (30, 1, 8, 9)


def test_own_validation_part_is_used_whole(archive, arrays):
    data = NpzImages(archive(arrays | {"x_val": arrays["x_test"], "y_val": arrays["y_test"]}), batch_size=4)
    assert len(data.parts.split.val) == 0
    assert len(data.parts.split.train) == 60
    dataset, indices, _ = data.parts.val
    assert torch.equal(dataset.images, torch.from_numpy(arrays["x_test"]).permute(0, 3, 1, 2))
    assert indices.tolist() == list(range(20))


def test_environment_variables_and_home_are_replaced(archive, arrays, monkeypatch):
    folder, file = os.path.split(archive(arrays))
    monkeypatch.setenv("IMAGE_FOLDER", folder)
    monkeypatch.setenv("HOME", folder)
    for path in ("${IMAGE_FOLDER}/", "$IMAGE_FOLDER/", "~/"):
        assert NpzImages(path + file).num_classes == 4


def test_unset_variable_is_named(monkeypatch):
    monkeypatch.delenv("NO_SUCH_FOLDER", raising=False)
    with pytest.raises(DataError, match=r"data\.path is .*variable NO_SUCH_FOLDER is not set; set it, or write"):
        NpzImages("${NO_SUCH_FOLDER}/images.npz")


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"gone\.npz: no such file; data\.path must name an \.npz archive"):
        NpzImages(str(tmp_path / "gone.npz"))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_file(archive, arrays, share):
    path = archive(arrays)
    with open(path, "r+b") as file:
        file.truncate(int(share * os.path.getsize(path)))
    with pytest.raises(DataError, match=r"images\.npz: not a readable \.npz archive \(.*\); copy it again"):
        NpzImages(path)


def test_damaged_pixels(archive, arrays):
    path = archive(arrays)
    with open(path, "r+b") as file:
        file.seek(1000)
        file.write(b"damage" * 10)
    data = NpzImages(path, batch_size=4)
    with pytest.raises(
        DataError, match=r"images\.npz: not a readable \.npz archive \(x_train\.npy: Bad CRC-32 .*\); copy it again"
    ):
        data.setup("fit")


def test_file_of_another_kind(tmp_path):
    path = tmp_path / "images.npz"
    path.write_text("not an archive")
    with pytest.raises(DataError, match="not a readable"):
        NpzImages(str(path))


def test_archive_of_other_files(tmp_path):
    path = tmp_path / "images.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match="not a readable"):
        NpzImages(str(path))


OBJECTS = np.array([{"a": 1}] * 4, dtype=object)

BAD_TRAINING_PARTS = [
    ({"x_train": None}, r"no array x_train; it holds y_train, .* and needs x_train \(uint8 images\) and y_train"),
    ({"y_train": None}, r"no array y_train; it holds"),
    ({"x_train": np.zeros((60, 6, 8, 3), np.float32)}, r"x_train is float32 of shape .*; images must be uint8"),
    ({"x_train": np.zeros((60, 48), np.uint8)}, r"x_train is uint8 of shape \(60, 48\); .* \(N, H, W\) for grey"),
    ({"x_train": np.zeros((60, 0, 8), np.uint8)}, r"x_train has shape \(60, 0, 8\); it must hold at least one pixel"),
    ({"x_train": np.zeros((59, 6, 8), np.uint8)}, r"x_train has 59 images but y_train has 60 labels"),
    ({"y_train": np.zeros(60)}, r"y_train is float64 of shape \(60,\); labels must be integers of shape \(N,\)"),
    ({"y_train": np.zeros((60, 1), int)}, r"y_train is int64 of shape \(60, 1\); labels must be integers"),
    ({"y_train": np.arange(60) % 5}, r"label 4 of image 4 is out of range; with 4 classes, labels are 0 to 3"),
    ({"y_train": np.arange(60) % 4 - 1}, r"label -1 of image 0 is out of range"),
    ({"y_train": np.arange(60) % 4 + 1, "classes": None}, r"class '0' has no training image"),
    ({"y_train": np.arange(60) * 10**9, "classes": None}, r"y_train has label 59000000000 among 60 images"),
    ({"y_train": np.arange(60) % 3}, r"class 'dog' has no training image; give every class at least one"),
    ({"y_train": np.zeros(60, int), "classes": None}, r"only one class, 0; a classifier needs at least two"),
    ({"y_train": np.zeros(60, int), "classes": np.array(["ant"])}, r"only one class, ant; a classifier needs"),
    ({"classes": np.arange(4)}, r"classes is int64 of shape \(4,\); it must be a list of names as text"),
    ({"classes": OBJECTS}, r"classes is object of shape \(4,\); it must be a list of names as text"),
    ({"x_train": np.array([[[OBJECTS]]] * 60)}, r"x_train is object of shape .*; images must be uint8"),
    ({"y_train": np.array([None] * 60)}, r"y_train is object of shape \(60,\); labels must be integers"),
]


@pytest.mark.parametrize(("change", "message"), BAD_TRAINING_PARTS)
def test_bad_training_part(archive, arrays, change, message):
    arrays = {name: array for name, array in (arrays | change).items() if array is not None}
    with pytest.raises(DataError, match=r"images\.npz: " + message):
        NpzImages(archive(arrays))


BAD_TEST_PARTS = [
    ({"y_test": None}, r"no array y_test"),
    ({"x_test": np.zeros((20, 6, 8, 3))}, r"x_test is float64"),
    (
        {"x_test": np.zeros((20, 7, 8, 3), np.uint8)},
        r"images of x_test have shape \(7, 8, 3\), those of x_train \(6, 8",
    ),
    ({"x_test": np.zeros((19, 6, 8, 3), np.uint8)}, r"x_test has 19 images but y_test has 20 labels"),
    ({"y_test": np.full(20, 4)}, r"label 4 of image 0 is out of range"),
    ({"classes": np.array(["ant", "bee", "ant", "dog"])}, "classes holds a name twice"),
]


@pytest.mark.parametrize(("change", "message"), BAD_TEST_PARTS)
def test_bad_test_part_is_refused_before_the_training(archive, arrays, change, message):
    arrays = {name: array for name, array in (arrays | change).items() if array is not None}
    with pytest.raises(DataError, match=message):
        NpzImages(archive(arrays), batch_size=4)


def test_pickle_in_disguise_is_never_loaded(archive, arrays):
    class Explosive:
        def __reduce__(self):
            return pytest.fail, ("unpickled",)

    path = archive(arrays | {"extra": np.array([Explosive()], dtype=object)})
    data = NpzImages(path, batch_size=4)
    data.setup("fit")
    data.setup("test")
    assert len(data.parts.test.indices) == 20  # read, and nothing was unpickled


@pytest.mark.parametrize("name", ["cifar10_12k_16px.npz", "fashion_mnist_6k.npz"])
def test_real_images(name):
    if "SPARSENAS_DATA" not in os.environ:
        pytest.skip("SPARSENAS_DATA is not set: no real images")
    data = NpzImages("${SPARSENAS_DATA}/" + name)
    data.setup("fit")
    split = data.parts.split
    assert data.num_classes == 10
    assert len(split.weights) == len(split.arch) == 9 * len(split.val) / 2
    counts = np.bincount(data.parts.weights.dataset.labels[torch.from_numpy(split.weights)])
    assert (counts == counts[0]).all()  # the sets are class-balanced
    published = (0.4914, 0.4822, 0.4465) if data.image_shape[0] == 3 else (0.2860,)
    np.testing.assert_allclose(data.mean, published, atol=0.01)


def test_the_report_names_parts_and_arrays_that_are_not_read(archive, arrays):
    source = NpzImages(archive(arrays | {"x_valid": arrays["x_test"], "y_valid": arrays["y_test"]})).source
    assert source.report() == [
        f"train: 60 images of 4 classes in {source.name} (ant 15, bee 15, cat 15, dog 15)",
        f"test: 20 images of 4 classes in {source.name} (ant 5, bee 5, cat 5, dog 5)",
        "val: none there; data.val_fraction of the training images",
        "left out: arrays x_valid, y_valid",
    ]


def members(path, **contents):
    """Write an archive of raw members."""
    with zipfile.ZipFile(path, "w") as file:
        for name, content in contents.items():
            file.writestr(name, content)
    return str(path)


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        ("a/x_train.npy", npy(np.zeros((4, 8, 8), np.uint8)), r"a/x_train\.npy: no array of its own name at the top"),
        ("x_train", b"hello", r"x_train: no array of its own name at the top of the archive"),
        ("x_train.npy", b"hello", r"x_train\.npy: .*magic string"),
        (
            "x_train.npy",
            npy(np.zeros((4, 8, 8), np.uint8)).replace(b"(4, 8, 8), }          ", b"(4, 800000, 800000), }"),
            r"x_train\.npy: claims the shape \(4, 800000, 800000\), which its 384 bytes do not hold",
        ),
        ("x_train.npy", npy(np.zeros((4, 8, 8), np.uint8)).replace(b"(4,", b"((("), r"x_train\.npy: "),
    ],
)
def test_members_that_are_no_arrays(tmp_path, member, content, message):
    path = members(tmp_path / "images.npz", **{"y_train.npy": npy(np.arange(4)), member: content})
    with pytest.raises(DataError, match=rf"images\.npz: not a readable \.npz archive \({message}.*; copy it again"):
        NpzImages(path)


def test_an_array_that_is_there_twice(tmp_path):
    with zipfile.ZipFile(tmp_path / "images.npz", "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            file.writestr("x_train.npy", npy(np.zeros((4, 8, 8), np.uint8)))
    with pytest.raises(DataError, match=r"x_train\.npy: no array of its own name"):
        NpzImages(str(tmp_path / "images.npz"))
