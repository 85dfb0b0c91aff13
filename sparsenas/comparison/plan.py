"""The plan of a comparison: searchers, seeds, caps, and the network of the published accuracies."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sparsenas.comparison.build import build_run, build_table
from sparsenas.comparison.checks import (
    check_mapping,
    check_name,
    check_number,
    check_whole,
    digest_of,
    merge_component,
    read_settings,
)
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
        settings: Plain settings of the run; by a table ``model``, ``data``, ``trainer`` with the seed in them, ``caps``
            and ``published``.
        digest: Hash of all settings but the seed; a finished run counts only for the same settings.
    """

    searcher: str
    seed: int
    settings: Mapping[str, Any]
    digest: str

    def __str__(self) -> str:
        """Return the name of files."""
        return f"{self.searcher}-{self.seed}"

    @property
    def title(self) -> str:
        """Return the name in messages."""
        return f"{self.searcher} with seed {self.seed}"


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
    config = read_settings(path)
    where = str(path)
    needed = ("budget_seconds", "caps", "table", "accuracy", "published", "searchers")
    config = check_mapping(config, where, needed, ("common", "first_seed", "also", "executor"))
    first = config.get("first_seed", 0)
    if isinstance(first, bool) or not isinstance(first, int) or first < 0:
        raise ConfigError(f"{where}: first_seed is {first!r}; use a whole number from 0 on")
    budget = check_number(config["budget_seconds"], f"{where}: budget_seconds")
    caps = _caps(config["caps"], f"{where}: caps")
    network = check_mapping(
        config["published"], f"{where}: published", ("image_shape", "num_classes", "channels", "cells")
    )
    also = config.get("also", [])
    if not isinstance(also, list):
        raise ConfigError(f"{where}: also must be a list of entries like that of accuracy")
    common = check_mapping(config.get("common", {}), f"{where}: common", (), SECTIONS)
    searchers = check_mapping(config["searchers"], f"{where}: searchers", (), None)
    if not searchers:
        raise ConfigError(f"{where}: searchers: empty; name at least one")
    shape = network["image_shape"]
    if not (isinstance(shape, list) and len(shape) == 3):
        raise ConfigError(f"{where}: published.image_shape is {shape!r}; give [channels, height, width]")
    whole = {
        name: check_whole(network[name], f"{where}: published.{name}") for name in ("num_classes", "channels", "cells")
    }
    sizes = [check_whole(size, f"{where}: published.image_shape") for size in shape]
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
        training=read_training(config["accuracy"], f"{where}: accuracy"),
        also=tuple(read_training(entry, f"{where}: also") for entry in also),
        table=config["table"] if isinstance(config["table"], Mapping) else {"class_path": str(config["table"])},
        runs=tuple(runs),
    )


def _runs(
    name: str, where: str, entry: Any, common: Mapping[str, Any], budget: float, judged: Mapping[str, Any], first: int
) -> list[PlannedRun]:
    """Return the runs of one entry."""
    check_name(name, where)
    entry = check_mapping(entry, where, ("seeds", "max_epochs"), SECTIONS)
    seeds = check_whole(entry["seeds"], f"{where}.seeds")
    model = merge_component(common.get("model"), entry.get("model"), f"{where}.model")
    data = merge_component(common.get("data"), entry.get("data"), f"{where}.data")
    trainer = {
        **QUIET_TRAINER,
        **check_mapping(common.get("trainer") or {}, "common.trainer", (), None),
        **check_mapping(entry.get("trainer") or {}, f"{where}.trainer", (), None),
        "max_epochs": check_whole(entry["max_epochs"], f"{where}.max_epochs", least=0),
        "max_time": {"seconds": int(budget), "milliseconds": round(budget % 1 * 1000)},
    }
    settings = {"model": model, "data": data, "trainer": trainer, **judged}
    digest = digest_of(settings)
    return [
        PlannedRun(name, seed, {**settings, "model": _seeded(model, seed), "data": _seeded(data, seed)}, digest)
        for seed in range(first, first + seeds)
    ]


def read_training(entry: Any, where: str) -> Training:
    """Read the entry of an accuracy: ``dataset``, ``split`` and ``epochs``; a ``ConfigError`` names what is wrong."""
    entry = check_mapping(entry, where, ("dataset", "split", "epochs"))
    return Training(str(entry["dataset"]), str(entry["split"]), check_whole(entry["epochs"], f"{where}.epochs"))


def _seeded(component: Mapping[str, Any], seed: int) -> dict[str, Any]:
    return {**component, "init_args": {**component["init_args"], "seed": seed}}


def _caps(value: Any, where: str) -> tuple[float | None, ...]:
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{where}: must be a list, with null for no cap")
    caps = tuple(None if cap is None else check_number(cap, where) for cap in value)
    if len(set(caps)) < len(caps):
        raise ConfigError(f"{where}: a cap occurs twice")
    return caps
