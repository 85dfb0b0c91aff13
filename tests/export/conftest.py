"""A tiny network as if trained, and an export of it."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

from sparsenas.cli import main
from sparsenas.export import Accuracy, Description, Preparation, export_network
from sparsenas.networks import DerivedNet, NormOptions
from sparsenas.spaces import DartsSpace

CLASSES = ("ant", "bee", "cat")


@pytest.fixture
def make_network():
    """A network whose batch-norms have statistics, gammas of both signs and betas."""

    def make(genotype_seed=0, image_shape=(1, 8, 8), channels=4, cells=3, stem="small", norms=None, space=None):
        generator = torch.Generator().manual_seed(1)
        genotype = (space or DartsSpace(nodes=2)).sample(np.random.default_rng(genotype_seed))
        torch.manual_seed(0)
        network = DerivedNet(genotype, image_shape, len(CLASSES), channels, cells, stem, norms=norms or NormOptions())
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d) and module.affine:
                for tensor in (module.weight.data, module.bias.data, module.running_mean):
                    tensor.copy_(torch.randn(tensor.shape, generator=generator))
        return network.to(memory_format=torch.channels_last).eval()

    return make


@pytest.fixture
def network(make_network):
    return make_network()


@pytest.fixture
def images():
    """More than two batches of the comparison, the last one smaller."""
    return torch.randn(150, 1, 8, 8, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def description():
    preparation = Preparation((1, 8, 8), mean=(0.5,), std=(0.25,))
    return Description(preparation, CLASSES, {"val": Accuracy(0.75, 8), "test": None})


@pytest.fixture
def write(network, images, description, tmp_path):
    """Export the network; without torch.export, unless asked for, as that takes seconds."""

    def run(folder=None, net=network, reference=None, **options):
        folder = tmp_path / "export" if folder is None else folder
        options = {"formats": ("safetensors",)} | options
        return export_network(net, reference or network, images, description, folder, **options)

    return run


@pytest.fixture
def exported(write, tmp_path):
    """Folder of an export."""
    write()
    return tmp_path / "export"


@pytest.fixture(scope="session")
def digits_export(checkpoint, tmp_path_factory):
    """Folder of an export of the tiny training on the digits."""
    folder = tmp_path_factory.mktemp("exported") / "digits"
    assert main(["export", str(checkpoint), "--to", str(folder), "--formats", "safetensors"]) == 0
    return folder


@pytest.fixture
def run_error(capsys):
    """Run a command that must fail as an error of the user; gives its message."""

    def run(*args):
        assert main(list(map(str, args))) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        errors = [line for line in captured.err.splitlines() if line.startswith("sparsenas: error: ")]
        assert captured.err.splitlines()[-1:] == errors
        return errors[0].removeprefix("sparsenas: error: ")

    return run


@pytest.fixture
def digits(tmp_path):
    """Image files of the first digits."""
    files = []
    for number, image in enumerate(load_digits().images[:5]):
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(np.rint(image * 255 / 16).astype(np.uint8)).save(files[-1])
    return files
