"""A comparison of seconds on the digits."""

import pytest
import torch
import yaml

#: Recipe, space and budget that let a network learn the digits within seconds.
SETTINGS = {
    "seconds": 2,
    "seeds": 1,
    "budget": {"max_params": 6000, "max_macs": 2.0e5},
    "data": {"class_path": "Digits", "init_args": {"batch_size": 64}},
    "space": {
        "class_path": "StageSpace",
        "init_args": {"stages": 2, "layers": 2, "types": ["conv_3x3", "residual_3x3"], "growths": [1.0, 2.0]},
    },
    "training": {
        "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1, "momentum": 0.9}},
        "schedule": {"warmup_share": 0.05},
        "gradient_clip": 0.0,
    },
    "competitors": {"resnet8": {"reference": "resnet8"}, "random": {"random": {}}},
}


@pytest.fixture
def contest():
    """Settings of a small comparison, to be changed."""
    return yaml.safe_load(yaml.safe_dump(SETTINGS))


@pytest.fixture
def one_thread():
    """As in the process of a run, where processor seconds are those of one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
