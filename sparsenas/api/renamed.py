"""Names that options, classes and configs once had: whoever still uses one is told the new one."""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

#: Old options of a model by regular expression, and their new names; only what the parser refused is looked up.
_MODEL = {
    r"(channels|cells|stem|norms)": r"network.\1",
    r"(?:weight_)?optimizer": "training.optimizer",
    r"(?:weight_)?scheduler|train_decay|decay": "training.schedule",
    r"(gradient_clip|label_smoothing|drop_path|auxiliary_weight)": r"training.\1",
    r"path_dropout": "training.drop_path",
    r"arch_optimizer": "architecture.optimizer",
    r"arch_scheduler|arch_decay": "architecture.schedule",
    r"warmup_epochs": "architecture.warmup_epochs",
    r"(search_epochs|train_epochs|warm_start)": r"phases.\1",
    r"search_decay": "phases.search_schedule",
    r"(sampling|signal)": r"exploration.\1",
    r"reject_params": "recovery.reject_params",
    r"untrained": "paths.untrained",
    r"(?:(?:rules|recovery|budget)\.)?max_flops": "budget.max_macs",
    r"(?:(?:rules|recovery|budget)\.)?max_latency": "budget.max_latency_ms",
    r"(?:(?:rules|recovery|budget)\.)?latency": "budget.latency_table",
    r"(?:(?:rules|recovery)\.)?(max_params|max_per_cell|forbidden)": r"budget.\1",
    r"rules": "budget",
}
_OPTIONS = {"model": _MODEL, "data": {r"(crop_padding|padding_mode|flip|cutout)": r"augmentation.\1"}}
#: Searchers that once measured before they trained.
_MEASURED = ("OneStageSearch", "SinglePathSearch", "TournamentSearch")
#: What measures now.
_TOURNAMENT = "use the class TournamentSearch, with its options under tournament"
_CLASSES = {
    "ConfidenceReport": "ResultReport",
    "SupportRules": "Budget",
    "WarmupDecay": "Schedule, the options of training.schedule",
}
#: Classes of measuring, which tournaments have replaced, by their last names and those before.
_GONE = frozenset(
    {
        *("MeasuredSearch", "MeasuredSelection", "Measuring", "Decoding", "LassoRegression"),
        *("ZeroCost", "Untrained", "ShortTraining", "SharedWeights", "StepTime", "EffectiveCost", "LiveCost"),
    }
)
#: Shipped configs by the name they once had.
CONFIGS = {
    "search_images": "photos",
    "search_one_stage_digits": "photos",
    "search_measured_digits": "photos",
    "search_measured_cifar10_16px": "photos",
    "search_measured_nasbench201": "photos",
    "search_short_training_cifar10_16px": "photos",
    "search_one_stage_measured_cifar10_16px": "photos",
}
#: How jsonargparse refuses an option, and a class.
_REFUSED_OPTION = (
    r"Option '(?P<option>[^']+)' is not accepted|Group '(?P<group>[^']+)' does not accept option '(?P<member>[^']+)'"
    r"|unrecognized arguments: --(?P<argument>[\w.]+)"
)
_REFUSED_CLASS = r"(?:Expected a dot import path string: |has no attribute '|load config ['\"]|thus ')(?:\w+\.)*(\w+)"


def renamed(message: str, keys: str) -> str | None:
    """Name the new word for an old one; ``None`` if the parser has refused something else.

    Args:
        message: Message of jsonargparse.
        keys: Place of the option, e.g. ``"model.recovery"``.
    """
    for name in re.findall(_REFUSED_CLASS, message):
        if name in _CLASSES:
            return f"{keys}: {name} is now called {_CLASSES[name]}"
        if name in _GONE:
            return f"{keys}: {name} is gone; {_TOURNAMENT}"
    refused = re.search(_REFUSED_OPTION, message)
    if refused is None:
        return None
    found = ".".join(filter(None, (keys, *refused.group("option", "group", "member", "argument"))))
    part, _, path = found.replace(".init_args.", ".").partition(".")
    classes = re.findall(r"given class_path '(?:\w+\.)*(\w+)'", message)
    if part == "model" and path.partition(".")[0] == "measuring" and classes and classes[0] in _MEASURED:
        return moved_measuring(classes[0])
    for old, new in _OPTIONS.get(part, {}).items():
        match = re.match(rf"(?:{old})(?=\.|$)", path)
        # an option of an option that is known is not the old one of that name
        if match and not f"{keys}.".startswith(f"{part}.{match[0]}."):
            return f"{part}.{match[0]}: this option is now called {part}.{match.expand(new)}"
    return None


def moved_measuring(searcher: str) -> str:
    """Name what measures now, for a searcher that no longer does."""
    if searcher == "TournamentSearch":
        return "model.measuring: there are tournaments now, whose options are under model.tournament"
    return f"model.measuring: {searcher} measures no more; {_TOURNAMENT}"


def dropped_measuring(searcher: str, args: Sequence[str]) -> str | None:
    """The same for an empty ``measuring``, which jsonargparse drops without a word; ``None`` for others."""
    options = {arg.partition("=")[0] for arg in args} & {"--model.measuring", "--model.init_args.measuring"}
    given = options or any(_has_measuring(Path(arg.removeprefix("--config="))) for arg in args)
    return moved_measuring(searcher) if given and searcher in _MEASURED else None


def _has_measuring(config: Path) -> bool:
    try:
        return "measuring" in yaml.safe_load(config.read_text(encoding="utf-8"))["model"]["init_args"]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):  # not a config, or one without a model
        return False
