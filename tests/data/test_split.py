"""The two ways to divide images: drawn at once, and decided by each image's place alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsenas.data.names import Places, mixed_order
from sparsenas.data.split import PartCode, Seeds, Shares, Split, check_fraction, divide
from sparsenas.errors import ConfigError, DataError

NAMES = ("ant", "bee", "cat")


def numbered(counts, start=0):
    """Names of images of each class, numbered from ``start``."""
    return [f"{name}/IMG_{start + i:04}.jpg" for name, count in zip(NAMES, counts, strict=True) for i in range(count)]


def split(labels, *, places=None, val=0.2, arch=0.5, seed=0):
    return Split.of(divide(labels, NAMES, Shares(arch, val, 0.0), Seeds(seed, 0), places))


@pytest.mark.parametrize("by_place", [False, True])
@settings(deadline=None, max_examples=50)
@given(
    counts=st.lists(st.integers(10, 60), min_size=3, max_size=3),
    val=st.floats(0.1, 0.8),
    arch=st.floats(0.2, 0.7),
    seed=st.integers(0, 2**31),
)
def test_parts_are_disjoint_complete_and_stratified(by_place, counts, val, arch, seed):
    labels = np.repeat(np.arange(3), counts)
    places = Places.of(numbered(counts)) if by_place else None
    try:
        found = split(labels, places=places, val=val, arch=arch, seed=seed)
    except DataError:
        return  # a class too small for these shares; that case has its own test
    parts = [found.weights, found.arch, found.val]
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    shares = [(1 - val) * (1 - arch), (1 - val) * arch, val]
    for label, count in enumerate(counts):
        for part, share in zip(parts, shares, strict=True):
            # an unfinished stretch of numbers may lack its image, in either draw
            assert abs((labels[part] == label).sum() - share * count) <= (2 if by_place else 1)


@pytest.mark.parametrize("names", [None, numbered([30, 30, 30])])
def test_split_depends_on_the_seed_and_nothing_else(names):
    labels = np.repeat(np.arange(3), 30)
    places = None if names is None else Places.of(names)
    np.random.seed(1)
    state = np.random.get_state()[1].copy()
    first = split(labels, places=places, seed=3)
    assert (np.random.get_state()[1] == state).all()
    again = split(labels, places=places, seed=3)
    assert all((getattr(first, name) == getattr(again, name)).all() for name in ("weights", "arch", "val"))
    assert not np.array_equal(first.val, split(labels, places=places, seed=4).val)


@pytest.mark.parametrize("names", [None, numbered([30, 30, 30])])
def test_validation_images_do_not_depend_on_the_architecture_share(names):
    labels = np.repeat(np.arange(3), 30)
    places = None if names is None else Places.of(names)
    search, train = (split(labels, places=places, arch=arch) for arch in (0.5, 0.0))
    assert (search.val == train.val).all()
    assert len(train.arch) == 0
    assert (train.weights == search.train).all()


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 1.5, float("nan")])
def test_share_out_of_range(fraction):
    with pytest.raises(ConfigError, match=r"data\.val_fraction is .*; a share of the images is at least 0 and below 1"):
        check_fraction("val_fraction", fraction)


@pytest.mark.parametrize(("count", "fraction"), [(1, 0.5), (4, 0.1), (4, 0.9)])
def test_class_with_too_few_images_is_named(count, fraction):
    labels = np.repeat([0, 1, 2], [20, count, 20])
    with pytest.raises(
        DataError, match=rf"data\.val_fraction {fraction} takes \d of the {count} images of class 'bee'"
    ):
        split(labels, val=fraction)


def test_class_with_one_image_is_named_where_places_decide():
    with pytest.raises(DataError, match=r"data\.val_fraction 0\.2 takes \d of the 1 images of class 'bee'"):
        split(np.repeat([0, 1, 2], [20, 1, 20]), places=Places.of(numbered([20, 1, 20])))


SHARES, SEEDS = Shares(0.5, 0.1, 0.2), Seeds(0, 0)
#: Names as cameras, scripts and downloads give them.
NAME = st.one_of(
    st.integers(0, 10**14).map(lambda number: f"IMG_{number}.jpg"),
    st.integers(0, 999).map(lambda number: f"day {number % 3}/{number:03} (1).PNG"),
    st.text("abcdef", min_size=3, max_size=8).map(lambda text: f"{text}.jpeg"),
)


def parts(names):
    """Part of each name, where each class has enough images for all parts by itself."""
    base = [f"{label}/base_{i}.png" for label in "ab" for i in range(40)]
    everything = base + [f"a/{name}" for name in names]
    labels = np.array([name[0] == "b" for name in everything]).astype(int)
    return dict(zip(everything, divide(labels, ("a", "b"), SHARES, SEEDS, Places.of(everything)), strict=True))


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.lists(NAME, unique=True, max_size=30), st.lists(NAME, unique=True, max_size=30), st.randoms())
def test_images_that_arrive_later_change_no_part(before, after, random):
    later = list(dict.fromkeys([*before, *after]))
    random.shuffle(later)
    first, second = parts(before), parts(later)
    assert all(second[name] == part for name, part in first.items())


def test_every_class_has_an_image_of_each_part_even_if_names_are_unlucky():
    rng = np.random.default_rng(0)
    for _ in range(200):
        names = [f"a/{''.join(rng.choice(list('abcdefghij'), 9))}.png" for _ in range(12)]
        codes = divide(np.zeros(12, int), ("a",), SHARES, SEEDS, Places.of(names))
        assert set(codes) == set(PartCode)


def test_names_without_numbers_take_shares_by_chance():
    names = [f"a/{a}{b}{c}{d}.png" for a in "abcdefgh" for b in "abcdefgh" for c in "abcdefgh" for d in "abcdefgh"]
    codes = divide(np.zeros(len(names), int), ("a",), SHARES, SEEDS, Places.of(names))
    expected = np.array([0.36, 0.36, 0.08, 0.2])
    deviation = np.sqrt(expected * (1 - expected) / len(names))
    assert (abs(np.bincount(codes) / len(names) - expected) < 4 * deviation).all()


@pytest.mark.parametrize("share", [0.05, 0.2, 1 / 3, 0.37, 0.5, 0.8, 0.95])
def test_of_each_stretch_of_numbers_one_is_taken(share):
    taken, rest = Places.of([f"{i}" for i in range(1000)]).take(share, "word")
    stretches = np.floor(np.arange(1000) * min(share, 1 - share) + 1e-9)
    rare = taken if share <= 0.5 else ~taken
    whole = stretches < stretches[-1]  # the last one is cut off by the end
    assert (np.bincount(stretches[rare & whole].astype(int)) == 1).all()
    assert sorted(rest.numbers[~taken]) == list(range((~taken).sum()))


@pytest.mark.parametrize(
    ("name", "number", "alike"),
    [
        ("cat/IMG_0017.jpg", 17, "cat/IMG_3.PNG"),
        ("cat/17", 17, "cat/0.jpg"),
        ("cat/x 3 (2).png", 2, "cat/x 3 (1).png"),
        ("v1.5/a.png", -1, "v1.5/a.jpg"),
        ("cat/day_235959123456789.png", 959123456789, "cat/day_235000000000000.png"),
    ],
)
def test_places_of_names(name, number, alike):
    found, other = Places.of([name, alike]), Places.of([name.replace("a", "b")])
    assert found.numbers[0] == number
    assert found.sequences[0] == found.sequences[1] != other.sequences[0]


def test_mixed_order_is_a_permutation_that_other_images_do_not_change():
    names = [f"{name}/{i}" for name in NAMES for i in range(40)]
    order = mixed_order(names)
    assert sorted(order) == list(range(120))
    some = names[::3]
    assert [names[i] for i in order if names[i] in some] == [some[i] for i in mixed_order(some)]
    # classes are mixed: no quarter of the order lacks one
    assert all(len({names[i][:3] for i in quarter}) == 3 for quarter in np.array_split(order, 4))
