import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsenas.data.split import split_training, stratified_split
from sparsenas.errors import ConfigError, DataError

NAMES = ("ant", "bee", "cat")


@settings(deadline=None, max_examples=50)
@given(
    counts=st.lists(st.integers(10, 60), min_size=3, max_size=3),
    val=st.floats(0.1, 0.8),
    arch=st.floats(0.2, 0.7),
    seed=st.integers(0, 2**31),
)
def test_parts_are_disjoint_complete_and_stratified(counts, val, arch, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(3), counts))
    try:
        split = split_training(labels, NAMES, val_fraction=val, arch_fraction=arch, seed=seed)
    except DataError:
        return  # a class too small for these shares; that case has its own test
    parts = [split.weights, split.arch, split.val]
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    shares = [(1 - val) * (1 - arch), (1 - val) * arch, val]
    for label, count in enumerate(counts):
        for part, share in zip(parts, shares, strict=True):
            assert abs((labels[part] == label).sum() - share * count) <= 1


def test_split_depends_on_the_seed_and_nothing_else():
    labels = np.arange(90) % 3

    def split(seed):
        return split_training(labels, NAMES, val_fraction=0.2, arch_fraction=0.5, seed=seed)

    np.random.seed(1)
    state = np.random.get_state()[1].copy()
    first = split(3)
    assert (np.random.get_state()[1] == state).all()
    assert all((getattr(first, name) == getattr(split(3), name)).all() for name in ("weights", "arch", "val"))
    assert not (first.val == split(4).val).all()


def test_validation_images_do_not_depend_on_the_architecture_share():
    labels = np.arange(90) % 3
    search = split_training(labels, NAMES, val_fraction=0.2, arch_fraction=0.5, seed=0)
    train = split_training(labels, NAMES, val_fraction=0.2, arch_fraction=0.0, seed=0)
    assert (search.val == train.val).all()
    assert len(train.arch) == 0
    assert (train.weights == search.train).all()


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 1.5, float("nan")])
def test_share_out_of_range(fraction):
    with pytest.raises(ConfigError, match=r"data\.val_fraction is .*; a share of the images is at least 0 and below 1"):
        stratified_split(np.arange(9) % 3, fraction, np.random.default_rng(0), "val_fraction", NAMES)


@pytest.mark.parametrize(("count", "fraction"), [(1, 0.5), (4, 0.1), (4, 0.9)])
def test_class_with_too_few_images_is_named(count, fraction):
    labels = np.repeat([0, 1, 2], [20, count, 20])
    with pytest.raises(
        DataError, match=rf"data\.val_fraction {fraction} takes \d of the {count} images of class 'bee'"
    ):
        stratified_split(labels, fraction, np.random.default_rng(0), "val_fraction", NAMES)
