"""Every kind of image file gives the same tensor in training, test, prediction and export, or one refusal in all."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

import sparsenas
from sparsenas.api.trained import classify
from sparsenas.data import ImageFolder, NpzImages
from sparsenas.errors import DataError
from sparsenas.export import Preparation
from sparsenas.images import decode

SIDE = 8
#: Grey levels and colours that survive one bit, palettes and inks alike.
BRIGHT = np.kron([[0, 1], [1, 0]], np.ones((4, 4))).astype(np.uint8) * 255  # (8, 8)
COLOURS = np.stack([BRIGHT, BRIGHT, 255 - BRIGHT], axis=-1)  # (8, 8, 3)
OPAQUE = np.full((SIDE, SIDE, 1), 255, np.uint8)
HALF = np.full((SIDE, SIDE, 1), 128, np.uint8)


def palette():
    image = Image.new("P", (SIDE, SIDE))
    image.putpalette([0, 0, 255, 255, 255, 0])
    image.putdata((BRIGHT // 255).ravel().tolist())
    return image


def write(kind, path):
    """Write a file of a kind; all show :data:`BRIGHT` in grey or :data:`COLOURS`."""
    stem = path.with_suffix("")
    if kind == "grey":
        Image.fromarray(BRIGHT).save(file := stem.with_suffix(".png"))
    elif kind == "grey with transparency":
        Image.fromarray(np.concatenate([BRIGHT[..., None], HALF], -1), "LA").save(file := stem.with_suffix(".png"))
    elif kind == "one grey transparent":
        Image.fromarray(BRIGHT).save(file := stem.with_suffix(".png"), transparency=0)
    elif kind == "colour":
        Image.fromarray(COLOURS).save(file := stem.with_suffix(".webp"), lossless=True)
    elif kind == "colour with transparency":
        Image.fromarray(np.concatenate([COLOURS, HALF], -1)).save(file := stem.with_suffix(".png"))
    elif kind == "palette":
        palette().save(file := stem.with_suffix(".png"))
    elif kind == "palette with transparency":
        palette().save(file := stem.with_suffix(".png"), transparency=bytes([0, 128]))
    elif kind == "four inks":
        Image.fromarray(COLOURS).convert("CMYK").save(file := stem.with_suffix(".tif"))
    elif kind == "one bit":
        Image.fromarray(BRIGHT).convert("1").save(file := stem.with_suffix(".png"))
    elif kind == "turned by EXIF":
        image = Image.fromarray(COLOURS)
        image.getexif()[0x0112] = 6
        image.save(file := stem.with_suffix(".png"), exif=image.getexif())
    elif kind == "animated":
        frames = [Image.fromarray(COLOURS), Image.fromarray(255 - COLOURS)]
        frames[0].save(file := stem.with_suffix(".png"), save_all=True, append_images=frames[1:], duration=100)
    elif kind == "16 bits":
        Image.fromarray(BRIGHT.astype(np.uint16) * 257).save(file := stem.with_suffix(".png"))
    elif kind == "floats":
        Image.fromarray(BRIGHT.astype(np.float32) / 255).save(file := stem.with_suffix(".tif"))
    elif kind == "32 bits":
        Image.fromarray(BRIGHT.astype(np.int32)).save(file := stem.with_suffix(".tif"))
    else:
        Image.fromarray(COLOURS).convert("LAB").save(file := stem.with_suffix(".tif"))
    return file


GREYS = ["grey", "grey with transparency", "one grey transparent", "one bit"]
COLOURED = ["colour", "colour with transparency", "palette", "palette with transparency", "four inks"]
COLOURED += ["turned by EXIF", "animated"]
REFUSED = {"16 bits": "I;16", "floats": "F", "32 bits": "I", "LAB": "LAB"}


def expected(kind, grey):
    """Pixels of 0 to 255, shape ``(C, H, W)``."""
    if kind in GREYS:
        values = np.repeat(BRIGHT[None], 1 if grey else 3, 0)
    elif kind == "turned by EXIF":  # by a quarter, clockwise
        colours = np.rot90(COLOURS, -1)
        values = np.asarray(Image.fromarray(colours).convert("L"))[None] if grey else colours.transpose(2, 0, 1)
    elif grey:
        values = np.asarray(Image.fromarray(COLOURS).convert("L"))[None]
    else:
        values = COLOURS.transpose(2, 0, 1)
    return torch.from_numpy(values.copy())


def images_of(root, kind, grey):
    """A data module whose files are all of one kind, and one of these files."""
    for part in ("train", "val", "test"):
        for label in "ab":
            (root / part / label).mkdir(parents=True)
            for number in range(4):
                file = write(kind, root / part / label / f"{number}")
    statistics = {"mean": (0.0,) * (1 if grey else 3), "std": (1.0,) * (1 if grey else 3)}
    options = {"size": SIDE, "crop_scale": 1, "batch_size": 2, "num_workers": 0, "arch_fraction": 0.0, "grey": grey}
    return ImageFolder(str(root), **options, **statistics), file


def paths(data, file):
    """Normalised pixels of a file as they enter the network, by path."""
    prepared = Preparation(data.image_shape, data.mean, data.std, data.eval_resize)
    seen = []

    def network(batch):
        seen.append(batch)
        return batch.flatten(1)[:, :2]

    yield "train", lambda: data.evaluation_batches("train")
    yield "test", lambda: data.evaluation_batches("test")
    yield "predict", lambda: [(prepared(str(file))[None], None)]
    yield "export", lambda: classify(network, prepared, ("a", "b"), [str(file)]) and [(seen[-1], None)]


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("kind", GREYS + COLOURED)
def test_all_paths_see_the_same_pixels(tmp_path, kind, grey):
    data, file = images_of(tmp_path, kind, grey)
    wanted = expected(kind, grey)
    for path, batches in paths(data, file):
        for batch, _ in batches():
            assert torch.equal((batch * 255).round().to(torch.uint8), wanted.expand(len(batch), -1, -1, -1)), path


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("kind", REFUSED)
def test_all_paths_refuse_the_same_way(tmp_path, kind, grey):
    data, file = images_of(tmp_path, kind, grey)
    message = rf"\.\w+: its pixels are of mode {REFUSED[kind]}B?, not grey or colour of 8 bits per channel; convert"
    for _, batches in paths(data, file):
        with pytest.raises(DataError, match=message):
            list(batches())


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_files_of_the_pixels_of_an_archive(tmp_path, channels, mode):
    values = np.random.default_rng(0).integers(0, 256, (24, SIDE, SIDE, channels), dtype=np.uint8)
    np.savez(
        tmp_path / "images.npz", x_train=values, y_train=np.arange(24) % 2, x_test=values, y_test=np.arange(24) % 2
    )
    data = NpzImages(str(tmp_path / "images.npz"), batch_size=4)
    prepared = Preparation(data.image_shape, data.mean, data.std, data.eval_resize)
    order = data.parts.test.mixed
    in_test = torch.cat([images for images, _ in data.evaluation_batches("test")])
    for number in (0, 7):
        Image.frombytes(mode, (SIDE, SIDE), values[number].tobytes()).save(file := tmp_path / f"{number}.png")
        torch.testing.assert_close(prepared(file), in_test[order.tolist().index(number)])


@pytest.mark.parametrize(
    ("channels", "mode"), [(2, "RGB"), (2, "RGBA"), (4, "CMYK"), (4, "LA"), (4, "RGB"), (3, "RGBA")]
)
def test_files_of_other_channels_are_refused_unless_they_may_be_converted(channels, mode):
    prepared = Preparation((channels, SIDE, SIDE), (0.5,) * channels, (0.5,) * channels)
    image = Image.new(mode, (SIDE, SIDE))
    with pytest.raises(DataError, match="but the network takes"):
        prepared(image)
    assert prepared(image, adapt=True).shape == (channels, SIDE, SIDE)


@pytest.mark.parametrize("adapt", [False, True])
def test_no_file_has_five_channels(adapt):
    prepared = Preparation((5, SIDE, SIDE), (0.5,) * 5, (0.5,) * 5)
    with pytest.raises(DataError, match="the network takes 5 channels, but an image file has 1 to 4; give arrays"):
        prepared(Image.new("RGBA", (SIDE, SIDE)), adapt=adapt)


def test_an_exported_network_sees_files_as_its_training_did(tmp_path):
    rng = np.random.default_rng(0)
    for label in range(2):
        (tmp_path / "photos" / "ab"[label]).mkdir(parents=True)
        for number in range(20):
            colours = rng.integers(0, 100, (12, 11, 4), dtype=np.uint8)
            colours[..., label] += 120
            Image.fromarray(colours).save(tmp_path / "photos" / "ab"[label] / f"{number:02}.png")  # with transparency
    data = ImageFolder(str(tmp_path / "photos"), size=8, batch_size=4, num_workers=0, arch_fraction=0.0)
    found = sparsenas.train("darts_v2", data, minutes=0.02, folder=tmp_path / "runs")
    found.export(tmp_path / "exported")
    network, manifest = sparsenas.load(tmp_path / "exported"), sparsenas.export.read_manifest(tmp_path / "exported")
    batches = list(data.evaluation_batches("test"))
    files = [tmp_path / "photos" / name for name in data.parts.test_files]
    mixed = [files[i] for i in data.parts.test.mixed]
    with torch.inference_mode():
        logits = torch.cat([network(images) for images, _ in batches])
        again = network(torch.stack([manifest.preparation(file) for file in mixed]))
    torch.testing.assert_close(logits, again, atol=1e-4, rtol=1e-4)


def deep(mode):
    """A PNG file with 16 bits per channel, which Pillow cannot write."""
    kind, channels = {"RGB": 2, "RGBA": 6, "LA": 4}[mode], len(mode)
    lines = (b"\0" + np.full((SIDE, channels), 300, ">u2").tobytes()) * SIDE
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, kind, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")):
        file += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return file


@pytest.mark.parametrize(
    ("name", "content", "mode"),
    [
        ("a.png", deep("RGB"), "RGB;16B"),
        ("a.png", deep("RGBA"), "RGBA;16B"),
        ("a.png", deep("LA"), "LA;16B"),
        ("a.ppm", b"P6 8 8 65535 " + np.full((SIDE, SIDE, 3), 300, ">u2").tobytes(), "RGB"),
    ],
)
def test_colours_of_16_bits_are_refused_too(tmp_path, name, content, mode):
    """Pillow would keep their high bytes without a word."""
    (tmp_path / name).write_bytes(content)
    prepared = Preparation((3, SIDE, SIDE), (0.5,) * 3, (0.5,) * 3)
    with Image.open(tmp_path / name) as opened:
        for image in (tmp_path / name, opened):
            with pytest.raises(DataError, match=rf"its pixels are of mode {mode}, not grey or colour of 8 bits"):
                prepared(image, adapt=True)


def test_a_picture_turned_by_its_camera_is_upright_in_any_format(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, 12, 3), dtype=np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6
    seen = []
    for suffix in ("png", "tif", "webp"):
        picture.save(tmp_path / f"a.{suffix}", exif=exif, **({"lossless": True} if suffix == "webp" else {}))
        seen.append(np.asarray(decode(tmp_path / f"a.{suffix}")))
    assert all((image == np.rot90(np.asarray(picture), -1)).all() for image in seen)
