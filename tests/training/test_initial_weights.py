"""Trainings that begin with the weights of another one."""

import pytest
import torch

from sparsenas.errors import CheckpointError, ConfigError
from sparsenas.export import Description, Preparation, export_network
from sparsenas.limits import Limits
from sparsenas.networks import NetworkConfig
from sparsenas.training import StandAloneTraining, WeightTraining
from sparsenas.training.initial_weights import read_initial_weights, size_of

TRAINING = WeightTraining()
SHAPE = (3, 16, 16)


def made(num_classes=3, shape=SHAPE, **options):
    return StandAloneTraining(shape, num_classes, "resnet8", training=TRAINING, **options)


@pytest.fixture
def trained():
    module = made(network=NetworkConfig(channels=6, cells=None))
    with torch.no_grad():  # as no initialisation has them
        for number, tensor in enumerate(module.built.state_dict().values()):
            if tensor.is_floating_point():
                tensor.add_(0.01 * (number % 7))
    return module


@pytest.fixture
def export(trained, tmp_path):
    def write(fuse=False):
        folder = tmp_path / f"export_{fuse}"
        if folder.is_dir():
            return folder
        names = tuple("abc")
        preparation = Preparation(SHAPE, (0.0,) * 3, (1.0,) * 3)
        network = trained.deployable()
        images = torch.zeros(2, *SHAPE)
        export_network(
            network, network, images, Description(preparation, names), folder, formats=("safetensors",), fuse=fuse
        )
        return folder

    return write


def equal(one, other, but=()):
    own, given = one.built.state_dict(), other.built.state_dict()
    return [name for name in own if not torch.equal(own[name], given[name]) and not name.startswith(but)] == []


def test_an_export_is_taken_over_with_its_architecture_and_size(trained, export):
    # the options of another network do not count
    module = StandAloneTraining(
        SHAPE, 3, "vgg_like", NetworkConfig(channels=4, cells=None), TRAINING, init_weights=str(export())
    )
    assert module.genotype == trained.genotype
    assert equal(module, trained)


def test_other_classes_get_a_new_classifier(trained, export):
    module = made(num_classes=5, init_weights=str(export()))
    assert module.built.classifier.out_features == 5
    own, given = module.built.state_dict(), trained.built.state_dict()
    assert all(torch.equal(own[name], given[name]) for name in own if not name.startswith("classifier."))


def test_a_checkpoint_gives_the_same_as_the_export(trained, export, tmp_path):
    content = {
        "hyper_parameters": dict(trained.hparams),
        "state_dict": trained.state_dict(),
        "network_size": size_of(trained.built),
    }
    torch.save(content, tmp_path / "last.ckpt")
    module = made(init_weights=str(tmp_path / "last.ckpt"))
    assert equal(module, trained)
    assert equal(made(init_weights=str(export())), module)


def test_what_a_checkpoint_holds_needs_the_weights_no_more(export, tmp_path):
    folder = export()
    module = made(init_weights=str(folder))
    (folder / "model.safetensors").unlink()
    again = StandAloneTraining(
        **{**module.hparams, "network": NetworkConfig(channels=6, cells=None), "training": TRAINING, "budget": Limits()}
    )
    assert module.hparams["init_weights"] is None
    assert module.hparams["network"]["channels"] == 6
    assert again.genotype == module.genotype


def test_what_cannot_be_begun_with(export, tmp_path):
    with pytest.raises(ConfigError, match=r"has shape .* images need as many channels"):
        made(shape=(1, 16, 16), init_weights=str(export()))
    with pytest.raises(ConfigError, match="was exported with --fuse, and has no batch-norms"):
        made(init_weights=str(export(fuse=True)))
    with pytest.raises(CheckpointError, match="no such file"):
        read_initial_weights(str(tmp_path / "nowhere.ckpt"))
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(CheckpointError, match="does not say of which network it is; export it"):
        read_initial_weights(str(tmp_path / "foreign.ckpt"))
    with pytest.raises(ConfigError, match="allowed are 100 and any"):
        made(init_weights=str(export()), budget=Limits(max_params=100))
