"""Images as files become what the network was trained on, or a clear error."""

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional

from sparsenas.data import ImageFolder
from sparsenas.errors import DataError
from sparsenas.export import Preparation
from sparsenas.export.fields import Fields
from sparsenas.export.manifest import _resize, _resize_recipe
from sparsenas.images import resized

GREY = Preparation((1, 6, 8), (0.5,), (0.25,))
COLOUR = Preparation((3, 6, 8), (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))


def picture(mode="L", height=6, width=8):
    channels = {"L": (), "RGB": (3,), "RGBA": (4,), "LA": (2,), "CMYK": (4,)}[mode]
    values = np.random.default_rng(0).integers(0, 256, (height, width, *channels), dtype=np.uint8)
    return Image.fromarray(values, mode if mode in ("LA", "CMYK") else None), values


@pytest.mark.parametrize(("preparation", "mode"), [(GREY, "L"), (COLOUR, "RGB")])
def test_normalisation(preparation, mode, tmp_path):
    image, values = picture(mode)
    image.save(tmp_path / "a.png")
    expected = (values.reshape(6, 8, -1) / 255 - preparation.mean) / preparation.std
    for given in (image, tmp_path / "a.png", str(tmp_path / "a.png")):
        prepared = preparation(given)
        assert prepared.dtype == torch.float32
        np.testing.assert_allclose(prepared.permute(1, 2, 0).numpy(), expected, atol=1e-6)


def test_black_and_white_and_palettes_are_grey_and_colour():
    assert torch.equal(GREY(picture()[0].convert("1")), GREY(picture()[0].convert("1").convert("L")))
    palette = picture("RGB")[0].quantize(4)
    assert torch.equal(COLOUR(palette), COLOUR(palette.convert("RGB")))


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (picture("RGB")[0], "6x8 colour"),
        (picture("L", 8, 6)[0], "8x6 grey"),
        (picture("LA")[0], "6x8 grey with transparency"),
        (picture("RGBA")[0], "6x8 colour with transparency"),
        (picture("CMYK")[0], "6x8 in four inks"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.mode,
)
def test_images_that_do_not_fit(image, found):
    with pytest.raises(DataError) as caught:
        GREY(image)
    assert str(caught.value) == (
        f"image: is {found}, but the network takes 6x8 grey; give such an image, or let it be converted and resized "
        "(--adapt)"
    )
    assert GREY(image, adapt=True).shape == (1, 6, 8)


def test_a_transparent_colour_counts_as_transparency(tmp_path):
    picture()[0].save(tmp_path / "a.png", transparency=3)
    with pytest.raises(DataError, match="6x8 grey with transparency"):
        GREY(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["I", "F", "LAB"])
def test_more_than_sixteen_bits(mode):
    with pytest.raises(DataError, match=f"its pixels are of mode {mode}, not grey or colour of 8 or 16 bits per "):
        GREY(Image.new(mode, (8, 6)), adapt=True)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L"])
def test_images_in_memory_of_sixteen_bits(mode):
    assert torch.equal(GREY(Image.new(mode, (8, 6), 513)), GREY(Image.new("L", (8, 6), 2)))


def test_unreadable_files(tmp_path, monkeypatch):
    picture("L", 200, 200)[0].save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:100])
    (tmp_path / "text.png").write_text("hello")
    for name, reason in (("cut.png", "truncated"), ("text.png", "cannot identify")):
        with pytest.raises(DataError, match=rf"not a readable image \(.*{reason}.*\); replace or remove the file"):
            GREY(tmp_path / name)
    with pytest.raises(DataError, match=r": a folder; name its files, such as .*/\*\.jpg"):
        GREY(tmp_path)
    with pytest.raises(DataError, match=r"absent.png: no such file"):
        GREY(tmp_path / "absent.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match="decompression bomb"):
        GREY(tmp_path / "whole.png")


def test_adapting_gives_the_size_of_the_network_and_keeps_the_shape():
    for height, width in np.random.default_rng(0).integers(1, 60, (100, 2)).tolist():
        assert GREY(picture("L", height, width)[0], adapt=True).shape == (1, 6, 8)
    wide = Image.new("L", (24, 6))
    wide.paste(255, (8, 0, 16, 6))  # the centre that stays
    assert (GREY(wide, adapt=True) == GREY(Image.new("L", (8, 6), 255))).all()


@pytest.mark.parametrize("grey", [False, True])
def test_a_folder_s_recipe_gives_its_evaluation_images(tmp_path, grey):
    for name in "ab":
        (tmp_path / "val" / name).mkdir(parents=True)
        (tmp_path / "train" / name).mkdir(parents=True)
        picture("RGB", 20, 13)[0].save(tmp_path / "train" / name / "0.png")
        picture("RGBA", 17, 23)[0].save(tmp_path / "val" / name / "0.png")
    data = ImageFolder(
        str(tmp_path), size=8, eval_resize=10, grey=grey, num_workers=0, arch_fraction=0.0, test_fraction=0.0
    )
    ((images, _),) = data.evaluation_batches("val")
    preparation = Preparation(data.image_shape, data.mean, data.std, data.eval_resize)
    torch.testing.assert_close(preparation(tmp_path / "val" / "a" / "0.png"), images[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("size", [(8, 8), (6, 11), (13, 7)])
def test_the_recipe_of_every_fit_gives_the_evaluation_images(tmp_path, fit, size):
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in "ab":
            (tmp_path / part / name).mkdir(parents=True)
            for number, shape in enumerate([(9, 30), (30, 9), (17, 17), (6, 11), (1, 40)]):
                image = Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
                image.save(tmp_path / part / name / f"{number}.png")
    data = ImageFolder(str(tmp_path), size=size, fit=fit, num_workers=0, arch_fraction=0.0, test_fraction=0.0)
    ((images, _),) = data.evaluation_batches("val")
    preparation = Preparation(data.image_shape, data.mean, data.std, data.eval_resize)
    for image, position in zip(images, data.parts.val.mixed, strict=True):
        file = tmp_path / "val" / data.source.files("val")[position]
        torch.testing.assert_close(preparation(file), image, rtol=0, atol=1e-5)


def test_squares_are_resized_as_by_torchvision():
    """Checkpoints and exports of earlier versions still see the same pixels."""
    rng = np.random.default_rng(0)
    for high, wide, side, more in rng.integers(1, 60, (200, 4)).tolist():
        picture = Image.fromarray(rng.integers(0, 256, (high, wide), dtype=np.uint8))
        cut = functional.center_crop(functional.resize(picture, [side + more]), [side, side])
        assert np.array_equal(resized(picture, side + more, side, side), cut)


def test_padding_keeps_the_shape_as_pillow_does():
    rng = np.random.default_rng(0)
    for high, wide, height, width in rng.integers(8, 60, (200, 4)).tolist():
        picture = Image.fromarray(rng.integers(1, 256, (high, wide), dtype=np.uint8))
        padded = np.asarray(resized(picture, "pad", height, width))
        assert padded.shape == (height, width)
        inside = padded[padded.any(1)][:, padded.any(0)]
        assert np.array_equal(inside, ImageOps.contain(picture, (width, height), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("resize", [11, 20, "pad", "squash"])
@pytest.mark.parametrize("shape", [(3, 11, 11), (3, 11, 17), (1, 25, 11)])
def test_a_manifest_tells_how_images_come_to_their_size(resize, shape):
    preparation = Preparation(shape, (0.5,) * shape[0], (0.5,) * shape[0], resize)
    recipe = json.loads(json.dumps(_resize_recipe(preparation)))
    assert _resize(Fields(recipe, "manifest")) == resize
    if isinstance(resize, int):
        box = recipe.get("cover", [recipe.get("shorter_side")] * 2)
        assert min(box) == resize
        assert recipe["centre_crop"] == list(shape[1:])
    assert _resize(Fields({"squeeze": [8, 8]}, "manifest of an earlier version")) == "squash"
