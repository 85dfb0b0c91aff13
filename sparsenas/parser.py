"""The parser of settings: command line, configs, and dictionaries in Python."""

from enum import Enum
from functools import reduce
from operator import or_
from typing import Any, get_args

import torch
from pytorch_lightning.cli import LightningArgumentParser


class SettingsParser(LightningArgumentParser):
    """Lightning's parser, to which ``1`` is a whole number where ``1.0`` is a share, as in ``limit_train_batches``."""

    # jsonargparse has further positional arguments, which nothing here passes
    def parse_args(self, args: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Parse options, also ``null`` for a setting inside of a model, as in ``--model.network.cells null``.

        jsonargparse 4.53 gives such an option to the parser of the model as the one text ``--network.cells=None``.
        """
        if isinstance(args, list) and len(args) == 1 and str(args[0]).endswith("=None"):
            args = [args[0].removesuffix("None") + "null"]
        return super().parse_args(args, **kwargs)

    def add_argument(self, *args: Any, **kwargs: Any) -> Any:
        """Add an option; also called for those of nested classes."""
        action = super().add_argument(*args, **kwargs)
        kinds = get_args(getattr(action, "_typehint", None))
        # the first type that fits wins, and typing swaps `int | float` for an equal `float | int` that it saw before
        if int in kinds and float in kinds and kinds.index(float) < kinds.index(int):
            action._typehint = reduce(or_, [int, *(kind for kind in kinds if kind is not int)])
        if isinstance(action.default, str) and isinstance(action.default, Enum):
            action.default = str(action.default.value)  # Lightning's Timer has such a default, which no config can keep
        if isinstance(action.default, torch.device):
            action.default = str(action.default)  # likewise that of Lightning's StochasticWeightAveraging
        return action
