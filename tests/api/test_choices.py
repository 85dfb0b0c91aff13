"""What a run chooses by its images and the speed of the device."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from sparsenas.api import choices
from sparsenas.api.choices import MINUTES, TRAINING, speed, views
from sparsenas.api.probe import probe
from sparsenas.api.settings import assemble
from sparsenas.api.shipped import find_config
from sparsenas.api.terminal import calm_terminal
from sparsenas.cli import main
from sparsenas.data import Digits
from sparsenas.data.pixel_sizes import fitting_side, pixel_sizes
from sparsenas.networks import DerivedNet, NetworkConfig, NormOptions
from sparsenas.spaces import REFERENCES, StageSpace
from sparsenas.training import WeightTraining


@pytest.fixture
def photos(tmp_path):
    """Two classes of ten photos of 70x90 pixels."""
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 255, (70, 90, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def known_speed(monkeypatch):
    """A device that trains 20 G MACs a second."""
    monkeypatch.setattr(choices, "speed", lambda data, device: 2e10)
    monkeypatch.delenv("SPARSENAS_SPEED", raising=False)


def run(tmp_path, monkeypatch, capsys, *options):
    monkeypatch.chdir(tmp_path)
    code = main(["fit", "--config", "photos", "--data.path", "photos", "--data.num_workers", "0", *options])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.slow
def test_a_plan_says_what_was_chosen_and_leaves_nothing(tmp_path, photos, known_speed, monkeypatch, capsys):
    code, out, _ = run(tmp_path, monkeypatch, capsys, "--plan", "--minutes", "1")
    assert code == 0
    images = 2 * 10
    macs = 2e10 * choices.LEAST_TRAINING * 60 * TRAINING / views(images)
    assert f"at most {macs / 1e6:.2g} M MACs" in out
    assert "images of 64x64 pixels: half of the photos have 70 or more on their shorter side" in out
    assert f"{60 * TRAINING:.3g}s in all: at most " in out
    assert "MiB for training" in out
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.slow
def test_what_is_given_is_not_chosen(tmp_path, photos, monkeypatch, capsys):
    def never(*_):
        raise AssertionError("nothing is to be measured")

    monkeypatch.setattr(choices, "speed", never)
    options = ["--plan", "--max_macs", "2e6", "--max_params", "30000"]
    code, out, _ = run(tmp_path, monkeypatch, capsys, *options)
    assert code == 0
    size, minutes = [line.split(maxsplit=1)[1] for line in out.splitlines() if line.startswith("chosen")]
    assert minutes.startswith(f"{MINUTES:g} minutes")
    assert size.endswith("but larger ones need more MACs")
    assert "32x32 pixels" in out


def test_the_settings_say_what_was_chosen(photos, known_speed):
    settings = yaml.safe_load(Path(find_config("photos")).read_text())
    settings["data"]["init_args"]["path"] = str(photos)
    settings |= {"minutes": 1, "max_params": 9000}
    with calm_terminal():
        made = assemble(settings).config
    model = made.model.init_args
    assert model.budget.max_params == 9000
    assert model.budget.max_macs >= choices.FEWEST
    assert model.training.seconds == pytest.approx(60 * TRAINING)
    assert made.data.init_args.size == 64
    assert (made.choose, made.minutes, made.max_params) == (False, None, None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "fit --config search_two_stage_digits --max_latency_ms 5",
            "max_latency_ms is 5, but how fast this device is has not been measured: type python -m sparsenas latency",
        ),
        (
            "fit --config train_digits --model.genotype resnet8 --minutes 5",
            "minutes is 5, but training.schedule.warmup_epochs counts epochs",
        ),
        ("fit --config photos --data.path photos --minutes 0", "minutes is 0.0; use a positive number"),
        (
            "fit --config search_two_stage_digits --minutes 3",
            "minutes is 3, but the schedules of TwoStageSearch go over epochs: leave it out, and set "
            "trainer.max_epochs",
        ),
    ],
)
def test_wishes_that_cannot_be_granted(command, message, tmp_path, photos, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(command.split()) == 2
    assert message in capsys.readouterr().err


def test_the_side_is_one_that_half_of_the_photos_have():
    assert [fitting_side(np.array([[side, 2 * side]]))[0] for side in (20, 32, 50, 64, 900)] == [32, 32, 48, 64, 64]
    assert fitting_side(np.zeros((0, 2), dtype=np.int64))[0] == 32
    assert [fitting_side(np.array([[900, 900]]), macs)[0] for macs in (1e6, 14e6, 30e6)] == [32, 48, 64]


def test_sizes_are_those_of_upright_photos_and_damaged_ones_are_left_out(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (40, 30)).save(tmp_path / "as_it_is.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    files = [tmp_path / name for name in ("turned.jpg", "broken.png", "as_it_is.png")]
    assert pixel_sizes(files).tolist() == [[40, 30], [30, 40]]


def test_memory_grows_with_the_batch_by_what_its_images_need_and_nothing_changes():
    genotype = REFERENCES["resnet8"].genotype
    network = DerivedNet(genotype, (3, 32, 32), 4, **NetworkConfig(channels=8, cells=None).arguments(NormOptions()))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.get_rng_state()
    bytes_ = [
        probe(network, WeightTraining(), torch.zeros(batch, 3, 32, 32), 4, torch.device("cpu")).bytes
        for batch in (8, 16, 24)
    ]
    assert bytes_[2] - bytes_[1] == pytest.approx(bytes_[1] - bytes_[0], rel=0.02)
    # at least the images and the outputs of the first convolution
    assert bytes_[1] - bytes_[0] > 8 * 4 * (3 + 8) * 32 * 32
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_speed_is_positive_and_views_are_more_for_more_images_but_fewer_epochs():
    assert speed(Digits(arch_fraction=0.0), torch.device("cpu")) > 1e6
    counts = [100, 500, 5_000, 50_000]
    seen = [views(count) for count in counts]
    assert seen == sorted(seen)
    epochs = [view / count for view, count in zip(seen, counts, strict=True)]
    assert epochs == sorted(epochs, reverse=True)


def test_stages_for_larger_images_end_at_the_same_resolution():
    spaces = [StageSpace.for_images((3, side, side)) for side in (32, 64)]
    assert [side / 2 ** (space.stages - 1) for side, space in zip((32, 64), spaces, strict=True)] == [8, 8]
