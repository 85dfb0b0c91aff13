"""From plain settings to data, model and trainer, by the machinery of the command line."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI

# Imported so that settings can name their classes without the path
import sparsenas.callbacks
import sparsenas.data
import sparsenas.search
import sparsenas.spaces
import sparsenas.sparse_coding
import sparsenas.training  # noqa: F401 - see above
from sparsenas.api.messages import user_errors
from sparsenas.api.refusals import check_max_time, check_trainer, check_workers
from sparsenas.api.values import check_values
from sparsenas.callbacks import EventGuard, PartsFile, RegularCheckpoint, WholeRunCheckpoints
from sparsenas.data import ImageData
from sparsenas.imports import TRUST, trust
from sparsenas.parser import SettingsParser

#: Text of the option of :class:`~sparsenas.callbacks.RegularCheckpoint`.
SAVE_EVERY = "write a checkpoint within an epoch so often, from which the run can go on; 0 for the ends of epochs only"
#: Model settings that come from the data.
FROM_DATA = ("image_shape", "num_classes")


class Assembly(LightningCLI):
    """Lightning's command line, with the shape of the images handed from the data to the model.

    Args:
        args: Command and options, or settings as in a config.
        data: True if the settings say what the data are.
        trainer_defaults: Options of the trainer under those given.
        run: True if the first argument is a command to run; if not, everything is built, and nothing runs.

    Attributes:
        model: The model.
        datamodule: The data.
        trainer: The trainer.
    """

    def __init__(
        self, args: ArgsType, data: bool = True, trainer_defaults: Mapping[str, Any] | None = None, run: bool = True
    ) -> None:
        self._has_data = data
        defaults = dict(trainer_defaults or {})
        defaults["callbacks"] = [*defaults.get("callbacks", ()), EventGuard(), PartsFile(), WholeRunCheckpoints()]
        super().__init__(
            LightningModule,
            LightningDataModule if data else None,
            subclass_mode_model=True,
            subclass_mode_data=True,
            # the modules own their optimizers: a searcher has two
            auto_configure_optimizers=False,
            # two runs may write into one folder when the user names its version
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            parser_class=SettingsParser,
            trainer_defaults=defaults,
            # abbreviated options would hide typing errors; errors are reported by the caller
            parser_kwargs={"prog": "python -m sparsenas", "exit_on_error": False, "allow_abbrev": False},
            args=args,
            run=run,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link what the data knows to what the model needs."""
        parser.add_argument("--save_every_minutes", metavar="M", type=float, default=10.0, help=SAVE_EVERY)
        parser.add_argument("--trust", metavar="MODULE", nargs="*", type=str, default=[], help=TRUST)
        for name in FROM_DATA if self._has_data else ():
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse; without Lightning's warning of arguments of the process, which are those of a notebook or script."""
        if isinstance(args, dict):
            self.config = parser.parse_object(args)
        else:
            self.config = parser.parse_args(args)  # type: ignore[arg-type]  # Lightning's type of args is wider
        trust(*self.config["trust"])

    def instantiate_classes(self) -> None:
        """Make data, model and trainer, if the values of the settings are any.

        Raises:
            ConfigError: If one is not.
        """
        check_values(self.config if self.subcommand is None else self.config[self.subcommand], linked=FROM_DATA)
        super().instantiate_classes()

    def instantiate_trainer(self, **options: Any) -> Trainer:
        """Make the trainer, if its options can work.

        Args:
            options: Options of the trainer that replace those of the settings.

        Raises:
            ConfigError: If one cannot; Lightning would end in an error that names no option.
        """
        settings = self.config if self.subcommand is None else self.config[self.subcommand]
        regular = RegularCheckpoint(settings["save_every_minutes"])
        check_workers(self.datamodule)
        check_max_time(self._get(self.config_init, "trainer.max_time", default=None))
        trainer = super().instantiate_trainer(**options)
        check_trainer(trainer, self.model, self.subcommand)
        trainer.callbacks.append(regular)  # type: ignore[attr-defined]  # set there, not declared
        return trainer


def assemble(settings: Mapping[str, Any], data: ImageData | None = None) -> Assembly:
    """Build model, data and trainer of settings as in a config; nothing runs.

    Args:
        settings: ``model``, ``data``, ``trainer`` and ``seed_everything``.
        data: The data, in place of those of the settings.

    Raises:
        SparseNASError: If a setting is wrong; the message names it.
    """
    options = deepcopy(dict(settings))  # the parser puts objects of its own into nested lists
    if data is not None:
        options.pop("data", None)
        options["model"]["init_args"] |= {"image_shape": list(data.image_shape), "num_classes": data.num_classes}
    with user_errors():
        assembly = Assembly(options, data is None, run=False)
    if data is not None:
        assembly.datamodule = data
    return assembly
