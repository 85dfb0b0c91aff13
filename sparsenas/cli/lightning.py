"""The commands that need a trainer: ``fit``, ``validate``, ``test``, ``predict``."""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.cli import ArgsType, LightningArgumentParser

from sparsenas.api.checkpoint import check_images
from sparsenas.api.choices import MeasureLayers
from sparsenas.api.messages import user_errors
from sparsenas.api.outline import outline
from sparsenas.api.renamed import dropped_measuring
from sparsenas.api.settings import FROM_DATA, Assembly
from sparsenas.api.shipped import resolve_configs
from sparsenas.api.terminal import calm_terminal
from sparsenas.callbacks.predictions import PredictionWriter
from sparsenas.callbacks.run_report import RunReport
from sparsenas.cli.folders import check_writable
from sparsenas.cli.interruption import Interruption
from sparsenas.cli.latency_first import measure_before_run
from sparsenas.cli.outcome import ONE_RUN, cost, following, summary, table
from sparsenas.cli.processes import is_first
from sparsenas.cli.resume import check_model, differences, read_settings
from sparsenas.cli.run_folder import RunFolder, choose_folder, keep_config, number_folder
from sparsenas.data import ImageData
from sparsenas.errors import ConfigError
from sparsenas.imports import only_trusted, trust
from sparsenas.texts import note, readable
from sparsenas.trainer import callbacks_of, is_dry_run

#: What `fit` runs when it is told neither a config nor a model.
DEFAULT_CONFIG = "quickstart"
#: Options that name a run of the user's own, or ask a question.
_OWN_RUN = {"--config", "-c", "--model", "--model.class_path", "--data", "--data.class_path", "--help", "-h"}

#: Options whose value is a genotype.
_GENOTYPES = {"--model.genotype", "--model.init_args.genotype"}


def run(command: str, args: Sequence[str]) -> int:
    """Run a command of the trainer.

    Args:
        command: ``"fit"``, ``"validate"``, ``"test"`` or ``"predict"``.
        args: Its arguments. Configs may be given by the name of a shipped one.

    Returns:
        Exit code: 0, or that of the signal by which the run was stopped.

    Raises:
        SparseNASError: If the user is to change something.
    """
    for arg in args:
        if not arg.isascii() and arg.encode("utf-8", "replace") != arg.encode("utf-8", "surrogateescape"):
            raise ConfigError(f"{readable(arg)}: holds bytes that are no UTF-8, which no config can keep; rename it")
    _refuse_misplaced(args)
    options = [arg.partition("=")[0] for arg in args]
    if command == "fit" and not any(option in _OWN_RUN or option.endswith(".help") for option in options):
        args = ["--config", DEFAULT_CONFIG, *args]
    interruption, args = Interruption(), resolve_configs(_without_all(args))
    _refuse_comparisons(command, args)
    with calm_terminal(), user_errors():
        try:
            CommandLine([command, *_as_texts(args)], [interruption])
        except SystemExit:
            if interruption.code is None:
                raise
            if interruption.advice:
                print(interruption.advice, file=sys.stderr)
            return interruption.code
    return 0


def _without_all(args: Sequence[str]) -> list[str]:
    """The arguments with ``--help all`` as the parser knows it."""
    return [arg for before, arg in pairwise(["", *args]) if (before, arg) not in (("--help", "all"), ("-h", "all"))]


def _refuse_misplaced(args: Sequence[str]) -> None:
    """Refuse images where a class is expected, and options of a class that a config after them names.

    Raises:
        ConfigError: Naming the first.
    """
    options = [arg.partition("=")[0] for arg in args]
    config = next((number for number, option in enumerate(options) if option in ("--config", "-c")), 0)
    for number, (option, arg, after) in enumerate(zip(options, args, [*args[1:], ""], strict=True)):
        value = arg.partition("=")[2] or after
        if option == "--data" and Path(value).suffix not in (".yaml", ".yml", ".json") and Path(value).exists():
            kind = "NpzImages" if value.endswith(".npz") else "ImageFolder"
            raise ConfigError(f"--data {value}: is a path, and not a class: use --data {kind} --data.path {value}")
        if number < config and option.startswith(("--data.", "--model.")) and not option.endswith(".help"):
            raise ConfigError(f"{option} stands before --config, which names its class: put --config first")


def _refuse_comparisons(command: str, args: Sequence[str]) -> None:
    """Refuse configs of another command: the parser would complain of an option of the model they lack.

    Raises:
        ConfigError: Naming the config.
    """
    for before, arg in pairwise(["", *args]):
        path = arg if before in ("--config", "-c") else arg.removeprefix("--config=") if "--config=" in arg else None
        try:
            settings = None if path is None else yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError, yaml.YAMLError):
            continue  # the parser says what is wrong
        if isinstance(settings, Mapping) and {"competitors", "searchers"} & settings.keys():
            name = Path(str(path)).stem
            raise ConfigError(f"--config {name}: is a config of the command compare, not of {command}")


def _as_texts(args: Sequence[str]) -> list[str]:
    """The arguments, with texts of genotypes kept from the parser, which would make dictionaries and lists of them."""
    kept: list[str] = []
    for arg in args:
        option, sign, value = ("", "", arg) if kept and kept[-1] in _GENOTYPES else arg.partition("=")
        if option in {"", *_GENOTYPES} and set("{[:") & set(value):
            value = f"`{value}`"  # no YAML begins so, and who reads genotypes takes quotes off
        kept.append(option + sign + value)
    return kept


class CommandLine(Assembly):
    """The commands of the trainer: what was asked for is checked before the work, and told after it.

    Args:
        args: Command and arguments.
        callbacks: Callbacks that every run has.

    Attributes:
        metrics: Last values of a fit by name, and those of the test that followed.
    """

    def __init__(self, args: Sequence[str], callbacks: Sequence[Callback]) -> None:
        self._settings: dict[str, Any] = {}
        self._asked: dict[str, Any] = {}
        self._folder, self._named = RunFolder(None, None), RunFolder(None, None)
        self._options: list[str] = []
        self._predictions = PredictionWriter()
        self.metrics: dict[str, Any] = {}
        super().__init__(list(args), trainer_defaults={"callbacks": [*callbacks, self._predictions]})

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, and read the settings of the checkpoint before Lightning lays them over those asked for."""
        self.config = parser.parse_args(args)  # type: ignore[arg-type]
        trust(*self._command_config["trust"])
        command, path = self.config["subcommand"], self._command_config.get("ckpt_path")
        searcher = str(self._command_config.get("model.class_path")).rpartition(".")[2]
        self._options = [str(arg) for arg in args] if isinstance(args, list) else []
        for option in (text.partition("=")[0] for text in self._options):
            if option.removeprefix("--model.").removeprefix("init_args.") in FROM_DATA:
                raise ConfigError(f"{option}: is known from the data; leave it out")
        for option, given in (("--plan", self._command_config["plan"]), ("--name", "--name" in self._options)):
            if given and command != "fit":
                raise ConfigError(f"{option}: is an option of fit; leave it out")
        dropped = dropped_measuring(searcher, list(args or ()))
        if dropped is not None:
            raise ConfigError(dropped)
        if path is not None:
            self._asked = self._model_settings()
            self._settings = read_settings(path, command == "fit", self._asked)
            check_model(path, self._settings, self._asked)
        elif command != "fit":
            raise ConfigError(f"{command} needs a trained network: give its checkpoint by --ckpt_path FILE")

    def _parse_ckpt_path(self) -> None:
        """Lay the settings of the checkpoint over those asked for, as Lightning does; they import nothing else."""
        with only_trusted(self.config.as_dict()):
            super()._parse_ckpt_path()

    def before_instantiate_classes(self) -> None:
        """Choose the folder; say which settings the checkpoint overrides; run no code in checkpoints."""
        command, trainer = self.config["subcommand"], self._command_config["trainer"]
        self._named = RunFolder(trainer["logger"], trainer["default_root_dir"])
        self._folder = choose_folder(command, self._options, self._command_config)
        trainer["logger"], trainer["default_root_dir"] = self._folder.logger, self._folder.root
        if command != "fit" and self._folder.going_on is not None:
            self.save_config_callback = None  # the settings there are those of the fit
        path = self._command_config.get("ckpt_path")
        if path is None:
            return
        data, shape = self._command_config["data"], self._settings.get("image_shape")
        if (data.get("init_args") or {}).get("size") == "auto" and shape is not None:
            data.init_args.size = shape[1]  # whatever photos there are by now
        if command == "fit":
            self._lengthen()
        kept = differences(self._asked, self._model_settings())
        if kept and is_first():
            lines = "\n  ".join(kept)
            note(f"settings of the checkpoint {path} are used:\n  {lines}")
        if self._command_config.get("weights_only") is None:
            self._command_config["weights_only"] = True

    def _lengthen(self) -> None:
        """Let the length of a training that the command line gives win over the one of the checkpoint."""
        for option in (text.partition("=")[0].replace(".init_args.", ".") for text in self._options):
            unit = option.removeprefix("--model.training.")
            if unit in ("seconds", "steps") and option != unit:
                training = self._command_config["model"]["init_args"]["training"]
                training["seconds"] = training["steps"] = None
                training[unit] = self._asked["init_args"]["training"][unit]

    @property
    def measuring(self) -> MeasureLayers | None:
        """See :class:`Assembly`: a fit keeps the times in its folder; a plan or a dry run has none."""
        command, settings = self.config["subcommand"], self._command_config
        if command != "fit" or settings["plan"] or settings["trainer"]["fast_dev_run"]:
            return None
        return self._measure

    def _measure(self, image_shape: tuple[int, int, int]) -> tuple[str, str]:
        """Measure layers, and keep their times in the folder of the run."""
        folder, self._folder = number_folder(self._folder)
        trainer = self._command_config["trainer"]
        trainer["logger"], trainer["default_root_dir"] = self._folder.logger, self._folder.root
        return measure_before_run(image_shape, folder)

    def instantiate_trainer(self, **options: Any) -> Trainer:
        """Make the trainer; the settings that it writes name no folder, so that they can be run again."""
        trainer = self._command_config["trainer"]
        trainer["logger"], trainer["default_root_dir"] = self._named.logger, self._named.root
        return super().instantiate_trainer(**options)

    def after_instantiate_classes(self) -> None:
        """Find out now, not after an epoch, that a checkpoint does not fit or a folder cannot be written."""
        if self._settings:
            check_images(f"--ckpt_path {self._command_config['ckpt_path']}", self._settings, self.datamodule)
        self._command_config["ckpt_path"] = self._command_config["weights_only"] = None  # not of what the run keeps
        if self._command_config["plan"]:
            return
        check_writable(self.trainer)
        if self.save_config_callback is not None and self._folder.going_on is not None and self.trainer.is_global_zero:
            keep_config(self._folder.going_on, self._text())
        if self.config["subcommand"] == "fit":
            for report in callbacks_of(self.trainer, RunReport):
                report.told = partial(following, self.trainer, self.model, self._command_config)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add options that only a command has."""
        super().add_arguments_to_parser(parser)
        parser.add_argument("--plan", action="store_true", help="say what a fit would take, and stop")

    def before_fit(self) -> None:
        """Stop before the fit if only its plan is wanted."""
        if self._command_config["plan"]:
            if not isinstance(self.datamodule, ImageData):
                raise ConfigError("--plan: needs images of sparsenas.data; leave it out")
            self.datamodule.setup("fit")
            print(table(outline(self.model, self.datamodule, self.trainer)))
            raise SystemExit(0)

    def after_fit(self) -> None:
        """End with what was found, where it is, and what to do next; a finished network is tested first."""
        self.metrics = dict(self.trainer.callback_metrics)
        finished = isinstance(self.model, ONE_RUN) and self.model.finished
        try:
            if finished and isinstance(self.datamodule, ImageData) and self.datamodule.has("test"):
                for tested in self.trainer.test(self.model, self.datamodule, verbose=False):
                    self.metrics |= tested
        finally:
            if self.trainer.is_global_zero:
                print(summary(self.trainer, self.model, self._command_config, self.metrics))

    def after_test(self) -> None:
        """Beside the accuracy, say what the network costs."""
        if self.trainer.is_global_zero:
            print(table([("network", cost(self.model)), ("input", "x".join(map(str, self.datamodule.image_shape)))]))

    def after_predict(self) -> None:
        """Say where the predictions are."""
        path = self._predictions.path(self.trainer)  # in every process, which ask one another
        if self.trainer.is_global_zero and not is_dry_run(self.trainer):
            print(table([("predictions", path)]))

    @property
    def _command_config(self) -> Any:
        return self.config[self.config["subcommand"]]

    def _text(self) -> str:
        """Settings of the command as Lightning writes them."""
        text: str = self._parser(self.subcommand).dump(self._command_config, skip_none=False)
        return text

    def _model_settings(self) -> dict[str, Any]:
        """Settings of the model as nested plain values."""
        text = self.parser.dump(self.config, skip_link_targets=False, skip_none=False, format="yaml")
        settings: dict[str, Any] = yaml.safe_load(text)[self.config["subcommand"]]["model"]
        return settings
