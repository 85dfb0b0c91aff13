"""The config of the official ISTA-NAS recipe, number by number, as its code and README have them."""

import pytest
import torch
import yaml

from sparsenas.api.shipped import shipped_configs
from sparsenas.networks import NormOptions, SuperNet
from sparsenas.schedules import Schedule
from sparsenas.search import ArchitectureTraining, CompressedArchitecture, SparseRecovery
from sparsenas.spaces import DARTS_PRIMITIVES, DartsSpace
from sparsenas.sparse_coding import LarsSolver


@pytest.fixture(scope="module")
def config():
    return yaml.safe_load(shipped_configs()["search_two_stage_ista_nas_official"].read_text())


@pytest.fixture(scope="module")
def model(config):
    assert config["model"]["class_path"] == "TwoStageSearch"
    return config["model"]["init_args"]


def test_network_and_space(model):
    norms = {"affine": False, "track": False, "append": "pools"}
    assert model["network"] == {"channels": 16, "cells": 8, "stem": "cifar", "norms": norms}
    assert model["space"] == {
        "class_path": "DartsSpace",
        "init_args": {"nodes": 4, "inputs_per_node": 2, "distinct_edges": False},
    }
    assert DartsSpace().primitives == DARTS_PRIMITIVES
    assert [len(block) for block in DartsSpace().blocks] == 2 * [14, 21, 28, 35]


@pytest.mark.slow
def test_skips_are_bare_and_pools_normalised(model):
    network = SuperNet(
        DartsSpace(), (3, 32, 32), 10, channels=2, cells=3, norms=NormOptions(**model["network"]["norms"])
    )
    operations = network.cells[0].operations
    assert operations["0_2_skip_connect"].is_identity
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in operations["0_2_max_pool_3x3"].modules())
    norms = [m for m in network.cells.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all(m.weight is None and m.running_mean is None for m in norms)


def test_recovery(model):
    recovery = model["recovery"]
    solver = recovery.pop("solver")
    assert solver == {"class_path": "LarsSolver", "init_args": {"lam": 1e-5, "relative": False, "refit": False}}
    assert recovery == {
        "dictionary": "uniform",
        "compressed_size": 7,
        "initial_std": 1e-3,
        "every_n_steps": None,
    }


def test_the_initial_code_is_that_of_the_official_problem():
    space = DartsSpace(distinct_edges=False)
    options = SparseRecovery(LarsSolver(lam=1e-5), "uniform", 7, initial_std=1e-3, every_n_steps=None)
    architecture = CompressedArchitecture(space, options, torch.Generator().manual_seed(2))
    A = architecture.dictionary
    assert A.shape == (8, 7, 35)
    assert 0 <= A.min() <= A.max() < 1
    assert A[3].mean() == pytest.approx(0.5, abs=0.06)
    assert not A[0][:, 14:].any()
    assert architecture.b.std().item() == pytest.approx(1e-3, rel=0.3)
    # the two largest entries of the dense code, wherever they lie, unchanged
    largest = architecture.dense_code.abs().topk(2, dim=1).indices.sort(1).values
    assert torch.equal(architecture.indices, largest)
    assert torch.equal(architecture.code.gather(1, largest), architecture.dense_code.gather(1, largest))


def test_steps(model):
    assert model["signal"] == {"class_path": "SupportGradient", "init_args": {"every": 1}}
    assert model["sampling"] == {"class_path": "RecoveredSampling"}
    assert model["training"]["gradient_clip"] == 5.0
    assert model["training"]["optimizer"] == {
        "class_path": "torch.optim.SGD",
        "init_args": {"lr": 0.1, "momentum": 0.9, "weight_decay": 3e-4},
    }
    assert model["architecture"] == {  # its schedule is constant by default
        "warmup_epochs": 0,
        "optimizer": {
            "class_path": "torch.optim.Adam",
            "init_args": {"lr": 6e-4, "betas": [0.5, 0.999], "weight_decay": 1e-3},
        },
    }
    assert ArchitectureTraining().schedule == Schedule("constant")


def test_rate_falls_by_a_cosine_from_a_tenth_to_a_thousandth(model, config):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    other = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = Schedule(**model["training"]["schedule"]).scheduler(optimizer, config["trainer"]["max_epochs"])
    official = torch.optim.lr_scheduler.CosineAnnealingLR(other, 50, eta_min=0.001)
    for _ in range(50):
        assert schedule.get_last_lr() == pytest.approx(official.get_last_lr(), rel=1e-9)
        for part in (optimizer, other, schedule, official):
            part.step()
    assert schedule.get_last_lr() == pytest.approx([0.001])


def test_data_and_length(config):
    assert config["seed_everything"] == config["model"]["init_args"]["seed"] == 2
    assert config["data"]["class_path"] == "Cifar10"
    data = config["data"]["init_args"]
    assert (data["batch_size"], data["arch_fraction"], data["augmentation"]["cutout"]) == (256, 0.5, 0)
    assert "crop_padding" not in data["augmentation"]  # by default an eighth of the side, 4 pixels, and mirroring
    assert "flip" not in data["augmentation"]
    assert config["trainer"]["max_epochs"] == 50
