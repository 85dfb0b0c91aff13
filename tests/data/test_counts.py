"""Counts of images by class and part, and images at positions of a part."""

from collections import Counter

import torch

from sparsenas.data import Digits


def test_counts_are_those_of_the_table():
    data = Digits(arch_fraction=0.4)
    table = Counter((part, label) for part, label, _ in data.parts.table())
    counts = data.parts.counts()
    assert set(counts) == {"weights", "arch", "val", "test"}
    for part, numbers in counts.items():
        assert numbers == [table[part, name] for name in data.class_names]
    assert data.parts.sizes() == {part: sum(numbers) for part, numbers in counts.items()}


def test_images_at_positions_are_those_that_evaluation_reads():
    data = Digits(arch_fraction=0.0)
    first = [int(place) for place in data.parts.test.mixed[:5]]
    mean, std = (torch.tensor(values)[:, None, None] for values in (data.mean, data.std))
    normalised, _ = next(data.evaluation_batches("test"))
    shown = data.parts.test.images(first).float() / 255
    torch.testing.assert_close((shown - mean) / std, normalised[:5].contiguous(), rtol=0, atol=1e-4)
