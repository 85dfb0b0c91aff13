"""A network of timm as a competitor: others have designed it, and perhaps trained it on other images before."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, cast
from zipfile import ZipFile, is_zipfile

import pytorch_lightning as pl
import torch
from pytorch_lightning.cli import OptimizerCallable
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsenas.comparison.checks import check_number
from sparsenas.comparison.images.common import Common
from sparsenas.comparison.images.competitors import Competitor, Decision
from sparsenas.complexity import Complexity, describe
from sparsenas.errors import BudgetError, ConfigError
from sparsenas.reading import shorten
from sparsenas.training import NetworkTraining

#: Letters of a reason that another package gives.
REASON = 160


@dataclass(frozen=True)
class TimmNetwork(Competitor):
    """A network of timm in its own size, trained by the recipe of all, from scratch or from a file of weights.

    Nothing is downloaded. The recipe's drop-path and auxiliary classifier are for cells, and do not apply.

    Attributes:
        model: Its name in timm.
        pretrained: File of its weights in timm's form, ``.safetensors`` or of torch. Its classifier begins anew if
            there are other classes than it has outputs.
        sha256: Hash of this file; a run refuses another file.
        lr_factor: Factor of the learning rate of the recipe, which is one for new weights: trained ones want a smaller.

    Raises:
        ConfigError: If an option is wrong.

    Source: Wightman, PyTorch Image Models (2019).
    """

    model: str
    pretrained: str | None = None
    sha256: str | None = None
    lr_factor: float = 1.0

    def __post_init__(self) -> None:
        """Check the options."""
        for name, value in (("model", self.model), ("pretrained", self.pretrained), ("sha256", self.sha256)):
            if not isinstance(value, str) and (name == "model" or value is not None):
                raise ConfigError(f"{name} is {value!r}, which is no text")
        object.__setattr__(self, "lr_factor", check_number(self.lr_factor, "lr_factor"))  # YAML reads 1e-1 as text

    @property
    def plain(self) -> dict[str, Any]:
        """Options with the hash of the file.

        Raises:
            ConfigError: If the file cannot be read, or another hash is given.
        """
        return {**asdict(self), "sha256": None if self.pretrained is None else self._hash(self.pretrained)}

    def load(self) -> None:
        """See :meth:`Competitor.load`."""
        load_timm()

    def decide(self, common: Common) -> Decision:
        """See :meth:`Competitor.decide`."""
        limits, data = common.limits, common.data
        if limits.max_latency_ms is not None:
            raise ConfigError(
                f"budget.max_latency_ms: a latency table knows layers of ours only, not those of {self.model} of timm: "
                "limit max_params or max_macs, or leave it out"
            )
        pl.seed_everything(common.seed, workers=True, verbose=False)
        network, cost = self._build(data.image_shape, data.num_classes)
        if not limits.allow(cost):
            raise BudgetError(
                f"budget: {self.model} of timm has one size: {limits.compared(cost, 0.0)}: raise the budget, or name a "
                "smaller one"
            )
        remark = "of timm"
        if self.pretrained is not None:
            network, kept = self._begin(self.pretrained, data.image_shape, data.num_classes)
            remark = f"of timm, began with the weights of {self.pretrained}{'' if kept else ', and a new classifier'}"
        recipe = replace(common.recipe, optimizer=partial(self._optimizer, common.recipe.optimizer))
        module = NetworkTraining(data.image_shape, data.num_classes, recipe, common.seed)
        # see TrainingModule.build
        module.network = network.to(memory_format=torch.channels_last)
        return Decision(None, remark, module=module)

    def _build(self, image_shape: tuple[int, int, int], num_classes: int) -> tuple[nn.Module, Complexity]:
        """Build the network with new weights, and let it classify a blank image.

        Raises:
            ConfigError: If there is none of this name, or it cannot take such images.
        """
        timm = load_timm()
        if not timm.is_model(self.model):
            close = difflib.get_close_matches(self.model, timm.list_models(), n=3)
            hint = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() names them"
            raise ConfigError(f"timm has no model {self.model!r}; {hint}")
        try:
            network = self._create(image_shape, num_classes)
            cost = describe(network, image_shape)
            with torch.no_grad():
                logits = network.eval()(torch.zeros(1, *image_shape))
            if tuple(logits.shape) != (1, num_classes):
                raise ValueError(f"it gives {tuple(logits.shape)}, not logits of {num_classes} classes")
        except Exception as error:  # networks of others may raise anything
            size = "x".join(map(str, image_shape))
            raise ConfigError(
                f"{self.model} of timm cannot classify images of {size}: {_reason(error)}; use larger images "
                "(data.size) or another network"
            ) from error
        return network.train(), cost

    def _create(self, image_shape: tuple[int, int, int], num_classes: int, **options: Any) -> nn.Module:
        """Call timm; a network of one image size is built for that of the data."""
        timm = load_timm()
        known = timm.get_pretrained_cfg(self.model)
        if known is not None and known.fixed_input_size:
            options["img_size"] = image_shape[1:]
        network = timm.create_model(self.model, in_chans=image_shape[0], num_classes=num_classes, **options)
        return cast(nn.Module, network)

    def _begin(self, path: str, image_shape: tuple[int, int, int], num_classes: int) -> tuple[nn.Module, bool]:
        """Build the network with the weights of a file; say if its classifier was taken over, too.

        timm adapts a first convolution of 3 channels to others, and positions to the size of the images. All else must
        be there, so it is built for the classes of the file first.

        Raises:
            ConfigError: If the file is not as planned, cannot be read, or is of another network.
        """
        if self.sha256 is not None:
            self._hash(path)
        state = _read(path)
        known = load_timm().get_pretrained_cfg(self.model)
        classes = _count_outputs(state, known.classifier if known else None, known.num_classes if known else 0)
        # the state is given, so that timm looks for no other weights
        given = {"state_dict": state, "num_classes": classes, "label_offset": 0}
        try:
            network: Any = self._create(image_shape, classes, pretrained=True, pretrained_cfg_overlay=given)
            network.pretrained_cfg.pop("state_dict", None)  # it would be kept, and copied with the network
            if classes != num_classes:
                network.reset_classifier(num_classes)
        except Exception as error:  # of the network, the file, or timm's conversion between them
            raise ConfigError(
                f"pretrained: {path} does not hold the weights of {self.model} of timm ({_reason(error)}); name the "
                "model that it was saved from"
            ) from error
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d) and module.num_batches_tracked is not None:
                module.num_batches_tracked.zero_()  # statistics of other images are young: the run replaces them
        return network, classes == num_classes

    def _optimizer(self, make: OptimizerCallable, parameters: Iterable[Any]) -> Optimizer:
        """Make the optimizer of the recipe, with another learning rate."""
        optimizer = make(parameters)
        for group in optimizer.param_groups:
            group["lr"] *= self.lr_factor
        return optimizer

    def _hash(self, path: str) -> str:
        """Compute the hash of the file.

        Raises:
            ConfigError: If it cannot be read, or is not that of the plan.
        """
        found = sha256(_bytes(path)).hexdigest()
        if self.sha256 not in (None, found):
            raise ConfigError(f"pretrained: {path} has the sha256 {found}, and {self.sha256} is asked for")
        return found


def load_timm() -> ModuleType:
    """Import timm.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise ConfigError(
            "networks of timm need the package, which is not installed: pip install 'sparsenas[timm]', or leave them "
            "out"
        ) from error
    module: ModuleType = timm
    return module


def _read(path: str) -> dict[str, Tensor]:
    """Read weights without running code in the file.

    Raises:
        ConfigError: If it holds none, or is damaged.
    """
    from timm.models import load_state_dict

    place = Path(path).expanduser()
    try:
        if is_zipfile(place):  # torch ignores the checksums of its archive
            with ZipFile(place) as archive:
                if archive.testzip() is not None:
                    raise ValueError("a checksum is wrong")
        state = load_state_dict(str(place))
        tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
        if not tensors:
            raise ValueError("no tensor by its name")
    except Exception as error:  # of a damaged or malicious pickle, anything
        raise ConfigError(
            f"pretrained: {path} is damaged, or no file of weights ({_reason(error)}); use a .safetensors file, or one "
            "of torch that holds tensors only"
        ) from error
    return tensors


def _bytes(path: str) -> bytes:
    place = Path(path).expanduser()
    if place.exists() and not place.is_file():  # to read a pipe would wait for ever
        raise ConfigError(f"pretrained: {path} is no file; name a file of weights")
    try:
        return place.read_bytes()
    except OSError as error:
        raise ConfigError(f"pretrained: {path} cannot be read ({error.strerror}); name a file of weights") from error


def _count_outputs(state: Mapping[str, Tensor], classifier: str | tuple[str, ...] | None, otherwise: int) -> int:
    """Count the classes that the weights of a file are for."""
    name = classifier if isinstance(classifier, str) else classifier[0] if classifier else ""
    weight = state.get(f"{name}.weight")
    return otherwise if weight is None else len(weight)


def _reason(error: Exception) -> str:
    return shorten(str(error) or type(error).__name__, REASON)
