"""Settings of a comparison: read, checked, and named by a digest."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparsenas.errors import ConfigError
from sparsenas.reading import ReadingError, parse_yaml, read_text


def read_settings(path: str | Path) -> Any:
    """Read a YAML file.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        return parse_yaml(read_text(path))
    except ReadingError as error:
        raise ConfigError(f"{path}: not a readable YAML file ({error})") from error


def digest_of(settings: Mapping[str, Any]) -> str:
    """Return a hash of plain settings; a finished run counts only for the same settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def check_name(name: str, where: str) -> None:
    """Raise a ``ConfigError`` unless files can be named after an entry."""
    if not name or not all(letter.isalnum() or letter in "_-." for letter in name):
        raise ConfigError(f"{where}: names are of letters, digits, '_', '-' and '.': files are named after them")


def merge_component(common: Any, own: Any, where: str) -> dict[str, Any]:
    """Return a class and its options: those of the entry over those of ``common``."""
    parts = [
        check_mapping(
            {"class_path": part} if isinstance(part, str) else part or {}, where, (), ("class_path", "init_args")
        )
        for part in (common, own)
    ]
    names = [part["class_path"] for part in parts if "class_path" in part]
    if not names:
        raise ConfigError(f"{where}: class_path is missing; name a class")
    options = [check_mapping(part.get("init_args") or {}, f"{where}.init_args", (), None) for part in parts]
    return {"class_path": names[-1], "init_args": merge_options(options[0], options[1])}


def merge_options(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Put options over others; those of a dataclass one by one, a class with its options as a whole."""
    merged = dict(common)
    for name, value in own.items():
        before = merged.get(name)
        plain = isinstance(value, Mapping) and isinstance(before, Mapping) and "class_path" not in {*value, *before}
        merged[name] = merge_options(before or {}, value) if plain else value
    return merged


def check_mapping(
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


def check_number(value: Any, where: str) -> float:
    """Return a positive number, or raise a ``ConfigError``."""
    try:
        number = float(value)  # YAML reads 0.6e6 as text
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not 0 < number < math.inf:
        raise ConfigError(f"{where} is {value!r}; use a positive number")
    return number


def check_whole(value: Any, where: str, least: int = 1) -> int:
    """Return a whole number from ``least`` on, or raise a ``ConfigError``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{where} is {value!r}; use a whole number from {least} on")
    return value
