"""From plain settings to data, model and trainer, by the machinery of the command line."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from jsonargparse import Namespace
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI

# Imported so that settings can name their classes without the path
import sparsenas.callbacks
import sparsenas.data
import sparsenas.search
import sparsenas.spaces
import sparsenas.sparse_coding
import sparsenas.training  # noqa: F401 - see above
from sparsenas.api.choices import MeasureLayers, decide
from sparsenas.api.messages import user_errors
from sparsenas.api.refusals import check_max_time, check_trainer, check_workers
from sparsenas.api.values import check_values
from sparsenas.callbacks import EventGuard, PartsFile, RegularCheckpoint, RunReport, SettingsFile, WholeRunCheckpoints
from sparsenas.data import ImageData
from sparsenas.imports import TRUST, trust
from sparsenas.parser import SettingsParser
from sparsenas.trainer import place_checkpoints

#: Text of the option of :class:`~sparsenas.callbacks.RegularCheckpoint`.
SAVE_EVERY = "write a checkpoint within an epoch so often, from which the run can go on; 0 for the ends of epochs only"
#: Texts of the options in few words.
WISHES = {
    "max_params": "most parameters of the network",
    "max_macs": "most multiply-accumulates of the network, for one image",
    "max_latency_ms": "most milliseconds of the network, for one image, by a latency table or layers measured now",
    "minutes": "time for everything, test included",
}
#: Text of the option that makes a run choose.
CHOOSE = "choose a length and MACs that the config leaves open, by the images and the speed of this device"
#: Text of the option that names a run.
NAME = "name of the run's folder, in place of version_N; NAME_1 and so on where it is taken"
#: Settings in the config of a run that only commands have.
OF_COMMANDS = ("plan", "ckpt_path", "weights_only", "verbose")
#: Model settings that come from the data.
FROM_DATA = ("image_shape", "num_classes")


class Assembly(LightningCLI):
    """Lightning's command line, with the shape of the images handed from the data to the model.

    Args:
        args: Command and options, or settings as in a config.
        data: The images; ``None`` if the settings say what they are.
        trainer_defaults: Options of the trainer under those given.
        run: True if the first argument is a command to run; if not, everything is built, and nothing runs.

    Attributes:
        model: The model.
        datamodule: The data.
        trainer: The trainer.
    """

    def __init__(
        self,
        args: ArgsType,
        data: ImageData | None = None,
        trainer_defaults: Mapping[str, Any] | None = None,
        run: bool = True,
    ) -> None:
        self._given = data
        defaults = dict(trainer_defaults or {})
        defaults["callbacks"] = [*defaults.get("callbacks", ()), EventGuard(), PartsFile(), WholeRunCheckpoints()]
        super().__init__(
            LightningModule,
            LightningDataModule if data is None else None,
            subclass_mode_model=True,
            subclass_mode_data=True,
            # the modules own their optimizers: a searcher has two
            auto_configure_optimizers=False,
            save_config_callback=SettingsFile,
            # two runs may write into one folder when the user names its version
            save_config_kwargs={"overwrite": True, "save_to_log_dir": False},
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
        for name, text in WISHES.items():
            parser.add_argument(f"--{name}", metavar="N", type=float | None, default=None, help=text)
        parser.add_argument("--choose", type=bool, default=False, help=CHOOSE)
        parser.add_argument("--name", metavar="NAME", type=str | None, help=NAME)
        parser.add_argument("--trust", metavar="MODULE", nargs="*", type=str, default=[], help=TRUST)
        for name in FROM_DATA if self._given is None else ():
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
        check_values(self._asked_for, linked=FROM_DATA)
        lines = decide(self._asked_for, self._given, self.subcommand in (None, "fit"), self.measuring)
        super().instantiate_classes()
        for line in lines if self.trainer.is_global_zero else ():
            print(f"chosen        {line}")

    @property
    def measuring(self) -> MeasureLayers | None:
        """Function that measures layers before the run, for a limit of milliseconds; ``None`` if it has no place."""
        return None

    def instantiate_trainer(self, **options: Any) -> Trainer:
        """Make the trainer, if its options can work.

        Args:
            options: Options of the trainer that replace those of the settings.

        Raises:
            ConfigError: If one cannot; Lightning would end in an error that names no option.
        """
        regular = RegularCheckpoint(self._asked_for["save_every_minutes"])
        check_workers(self.datamodule)
        check_max_time(self._get(self.config_init, "trainer.max_time", default=None))
        trainer = super().instantiate_trainer(**options)
        check_trainer(trainer, self.model, self.subcommand, getattr(self.datamodule, "multilabel", False))
        place_checkpoints(trainer)
        # the report comes last: it shows what the others have written
        trainer.callbacks += [regular, RunReport()]  # type: ignore[attr-defined]  # set there, not declared
        return trainer

    @property
    def _asked_for(self) -> Namespace:
        """Settings of the command."""
        settings: Namespace = self.config if self.subcommand is None else self.config[self.subcommand]
        return settings


def assemble(settings: Mapping[str, Any], data: ImageData | None = None) -> Assembly:
    """Build model, data and trainer of settings as in a config; nothing runs.

    Args:
        settings: ``model``, ``data``, ``trainer`` and ``seed_everything``.
        data: The data, in place of those of the settings.

    Raises:
        SparseNASError: If a setting is wrong; the message names it.
    """
    options = deepcopy(dict(settings))  # the parser puts objects of its own into nested lists
    for name in OF_COMMANDS:
        options.pop(name, None)
    if data is not None:
        options.pop("data", None)
        options["model"]["init_args"] |= {"image_shape": list(data.image_shape), "num_classes": data.num_classes}
    with user_errors():
        assembly = Assembly(options, data, run=False)
    if data is not None:
        assembly.datamodule = data
    return assembly
