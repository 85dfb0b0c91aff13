import numpy as np
import pytest
import torch

from sparsenas.data.augment import (
    Augmentation,
    Augmenter,
    crop_windows,
    normalise,
    random_crop_flip,
    random_cutout,
)

MEAN, STD = torch.tensor([0.2, 0.5, 0.7]), torch.tensor([0.1, 0.2, 0.3])


@pytest.fixture
def images():
    return torch.randint(0, 256, (32, 3, 7, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("mode", "padding"), [("zeros", 2), ("zeros", 12), ("reflect", 0), ("reflect", 2), ("reflect", 6)]
)
def test_windows_equal_a_loop_over_images(images, layout, mode, padding):
    top, left = (torch.randint(2 * padding + 1, (32,), generator=generator(seed)) for seed in (1, 2))
    mirrored = torch.arange(32) % 2 == 0
    windows = crop_windows(images.contiguous(memory_format=layout), top, left, mirrored, padding, mode)
    for image, window, row, column, flip in zip(images, windows, top, left, mirrored, strict=True):
        around = ((0, 0), (padding, padding), (padding, padding))
        padded = np.pad(image.numpy(), around, mode="constant" if mode == "zeros" else mode)
        expected = padded[:, row : row + 7, column : column + 9]
        assert (window.numpy() == (expected[:, :, ::-1] if flip else expected)).all()


def test_all_places_and_both_directions_are_equally_likely():
    count, padding = 18_000, 1
    image = torch.zeros(1, 1, 5, 5, dtype=torch.uint8)
    image[0, 0, 2, 1] = 255  # off the centre line, so that a mirrored window shows it elsewhere
    windows = random_crop_flip(image.expand(count, -1, -1, -1), padding, "zeros", True, generator())
    assert (windows.flatten(1).sum(1) == 255).all()
    place = windows.flatten(1).int().argmax(1)
    rows, columns = place // 5, place % 5
    places = torch.bincount(rows, minlength=5)
    assert places[[0, 4]].sum() == 0
    assert (places[1:4] / count - 1 / 3).abs().max() < 0.02
    # Unmirrored, the bright pixel lies in columns 0 to 2; mirrored, in 2 to 4.
    assert torch.allclose(torch.bincount(columns) / count, torch.tensor([1, 1, 2, 1, 1]) / 6, atol=0.02)


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
def test_without_flip_nothing_is_mirrored(images, mode):
    assert torch.equal(random_crop_flip(images, 0, mode, False, generator()), images)


def test_cutout_is_one_square_cut_off_at_the_border():
    side, size = 4, 9
    kept = random_cutout(torch.ones(3000, 2, size, size), side, generator())
    hole = kept == 0
    assert torch.equal(hole[:, 0], hole[:, 1])
    rows, columns = hole[:, 0].any(2).sum(1), hole[:, 0].any(1).sum(1)
    assert torch.equal(hole[:, 0].sum((1, 2)), rows * columns)  # a rectangle
    # Centres 0 and 1 lose 2 and 1 of the rows -2..1 and -1..2, centre 8 loses one of 6..9.
    expected = torch.tensor([2, 3, 4, 4, 4, 4, 4, 4, 3])
    assert (torch.bincount(rows) / 3000 - torch.bincount(expected) / size).abs().max() < 0.03


def test_normalisation_equals_numpy(images):
    result = normalise(images, MEAN, STD)
    expected = (images.numpy() / 255 - MEAN.numpy()[:, None, None]) / STD.numpy()[:, None, None]
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-5, atol=1e-5)


class TestAugmenter:
    augmentation = Augmentation(crop_padding=2, flip=True, cutout=3)

    def epoch(self, images, seed=0, rank=0, stream=0, epoch=0, augmenter=None):
        augmenter = augmenter or Augmenter(self.augmentation, seed, rank)
        return torch.stack(
            [augmenter(images, MEAN, STD, stream=stream, epoch=epoch, batch=number) for number in range(2)]
        )

    def test_same_seed_and_epoch_give_the_same_images(self, images):
        augmenter = Augmenter(self.augmentation, 0)
        self.epoch(images, epoch=0, augmenter=augmenter)
        later = self.epoch(images, epoch=1, augmenter=augmenter)
        assert torch.equal(later, self.epoch(images, epoch=1))

    def test_a_batch_needs_no_other_before_it(self, images):
        alone = Augmenter(self.augmentation, 0)(images, MEAN, STD, stream=0, epoch=0, batch=1)
        assert torch.equal(alone, self.epoch(images)[1])

    def test_everything_else_gives_different_images(self, images):
        base = self.epoch(images)
        assert not torch.equal(base[0], base[1])
        for change in ({"seed": 1}, {"rank": 1}, {"stream": 1}, {"epoch": 1}):
            assert not torch.equal(base, self.epoch(images, **change))

    def test_streams_do_not_disturb_each_other(self, images):
        augmenter = Augmenter(self.augmentation, 0)
        first = augmenter(images, MEAN, STD, stream=0, epoch=0, batch=0)
        augmenter(images, MEAN, STD, stream=1, epoch=0, batch=0)
        second = augmenter(images, MEAN, STD, stream=0, epoch=0, batch=1)
        assert torch.equal(torch.stack([first, second]), self.epoch(images))

    def test_global_generator_is_left_alone(self, images):
        before = torch.get_rng_state()
        self.epoch(images)
        assert torch.equal(torch.get_rng_state(), before)

    def test_memory_is_channels_last(self, images):
        assert self.epoch(images)[0].shape == images.shape
        result = Augmenter(self.augmentation, 0)(images, MEAN, STD, stream=0, epoch=0, batch=0)
        assert result.is_contiguous(memory_format=torch.channels_last)
