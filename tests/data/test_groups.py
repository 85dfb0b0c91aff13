"""Groups are whole in one part, whatever arrives later; folds test every image once."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsenas.data import CrossValidation, ImageFolder
from sparsenas.data.names import Places
from sparsenas.data.split import PartCode, Seeds, Shares, divide
from sparsenas.errors import ConfigError, DataError

NAMES = ("ant", "bee", "cat")
SHARES = Shares(0.4, 0.2, 0.2)
OPTIONS = {"size": 8, "batch_size": 4, "num_workers": 0, "arch_fraction": 0.0, "mean": (0.5,) * 3, "std": (0.5,) * 3}


def divided(labels, groups, shares=SHARES, seed=0, **options):
    return divide(np.array(labels), NAMES, shares, Seeds(seed, seed), Places.of(groups), groups, **options)


@pytest.mark.parametrize("name", ["patient{}", "p{}x"])
@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31), count=st.integers(60, 120))
def test_groups_are_never_divided_and_classes_are_in_all_parts(name, seed, count):
    rng = np.random.default_rng(seed)
    owner = rng.integers(0, count, 8 * count)
    groups = [name.format(number) for number in owner]
    labels = np.where(rng.random(len(owner)) < 0.8, owner % 3, rng.integers(0, 3, len(owner)))  # some of other classes
    codes = divided(labels, groups, seed=seed)
    assert all(len(set(codes[owner == number])) == 1 for number in set(owner.tolist()))
    assert all(set(codes[labels == label]) == set(PartCode) for label in range(3))
    share = np.mean(codes == PartCode.TEST)
    assert 0.08 < share < 0.35


def test_groups_that_arrive_move_no_other():
    labels = np.repeat([0, 1, 2], 60)
    groups = [f"patient_{number // 3}" for number in range(180)]
    before = divided(labels, groups)
    more = divided([*labels, 0, 1, 1], [*groups, "patient_7", "patient_99", "patient_99"])
    assert np.array_equal(before, more[:180])
    assert more[180] == before[21]
    assert more[181] == more[182]


def test_small_classes_have_a_group_on_both_sides():
    labels = [0] * 100 + [1] * 2 + [2] * 3
    groups = [f"a{number}" for number in range(100)] + ["b", "c", "d", "e", "e"]
    for seed in range(10):
        codes = divided(labels, groups, Shares(0.0, 0.0, 0.1), seed)
        assert codes[100] != codes[101]
        assert codes[102] != codes[103] == codes[104]
    with pytest.raises(DataError, match=r"data\.test_fraction: the 2 images of class 'bee' that are left are of one"):
        divided(labels, [*groups[:100], "b", "b", "d", "e", "e"])


def test_a_class_without_groups_to_spare_ends_in_one_message():
    """Whoever moves the group of one class takes it from the other."""
    with pytest.raises(DataError, match=r"are of one group|no division of the groups"):
        divided([0, 1, 2, 0, 1, 2], ["x", "x", "x", "y", "y", "y"])


def test_names_of_files_give_groups(folder):
    root = folder({"ant": 30, "bee": 30})  # named 00.png to 29.png
    data = ImageFolder(str(root), group_by=r"(\d)\.png$", **OPTIONS)
    assert data.source.groups("train")[:11] == [*map(str, range(10)), "0"]
    last = np.array([int(name[-5]) for name in data.parts.names])
    assert all(len(set(data.parts.codes[last == digit])) == 1 for digit in range(10))
    for group_by, message in (
        (r"ant/\d", r"data\.group_by is 'ant/\\\\d', which 30 of 60 names do not match, such as bee/00\.png"),
        ("(", r"data\.group_by is '\(', which is no regular expression"),
    ):
        with pytest.raises(ConfigError, match=message):
            ImageFolder(str(root), group_by=group_by, **OPTIONS)


def test_a_new_image_of_a_group_goes_where_a_checkpoint_has_the_group(folder):
    root = folder({"ant": 30, "bee": 30})
    options = OPTIONS | {"group_by": r"\d\.png$"}
    data = ImageFolder(str(root), **options)
    state = data.state_dict()
    for digit in range(10):
        (root / "ant" / f"new{digit}.png").write_bytes((root / "ant" / f"0{digit}.png").read_bytes())
    later = ImageFolder(str(root), **options | {"seed": 5, "test_seed": 5})
    later.load_state_dict(state)
    codes = dict(zip(later.parts.names, later.parts.codes, strict=True))
    assert all(codes[f"ant/new{digit}.png"] == codes[f"bee/0{digit}.png"] for digit in range(10))
    assert [codes[name] for name in data.parts.names] == data.parts.codes.tolist()


@pytest.mark.parametrize("group_by", [None, r"/\d"])
def test_every_image_is_tested_in_one_fold(folder, group_by):
    root = folder({"ant": 40, "bee": 20})
    tested, groups = Counter(), []
    for fold in range(2):
        cross = CrossValidation(2, fold)
        data = ImageFolder(str(root), cross_validation=cross, group_by=group_by, **OPTIONS | {"val_fraction": 0.0})
        names = data.parts.test.names
        tested.update(names)
        groups.append({name.partition("/")[2][0] for name in names})
        assert abs(len(names) - 30) <= 10
        assert {name.partition("/")[0] for name in names} == {"ant", "bee"}
        assert data.source.report()[0].endswith("(ant 40, bee 20)")
    assert tested == Counter(data.parts.names)
    assert group_by is None or not groups[0] & groups[1]


def test_folds_that_are_refused(folder, tmp_path):
    for folds, fold, message in (
        (1, 0, "folds is 1; it must be at least 2"),
        (3, 3, "fold is 3; 3 folds are"),
    ):
        with pytest.raises(ConfigError, match=rf"data\.cross_validation\.{message}"):
            CrossValidation(folds, fold)
    folder({"ant": 3, "bee": 9}, "set/train")
    images = ImageFolder(str(tmp_path / "set"), cross_validation=CrossValidation(4, 0), **OPTIONS)
    with pytest.raises(DataError, match="a class has 3 images, too few for 4 folds; lower"):
        _ = images.parts.codes
    folder({"ant": 2, "bee": 2}, "set/test")
    with pytest.raises(ConfigError, match="has a test part, so there is nothing to fold"):
        ImageFolder(str(tmp_path / "set"), cross_validation=CrossValidation(2, 0), **OPTIONS)
