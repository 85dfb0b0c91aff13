"""Search and train from Python: the functions behind ``sparsenas.search`` and ``sparsenas.train``."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from time import perf_counter
from typing import Any

import yaml
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from sparsenas.api.choices import TRAINING
from sparsenas.api.image_settings import Images, data_settings
from sparsenas.api.messages import user_errors
from sparsenas.api.run_names import check_name, free_name, next_version
from sparsenas.api.settings import Assembly, assemble
from sparsenas.api.shipped import find_config
from sparsenas.api.sizing import epochs_within
from sparsenas.api.terminal import calm_terminal
from sparsenas.api.trained import TrainedNetwork
from sparsenas.checkpoints import load
from sparsenas.data import ImageData
from sparsenas.errors import ConfigError
from sparsenas.search import TournamentSearch
from sparsenas.spaces import Genotype
from sparsenas.training import TrainingModule


def search(
    data: Images,
    *,
    max_params: float | None = None,
    max_macs: float | None = None,
    minutes: float | None = None,
    seed: int = 0,
    folder: str | PathLike[str] = "lightning_logs",
    name: str | None = None,
    config: str = "photos",
) -> TrainedNetwork:
    """Find a network for images, and train it.

    Args:
        data: A folder with a folder of images per class, an ``.npz`` archive, ``"digits"``, a data module of
            :mod:`sparsenas.data`, or ``(images, labels)``: uint8 arrays ``(N, H, W)`` or ``(N, H, W, C)``, and labels
            ``(N,)`` from 0 on.
        max_params: Most parameters.
        max_macs: Most multiply-accumulates of one image.
        minutes: Time for everything, test included; ``None`` takes the length that the config has.
        seed: Seeds the search, the network, and the order of the images.
        folder: Folder in which the run gets a folder of its own.
        name: Name of that folder, in place of ``version_N``; ``name_1`` and so on where it is taken.
        config: Config file, or name of a shipped one, that says everything else; its model is a ``TournamentSearch``.

    Returns:
        The trained network: ``print`` it, ``predict``, ``export``.

    Raises:
        SparseNASError: If an option or the images are wrong; the message says what would be right.
    """
    start = perf_counter()
    run = _Run(data, config, seed, folder, name, minutes)
    if run.model["class_path"].rpartition(".")[2] != TournamentSearch.__name__:
        raise ConfigError(f"config {config}: its model is {run.model['class_path']}; name one of TournamentSearch")
    if minutes is not None:
        run.settings["minutes"] = minutes
    model = run.model["init_args"]
    limits = {"max_params": max_params, "max_macs": max_macs}
    if any(limit is not None for limit in limits.values()):
        # limits of the config are of another size; its rules for primitives stay
        run.settings |= dict.fromkeys([*limits, "max_latency_ms"])
        model["budget"] = {**model.get("budget", {}), **limits, "max_latency_ms": None, "latency_table": None}
    return run.fit(run.assemble(), start)


def train(
    genotype: Genotype | str | PathLike[str],
    data: Images,
    *,
    minutes: float | None = None,
    seed: int = 0,
    folder: str | PathLike[str] = "lightning_logs",
    name: str | None = None,
    config: str = "train_digits",
) -> TrainedNetwork:
    """Train the network of a genotype.

    Args:
        genotype: A genotype, a file written by a search, or a published name such as ``"darts_v2"``.
        data: See :func:`search`.
        minutes: Time for everything, about; ``None`` takes the epochs of the config.
        seed: Seeds the network and the order of the images.
        folder: Folder in which the run gets a folder of its own.
        name: Name of that folder, in place of ``version_N``; ``name_1`` and so on where it is taken.
        config: Config file, or name of a shipped one, that says everything else.

    Returns:
        The trained network: ``print`` it, ``predict``, ``export``.

    Raises:
        SparseNASError: If an option or the images are wrong; the message says what would be right.
    """
    start = perf_counter()
    run = _Run(data, config, seed, folder, name, minutes)
    text = genotype.to_json() if isinstance(genotype, Genotype) else str(genotype)
    run.model["init_args"]["genotype"] = text
    return run.fit(run.assemble(), start)


class _Run:
    """Settings of a run in a folder of its own.

    Args:
        data: Images in any form.
        config: Config of all other settings.
        seed: Replaces all seeds.
        folder: Parent of the run's folder.
        name: Name of the run's folder.
        minutes: Time for everything.

    Attributes:
        settings: All settings, to be changed.
        model: Those of the model.
    """

    def __init__(
        self,
        data: Images,
        config: str,
        seed: int,
        folder: str | PathLike[str],
        name: str | None,
        minutes: float | None,
    ) -> None:
        if minutes is not None and not minutes > 0:
            raise ConfigError(f"minutes is {minutes}; use a positive number, or None for the epochs of the config")
        self.minutes = minutes
        parent = Path(folder)
        if name is not None:
            check_name("name", name)
        self.folder = parent / (next_version(parent) if name is None else free_name(parent, name))
        self.settings: dict[str, Any] = yaml.safe_load(Path(find_config(config)).read_text(encoding="utf-8"))
        self.settings["seed_everything"] = seed
        self.model = self.settings["model"]
        self.model["init_args"]["seed"] = seed
        self._given = data if isinstance(data, ImageData) else None
        if not isinstance(data, ImageData):
            self.settings["data"] = data_settings(data, self.folder, seed)
        logger = {"save_dir": str(parent.parent), "name": parent.name, "default_hp_metric": False}
        self.settings["trainer"]["log_every_n_steps"] = 1
        self.settings["trainer"]["logger"] = {
            "class_path": "TensorBoardLogger",
            "init_args": {**logger, "version": self.folder.name},
        }

    def assemble(self, instead: Mapping[str, Any] | None = None) -> Assembly:
        """Build model, data and trainer.

        Args:
            instead: Options of the model that replace those of the settings.
        """
        options = {**self.model["init_args"], **(instead or {})}
        settings = {**self.settings, "model": {**self.model, "init_args": options}}
        seeding = logging.getLogger("lightning_fabric.utilities.seed")
        before = seeding.level
        seeding.setLevel(logging.WARNING)  # it would say the seed for every assembly
        try:
            with calm_terminal():
                return assemble(settings, self._given)
        finally:
            seeding.setLevel(before)

    def fit(self, assembly: Assembly, start: float) -> TrainedNetwork:
        """Search where there is something to find, then train and test.

        Args:
            assembly: Model, data and trainer.
            start: Time at which the minutes began.
        """
        model, data = assembly.model, assembly.datamodule
        with calm_terminal(), user_errors():
            trainer = assembly.trainer
            if self.minutes is not None and isinstance(model, TrainingModule):
                left = 60 * self.minutes - (perf_counter() - start)
                if model.weight_training.by_epochs:
                    trainer = assembly.instantiate_trainer(max_epochs=epochs_within(model, data, left))
                else:
                    seconds = max(TRAINING * left, 1.0)
                    model.weight_training = replace(model.weight_training, steps=None, seconds=seconds, clock="wall")
                    trainer = assembly.instantiate_trainer(max_epochs=-1)
            trainer.fit(model, datamodule=data)
            metrics = dict(trainer.callback_metrics)
            if data.has("test"):
                trainer.test(model, data, verbose=False)
                metrics |= trainer.callback_metrics
        return _trained(model, data, trainer, self.folder, metrics)


def _trained(
    model: LightningModule, data: ImageData, trainer: Trainer, folder: Path, metrics: Mapping[str, Tensor]
) -> TrainedNetwork:
    assert isinstance(model, TrainingModule)
    accuracy, precision = (
        {part: float(metrics[f"{part}/{name}"]) for part in ("val", "test") if f"{part}/{name}" in metrics}
        for name in ("acc", "map")
    )
    model.eval().cpu()
    checkpoint = written_after(folder, trainer.global_step)
    return TrainedNetwork(model, model.deployable(), data, folder, checkpoint, accuracy, precision)


def written_after(folder: Path, step: int) -> Path | None:
    """Find the checkpoint of a run that was written after so many steps, in which its last weights are."""
    for path in sorted((folder / "checkpoints").rglob("*.ckpt")):
        if load(path)["global_step"] == step:
            return path
    return None
