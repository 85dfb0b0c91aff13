"""The plan of a ranking of predictors: networks whose accuracies are known, predictors, sizes, seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsenas.comparison.build import build_space, build_table
from sparsenas.comparison.checks import check_mapping, check_name, check_number, check_whole, digest_of, read_settings
from sparsenas.comparison.plan import PlannedRun, read_training
from sparsenas.comparison.predictors.known_networks import (
    KnownNetworks,
    networks_of_table,
    networks_with_scores,
)
from sparsenas.comparison.predictors.network_file import networks_of_file
from sparsenas.errors import ConfigError
from sparsenas.predictors import SUITE, make_predictor
from sparsenas.tables import read_published_scores


@dataclass(frozen=True)
class PredictorPlan:
    """A ranking of predictors.

    Attributes:
        name: Name of its config.
        settings: Plain settings of every run: ``networks``, ``sizes``, ``test``, ``limit_seconds``.
        runs: A predictor with a seed each; predictors in the order of the config.
    """

    name: str
    settings: Mapping[str, Any]
    runs: tuple[PlannedRun, ...]

    @property
    def predictors(self) -> tuple[str, ...]:
        """Names in the order of the config."""
        return tuple(dict.fromkeys(run.searcher for run in self.runs))

    def check(self, names: Sequence[str] | None = None) -> None:
        """Find out what cannot work: a missing table, too few networks, info that nobody knows.

        Args:
            names: Predictors that are to be judged; all by default.

        Raises:
            SparseNASError: Naming it.
        """
        networks = read_networks(self.settings["networks"])
        networks.split(max(self.settings["sizes"]), self.settings["test"], 0)
        for name in self.predictors if names is None else names:
            predictor = make_predictor(name, networks.encoding)
            if missing := sorted(predictor.requires - networks.known):
                raise ConfigError(
                    f"predictors: {name} needs {', '.join(missing)}, of which these networks know nothing; they have "
                    f"{', '.join(sorted(networks.known))}: leave it out, or give curves by early"
                )


def read_networks(settings: Mapping[str, Any]) -> KnownNetworks:
    """Read the networks of a plan.

    Args:
        settings: ``table`` and ``accuracy``, perhaps ``published_scores``; or ``curves``, perhaps
            ``space``; and ``early``.

    Raises:
        SparseNASError: If a file is missing or damaged, or does not hold what is asked for.
    """
    early = settings["early"]
    if "curves" in settings:
        space = (build_space(settings["space"]),) if "space" in settings else ()
        return networks_of_file(settings["curves"], early, *space)
    table, training = build_table(settings["table"]), read_training(settings["accuracy"], "accuracy")
    networks = networks_of_table(table, training, early)
    if "published_scores" in settings:
        return networks_with_scores(networks, read_published_scores(settings["published_scores"]))
    return networks


def read_predictor_plan(path: str | Path) -> PredictorPlan:
    """Read the config of a ranking of predictors; read no table.

    Raises:
        ConfigError: Naming the entry that is missing, unknown, or of the wrong kind.
    """
    where = str(path)
    needed = ("sizes", "test", "seeds", "predictors")
    sources = ("table", "accuracy", "published_scores", "curves", "space")
    optional = (*sources, "early", "limit_seconds", "first_seed", "executor")
    config = check_mapping(read_settings(path), where, needed, optional)
    if ("curves" in config) == ("table" in config) or ("table" in config) != ("accuracy" in config):
        raise ConfigError(f"{where}: give table and accuracy, or curves: networks whose accuracies are known")
    if "space" in config and "table" in config:
        raise ConfigError(f"{where}: a table has its own space; leave space out")
    if "curves" in config and "published_scores" in config:
        raise ConfigError(f"{where}: published_scores are of a table, not of curves; leave them out")
    for name in ("curves", "published_scores"):
        if not isinstance(config.get(name, ""), str):
            raise ConfigError(f"{where}: {name} is {config[name]!r}; it must be text")
    networks = {name: config[name] for name in sources if name in config}
    for name in ("table", "space"):
        if isinstance(networks.get(name), str):
            networks[name] = {"class_path": networks[name]}
    if "accuracy" in networks:
        read_training(networks["accuracy"], f"{where}: accuracy")
    networks["early"] = _ascending(config.get("early", []), f"{where}: early")
    settings = {
        "networks": networks,
        "sizes": _ascending(config["sizes"], f"{where}: sizes"),
        "test": check_whole(config["test"], f"{where}: test", least=2),
        "limit_seconds": check_number(config.get("limit_seconds", 120), f"{where}: limit_seconds"),
    }
    if not settings["sizes"]:
        raise ConfigError(f"{where}: sizes: empty; name numbers of networks to learn from")
    names = config["predictors"]
    if not isinstance(names, list) or not names or len(set(map(str, names))) < len(names):
        raise ConfigError(f"{where}: predictors must be a list of names, each once; known are {', '.join(SUITE)}")
    for name in names:
        check_name(str(name), f"{where}: predictors")
        if name not in SUITE:
            raise ConfigError(f"{where}: predictors: no {name}; known are {', '.join(SUITE)}")
    first = check_whole(config.get("first_seed", 0), f"{where}: first_seed", least=0)
    digest, seeds = digest_of(settings), check_whole(config["seeds"], f"{where}: seeds")
    runs = (PlannedRun(name, seed, settings, digest) for name in names for seed in range(first, first + seeds))
    return PredictorPlan(Path(path).stem, settings, tuple(runs))


def _ascending(values: Any, where: str) -> list[int]:
    if not isinstance(values, list):
        raise ConfigError(f"{where} must be a list of ascending whole numbers")
    found = [check_whole(value, where) for value in values]
    if found != sorted(set(found)):
        raise ConfigError(f"{where} is {found}; name ascending whole numbers, each once")
    return found
