"""Choices of a run by its images and this device, where its settings leave them open."""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pydoc import locate

import torch
from jsonargparse import Namespace
from pytorch_lightning import LightningDataModule
from pytorch_lightning.cli import instantiate_module

from sparsenas.api.probe import probe
from sparsenas.data import ImageData
from sparsenas.data.pixel_sizes import fitting_side
from sparsenas.errors import BudgetError, ConfigError
from sparsenas.limits import Limits
from sparsenas.networks import DerivedNet, NetworkConfig, NormOptions
from sparsenas.spaces import REFERENCES
from sparsenas.training import TrainingModule, WeightTraining

#: Measures layers for images ``(C, H, W)``; gives the file of their times, and a line about them.
MeasureLayers = Callable[[tuple[int, int, int]], tuple[str, str]]
#: Minutes of a run to which none are given.
MINUTES = 4.0
#: Share of the minutes for search and training; the rest is for files, the last validation and the test.
TRAINING = 0.94
#: Share of search and training in which the network that is found surely trains.
LEAST_TRAINING = 0.5
#: The reference by whose speed MACs are chosen, and the MACs at which it is timed.
TIMED, TIMED_MACS = "vgg_like", 4e6
#: Where the first process leaves the speed for those that it starts.
_SPEED = "SPARSENAS_SPEED"
#: Fewest and most MACs that are chosen.
FEWEST, MOST = 1e6, 1e8


@dataclass(frozen=True)
class Wishes:
    """Wishes of a user in few words.

    Attributes:
        max_params: Most parameters.
        max_macs: Most MACs of one image.
        max_latency_ms: Most milliseconds of one image, by the latency table of the budget.
        minutes: Time for everything, test included.

    Raises:
        ConfigError: If a number is not positive.
    """

    max_params: float | None = None
    max_macs: float | None = None
    max_latency_ms: float | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, value in vars(self).items():
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"{name} is {value}; use a positive number, or leave it out")

    @property
    def limits(self) -> dict[str, float]:
        """Limits of the budget that are given."""
        return {name: value for name, value in vars(self).items() if value is not None and name != "minutes"}


def views(images: int) -> float:
    """Say how many training images, augmented anew each time, a network should see at least.

    About 90 epochs of 200 images, 40 of 500, 20 of 8,000, and 13 of 50,000.

    Args:
        images: Number of training images.
    """
    return max(20_000 * math.pow(max(images, 1) / 500, 0.75), 18_000.0)


def decide(settings: Namespace, data: ImageData | None, fits: bool, measure: MeasureLayers | None = None) -> list[str]:
    """Fill in what is asked for in few words and what is left open, so that the settings say all of it.

    Args:
        settings: Settings of a command; they change.
        data: The images, if the settings do not say what they are.
        fits: True for a fit.
        measure: Measures times of layers on this device, if a limit of milliseconds lacks them; ``None`` if it cannot.

    Returns:
        What was chosen and why, a line each.

    Raises:
        ConfigError: If the model has no option for what is asked for, or the command does not train.
        DataError: If the images cannot be read.
    """
    wishes = Wishes(**{field.name: settings[field.name] for field in fields(Wishes)})
    given = [name for name, value in vars(wishes).items() if value is not None]
    if given and not fits:
        raise ConfigError(f"{given[0]}: is an option of fit; leave it out")
    if given and settings.get("ckpt_path") is not None:
        raise ConfigError(f"{given[0]}: a run that goes on keeps its limits and its length; leave it out")
    measures = measure is not None and wishes.max_latency_ms is not None and _lacks_times(settings)
    grant(settings, wishes, measures)
    for name in vars(wishes):
        settings[name] = None
    chooses = fits and settings["choose"] and settings.get("ckpt_path") is None
    settings["choose"] = False
    sizes = data is None and (settings.data.get("init_args") or {}).get("size") == "auto"
    if not chooses and not sizes and not measures:
        return []
    if data is None:
        plain = settings.data.as_dict()
        options = {"_class_path": plain["class_path"], **(plain.get("init_args") or {})}
        made = instantiate_module(LightningDataModule, options)
        made.prepare_data()
        if not isinstance(made, ImageData):
            raise ConfigError(f"choose: needs images of sparsenas.data, not {plain['class_path']}; set it to false")
        data = made
    lines = list(choose(settings, data)) if chooses else []
    channels, height, width = data.image_shape
    if sizes:
        side, why = fitting_side(data.source.pixel_sizes(), macs_of(settings) if chooses else None)
        settings.data.init_args.size = height = width = side
        lines.insert(0, f"images of {side}x{side} pixels: {why}")
    if measures and measure is not None:
        settings.model.init_args["budget.latency_table"], line = measure((channels, height, width))
        lines.append(line)
    return lines


def macs_of(settings: Namespace) -> float | None:
    """Return the most MACs of a model, if its budget says."""
    macs: float | None = settings.model.init_args.get("budget.max_macs")
    return macs


def grant(settings: Namespace, wishes: Wishes, measures: bool = False) -> None:
    """Put what a user asks for in few words where the model has it.

    Args:
        settings: Settings of a command; ``model`` changes.
        wishes: What is asked for.
        measures: True if a table for a limit of milliseconds will be measured.

    Raises:
        ConfigError: If the model has no such option.
    """
    model, given = settings.model.init_args, wishes.limits
    name = settings.model.class_path.rpartition(".")[2]
    if given and "budget" not in model:
        raise ConfigError(f"{next(iter(given))}: {name} has no budget; leave it out")
    for limit, value in given.items():
        model[f"budget.{limit}"] = value
    if wishes.max_latency_ms is not None and model["budget.latency_table"] is None and not measures:
        raise ConfigError(
            f"max_latency_ms is {wishes.max_latency_ms:g}, but how fast this device is has not been measured: type "
            "python -m sparsenas latency --config NAME --data PHOTOS --to times.json, and add "
            "--model.budget.latency_table times.json"
        )
    if wishes.minutes is None:
        return
    if not _has_length(settings):
        raise ConfigError(
            f"minutes is {wishes.minutes:g}, but the schedules of {name} go over epochs: leave it out, and set "
            "trainer.max_epochs"
        )
    if model.get("training.schedule.warmup_epochs"):
        raise ConfigError(
            f"minutes is {wishes.minutes:g}, but training.schedule.warmup_epochs counts epochs: set it to 0, and "
            "training.schedule.warmup_share"
        )
    model["training.seconds"], model["training.steps"] = 60 * TRAINING * wishes.minutes, None
    model["training.clock"] = "wall"
    settings.trainer.max_epochs = -1


def choose(settings: Namespace, data: ImageData) -> Iterator[str]:
    """Choose what is open: the length of the run, and the MACs of the network.

    The length is open if ``training`` has neither seconds nor steps. MACs are open if nothing limits what a step takes:
    neither MACs, milliseconds, nor a width. They follow from how fast this device trains, so that the network sees its
    images often enough in the time that there is, see :func:`views`.

    Args:
        settings: Settings of a fit; ``model`` changes.
        data: The images.

    Yields:
        What was chosen and why, a line each.
    """
    model = settings.model.init_args
    images = len(data.parts.split.weights)
    if not _has_length(settings) or "budget" not in model:
        return
    if model["training.seconds"] is None and model["training.steps"] is None:
        grant(settings, Wishes(minutes=MINUTES))
        yield f"{MINUTES:g} minutes for search, training and test; --minutes takes others"
    budget, seconds = model.budget, model["training.seconds"]
    limited = (budget.max_macs, budget.max_latency_ms, model.network.channels) != (None, None, None)
    if seconds is None or limited:
        return
    rate = _agreed_speed(data, device_of(settings))
    often = views(images)
    share = LEAST_TRAINING if "tournament" in model else 1.0
    macs = min(max(rate * share * seconds / often, FEWEST), MOST)
    budget.max_macs = float(f"{macs:.1e}")
    epochs = rate * share * seconds / budget.max_macs / images
    yield (
        f"at most {budget.max_macs / 1e6:g} M MACs: this device trains {rate / 1e9:.2g} G MACs a second, so that "
        f"what is found sees each of {images} images {epochs:.0f} times or more"
    )
    if budget.max_params is None:
        yield "any number of parameters, as MACs are what takes time; --max_params limits them"


def speed(data: ImageData, device: torch.device) -> float:
    """Measure how many MACs of a network's forward pass a second of training holds, backward pass and step included."""
    shape, classes = data.image_shape, data.num_classes
    genotype = REFERENCES[TIMED].genotype
    limits = Limits(max_macs=TIMED_MACS)
    try:
        channels = limits.fill(genotype, shape, classes)
    except BudgetError:  # of large images
        channels = 2
    config = NetworkConfig(channels=channels, cells=None)
    cost, _ = limits.cost(genotype, shape, classes, config)
    network = DerivedNet(genotype, shape, classes, **config.arguments(NormOptions()))
    batch = torch.zeros(data.batch_size, *shape)
    return cost.macs * len(batch) / probe(network, WeightTraining(), batch, classes, device).seconds


def _agreed_speed(data: ImageData, device: torch.device) -> float:
    """Let the first process measure; those that it starts find what it measured in their environment.

    Raises:
        ConfigError: If processes were started together by another program.
    """
    if int(os.environ.get("LOCAL_RANK", 0)) > 0 and _SPEED in os.environ:
        return float(os.environ[_SPEED])
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ConfigError(
            "choose: processes that were started together would each measure another speed: set model.budget.max_macs "
            "and model.training.seconds"
        )
    found = speed(data, device)
    os.environ[_SPEED] = repr(found)
    return found


def device_of(settings: Namespace) -> torch.device:
    """Name the device on which a trainer of these settings runs."""
    accelerator = str(settings.trainer.accelerator)
    if accelerator in ("auto", "gpu", "cuda", "mps") and torch.accelerator.is_available():
        return torch.device(torch.accelerator.current_accelerator() or "cpu")
    return torch.device("cpu")


def _lacks_times(settings: Namespace) -> bool:
    """Say if the model fills a budget of milliseconds by times of layers, and has no table of them."""
    model = settings.model.init_args
    return "budget" in model and model["budget.latency_table"] is None and _has_length(settings)


def _has_length(settings: Namespace) -> bool:
    """Say if a training of the model may have a length in seconds."""
    found = locate(settings.model.class_path)
    return isinstance(found, type) and issubclass(found, TrainingModule)
