"""The plan of a comparison: searchers, seeds, caps, and the network of the published accuracies."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from sparsenas.comparison.build import build_run, build_table
from sparsenas.complexity import CandidateCosts, candidate_costs
from sparsenas.errors import ConfigError
from sparsenas.networks import NormOptions, SuperNet
from sparsenas.spaces import SearchSpace
from sparsenas.tables import BenchmarkTable, Training

#: Defaults of a run's trainer: the result of a run is its record, nothing else.
QUIET_TRAINER = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
#: Sections of a run, and of ``common``.
SECTIONS = ("model", "data", "trainer")


@dataclass(frozen=True)
class PublishedNetwork:
    """The size of the network whose accuracies a table holds; caps limit its parameters."""

    image_shape: tuple[int, int, int]
    num_classes: int
    channels: int
    cells: int

    def costs(self, space: SearchSpace) -> CandidateCosts:
        """Return the cost of every candidate in this network."""
        norms = NormOptions(affine=True, track=True, append="none")
        network = SuperNet(space, self.image_shape, self.num_classes, self.channels, self.cells, norms=norms)
        return candidate_costs(network)


@dataclass(frozen=True)
class PlannedRun:
    """A searcher with a seed.

    Attributes:
        searcher: Name of its entry.
        seed: Seed of the network, the search and the data.
        settings: ``model``, ``data``, ``trainer`` with the seed in them; ``caps``, ``published``.
        digest: Hash of all settings but the seed; a finished run counts only for the same settings.
    """

    searcher: str
    seed: int
    settings: Mapping[str, Any]
    digest: str

    def __str__(self) -> str:
        """Return the name in messages and of files."""
        return f"{self.searcher}-{self.seed}"


@dataclass(frozen=True)
class Plan:
    """A comparison.

    Attributes:
        name: Name of its config.
        budget_seconds: Most seconds of a run.
        caps: Most parameters of the published network; None for no cap.
        published: That network.
        training: Accuracies of the table that judge.
        also: Further accuracies, of which percentiles are given.
        table: Settings of the table.
        runs: All runs; searchers in the order of the config.
    """

    name: str
    budget_seconds: float
    caps: tuple[float | None, ...]
    published: PublishedNetwork
    training: Training
    also: tuple[Training, ...]
    table: Mapping[str, Any]
    runs: tuple[PlannedRun, ...]

    @property
    def searchers(self) -> tuple[str, ...]:
        """Names in the order of the config."""
        return tuple(dict.fromkeys(run.searcher for run in self.runs))

    @cached_property
    def space(self) -> SearchSpace:
        """The space of all searchers.

        Raises:
            ConfigError: If they search different ones.
            SparseNASError: If a searcher cannot be built.
        """
        spaces = {}
        for run in self.runs:
            if run.searcher not in spaces:
                search, _, _ = build_run(run.settings)
                if search.budget.needs_costs:
                    raise ConfigError(
                        f"searchers.{run.searcher}: has max_params or max_macs of its own, at the size of its "
                        "super-net; leave them out, caps are limits of the published network"
                    )
                spaces[run.searcher] = search.space
        (first, space), *others = spaces.items()
        for name, other in others:
            if other.name != space.name:
                raise ConfigError(
                    f"searchers.{name} searches the space {other.name!r}, but searchers.{first} {space.name!r}; "
                    "compare searchers of one space"
                )
        return space

    def read_table(self) -> BenchmarkTable:
        """Read the table and check it against the plan; look up no accuracy.

        Raises:
            TableError: If its file is missing, damaged, or of another benchmark.
            ConfigError: If it is of another space, or has no such accuracy.
        """
        table = build_table(self.table)
        if table.space.name != self.space.name:
            raise ConfigError(
                f"table: {table} is of the space {table.space.name!r}, but the searchers search {self.space.name!r}"
            )
        for name, training in [("accuracy", self.training), *(("also", training) for training in self.also)]:
            if training not in table.trainings:
                known = ", ".join(map(str, table.trainings))
                raise ConfigError(f"{name}: {table} has no {training} (dataset/split/epochs); it has {known}")
        return table


def read_plan(path: str | Path) -> Plan:
    """Read the config of a comparison; build nothing.

    Raises:
        ConfigError: Naming the entry that is missing, unknown, or of the wrong kind.
    """
    try:
        config = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not a readable YAML file ({' '.join(str(error).split())})") from error
    where = str(path)
    needed = ("budget_seconds", "caps", "table", "accuracy", "published", "searchers")
    config = _mapping(config, where, needed, ("common", "first_seed", "also"))
    first = config.get("first_seed", 0)
    if isinstance(first, bool) or not isinstance(first, int) or first < 0:
        raise ConfigError(f"{where}: first_seed is {first!r}; use a whole number from 0 on")
    budget = _number(config["budget_seconds"], f"{where}: budget_seconds")
    caps = _caps(config["caps"], f"{where}: caps")
    network = _mapping(config["published"], f"{where}: published", ("image_shape", "num_classes", "channels", "cells"))
    also = config.get("also", [])
    if not isinstance(also, list):
        raise ConfigError(f"{where}: also must be a list of entries like that of accuracy")
    common = _mapping(config.get("common", {}), f"{where}: common", (), SECTIONS)
    searchers = _mapping(config["searchers"], f"{where}: searchers", (), None)
    if not searchers:
        raise ConfigError(f"{where}: searchers: empty; name at least one")
    shape = network["image_shape"]
    if not (isinstance(shape, list) and len(shape) == 3):
        raise ConfigError(f"{where}: published.image_shape is {shape!r}; give [channels, height, width]")
    whole = {name: _whole(network[name], f"{where}: published.{name}") for name in ("num_classes", "channels", "cells")}
    sizes = [_whole(size, f"{where}: published.image_shape") for size in shape]
    published = PublishedNetwork((sizes[0], sizes[1], sizes[2]), **whole)
    judged = {"caps": list(caps), "published": network}
    runs: list[PlannedRun] = []
    for name, entry in searchers.items():
        runs += _runs(str(name), f"{where}: searchers.{name}", entry, common, budget, judged, first)
    return Plan(
        name=Path(path).stem,
        budget_seconds=budget,
        caps=caps,
        published=published,
        training=_training(config["accuracy"], f"{where}: accuracy"),
        also=tuple(_training(entry, f"{where}: also") for entry in also),
        table=config["table"] if isinstance(config["table"], Mapping) else {"class_path": str(config["table"])},
        runs=tuple(runs),
    )


def _runs(
    name: str, where: str, entry: Any, common: Mapping[str, Any], budget: float, judged: Mapping[str, Any], first: int
) -> list[PlannedRun]:
    """Return the runs of one entry."""
    if not name or not all(letter.isalnum() or letter in "_-." for letter in name):
        raise ConfigError(f"{where}: names are of letters, digits, '_', '-' and '.': files are named after them")
    entry = _mapping(entry, where, ("seeds", "max_epochs"), SECTIONS)
    seeds = _whole(entry["seeds"], f"{where}.seeds")
    model = _component(common.get("model"), entry.get("model"), f"{where}.model")
    data = _component(common.get("data"), entry.get("data"), f"{where}.data")
    trainer = {
        **QUIET_TRAINER,
        **_mapping(common.get("trainer") or {}, "common.trainer", (), None),
        **_mapping(entry.get("trainer") or {}, f"{where}.trainer", (), None),
        "max_epochs": _whole(entry["max_epochs"], f"{where}.max_epochs", least=0),
        "max_time": {"seconds": int(budget), "milliseconds": round(budget % 1 * 1000)},
    }
    settings = {"model": model, "data": data, "trainer": trainer, **judged}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    return [
        PlannedRun(name, seed, {**settings, "model": _seeded(model, seed), "data": _seeded(data, seed)}, digest)
        for seed in range(first, first + seeds)
    ]


def _training(entry: Any, where: str) -> Training:
    entry = _mapping(entry, where, ("dataset", "split", "epochs"))
    return Training(str(entry["dataset"]), str(entry["split"]), _whole(entry["epochs"], f"{where}.epochs"))


def _component(common: Any, own: Any, where: str) -> dict[str, Any]:
    """Return a class and its options: those of the entry over those of ``common``."""
    parts = [
        _mapping({"class_path": part} if isinstance(part, str) else part or {}, where, (), ("class_path", "init_args"))
        for part in (common, own)
    ]
    names = [part["class_path"] for part in parts if "class_path" in part]
    if not names:
        raise ConfigError(f"{where}: class_path is missing; name a class")
    options = [_mapping(part.get("init_args") or {}, f"{where}.init_args", (), None) for part in parts]
    return {"class_path": names[-1], "init_args": _merged(options[0], options[1])}


def _merged(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Put options over others; those of a dataclass one by one, a class with its options as a whole."""
    merged = dict(common)
    for name, value in own.items():
        before = merged.get(name)
        plain = isinstance(value, Mapping) and isinstance(before, Mapping) and "class_path" not in {*value, *before}
        merged[name] = _merged(before or {}, value) if plain else value
    return merged


def _seeded(component: Mapping[str, Any], seed: int) -> dict[str, Any]:
    return {**component, "init_args": {**component["init_args"], "seed": seed}}


def _mapping(
    value: Any, where: str, needed: tuple[str, ...], optional: tuple[str, ...] | None = ()
) -> Mapping[str, Any]:
    """Check that a mapping has all ``needed`` keys and no others than ``optional``; None allows any."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: must be a mapping of {', '.join((*needed, *(optional or ()))) or 'names'}")
    for key in needed:
        if key not in value:
            raise ConfigError(f"{where}: {key} is missing")
    for key in value:
        if optional is not None and key not in (*needed, *optional):
            raise ConfigError(f"{where}: unknown entry {key!r}; known are {', '.join((*needed, *optional))}")
    return value


def _caps(value: Any, where: str) -> tuple[float | None, ...]:
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{where}: must be a list, with null for no cap")
    caps = tuple(None if cap is None else _number(cap, where) for cap in value)
    if len(set(caps)) < len(caps):
        raise ConfigError(f"{where}: a cap occurs twice")
    return caps


def _number(value: Any, where: str) -> float:
    try:
        number = float(value)  # YAML reads 0.6e6 as text
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not 0 < number < math.inf:
        raise ConfigError(f"{where} is {value!r}; use a positive number")
    return number


def _whole(value: Any, where: str, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{where} is {value!r}; use a whole number from {least} on")
    return value
