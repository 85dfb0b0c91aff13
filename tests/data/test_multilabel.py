"""Images of any number of labels: tables and archives of them, their parts, batches and folds."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsenas.data import Augmentation, CrossValidation, ImageFolder, NpzImages
from sparsenas.data.augment import ARCH, Augmenter
from sparsenas.data.labels import class_counts, label_names, rarest
from sparsenas.data.names import Places
from sparsenas.data.split import PartCode, Seeds, Shares, divide
from sparsenas.errors import DataError

CLASSES = ("ant", "bee", "cat")
SHARES = Shares(0.4, 0.2, 0.2)
OPTIONS = {"size": 8, "batch_size": 4, "num_workers": 0, "arch_fraction": 0.0}


def cell(number):
    """Label cell of an image: even ones show an ant, every third a bee, some a cat, and some nothing."""
    found = [
        name for name, there in zip(CLASSES, (not number % 2, not number % 3, number % 5 == 1), strict=True) if there
    ]
    return ";".join(found)


def rows(count=40, extra=""):
    return "\n".join(["path,label", *[f"pictures/all/{i:02}.png,{cell(i)}" for i in range(count)], extra])


def matrix(cells):
    """Labels of cells, ``(N, 3)``."""
    return np.array([[name in text.split(";") for name in CLASSES] for text in cells], dtype=np.uint8)


@pytest.fixture
def table(folder, tmp_path):
    """Writes a table beside 40 image files, and gives its path."""
    folder({"all": 40})

    def write(text):
        (tmp_path / "table.csv").write_text(text, encoding="utf-8")
        return str(tmp_path / "table.csv")

    return write


@pytest.fixture
def several():
    """Arrays of a good archive of several labels: 120 + 20 grey images of 8x8, in 3 classes."""
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (120, 8, 8), dtype=np.uint8),
        "y_train": matrix(map(cell, range(120))),
        "x_test": rng.integers(0, 256, (20, 8, 8), dtype=np.uint8),
        "y_test": matrix(map(cell, range(20))),
        "classes": np.array(CLASSES),
    }


# Sources


def test_a_table_of_several_labels(table):
    data = ImageFolder(table(rows()), **OPTIONS)
    assert data.multilabel
    assert data.class_names == CLASSES
    names, labels = data.source.names("train"), data.source.labels("train")
    assert (labels.dtype, labels.shape) == (np.uint8, (40, 3))
    assert np.array_equal(labels, matrix(cell(int(name[-6:-4])) for name in names))
    assert data.source.report()[0].endswith(
        "(ant 20, bee 14, cat 8), several labels an image, 1.1 on average, 10 images without"
    )
    assert [(name, text) for _, text, name in data.parts.table()] == [(n, cell(int(n[-6:-4]))) for n in names]


def test_blanks_and_semicolons_too_many_change_nothing(table):
    loose = rows().replace("ant;bee", " bee ; ant;;bee; ").replace(",cat\n", ",cat;\n")
    plain, other = (ImageFolder(table(text), **OPTIONS).source for text in (rows(), loose))
    assert (plain.names("train"), plain.class_names) == (other.names("train"), other.class_names)
    assert np.array_equal(plain.labels("train"), other.labels("train"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            rows(extra="pictures/all/00.png,cat\n"),
            r"all/00\.png has two labels, ant;bee in line 2 and cat in line 42; keep one, or write one row with the "
            r"label ant;bee;cat if an image may have several",
        ),
        (rows(extra="pictures/all/00.png,\n"), r"has two labels, ant;bee in line 2 and none in line 42; .* ant;bee if"),
        (
            "path,label\npictures/all/00.png,ant\npictures/all/01.png,bee\npictures/all/00.png,bee\n",
            r"has two labels, ant in line 2 and bee in line 4; keep one, or write one row with the label ant;bee if",
        ),
        (
            "path,label\npictures/all/00.png,ant\npictures/all/01.png,bee\npictures/all/02.png,\n",
            r"line 4 has no label; fill the cell \(it may be empty only where images have several labels: a ; in any",
        ),
        ("path,label\npictures/all/00.png,ant;\npictures/all/01.png,\n", r"only one label, ant; a classifier needs at"),
        ("path,label\npictures/all/00.png,;\npictures/all/01.png,\n", r"no label in any row; a classifier needs at"),
        (
            "path,label\n" + "".join(f"pictures/all/{i:02}.png,{'ant;bee' if i else 'bee'}\n" for i in range(9)),
            r"all 9 training images are of class 'bee', so there is nothing to learn about it; leave it out, or add",
        ),
        (
            "path,label,split\npictures/all/00.png,ant;bee,train\npictures/all/01.png,cat,test\n",
            r"label 'cat' has no training image; give every label at least one",
        ),
    ],
)
def test_tables_that_are_refused(table, text, message):
    with pytest.raises(DataError, match=rf"table\.csv: .*{message}"):
        ImageFolder(table(text), **OPTIONS)


def test_files_may_lie_in_folders_of_other_labels(folder, tmp_path):
    folder({"ant": 9, "bee": 3})
    paths = [f"pictures/{name}/{i:02}.png" for name, count in (("ant", 9), ("bee", 3)) for i in range(count)]
    cells = ["ant"] * 9 + ["ant;bee", "bee", "ant"]
    text = "path,label\n" + "".join(f"{path},{label}\n" for path, label in zip(paths, cells, strict=True))
    (tmp_path / "table.csv").write_text(text)
    assert ImageFolder(str(tmp_path / "table.csv"), **OPTIONS).source.labels("train").sum(0).tolist() == [11, 2]


def test_copies_of_other_labels_are_told(table, tmp_path):
    path = table(rows().replace("pictures/all/03.png,bee", "pictures/all/03.png,"))
    (tmp_path / "pictures" / "all" / "03.png").write_bytes((tmp_path / "pictures" / "all" / "00.png").read_bytes())
    told = [line for line in ImageFolder(path, **OPTIONS).parts.report() if "sets of labels" in line]
    assert len(told) == 1
    assert "pictures/all/00.png (ant;bee)" in told[0]
    assert "pictures/all/03.png (none)" in told[0]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_an_archive_of_several_labels(archive, several, dtype):
    labels = {key: several[key].astype(dtype) for key in ("y_train", "y_test")}
    data = NpzImages(archive(several | labels), batch_size=4)
    assert data.multilabel
    assert data.source.labels("train").dtype == np.uint8
    assert np.array_equal(data.source.labels("train"), several["y_train"])
    assert data.source.report()[1].endswith(
        "(ant 10, bee 7, cat 4), several labels an image, 1.1 on average, 5 images without"
    )
    named = NpzImages(archive({key: several[key] for key in ("x_train", "y_train")}), batch_size=4)
    assert named.class_names == ("0", "1", "2")


def with_value(labels, value, dtype):
    changed = labels.astype(dtype)
    changed[5, 2] = value
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda a: {"y_train": with_value(a["y_train"], 2, int)},
            r"y_train holds 2 for image 5 and class 2; labels of",
        ),
        (lambda a: {"y_train": with_value(a["y_train"], -1, int)}, r"y_train holds -1 for image 5 and class 2"),
        (lambda a: {"y_train": with_value(a["y_train"], 0.5, float)}, r"y_train holds 0\.5 for image 5 and class 2"),
        (lambda a: {"y_test": with_value(a["y_test"], np.nan, float)}, r"y_test holds nan for image 5 and class 2"),
        (
            lambda a: {"y_train": a["y_train"][:, :1]},
            r"y_train is uint8 of shape \(120, 1\); .* of K classes, at least two",
        ),
        (lambda a: {"y_train": a["y_train"].astype(complex)}, r"y_train is complex128 of shape .*; labels must be"),
        (lambda a: {"y_train": a["y_train"][..., None]}, r"y_train is uint8 of shape \(120, 3, 1\); labels must be"),
        (lambda a: {"y_test": a["y_test"][:, :2]}, r"y_test has shape \(20, 2\), but y_train \(120, 3\); both need"),
        (lambda a: {"y_test": a["y_test"][:, 0]}, r"y_test has shape \(20,\), but y_train \(120, 3\); both need"),
        (lambda a: {"y_train": np.arange(120) % 3}, r"y_test has shape \(20, 3\), but y_train \(120,\); both need"),
        (
            lambda a: {"classes": np.array(["ant", "bee"])},
            r"labels have 3 columns for 2 classes; give one column a class",
        ),
        (lambda a: {"classes": np.array(["ant", "bee", "c;d"])}, r"class 'c;d' has a ; in its name, .*; rename it"),
        (lambda a: {"y_train": a["y_train"] * [1, 0, 1]}, r"class 'bee' has no training image; give every class at"),
        (lambda a: {"y_train": a["y_train"] | [0, 0, 1]}, r"all 120 training images are of class 'cat', so there is"),
    ],
)
def test_archives_that_are_refused(archive, several, change, message):
    with pytest.raises(DataError, match=r"images\.npz: " + message):
        NpzImages(archive(several | change(several)))


# Parts


def test_functions_of_labels_equal_loops():
    labels = np.random.default_rng(0).integers(0, 2, (50, 4)).astype(np.uint8) * [1, 1, 0, 1]
    counts = [sum(row[label] for row in labels) for label in range(4)]
    assert class_counts(labels, 4).tolist() == counts
    for row, found in zip(labels, rarest(labels), strict=True):
        own = [label for label in range(4) if row[label]]
        assert found == (min(own, key=lambda label: counts[label]) if own else 4)
        assert label_names(row, "abcd") == ";".join("abcd"[label] for label in own)


@pytest.mark.parametrize("kind", ["drawn", "by place", "by group"])
@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31), count=st.integers(60, 150), density=st.floats(0.05, 0.6))
def test_every_class_is_in_every_part(kind, seed, count, density):
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, 5)) < density).astype(np.uint8)
    for label in range(5):
        labels[rng.permutation(count)[:12], label] = 1
    names = [f"IMG_{number:03}.jpg" for number in range(count)]
    groups = [f"patient {number // 2}" for number in range(count)] if kind == "by group" else None
    places = None if kind == "drawn" else Places.of(groups or names)
    codes = divide(labels, tuple("abcde"), SHARES, Seeds(seed, seed), places, groups)
    assert codes.shape == (count,)
    for code in PartCode:
        assert labels[codes == code].any(0).all()
    assert groups is None or all(codes[i] == codes[i + 1] for i in range(0, count - 1, 2))
    assert abs(np.mean(codes == PartCode.TEST) - SHARES.test) < 0.1


def test_a_draw_takes_the_share_of_images_without_labels():
    labels = np.repeat(np.array([[1, 0], [0, 1], [1, 1], [0, 0]], np.uint8), 20, axis=0)
    codes = divide(labels, CLASSES[:2], Shares(0.0, 0.0, 0.2), Seeds(0, 0))
    assert (codes[60:] == PartCode.TEST).sum() == 4


def test_classes_too_small_to_divide():
    def divided(*labels):
        return divide(np.array(labels, np.uint8), CLASSES, Shares(0.0, 0.0, 0.1), Seeds(0, 0), Places.of(list("pqrst")))

    codes = divided([1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1], [0, 0, 0])
    assert {tuple(codes[label : label + 2]) for label in range(3)} <= {(0, 3), (3, 0)}
    with pytest.raises(
        DataError, match=r"data\.test_fraction: one image of class 'bee' is left; both sides need images"
    ):
        divided([1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0])
    with pytest.raises(
        DataError, match="there is no division of the images found that leaves every class on both sides"
    ):
        divided([1, 0, 1], [1, 1, 0], [0, 1, 1], [0, 0, 0], [0, 0, 0])  # two of three images are on the same side


def test_a_small_class_does_not_take_the_last_image_of_another():
    labels = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], np.uint8)  # of both sides, one needs the middle image alone
    for seed in range(60):
        codes = divide(labels, CLASSES[:2], Shares(0.0, 0.0, 0.4), Seeds(0, seed), Places.of(list("pqrs")))
        assert all(len(set(codes[labels[:, label] == 1])) == 2 for label in range(2))


def test_images_that_are_appended_to_an_archive_move_no_other(archive, several):
    both = {key: several[key] for key in ("x_train", "y_train", "classes")}
    before = NpzImages(archive(both), batch_size=4).parts
    more = {
        key: np.concatenate([several[key], several[key.replace("train", "test")]]) for key in ("x_train", "y_train")
    }
    after = NpzImages(archive(both | more, "more.npz"), batch_size=4).parts
    assert len(set(before.codes)) == 4
    assert np.array_equal(before.codes, after.codes[:120])
    sets = np.array([label_names(row, CLASSES) for row in several["y_train"]])
    for own in (sets == name for name in set(sets)):  # the share is met in each set of labels
        assert abs((before.codes[own] == PartCode.TEST).sum() - SHARES.test * own.sum()) <= 1


def test_rows_that_are_appended_to_a_table_move_no_other(table):
    before, after = (ImageFolder(table(rows(count)), **OPTIONS).parts for count in (30, 40))
    later = dict(zip(after.names, after.codes, strict=True))
    assert len(later) == 40
    assert [later[name] for name in before.names] == before.codes.tolist()


def test_counts_are_of_images_that_have_the_class(archive, several):
    nothing = {"x_val": several["x_test"], "y_val": 0 * several["y_test"]}
    assert NpzImages(archive(several | nothing), batch_size=4).parts.counts()["val"] == [0, 0, 0]
    data = NpzImages(archive(several), batch_size=4)
    table = Counter((part, name) for part, names, _ in data.parts.table() for name in names.split(";"))
    counts = data.parts.counts()
    assert counts.pop("test") == several["y_test"].sum(0).tolist()
    for part, numbers in counts.items():
        assert numbers == [table[part, name] for name in CLASSES]
    trained = np.array(counts["weights"]) + counts["arch"]
    assert np.array_equal(data.parts.class_counts, trained)
    assert data.parts.class_counts.dtype == np.int64


@pytest.mark.parametrize("grouped", [False, True])
def test_every_image_is_tested_in_one_fold(table, grouped):
    text = rows()
    if grouped:
        head, *lines = text.splitlines()
        text = "\n".join([head + ",group", *[f"{line},g{number // 2}" for number, line in enumerate(lines)]])
    tested = Counter()
    for fold in range(3):
        cross = CrossValidation(3, fold)
        data = ImageFolder(table(text), cross_validation=cross, **OPTIONS | {"val_fraction": 0.0})
        tested.update(data.parts.test.names)
        assert all(data.parts.counts()["test"])
        assert data.parts.class_counts.all()
        if grouped:
            pairs = Counter(int(name[-6:-4]) // 2 for name in data.parts.test.names)
            assert set(pairs.values()) == {2}
    assert tested == Counter(data.parts.names)


def test_folds_of_too_few_images_are_refused(table):
    data = ImageFolder(table(rows()), cross_validation=CrossValidation(9, 0), **OPTIONS)
    with pytest.raises(DataError, match="a class has 8 images, too few for 9 folds; lower"):
        _ = data.parts.codes


def test_folds_never_take_a_class_from_the_training():
    rare = np.repeat(np.eye(3, dtype=np.uint8), 2, axis=0)  # two images of each of three classes
    common = np.array([[1], [0]] * 3, np.uint8)  # which shares an image with each of them
    labels = np.concatenate([np.hstack([rare, common]), [[0, 0, 0, 1]]]).astype(np.uint8)
    whole = []
    for seed in range(20):
        try:
            held_out = CrossValidation(2, 0).held_out(labels, None, seed, "images")
        except DataError:
            continue
        whole.append(seed)
        assert labels[~held_out].any(0).all()
        assert abs(held_out.sum() - 3.5) < 1
    seed = min(set(range(20)) - set(whole))
    assert whole
    with pytest.raises(DataError, match="images: fold 0 of 2 holds all images of a class, since groups or labels go"):
        CrossValidation(2, 0).held_out(labels, None, seed, "images")


# Batches


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_have_a_column_for_each_class(archive, several, recorder, trainer, workers):
    data = NpzImages(archive(several), batch_size=8, num_workers=workers, augmentation="none")
    model, loop = recorder(), trainer(max_epochs=1, limit_train_batches=2)
    loop.fit(model, data)
    loop.test(model, data, verbose=False)
    pairs = [pair for batch in model.train_batches for pair in batch.values()] + model.eval_batches
    assert len(pairs) > 4
    for images, labels in pairs:
        assert labels.dtype == torch.float32
        assert labels.shape == (len(images), 3)
        assert labels.unique().tolist() == [0.0, 1.0]
    predicted = torch.cat(loop.predict(model, data))
    assert torch.equal(predicted, torch.from_numpy(several["y_test"]).float())


def test_labels_stay_with_their_images(table):
    data = ImageFolder(table(rows()), **OPTIONS)
    part = data.parts.weights
    _, labels = next(data.evaluation_batches("train"))
    names = [part.names[place] for place in np.searchsorted(part.indices, part.mixed)]
    assert np.array_equal(labels.numpy(), matrix(cell(int(name[-6:-4])) for name in names))


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_labels_are_the_share_of_two_images(kind):
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (16, 1, 12, 10), dtype=np.uint8))
    labels = torch.from_numpy(matrix(map(cell, range(16)))).float()
    mean, std, place = torch.tensor([0.5]), torch.tensor([0.25]), {"stream": 0, "epoch": 0, "batch": 0}
    plain = Augmenter(Augmentation(0, flip=False), 0)(images, mean, std, **place)
    augmenter = Augmenter(Augmentation(0, flip=False, **{kind: 1.0}), 0, classes=3)
    mixed, shares = augmenter.with_labels(images, labels, mean, std, **place)
    pixels = (mixed - plain.roll(1, 0)) / (plain - plain.roll(1, 0))  # of the image itself, where they differ
    share = pixels[torch.isfinite(pixels)].mean() if kind == "cutmix" else pixels[torch.isfinite(pixels)].median()
    assert 0.02 < share < 0.98
    torch.testing.assert_close(shares, share * labels + (1 - share) * labels.roll(1, 0), rtol=0, atol=0.02)
    _, unmixed = augmenter.with_labels(images, labels, mean, std, **place | {"stream": ARCH})
    assert torch.equal(unmixed, labels)


def test_images_with_a_direction_are_not_mirrored(archive):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (300, 2)).astype(np.uint8)
    images = rng.integers(0, 100, (300, 8, 8))
    images[:, :, :4] += 100 * labels[:, :1, None]
    images[:, :, 4:] += 100 * labels[:, 1:, None]
    data = NpzImages(archive({"x_train": images.astype(np.uint8), "y_train": labels}), arch_fraction=0.0)
    data.setup("fit")
    assert not data.augmentation.flip


def test_images_without_a_label_may_be_those_that_mirroring_changes(archive, capsys):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.array([[1, 0], [1, 0], [0, 1], [0, 0]], np.uint8), [60, 240, 240, 60], axis=0)
    images = rng.integers(0, 60, (600, 8, 8))
    images[:60, :, :4] += 150  # too few of their class to matter for it
    images[60:300, :4] += 150
    images[300:540, 4:] += 150
    images[540:, :, 4:] += 150
    data = NpzImages(archive({"x_train": images.astype(np.uint8), "y_train": labels}), arch_fraction=0.0)
    data.setup("fit")
    assert "never mirrored (of no class, " in capsys.readouterr().out
    assert not data.augmentation.flip


# Checkpoints


def test_a_checkpoint_is_of_one_kind_of_images(archive, several):
    many = NpzImages(archive(several), batch_size=4)
    one = NpzImages(
        archive(several | {"y_train": np.arange(120) % 3, "y_test": np.arange(20) % 3}, "one.npz"), batch_size=4
    )
    again = NpzImages(archive(several), batch_size=4, seed=3)
    assert many.state_dict()["multilabel"] is True
    again.load_state_dict(many.state_dict())
    assert np.array_equal(again.parts.codes, many.parts.codes)
    older = {key: value for key, value in one.state_dict().items() if key != "multilabel"}
    one.load_state_dict(older)
    assert one.parts.restored
    for state in (one.state_dict(), older):
        with pytest.raises(
            DataError, match=r"has images of any number of labels, but the .* on images of one label each"
        ):
            again.load_state_dict(state)
    with pytest.raises(
        DataError, match=r"has images of one label each, but the .* on images of any number of labels; give"
    ):
        one.load_state_dict(many.state_dict())
