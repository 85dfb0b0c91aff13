"""Every shipped config runs end to end, says what it is, and agrees with itself and with the published recipe."""

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from sparsenas.api.shipped import shipped_configs
from sparsenas.cli import main

#: Configs of `fit`; those of `compare` and `rank-predictors` are tested apart.
CONFIGS = {name: path for name, path in shipped_configs().items() if not name.startswith(("compare_", "predictors_"))}
DATA = os.environ.get("SPARSENAS_DATA")

TINY, NARROW = (f"--model.network.channels {channels} --model.network.cells 3" for channels in (4, 8))
POOL = "--model.iterations.pool 6 --model.iterations.seeds 2 --model.iterations.encoder_epochs 1"
FEW = "--model.selection.init_args.count 3 --model.selection.init_args.finalists 2"
#: What makes each config small enough for a test; its images come from the fixture of the same name.
SMALL = {
    "quickstart": "",
    "photos": "folder --data.batch_size 4 --data.num_workers 0",
    "search_one_stage_cifar10_16px": "images16 --data.batch_size 4",
    "search_one_stage_cifar10": f"images32 --data.batch_size 4 {TINY}",
    "search_one_stage_ista_nas_official": f"images32 --data.batch_size 4 {TINY}",
    "search_one_stage_imagenet": f"folder --data.batch_size 4 --data.num_workers 0 {NARROW} "
    "--trainer.devices 1 --trainer.strategy auto --trainer.precision 32-true",
    "search_darts_first_order": f"images32 --data.batch_size 4 {TINY}",
    "search_darts_second_order": f"images32 --data.batch_size 4 {TINY}",
    "search_e2rnas_digits": "",
    "search_e2rnas_cifar10_16px": f"images16 --data.batch_size 4 {TINY}",
    "search_e2rnas_cifar10": f"images32 --data.batch_size 4 {TINY}",
    "search_gdas": f"images32 --data.batch_size 4 {TINY}",
    "search_pc_darts": f"images32 --data.batch_size 4 {NARROW}",
    "search_nao_v1_darts_cifar10": f"images32 --data.batch_size 4 {TINY} {POOL}",
    "search_nao_v2_darts_cifar10": f"images32 --data.batch_size 4 {TINY} {POOL}",
    "search_nao_v2_digits": POOL,
    "search_nao_v2_nasbench201": f"images16 --data.batch_size 4 {POOL}",
    "search_novelty_darts_cifar10": f"images32 --data.batch_size 4 {TINY} {FEW}",
    "search_novelty_digits": "",
    "search_novelty_nasbench201": f"images16 --data.batch_size 4 {FEW}",
    "search_random_weight_sharing": f"images32 --data.batch_size 4 {TINY} {FEW}",
    "search_two_stage_digits": "",
    "search_two_stage_cifar10_16px": "images16 --data.batch_size 4",
    "search_two_stage_cifar10": f"images32 --data.batch_size 4 {TINY}",
    "search_two_stage_nasbench201": "images16 --data.batch_size 4",
    "search_two_stage_ista_nas_official": f"images32 --data.batch_size 4 {TINY}",
    "supernet_nasbench201_baseline": "images16 --data.batch_size 4",
    "train_digits": "",
    "train_adversarial_digits": "",
    "train_adversarial_cifar10_16px": "images16 --data.batch_size 4",
    "train_cifar10_16px": "images16 --data.batch_size 4",
    "train_reference_cifar10_16px": "images16 --data.batch_size 4",
    "train_images": "folder --data.batch_size 4 --data.num_workers 0",
    "train_images_unbalanced": "folder --data.batch_size 4 --data.num_workers 0",
    "train_cifar10": f"images32 --data.batch_size 4 {TINY}",
    # not 4 channels: torch 2.14 corrupts memory in 1x1 convolutions of stride 2 on fewer than 6 channels (CPU, NHWC)
    "train_imagenet": f"folder --data.batch_size 4 --data.num_workers 0 {NARROW} "
    "--trainer.devices 1 --trainer.strategy auto --trainer.precision 32-true",
}


def settings(name):
    return yaml.safe_load(CONFIGS[name].read_text())


def callbacks(name):
    found = settings(name)["trainer"]["callbacks"]
    return [(callback["class_path"], callback.get("init_args", {})) for callback in found]


@pytest.fixture
def images(tmp_path, random_archive):
    """Options that name small images: real ones where SPARSENAS_DATA has them, else random ones of the same shape."""

    def options(kind):
        if kind == "folder":
            return ["--data.path", str(random_folder(tmp_path / "folder"))]
        side, archive = {"images16": (16, "cifar10_12k_16px.npz"), "images32": (32, "cifar10_5k.npz")}[kind]
        real = Path(DATA, archive) if DATA else None
        path = real if real is not None and real.is_file() else random_archive(tmp_path / archive, side)
        # an archive has other options than the class of the config
        return ["--data", "NpzImages", "--data.path", str(path)]

    return options


def random_folder(path):
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            folder = path / part / name
            folder.mkdir(parents=True)
            for number in range(4):
                pixels = rng.integers(256, size=(40, 50, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.jpg")
    return path


def test_every_config_has_a_row():
    assert set(SMALL) == set(CONFIGS)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_config_runs_end_to_end(name, images, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = SMALL[name].split()
    kind = words.pop(0) if words and not words[0].startswith("--") else None
    options = (images(kind) if kind else []) + words
    common = shlex.split("--trainer.fast_dev_run true --trainer.accelerator cpu")
    assert main(["fit", "--config", name, *common, *options]) == 0
    assert "val/acc" in capsys.readouterr().out


@pytest.mark.parametrize("name", CONFIGS)
def test_config_begins_with_its_command_cost_and_expectation(name):
    lines = CONFIGS[name].read_text().splitlines()
    head = [line for line in lines[: lines.index("seed_everything: " + str(settings(name)["seed_everything"]))]]
    assert all(line.startswith("#") for line in head)
    assert f"{head[0]} ".startswith(f"# python -m sparsenas fit --config {name} ")
    text = " ".join(head)
    assert "Cost: " in text
    assert "Expect: " in text or "Published: " in text


@pytest.mark.parametrize("name", CONFIGS)
def test_config_keeps_the_last_epoch_and_the_best_where_one_is(name):
    kept = {options["filename"]: options for path, options in callbacks(name) if path == "ModelCheckpoint"}
    # one-stage runs have no best epoch before the architecture is fixed; runs that also train keep the last one
    has_best = settings(name)["model"]["class_path"] not in ("OneStageSearch", "TournamentSearch")
    if settings(name)["trainer"]["max_epochs"] == 0:
        assert not kept
        return
    if settings(name)["trainer"]["max_epochs"] == -1:  # seconds: the schedule ends with the last weights
        has_best = False
    assert set(kept) == ({"best", "last"} if has_best else {"last"})
    if has_best:
        assert kept["best"]["monitor"] == ("val/macro_f1" if "unbalanced" in name else "val/acc")
        assert kept["best"]["mode"] == "max"
    assert "monitor" not in kept["last"]
    assert all(options["save_on_train_epoch_end"] is True for options in kept.values())


@pytest.mark.parametrize("name", CONFIGS)
def test_schedule_is_as_long_as_the_run(name, schedules):
    model = settings(name)["model"]["init_args"]
    assert all(schedule.get("epochs") is None for schedule in schedules(model))
    constant = model.get("training", {}).get("schedule", {}).get("shape") == "constant"
    assert constant == (name in ("search_two_stage_digits", "train_images_unbalanced"))


@pytest.mark.parametrize("name", CONFIGS)
def test_logger_is_tensorboard_without_a_placeholder_metric(name):
    logger = settings(name)["trainer"]["logger"]
    assert logger["class_path"] == "TensorBoardLogger"
    assert logger["init_args"] == {"save_dir": ".", "name": "lightning_logs", "default_hp_metric": False}


def test_the_official_search_recipe():
    """Numbers of the official code of Yang et al., ISTA-NAS (NeurIPS 2020), two-stage."""
    config = settings("search_two_stage_ista_nas_official")
    model, data = config["model"]["init_args"], config["data"]["init_args"]
    network, training, architecture = model["network"], model["training"], model["architecture"]
    assert (network["channels"], network["cells"], config["trainer"]["max_epochs"]) == (16, 8, 50)
    assert model["space"]["init_args"] == {"nodes": 4, "inputs_per_node": 2, "distinct_edges": False}
    recovery = model["recovery"]
    assert recovery["solver"] == {
        "class_path": "LarsSolver",
        "init_args": {"lam": 1e-5, "relative": False, "refit": False},
    }
    assert (recovery["dictionary"], recovery["compressed_size"], recovery["initial_std"]) == ("uniform", 7, 1e-3)
    assert recovery["every_n_steps"] is None
    assert model["signal"]["class_path"] == "SupportGradient"
    assert model["sampling"]["class_path"] == "RecoveredSampling"
    assert architecture["warmup_epochs"] == 0
    weights = training["optimizer"]
    assert weights["class_path"] == "torch.optim.SGD"
    assert weights["init_args"] == {"lr": 0.1, "momentum": 0.9, "weight_decay": 3e-4}
    assert training["schedule"] == {"final_ratio": 0.01}
    arch = architecture["optimizer"]
    assert arch["class_path"] == "torch.optim.Adam"
    assert arch["init_args"] == {"lr": 6e-4, "betas": [0.5, 0.999], "weight_decay": 1e-3}
    assert (training["gradient_clip"], model["seed"], data["seed"], config["seed_everything"]) == (5.0, 2, 2, 2)
    assert (data["batch_size"], data["arch_fraction"], data["augmentation"]["cutout"]) == (256, 0.5, 0)
    assert network["norms"]["affine"] is False


@pytest.mark.parametrize("name", [name for name in CONFIGS if "one_stage" in name])
def test_both_phases_fit_the_run(name):
    phases, epochs = settings(name)["model"]["init_args"]["phases"], settings(name)["trainer"]["max_epochs"]
    assert phases["search_epochs"] + phases.get("train_epochs", 1) <= epochs
    assert settings(name)["data"]["init_args"]["arch_fraction"] == 0.0


def test_the_official_one_stage_recipe():
    """Numbers of the official code of Yang et al., ISTA-NAS (NeurIPS 2020), one-stage."""
    config = settings("search_one_stage_ista_nas_official")
    model, data = config["model"]["init_args"], config["data"]["init_args"]
    network, training, phases = model["network"], model["training"], model["phases"]
    cutout = data["augmentation"]["cutout"]
    assert (network["channels"], network["cells"], data["batch_size"], cutout) == (36, 20, 96, 16)
    assert (training["auxiliary_weight"], training["drop_path"], training["gradient_clip"]) == (0.4, 0.2, 5.0)
    assert model["space"]["init_args"]["distinct_edges"] is False
    recovery = model["recovery"]
    assert recovery["solver"]["init_args"] == {"lam": 1e-5, "relative": False, "refit": False}
    assert (recovery["dictionary"], recovery["compressed_size"], recovery["initial_std"]) == ("uniform", 7, 1e-3)
    assert recovery["every_n_steps"] is None
    assert model["exploration"]["sampling"]["class_path"] == "RecoveredSampling"
    assert model["settling"] == {"class_path": "AbsoluteChange", "init_args": {"patience": 1, "tolerance": 1e-3}}
    assert (phases["search_epochs"], phases["train_epochs"], recovery["reject_params"]) == (600, 600, 3.7e6)
    assert training["optimizer"]["init_args"] == {"lr": 0.025, "momentum": 0.9, "weight_decay": 3e-4}
    assert training["schedule"]["final_ratio"] * 0.025 == pytest.approx(0.001)
    arch = model["architecture"]
    assert arch["optimizer"]["init_args"] == {"lr": 3e-4, "betas": [0.5, 0.999], "weight_decay": 1e-3}
    assert arch["schedule"] == {"shape": "constant"}
    assert (model["seed"], config["seed_everything"]) == (5, 5)


def test_the_published_training_recipes():
    """Evaluation settings of DARTS, PC-DARTS and the official code of ISTA-NAS."""
    cifar, imagenet = settings("train_cifar10"), settings("train_imagenet")
    network, training = cifar["model"]["init_args"]["network"], cifar["model"]["init_args"]["training"]
    assert (network["channels"], network["cells"], cifar["trainer"]["max_epochs"]) == (36, 20, 600)
    assert training["optimizer"]["init_args"] == {"lr": 0.025, "momentum": 0.9, "weight_decay": 3e-4}
    assert training["schedule"] == {"shape": "cosine"}
    assert (training["auxiliary_weight"], training["drop_path"], training["gradient_clip"]) == (0.4, 0.2, 5.0)
    assert (cifar["data"]["init_args"]["batch_size"], cifar["data"]["init_args"]["augmentation"]["cutout"]) == (96, 16)
    network, training = imagenet["model"]["init_args"]["network"], imagenet["model"]["init_args"]["training"]
    trainer = imagenet["trainer"]
    assert (network["channels"], network["cells"], trainer["max_epochs"]) == (48, 14, 250)
    assert imagenet["data"]["init_args"]["batch_size"] * trainer["devices"] == 1024
    assert training["optimizer"]["init_args"] == {"lr": 0.5, "momentum": 0.9, "weight_decay": 3e-5}
    assert training["schedule"] == {"warmup_epochs": 5, "shape": "linear"}
    assert (training["label_smoothing"], training["auxiliary_weight"], training["drop_path"]) == (0.1, 0.4, 0.0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # epochs so short make Lightning doubt the settings
@pytest.mark.parametrize("name", ["search_e2rnas_digits", "search_nao_v2_digits", "search_novelty_digits"])
def test_a_search_of_digits_ends_with_a_genotype_that_trains(name, tmp_path, monkeypatch, capsys):
    """All epochs, but of few batches."""
    monkeypatch.chdir(tmp_path)
    brief = shlex.split("--trainer.accelerator cpu --trainer.limit_train_batches 2 --trainer.limit_val_batches 1")
    assert main(["fit", "--config", name, *brief]) == 0
    capsys.readouterr()
    genotype = str(next(tmp_path.rglob("genotype.json")))
    small = shlex.split("--model.network.channels 8 --model.network.cells 3 --model.training.schedule.warmup_epochs 0")
    train = ["fit", "--config", "train_digits", "--model.genotype", genotype, *small, "--trainer.max_epochs", "4"]
    assert main([*train, "--trainer.accelerator", "cpu"]) == 0
    assert float(re.search(r"best val/acc +(\S+)", capsys.readouterr().out)[1]) > 0.5
