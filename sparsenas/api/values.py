"""Checks of single values of settings that the parser lets pass."""

import inspect
from collections.abc import Mapping
from math import isinf, isnan
from pydoc import locate
from typing import Any, get_args, get_type_hints

from jsonargparse import Namespace

from sparsenas.errors import ConfigError


def check_values(settings: Any, place: str = "", linked: tuple[str, ...] = (), ours: bool = True) -> None:
    """Check that no number is nan, ours are finite, and nothing is null whose class takes no null.

    Comparisons with nan are false, so it would pass other checks. The parser takes null in place of any class.

    Args:
        settings: Settings as the parser gives them.
        place: Where they stand.
        linked: Options that are set later.
        ours: False for options of classes of others, to which infinity may mean something.

    Raises:
        ConfigError: If one is not; the message names it.
    """
    if isinstance(settings, float) and (isnan(settings) or (ours and isinf(settings))):
        raise ConfigError(f"{place} is {settings}; use a finite number")
    if isinstance(settings, Namespace):
        settings = vars(settings)
    if isinstance(settings, Mapping):
        name_of_class = settings.get("class_path")
        needed = _needed(name_of_class)
        if isinstance(name_of_class, str):
            ours = name_of_class.startswith("sparsenas.")
        for name, value in settings.items():
            inside = place if name == "init_args" else f"{place}.{name}".removeprefix(".")
            if name == "init_args" and value is not None:
                for option, given in (vars(value) if isinstance(value, Namespace) else value).items():
                    if given is None and option in needed and option not in linked:
                        raise ConfigError(f"{place}.{option} is null; leave it out, or give a value")
            check_values(value, inside, linked, ours)
    elif isinstance(settings, (list, tuple)):
        for value in settings:
            check_values(value, place, linked, ours)


def _needed(name: Any) -> set[str]:
    """Options of a class of this package that have a value, and not null, in any case."""
    found = locate(name) if isinstance(name, str) and name.startswith("sparsenas.") else None
    if not isinstance(found, type):
        return set()
    hints = get_type_hints(found.__init__)  # type: ignore[misc]  # of the class itself
    parameters = inspect.signature(found).parameters
    return {
        option
        for option, hint in hints.items()
        if option in parameters
        and parameters[option].default is not None
        and hint is not Any
        and type(None) not in get_args(hint)
    }
