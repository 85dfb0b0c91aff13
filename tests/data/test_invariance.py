"""What must change neither the part of a file nor an evaluated number."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from sparsenas.data import ImageFolder, NpzImages

OPTIONS = {"size": 8, "batch_size": 4, "crop_scale": 1, "num_workers": 0}
CLASSES = ("ant", "bee", "cat")


def write(root, classes=CLASSES, numbers=range(20), seed=0):
    """Write noisy pictures whose pixels follow from class, number and seed."""
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            rng = np.random.default_rng([*name.encode(), number, seed])
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(root / name / f"{number:03}.png")
    return root


def parts(data):
    """Part of each file."""
    return {name: part for part, _, name in data.parts.table()}


@pytest.fixture
def network():
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 5, 3), torch.nn.BatchNorm2d(5), torch.nn.ReLU(), torch.nn.Flatten()
    return torch.nn.Sequential(*layers, torch.nn.Linear(5 * 36, 4)).eval()


@pytest.fixture
def of_the_batch(network):
    """The same with statistics of the batch."""
    network[1] = torch.nn.BatchNorm2d(5, track_running_stats=False).eval()
    return network


@torch.no_grad()
def loss(network, data, part="test"):
    logits, labels = (
        torch.cat(x) for x in zip(*((network(x), y) for x, y in data.evaluation_batches(part)), strict=True)
    )
    names = [CLASSES.index(data.class_names[label]) if data.class_names[label] in CLASSES else 3 for label in labels]
    return float(torch.nn.functional.cross_entropy(logits, torch.tensor(names)))


STATISTICS = {"mean": (0.5,) * 3, "std": (0.25,) * 3}


@pytest.mark.parametrize("kind", ["more images", "another class", "hidden copies", "links", "a moved folder"])
def test_what_arrives_beside_files_changes_no_part_and_no_number(tmp_path, network, kind):
    root = write(tmp_path / "photos")
    before = ImageFolder(str(root), **OPTIONS, **STATISTICS)
    numbers = [loss(network, before, part) for part in ("val", "test")]
    kept = parts(before)
    if kind == "more images":
        write(root, numbers=range(500, 507))
    elif kind == "another class":
        write(root, ("aardvark",))  # the first, so that all labels move
    elif kind == "hidden copies":
        shutil.copytree(root / "ant", root / "bee" / ".copies")
    elif kind == "links":
        write(tmp_path / "elsewhere")
        (root / "cat" / "more").symlink_to(tmp_path / "elsewhere" / "cat")
    else:
        root = root.rename(tmp_path / "moved")
    after = ImageFolder(str(root), **OPTIONS, **STATISTICS)
    now = parts(after)
    assert {name: now[name] for name in kept} == kept
    if kind in ("hidden copies", "a moved folder"):
        assert [loss(network, after, part) for part in ("val", "test")] == pytest.approx(numbers, abs=1e-6)
    else:  # with the parts of the training, the old images of a part can be told apart
        after.load_state_dict({**before.state_dict(), "class_names": after.class_names})
        assert {name: parts(after)[name] for name in kept} == kept


@pytest.mark.parametrize("batch_size", [1, 3, 256])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches_and_workers_change_no_number(tmp_path, network, batch_size, num_workers):
    root = write(tmp_path / "photos")
    plain = loss(network, ImageFolder(str(root), **OPTIONS))
    changed = ImageFolder(
        str(root), **OPTIONS | {"num_workers": num_workers, "batch_size": 2}, eval_batch_size=batch_size
    )
    assert loss(network, changed) == pytest.approx(plain, abs=1e-6)


def test_the_order_of_classes_does_not_decide_which_images_meet(tmp_path, of_the_batch):
    """Statistics of a batch depend on its images: the mix of an evaluation is that of the files' names."""
    first = ImageFolder(str(write(tmp_path / "photos")), eval_batch_size=4, **OPTIONS, **STATISTICS)
    write(tmp_path / "renamed")
    for name in CLASSES:  # the classes in another order of labels, files and folders called the same
        (tmp_path / "links" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "links" / name).symlink_to(tmp_path / "renamed" / name)
    second = ImageFolder(str(tmp_path / "links"), eval_batch_size=4, **OPTIONS, **STATISTICS)
    assert loss(of_the_batch, first) == pytest.approx(loss(of_the_batch, second), abs=1e-6)


def test_with_statistics_of_the_batch_accuracy_hardly_depends_on_its_size(tmp_path, of_the_batch):
    """Classes of one colour each: batches of one class would lose the colour altogether."""
    for number, name in enumerate(CLASSES):
        (tmp_path / name).mkdir()
        for image in range(100):
            rng = np.random.default_rng([number, image])
            pixels = rng.integers(0, 60, (8, 8, 3), dtype=np.uint8)
            pixels[..., number] += 150
            Image.fromarray(pixels).save(tmp_path / name / f"{image:03}.png")
    whole, small = (
        ImageFolder(str(tmp_path), eval_batch_size=size, val_fraction=0.5, **OPTIONS, **STATISTICS)
        for size in (1000, 20)
    )
    assert loss(of_the_batch, small, "val") == pytest.approx(loss(of_the_batch, whole, "val"), rel=0.1)
    for _, labels in small.evaluation_batches("val"):
        assert len(labels.unique()) == 3


def arrays(numbers):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (100, 8, 8, 3), dtype=np.uint8)[numbers]
    return {"x_train": images, "y_train": np.asarray(numbers) % 3}


def test_images_appended_to_an_archive_change_no_part(tmp_path):
    np.savez(tmp_path / "few.npz", **arrays(range(60)))
    np.savez(tmp_path / "many.npz", **arrays(range(100)))
    few, many = (parts(NpzImages(str(tmp_path / name), batch_size=4)) for name in ("few.npz", "many.npz"))
    assert {name: many[name] for name in few} == few
    assert len(many) == 100


def test_the_order_of_an_archive_does_not_move_images_of_a_training(tmp_path, network):
    np.savez(tmp_path / "first.npz", **arrays(range(60)))
    np.savez(tmp_path / "shuffled.npz", **arrays(np.random.default_rng(1).permutation(100)))
    first, second = (
        NpzImages(str(tmp_path / name), batch_size=4, **STATISTICS) for name in ("first.npz", "shuffled.npz")
    )
    second.load_state_dict(first.state_dict())
    kept, now = parts(first), parts(second)
    assert {name: now[name] for name in kept} == kept
    assert len(now) == 100


@pytest.mark.parametrize("norm", [{}, {"track_running_stats": False}])
def test_predictions_come_in_order_unless_the_network_needs_a_mix(tmp_path, recorder, trainer, norm):
    data, model = ImageFolder(str(write(tmp_path / "photos")), **OPTIONS, test_fraction=0.5), recorder()
    model.norm = torch.nn.BatchNorm2d(3, **norm)
    loop = trainer()
    labels = torch.cat(loop.predict(model, data)).tolist()
    assert sorted(labels) == data.parts.test.dataset._labels.tolist()
    assert (labels == sorted(labels)) == (not norm)
