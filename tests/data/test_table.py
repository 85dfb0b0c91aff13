"""Tables of image files: what they say, and what is refused."""

import numpy as np
import pytest
import torch

from sparsenas.api.image_settings import data_settings
from sparsenas.data import ImageFolder
from sparsenas.errors import DataError

OPTIONS = {"size": 8, "batch_size": 4, "num_workers": 0, "arch_fraction": 0.0}


@pytest.fixture
def table(folder, tmp_path):
    """Writes a table beside ``pictures/ant`` and ``pictures/bee`` of ten files each, and gives its path."""
    folder({"ant": 10, "bee": 10})

    def write(text, encoding="utf-8"):
        path = tmp_path / "table.csv"
        path.write_bytes(text.encode(encoding))
        return str(path)

    return write


def rows(split=False, group=False, labels=("ant", "bee")):
    head = ",".join(["path", "label", *(["split"] if split else []), *(["group"] if group else [])])
    parts = ["train"] * 6 + ["Val"] * 2 + ["testing"] * 2
    lines = [
        ",".join([f"pictures/{name}/{i:02}.png", label, *([parts[i]] if split else []), *([f"g{i}"] if group else [])])
        for name, label in zip(("ant", "bee"), labels, strict=True)
        for i in range(10)
    ]
    return "\n".join([head, *lines, ""])


@pytest.mark.usefixtures("table")
def test_a_table_gives_the_images_of_its_folder(tmp_path):
    (tmp_path / "pictures" / "table.csv").write_text(rows().replace("pictures/", ""), encoding="utf-8")
    one = ImageFolder(str(tmp_path / "pictures" / "table.csv"), **OPTIONS)
    two = ImageFolder(str(tmp_path / "pictures"), **OPTIONS)
    assert one.class_names == two.class_names
    for part in ("weights", "val", "test"):
        assert getattr(one.parts, part).names == getattr(two.parts, part).names
    (images, labels), (others, wanted) = (next(data.evaluation_batches("train")) for data in (one, two))
    assert torch.equal(labels, wanted)
    assert torch.equal(images, others)


def test_a_table_divides_as_its_column_says(table):
    data = ImageFolder(table("\ufeff" + rows(split=True).replace("\n", "\r\n")), **OPTIONS)
    assert [len(p.indices) for p in (data.parts.weights, data.parts.val, data.parts.test)] == [12, 4, 4]
    assert data.parts.test_files == [f"pictures/{name}/0{i}.png" for name in ("ant", "bee") for i in (8, 9)]
    assert data.source.labels("test").tolist() == [0, 0, 1, 1]
    assert "val: 4 images of 2 classes in" in data.source.report()[1]


def test_labels_are_those_of_the_table_and_paths_may_be_absolute(table, tmp_path):
    text = rows(labels=("six legs", "stings")).replace("pictures/bee", f"{tmp_path}/pictures/bee")
    data = ImageFolder(table(text + "pictures/../pictures/ant/00.png,six legs\n"), **OPTIONS)
    assert data.class_names == ("six legs", "stings")
    assert data.source.files("train")[-1] == "pictures/bee/09.png"
    assert data.source.report()[-1] == "left out: 1 rows of images that are there"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: "", r"no column path and label; its first line has nothing, and needs path,label"),
        (lambda t: t.replace("path,label", "file,label"), r"no column path; its first line has file, label, and needs"),
        (lambda t: t.replace(",", ";"), r"no column path and label; .*; separate columns by commas"),
        (lambda t: t.replace("path,label", "path,label,label"), r"has the column label twice; remove one"),
        (lambda t: "path,label\n", r"has no rows; give one for each image"),
        (lambda t: t.replace("/ant/0", "/ant/no"), r"10 of 20 files are missing, the first in line 2: \S*ant/no0\.png"),
        (lambda t: t + "pictures/ant,ant\n", r"1 of 21 files are missing, the first in line 22: \S*pictures/ant;"),
        (lambda t: t + "pictures/ant/00.png,bee\n", r"ant/00\.png has two labels, ant in line 2 and bee in line 22"),
        (
            lambda t: t.replace("ant/03.png,ant", "ant/03.png,bee"),
            r"labels of 1 images are not .*line 5: \S*03\.png",
        ),
        (lambda t: t.replace(",bee", ",ant").replace("/bee", "/ant"), r"only one label, ant; a classifier needs"),
        (lambda t: t + "pictures/ant/00.png\n", r"line 22 has 1 cells for 2 columns; quote cells that hold commas"),
        (lambda t: t + "pictures/ant/00.png,\n", r"line 22 has no label; fill the cell"),
        (lambda t: t + '"pictures', r"line 22 is no CSV \(unexpected end of data\)"),
    ],
)
def test_tables_that_are_refused(table, change, message):
    with pytest.raises(DataError, match=rf"table\.csv: .*{message}"):
        ImageFolder(table(change(rows())), **OPTIONS)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bee,train", "bee,Val", r"label 'bee' has no training image; give every label at least one"),
        ("ant/03.png,ant,train", "ant/03.png,ant,dev", r"line 5: split is 'dev'; use train, val or test"),
        ("ant/03.png,ant,train", "ant/03.png,ant,", r"line 5 has no split; fill the cell"),
        ("ant/03.png,ant,train", "ant/09.png,ant,train", r"ant/09\.png has two parts, train in line 5 and test in"),
    ],
)
def test_splits_that_are_refused(table, old, new, message):
    with pytest.raises(DataError, match=rf"table\.csv: .*{message}"):
        ImageFolder(table(rows(split=True).replace(old, new)), **OPTIONS)


def test_tables_that_are_no_text_or_not_there(table, tmp_path):
    with pytest.raises(DataError, match=r"cannot be read \(not text in UTF-8\); save the table as CSV in UTF-8"):
        ImageFolder(table(rows().replace("ant\n", "\u00e4\n", 1), "latin-1"), **OPTIONS)
    with pytest.raises(DataError, match=r"gone\.csv: no such file; data\.path must name a folder, or a \.csv"):
        ImageFolder(str(tmp_path / "gone.csv"), **OPTIONS)


def test_a_group_of_a_table_is_whole_in_one_part(table):
    data = ImageFolder(table(rows(group=True)), **OPTIONS | {"arch_fraction": 0.3, "val_fraction": 0.2})
    groups = np.array(data.source.groups("train"))
    assert all(len(set(data.parts.codes[groups == group])) == 1 for group in set(groups))
    assert len(set(data.parts.codes)) == 4
    assert "groups: 10, each whole in one part" in data.source.report()
    both = rows(split=True, group=True).replace("g9", "g0")
    with pytest.raises(DataError, match=r"1 groups are in the parts train and test, such as 'g0'; put all images of a"):
        ImageFolder(table(both), **OPTIONS)


def test_a_table_is_images_from_python_too(table, tmp_path):
    path = table(rows())
    assert data_settings(path, tmp_path, 0)["class_path"] == "ImageFolder"
    with pytest.raises(DataError, match=r"gone\.csv: no such folder; give .*, a \.csv with columns path and label"):
        data_settings(str(tmp_path / "gone.csv"), tmp_path, 0)
