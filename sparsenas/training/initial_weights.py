"""Weights that a training begins with: those of an export, or of a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sparsenas.checkpoints import load
from sparsenas.errors import CheckpointError, ConfigError, GenotypeError
from sparsenas.export import load as load_export
from sparsenas.export import read_manifest
from sparsenas.networks import DerivedNet, NetworkConfig, NormOptions
from sparsenas.spaces import Genotype, read_genotype

#: Parameters that belong to the classes.
_CLASSIFIER = "classifier."


@dataclass(frozen=True)
class InitialWeights:
    """A trained network.

    Attributes:
        where: Its file or folder.
        genotype: Its architecture.
        network: Its size.
        state: Its parameters and buffers by name.
    """

    where: str
    genotype: Genotype
    network: NetworkConfig
    state: Mapping[str, Tensor]

    def put_into(self, network: DerivedNet) -> bool:
        """Give a network of the same architecture and size these weights.

        The auxiliary classifier keeps new weights, and so does the classifier where the number of classes differs.

        Returns:
            True if the classifier was taken over, too.

        Raises:
            ConfigError: If other shapes differ.
        """
        own = network.state_dict()
        given = dict(self.state)
        same = all(given[name].shape == own[name].shape for name in own if name.startswith(_CLASSIFIER))
        if not same:
            given = {name: tensor for name, tensor in given.items() if not name.startswith(_CLASSIFIER)}
        for name, tensor in given.items():
            if name not in own or own[name].shape != tensor.shape:
                found = tuple(own[name].shape) if name in own else "no such tensor"
                raise ConfigError(
                    f"init_weights: {name} of {self.where} has shape {tuple(tensor.shape)}, and this network {found}: "
                    "images need as many channels as those that it was trained on"
                )
        network.load_state_dict(own | given)
        return same


def read_initial_weights(path: str) -> InitialWeights:
    """Read the folder of an export, or a checkpoint of a training or a tournament.

    Raises:
        ConfigError: If it is neither, or batch-norms were folded into convolutions.
        CheckpointError: If the checkpoint is missing or damaged.
        ExportError: If the export is not intact.
    """
    place = Path(path).expanduser()
    if not place.is_dir():
        return _of_checkpoint(path, load(place))
    manifest = read_manifest(place)
    blueprint = manifest.blueprint
    if blueprint.fused:
        raise ConfigError(
            f"init_weights: {path} was exported with --fuse, and has no batch-norms to train with: export it without"
        )
    size = NetworkConfig(blueprint.channels, blueprint.cells or None, blueprint.stem, blueprint.norms)
    return InitialWeights(path, blueprint.genotype, size, load_export(place).state_dict())


def size_of(network: DerivedNet) -> dict[str, Any]:
    """Describe the size of a network by plain values, for a checkpoint."""
    size = network.size
    return {
        "channels": size["channels"],
        "cells": size["cells"],
        "stem": size["stem"],
        "norms": dict(vars(network.norms)),
    }


def _of_checkpoint(path: str, content: Any) -> InitialWeights:
    try:
        size = content["network_size"]
        genotype = read_genotype(content["hyper_parameters"]["genotype"])
        network = NetworkConfig(size["channels"], size["cells"], size["stem"], NormOptions(**size["norms"]))
        prefix = "network."
        state = {
            name.removeprefix(prefix): tensor
            for name, tensor in content["state_dict"].items()
            if name.startswith(prefix) and not name.startswith(f"{prefix}auxiliary.")
        }
    except (TypeError, KeyError, AttributeError, GenotypeError) as error:
        raise CheckpointError(
            f"init_weights: {path} does not say of which network it is; export it, and give the folder of the export"
        ) from error
    return InitialWeights(path, genotype, network, state)
