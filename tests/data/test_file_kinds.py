"""Every kind of image file gives the same tensor in training, test, prediction and export, or one refusal in all."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

import sparsenas
from sparsenas.api.pictures import classify
from sparsenas.data import ImageFolder, NpzImages
from sparsenas.errors import DataError
from sparsenas.export import Preparation
from sparsenas.images import decode, with_channels

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


def deep_png(values):
    """A PNG file of ``(H, W, C)`` values of 16 bits, which Pillow cannot write in colour."""
    height, width, channels = values.shape
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, (0, 4, 2, 6)[channels - 1], 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")):
        file += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return file


def deep_tiff(values, order):
    """A TIFF file of grey levels of 16 bits in a byte order, ``<`` or ``>``."""
    height, width, _ = values.shape
    data = values.astype(f"{order}u2").tobytes()
    tags = [(256, width), (257, height), (258, 16), (259, 1), (262, 1), (273, 122), (277, 1), (278, height)]
    tags = [*tags, (279, len(data))]
    entries = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HIH", 42, 8, len(tags))
    return head + entries + struct.pack(f"{order}I", 0) + data


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
    elif kind == "GIF":
        frames = [Image.fromarray(COLOURS), Image.fromarray(255 - COLOURS)]
        frames[0].save(file := stem.with_suffix(".gif"), save_all=True, append_images=frames[1:], duration=100)
    elif kind.startswith("16 bits"):
        suffix = {"TIFF": ".tif", "PGM": ".pgm"}.get(kind.rpartition(" ")[2], ".png")
        Image.fromarray(BRIGHT.astype(np.uint16) * 257).save(file := stem.with_suffix(suffix))
    elif kind == "colour of 16 bits":
        (file := stem.with_suffix(".png")).write_bytes(deep_png(COLOURS.astype(np.uint16) * 257))
    elif kind == "floats":
        Image.fromarray(BRIGHT.astype(np.float32) / 255).save(file := stem.with_suffix(".tif"))
    elif kind == "32 bits":
        Image.fromarray(BRIGHT.astype(np.int32)).save(file := stem.with_suffix(".tif"))
    else:
        Image.fromarray(COLOURS).convert("LAB").save(file := stem.with_suffix(".tif"))
    return file


GREYS = ["grey", "grey with transparency", "one grey transparent", "one bit", "16 bits", "16 bits TIFF", "16 bits PGM"]
COLOURED = ["colour", "colour with transparency", "palette", "palette with transparency", "four inks"]
COLOURED += ["turned by EXIF", "animated", "GIF", "colour of 16 bits"]
REFUSED = {"floats": "F", "32 bits": "I", "LAB": "LAB"}


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
    message = rf"\.\w+: its pixels are of mode {REFUSED[kind]}B?, not grey or colour of 8 or 16 bits per channel"
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


@pytest.mark.slow
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


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_become_the_nearest_8_or_the_upper_ones(tmp_path, channels):
    """Grey levels are rounded; Pillow keeps the upper bytes of colours."""
    values = np.random.default_rng(0).integers(0, 2**16, (SIDE, SIDE, channels), dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(deep_png(values))
    found = np.asarray(with_channels(decode(tmp_path / "a.png"), channels, "a")).reshape(values.shape)
    wanted = np.rint(values / 257) if channels == 1 else values >> 8
    assert np.array_equal(found, wanted)
    assert np.abs(found - values / 257).max() <= (0.5 if channels == 1 else 1)
    files = {
        1: [b"P5 8 8 65535 " + values.astype(">u2").tobytes(), deep_tiff(values, "<"), deep_tiff(values, ">")],
        3: [b"P6 8 8 65535 " + values.astype(">u2").tobytes()],
    }
    for number, content in enumerate(files.get(channels, [])):
        (tmp_path / f"{number}.file").write_bytes(content)
        again = np.asarray(decode(tmp_path / f"{number}.file")).reshape(values.shape)
        assert np.abs(again - np.rint(values / 257)).max() <= (0 if channels == 1 else 1)


def test_16_bits_are_turned_upright_too(tmp_path):
    picture = Image.fromarray(np.arange(SIDE * 12, dtype=np.uint16).reshape(SIDE, 12) * 257)
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(np.asarray(decode(tmp_path / "a.png")), np.rot90(np.asarray(picture) // 257, -1))


def test_grey_levels_of_12_bits_are_refused(tmp_path):
    """They would come out too dark."""
    content = bytearray(deep_tiff(np.zeros((SIDE, SIDE, 1), np.uint16), "<"))
    bits = content.index(struct.pack("<HHI", 258, 3, 1)) + 8
    content[bits : bits + 2] = struct.pack("<H", 12)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tif: its pixels are of mode I;12, not grey or colour of 8 or 16 bits"):
        decode(tmp_path / "a.tif")


def test_a_picture_turned_by_its_camera_is_upright_in_any_format(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, 12, 3), dtype=np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6
    seen = []
    for suffix in ("png", "tif", "webp"):
        picture.save(tmp_path / f"a.{suffix}", exif=exif, **({"lossless": True} if suffix == "webp" else {}))
        seen.append(np.asarray(decode(tmp_path / f"a.{suffix}")))
    assert all((image == np.rot90(np.asarray(picture), -1)).all() for image in seen)
