"""Executors by their name in a config, on the command line, and in Python."""

from collections.abc import Mapping
from typing import Any

from sparsenas.comparison.checks import check_mapping
from sparsenas.comparison.executors.base import Executor, option_names
from sparsenas.comparison.executors.local_executor import LocalExecutor
from sparsenas.comparison.executors.ray_executor import RayExecutor
from sparsenas.comparison.executors.submitit_executor import SubmititExecutor
from sparsenas.errors import ConfigError

#: Executors by name.
EXECUTORS: dict[str, type[Executor]] = {"local": LocalExecutor, "ray": RayExecutor, "submitit": SubmititExecutor}


def choose_executor(section: Any = None, name: str | None = None, options: Mapping[str, Any] | None = None) -> Executor:
    """Make the executor of a comparison.

    Args:
        section: Name of an executor, or a mapping of its name to its options, as in a config; ``None`` for ``local``.
        name: Name of the one to take instead; options of another one do not count.
        options: Options that count more than those of the section.

    Raises:
        ConfigError: If there is no such executor, or an option is unknown or out of range.
    """
    known = ", ".join(EXECUTORS)
    section = {section or "local": {}} if section is None or isinstance(section, str) else section
    if not isinstance(section, Mapping) or len(section) != 1:
        raise ConfigError(f"executor is {section!r}; give one of {known}, alone or as a mapping to its options")
    ((kind, own),) = section.items()
    if name is not None and name != kind:
        kind, own = name, {}
    if kind not in EXECUTORS:
        raise ConfigError(f"executor is {kind!r}; use one of {known}")
    chosen = EXECUTORS[kind]
    own = check_mapping(own or {}, f"executor {kind}", (), option_names(chosen))
    return chosen(**check_mapping({**own, **(options or {})}, f"executor {kind}", (), option_names(chosen)))
