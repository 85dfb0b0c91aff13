import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets.folder import pil_loader
from torchvision.transforms.v2.functional import pil_to_tensor

from sparsenas.data import ImageFolder, image_files
from sparsenas.data.loading import Draw
from sparsenas.errors import ConfigError, DataError

OPTIONS = {"size": 8, "batch_size": 4, "eval_batch_size": 4, "num_workers": 0, "val_fraction": 0.2}


@pytest.fixture
def pictures(folder):
    return folder({"bee": 20, "ant": 15, ".cache": 1})


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_in_all_stages(pictures, recorder, trainer, num_workers):
    data, model = ImageFolder(str(pictures), **OPTIONS | {"num_workers": num_workers}), recorder()
    assert data.image_shape == (3, 8, 8)
    assert data.class_names == ("ant", "bee")
    loop = trainer(max_epochs=2, enable_checkpointing=False)
    loop.fit(model, data)
    loop.test(model, data, verbose=False)
    batches = [pair for batch in model.train_batches for pair in batch.values()] + model.eval_batches
    for images, labels in batches:
        assert images.shape == (len(labels), 3, 8, 8)
        assert images.dtype == torch.float32
    assert len(data.parts.split.train) + len(data.parts.split.val) + len(data.parts.test.indices) == 35


def test_workers_change_nothing(pictures, recorder, trainer):
    def run(num_workers):
        model = recorder()
        data = ImageFolder(str(pictures), **OPTIONS | {"num_workers": num_workers, "arch_fraction": 0.0})
        trainer(max_epochs=2, enable_checkpointing=False, limit_train_batches=2).fit(model, data)
        return torch.cat([images for images, _ in model.train_batches])

    assert torch.equal(run(0), run(2))


def test_grey(pictures):
    data = ImageFolder(str(pictures), grey=True, **OPTIONS)
    assert data.image_shape == (1, 8, 8)
    images, _ = data.parts.weights.dataset[Draw(np.arange(3))]
    assert images.shape == (3, 1, 8, 8)


def test_parts_in_folders_of_their_own(folder, tmp_path):
    folder({"ant": 10, "bee": 10}, "set/train")
    folder({"bee": 3}, "set/val")
    folder({"ant": 2, "bee": 4}, "set/test")
    data = ImageFolder(str(tmp_path / "set"), **OPTIONS)
    assert len(data.parts.split.train) == 20
    assert data.source.labels("val").tolist() == [1, 1, 1]
    assert data.source.labels("test").tolist() == [0, 0, 1, 1, 1, 1]
    assert len(data.parts.val.indices) == 3
    assert len(data.parts.test.indices) == 6


@pytest.mark.parametrize("eval_resize", [10, None])
def test_evaluation_sees_the_resized_centre(pictures, eval_resize):
    exact = ImageFolder(str(pictures), eval_resize=eval_resize, **OPTIONS | {"size": 10}).parts.weights.dataset
    file = exact._files[0]  # 12 x 10: the shorter side is right, two rows are cut off
    images, _ = exact[Draw(np.array([0]))]
    assert torch.equal(images[0], pil_to_tensor(pil_loader(str(file)))[:, 1:11])


@pytest.mark.parametrize(
    ("options", "resize"),
    [
        ({"size": 64}, "squash"),
        ({"size": (64, 200)}, "squash"),
        ({"size": (66, 200)}, 66),
        ({"size": 8, "fit": "crop"}, 8),
        ({"size": (8, 12), "fit": "pad"}, "pad"),
        ({"size": 65, "fit": "squash"}, "squash"),
        ({"size": 65}, 65),
        ({"size": 64, "crop_scale": 0.5}, 64),
        ({"size": 65, "crop_scale": 1}, 65),
        ({"size": 65, "eval_resize": "squeeze"}, "squash"),
        ({"size": 8, "eval_resize": None}, 8),
        ({"size": 8, "eval_resize": 9}, 9),
    ],
)
def test_small_images_are_squashed(pictures, options, resize):
    assert ImageFolder(str(pictures), **OPTIONS | options).eval_resize == resize


def test_squashed_images_show_the_whole(pictures):
    squashed = ImageFolder(str(pictures), **OPTIONS | {"size": 10}).parts.weights.dataset
    with Image.open(squashed._files[0]) as image:
        whole = image.convert("RGB").resize((10, 10), Image.Resampling.BILINEAR)
    for _ in range(2):  # the second time it is held
        images, _ = squashed[Draw(np.array([0]))]
        assert torch.equal(images[0], pil_to_tensor(whole))


def test_rectangles_come_to_their_size_in_three_ways(folder):
    root = folder({"ant": 6, "bee": 6})
    for fit in ("crop", "pad", "squash"):
        data = ImageFolder(str(root), fit=fit, **OPTIONS | {"size": (6, 9)})
        assert data.image_shape == (3, 6, 9)
        dataset = data.parts.weights.dataset
        with Image.open(dataset._files[0]) as image:  # 12 x 10, so 6 x 5 fits inside, and 10 x 9 covers
            whole = {"crop": (9, 10), "pad": (5, 6), "squash": (9, 6)}[fit]
            small = pil_to_tensor(image.resize(whole, Image.Resampling.BILINEAR))
        seen = dataset[Draw(np.array([0]))][0][0]
        if fit == "crop":
            assert torch.equal(seen, small[:, 2:8])
        elif fit == "pad":
            assert torch.equal(seen[:, :, 2:7], small)
            assert not seen[:, :, :2].any()
            assert not seen[:, :, 7:].any()
        else:
            assert torch.equal(seen, small)


def test_windows_of_rectangles_have_their_shape(tmp_path):
    """On an image whose grey level is its column, the width of a window can be read."""
    columns = np.tile(np.linspace(0, 255, 240).astype(np.uint8), (80, 1))
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.fromarray(columns).save(tmp_path / name / f"{number}.png")
    options = {"size": (10, 30), "grey": True, "crop_scale": 0.2, "num_workers": 0, "test_fraction": 0.0}
    dataset = ImageFolder(str(tmp_path), **options).parts.weights.dataset
    widths = []
    for seed in range(60):
        images = dataset[Draw(np.zeros(1, dtype=np.int64), (seed,))][0].float()
        assert images.shape == (1, 1, 10, 30)
        widths.append(float(images[0, 0, 0, -1] - images[0, 0, 0, 0]) / 255)
    # a share a of the area, and a shape r times that of the image, make the root of a r of the width
    assert (0.2 * 3 / 4) ** 0.5 - 0.05 < min(widths) < 0.55
    assert max(widths) > 0.8


def test_training_windows_depend_on_the_draw_only(pictures):
    dataset = ImageFolder(str(pictures), crop_scale=0.3, **OPTIONS).parts.weights.dataset
    indices = np.arange(6)
    state = torch.get_rng_state()
    first, again, other = (dataset[Draw(indices, entropy)][0] for entropy in ((0, 1), (0, 1), (0, 2)))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    plain = ImageFolder(str(pictures), crop_scale=1.0, **OPTIONS).parts.weights.dataset
    assert torch.equal(plain[Draw(indices, (0, 1))][0], plain[Draw(indices)][0])


@pytest.mark.parametrize("num_workers", [0, 1])
def test_unreadable_image_is_named(pictures, recorder, trainer, num_workers):
    (pictures / "bee" / "03.png").write_bytes((pictures / "bee" / "04.png").read_bytes()[:60])
    statistics = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "augmentation": "none"}  # nothing is read before the fit
    data = ImageFolder(str(pictures), **OPTIONS | statistics | {"num_workers": num_workers, "test_fraction": 0.2})
    reason = r"not a readable image \(.*\); replace or remove the file; data\.skip_broken true leaves such files out"
    with pytest.raises(DataError, match=rf"^\S*bee/03\.png: {reason}$"):
        trainer(max_epochs=5, enable_checkpointing=False, num_sanity_val_steps=-1).fit(recorder(), data)


def test_missing_folder(tmp_path):
    with pytest.raises(DataError, match=r"gone: no such folder; data\.path must name one with a folder of images"):
        ImageFolder(str(tmp_path / "gone"), size=8)


@pytest.mark.parametrize(("counts", "message"), [({}, "none"), ({"ant": 3}, "ant")])
def test_too_few_classes(folder, tmp_path, counts, message):
    (tmp_path / "pictures").mkdir(exist_ok=True)
    folder(counts)
    with pytest.raises(DataError, match=rf"pictures: class folders: {message}; it needs at least two"):
        ImageFolder(str(tmp_path / "pictures"), size=8)


def test_a_folder_one_above_is_named(folder, tmp_path):
    folder({"ant": 3, "bee": 3}, "above/pictures")
    with pytest.raises(DataError, match=r"class folders: pictures; it needs .*; perhaps \S*above/pictures is meant"):
        ImageFolder(str(tmp_path / "above"), size=8)


def test_class_without_images(folder):
    with pytest.raises(DataError, match=r"bee: no images; a class folder holds at least one of \.jpg"):
        ImageFolder(str(folder({"ant": 3, "bee": 0})), size=8)


def test_class_that_training_does_not_know(folder, tmp_path):
    folder({"ant": 10, "bee": 10}, "set/train")
    folder({"ant": 3, "cat": 3}, "set/test")
    with pytest.raises(DataError, match=r"test/cat: .*train has no class of this name; both need the same classes"):
        ImageFolder(str(tmp_path / "set"), **OPTIONS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, r"data\.size is 0; it must be at least 1"),
        ({"size": -3}, r"data\.size is -3; it must be at least 1"),
        ({"size": 8, "eval_resize": 7}, r"data\.eval_resize is 7; it must be at least 8"),
        ({"size": (8,)}, r"data\.size is \[8\]; give a side, or \[height, width\]"),
        ({"size": (8, 0)}, r"data\.size is 0; it must be at least 1"),
        ({"size": (9, 12), "eval_resize": 8}, r"data\.eval_resize is 8; it must be at least 9"),
        ({"size": 8, "eval_resize": "stretch"}, r"data\.eval_resize is 'stretch'; use auto or a number of pixels"),
        ({"size": 8, "fit": "pad", "eval_resize": "squeeze"}, r"data\.eval_resize is 'squeeze'; use auto or a number"),
        ({"size": 8, "fit": "pad", "eval_resize": 9}, r"data\.eval_resize is 9, but data\.fit pad cuts nothing out"),
        ({"size": 8, "fit": "stretch"}, r"data\.fit is 'stretch'; use auto, crop, pad, squash"),
        ({"size": 8, "crop_scale": 0.0}, r"data\.crop_scale is 0\.0; it is a share of the area"),
    ],
)
def test_options_out_of_range(pictures, options, message):
    with pytest.raises(ConfigError, match=message):
        ImageFolder(str(pictures), **options)


def test_a_linked_file_counts_once(folder):
    root = folder({"ant": 10, "bee": 10})
    (root / "ant" / "favourites").mkdir()
    (root / "ant" / "favourites" / "00.png").symlink_to("../00.png")
    (root / "ant" / "latest").symlink_to(".")
    (root / "aaa").symlink_to("bee")
    with pytest.raises(DataError, match="class 'aaa' has no training image"):
        ImageFolder(str(root), **OPTIONS).setup("fit")
    (root / "aaa").unlink()
    data = ImageFolder(str(root), **OPTIONS)
    assert len(data.parts.names) == 20
    assert data.source.report()[-1] == "left out: 1 links to a folder above, 1 links to images that are there"


def test_a_test_part_that_is_linked_to_the_training_images_is_refused(folder, tmp_path):
    folder({"ant": 10, "bee": 10}, "set/train")
    (tmp_path / "set" / "test").symlink_to("train")
    with pytest.raises(DataError, match=r"test: 20 of its images are, by links, those of .*train; unlink them"):
        ImageFolder(str(tmp_path / "set"), **OPTIONS)


def test_a_test_part_without_images_is_refused_before_the_training(folder, tmp_path):
    folder({"ant": 10, "bee": 10}, "set/train")
    folder({"ant": 0, "bee": 0}, "set/test")
    with pytest.raises(DataError, match="test: no images in its class folders; fill or remove them"):
        ImageFolder(str(tmp_path / "set"), **OPTIONS)
    (tmp_path / "set" / "train" / "ant" / "00.png").rename(tmp_path / "set" / "test" / "ant" / "0.png")
    assert len(ImageFolder(str(tmp_path / "set"), **OPTIONS).parts.test.indices) == 1  # a class may lack one


def test_images_without_windows_are_decoded_once(pictures, recorder, trainer, monkeypatch):
    """As long as they fit into the memory that is set aside; the batches are the same."""

    read, decode = [], image_files.decode
    monkeypatch.setattr(image_files, "decode", lambda file: read.append(file) or decode(file))

    def run():
        read.clear()
        model = recorder()
        data = ImageFolder(str(pictures), crop_scale=1, **OPTIONS | {"arch_fraction": 0.0})
        trainer(max_epochs=3, enable_checkpointing=False, limit_val_batches=0).fit(model, data)
        count = len(data.parts.split.train)
        return torch.cat([images for images, _ in model.train_batches]), len(read), count

    held, decoded, count = run()
    monkeypatch.setattr(image_files, "HELD_BYTES", 0)
    again, more, _ = run()
    assert torch.equal(held, again)
    assert more - decoded >= 2 * count  # the second and the third epoch
