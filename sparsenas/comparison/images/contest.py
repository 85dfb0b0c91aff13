"""The plan of a comparison on images: who competes, under which budget, by which recipe, for how long."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from sparsenas.comparison.checks import (
    check_mapping,
    check_name,
    check_number,
    check_whole,
    digest_of,
    merge_component,
    read_settings,
)
from sparsenas.comparison.images.competitors import Competitor, Given, Largest, RandomDraw, Reference, option_names
from sparsenas.comparison.images.guiding import Guided
from sparsenas.comparison.images.halving import Asha
from sparsenas.comparison.images.holding import Held
from sparsenas.comparison.images.searching import Search
from sparsenas.comparison.images.timm_network import TimmNetwork
from sparsenas.comparison.plan import PlannedRun
from sparsenas.errors import ConfigError, GenotypeError
from sparsenas.latency import read_layer_times
from sparsenas.limits import Limits
from sparsenas.search import Tournament
from sparsenas.spaces import REFERENCES
from sparsenas.training import Attacks

#: Kinds of competitors by their name in a config.
KINDS: dict[str, type[Competitor]] = {
    "reference": Reference,
    "genotype": Given,
    "random": RandomDraw,
    "largest": Largest,
    "asha": Asha,
    "guided": Guided,
    "search": Search,
    "tournament": Held,
    "timm": TimmNetwork,
}
#: Kinds whose one option may be given without its name.
SHORT = {"reference": "name", "genotype": "genotype", "largest": "by", "timm": "model"}
#: A kind that stands for several competitors.
SEVERAL = "references"


class Entry(NamedTuple):
    """A competitor of the plan.

    Attributes:
        kind: Its kind.
        options: Its plain options.
        seeds: Its own number of seeds; ``None`` for that of the plan.
    """

    kind: str
    options: Mapping[str, Any]
    seeds: int | None

    def make(self, where: str) -> Competitor:
        """Make the competitor.

        Raises:
            ConfigError: If an option is wrong.
        """
        return make_competitor(self.kind, self.options, where)


@dataclass(frozen=True)
class ImagePlan:
    """A comparison on images.

    Attributes:
        name: Name of its config.
        data: Images, as in a config of ``fit``.
        limits: Budget of every network.
        seconds: Processor seconds of a run, searching included.
        seeds: Runs of a competitor that has no number of its own.
        first_seed: First seed.
        space: Space of what is found, as in a config of ``fit``.
        training: The recipe of all.
        entries: Competitors by name.
        attacks: Attacks under which networks are tested, too, as options of :class:`~sparsenas.training.Attacks`;
            ``None`` for none.
    """

    name: str
    data: Mapping[str, Any]
    limits: Limits
    seconds: float
    seeds: int
    first_seed: int
    space: Mapping[str, Any]
    training: Mapping[str, Any]
    entries: Mapping[str, Entry]
    attacks: Mapping[str, Any] | None = None

    @property
    def shared(self) -> dict[str, Any]:
        """Settings of all runs, for :func:`~sparsenas.comparison.images.making.parse_run`."""
        return {"data": self.data, "space": self.space, "training": self.training, "seconds": self.seconds}

    def planned(self, name: str) -> int:
        """Return the number of runs of a competitor."""
        return self.entries[name].seeds or self.seeds

    @property
    def runs(self) -> tuple[PlannedRun, ...]:
        """All runs, in the order of the config."""
        found = []
        limits: dict[str, Any] = {"max_params": self.limits.max_params, "max_macs": self.limits.max_macs}
        shared = self.shared if self.attacks is None else {**self.shared, "attacks": dict(self.attacks)}
        if self.limits.latency_table is not None:
            limits |= {"max_latency_ms": self.limits.max_latency_ms, "latency_table": self.limits.latency_table}
            shared["times"] = asdict(read_layer_times(self.limits.latency_table))  # the file may change
        for name, entry in self.entries.items():
            settings = {**shared, "budget": limits, "kind": entry.kind, "options": dict(entry.options)}
            digest = digest_of(settings)
            for seed in range(self.first_seed, self.first_seed + self.planned(name)):
                found.append(PlannedRun(name, seed, settings, digest))
        return tuple(found)


def is_on_images(settings: Any) -> bool:
    """Say if settings are those of a comparison on images."""
    return isinstance(settings, Mapping) and "competitors" in settings


def make_competitor(kind: str, options: Mapping[str, Any], where: str) -> Competitor:
    """Make a competitor of plain options.

    Raises:
        ConfigError: If an option is unknown, missing or out of range.
    """
    made = KINDS[kind]
    if made is Held:  # its options are those of the tournament
        return Held(check_mapping(options, where, (), option_names(Tournament)))
    known = option_names(made)
    needed = (SHORT[kind],) if kind in SHORT else ("model",) if made is Search else ()
    check_mapping(options, where, needed, tuple(name for name in known if name not in needed))
    try:
        return made(**options)
    except (ConfigError, GenotypeError) as error:
        raise ConfigError(f"{where}: {error}") from error
    except TypeError as error:
        raise ConfigError(f"{where}: an option is of the wrong kind ({error})") from error


def read_image_plan(path: str | Path) -> ImagePlan:
    """Read the config of a comparison on images; build nothing.

    Raises:
        ConfigError: Naming the entry that is missing, unknown, or of the wrong kind.
    """
    where = str(path)
    needed = ("data", "budget", "seconds", "space", "training", "competitors")
    config = check_mapping(read_settings(path), where, needed, ("seeds", "first_seed", "executor", "attacks"))
    known = tuple(limit.name for limit in fields(Limits))
    budget = dict(check_mapping(config["budget"], f"{where}: budget", (), known))
    for name, value in budget.items():
        if value is not None and name != "latency_table":
            budget[name] = check_number(value, f"{where}: budget.{name}")
    table = budget.get("latency_table")
    if table is not None and not isinstance(table, str):
        raise ConfigError(f"{where}: budget.latency_table is {table!r}; name a file")
    if all(value is None for value in budget.values()):
        raise ConfigError(f"{where}: budget: set max_params, max_macs or both; every network fills it")
    training = dict(check_mapping(config["training"], f"{where}: training", (), None))
    for name in ("seconds", "steps"):
        if training.get(name) is not None:
            raise ConfigError(f"{where}: training.{name}: leave it out; a training goes on until the seconds are over")
    competitors = check_mapping(config["competitors"], f"{where}: competitors", (), None)
    if not competitors:
        raise ConfigError(f"{where}: competitors: empty; name at least one")
    entries: dict[str, Entry] = {}
    for name, value in competitors.items():
        for found, entry in _entries(str(name), value, f"{where}: competitors.{name}"):
            if found in entries:
                raise ConfigError(f"{where}: competitors.{name}: {found} is there twice; leave one out")
            entries[found] = entry
    return ImagePlan(
        name=Path(path).stem,
        data=merge_component(None, config["data"], f"{where}: data"),
        limits=Limits(**budget),
        seconds=check_number(config["seconds"], f"{where}: seconds"),
        seeds=check_whole(config.get("seeds", 3), f"{where}: seeds"),
        first_seed=check_whole(config.get("first_seed", 0), f"{where}: first_seed", least=0),
        space=merge_component(None, config["space"], f"{where}: space"),
        training=training,
        entries=entries,
        attacks=_attacks(config.get("attacks"), f"{where}: attacks"),
    )


def make_attacks(options: Mapping[str, Any], where: str) -> Attacks:
    """Make the attacks of a plan.

    Raises:
        ConfigError: If an option is unknown or out of range.
    """
    check_mapping(options, where, (), tuple(field.name for field in fields(Attacks)))
    given = dict(options)
    if "epsilon" in given:
        given["epsilon"] = check_number(given["epsilon"], f"{where}.epsilon")
    if "steps" in given:
        steps = given["steps"] if isinstance(given["steps"], list | tuple) else [given["steps"]]
        given["steps"] = tuple(check_whole(count, f"{where}.steps") for count in steps)
    try:
        return Attacks(**given)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _attacks(options: Any, where: str) -> Mapping[str, Any] | None:
    if options is None:
        return None
    made = make_attacks(options, where)
    return {"epsilon": made.epsilon, "steps": list(made.steps)}


def _entries(name: str, value: Any, where: str) -> list[tuple[str, Entry]]:
    """Competitors of an entry, which is its kind with its options, and perhaps its number of seeds."""
    check_name(name, where)
    kinds = (*KINDS, SEVERAL)
    value = check_mapping(value, where, (), (*kinds, "seeds"))
    named = [kind for kind in kinds if kind in value]
    if len(named) != 1:
        raise ConfigError(f"{where}: names {', '.join(named) or 'no kind'}; name one of {', '.join(kinds)}")
    (kind,) = named
    seeds = check_whole(value["seeds"], f"{where}.seeds") if "seeds" in value else None
    options = value[kind]
    if kind == SEVERAL:
        chosen = list(REFERENCES) if options == "all" else options
        if not isinstance(chosen, list):
            raise ConfigError(f"{where}.references is {options!r}; use all, or a list of {', '.join(REFERENCES)}")
        entries = [(str(reference), Entry("reference", {"name": reference}, seeds)) for reference in chosen]
    else:
        if kind in SHORT and not isinstance(options, Mapping):
            options = {SHORT[kind]: options}
        options = dict(check_mapping(options or {}, f"{where}.{kind}", (), None))
        if kind == "search" and "model" in options:
            options["model"] = merge_component(None, options["model"], f"{where}.{kind}.model")
        entries = [(name, Entry(kind, options, seeds))]
    for number, (found, entry) in enumerate(entries):
        made = entry.make(f"{where}.{kind}")  # raises if an option is wrong
        if isinstance(made, (Given, TimmNetwork)):  # a file may change, and the plan does not
            try:
                entries[number] = found, entry._replace(options=made.plain)
            except ConfigError as error:
                raise ConfigError(f"{where}.{kind}: {error}") from error
    return entries
