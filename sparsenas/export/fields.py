"""Typed access to the fields of a JSON object that anybody may have written."""

import sys
from collections.abc import Mapping
from math import inf
from typing import Any, TypeVar

from sparsenas.errors import ExportError
from sparsenas.reading import shorten

T = TypeVar("T", bool, int, float, str)


class Fields:
    """A JSON object whose fields are checked when they are read.

    Messages name its file ``where`` and its place in it, ``path``, e.g. ``"input."``.
    """

    def __init__(self, tree: Mapping[str, Any], where: str, path: str = "") -> None:
        self._tree = tree
        self._where = where
        self._path = path

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fields."""
        return tuple(self._tree)

    def get(self, name: str, kind: type[T], low: float = -inf, high: float = inf) -> T:
        """Read a field of a kind; a whole number also is a float.

        Args:
            name: Its name.
            kind: Its kind.
            low: The least that a number may be.
            high: The most that it may be.

        Raises:
            ExportError: If it is missing, of another kind or out of range, as from all methods.
        """
        return self._checked(self._take(name), name, kind, low, high)

    def several(
        self, name: str, kind: type[T], count: int | None = None, low: float = -inf, high: float = inf
    ) -> tuple[T, ...]:
        """Read a list of ``count`` fields of a kind; of any number without a count."""
        values = self._take(name)
        if not isinstance(values, list):
            raise self._wrong(name, values, "a list")
        if count is not None and len(values) != count:
            raise self._wrong(name, f"{len(values)} values", f"a list of {count}")
        return tuple(self._checked(value, name, kind, low, high) for value in values)

    def choice(self, name: str, known: tuple[str, ...]) -> str:
        """Read one of some texts."""
        value = self.get(name, str)
        if value not in known:
            raise self._wrong(name, value, f"one of {', '.join(known)}")
        return value

    def is_null(self, name: str) -> bool:
        """Return True if a field is null."""
        return self._take(name) is None

    def inside(self, name: str) -> "Fields":
        """Read the fields of an object."""
        value = self._take(name)
        if not isinstance(value, dict):
            raise self._wrong(name, value, "an object")
        return Fields(value, self._where, f"{self._path}{name}.")

    def optional(self, name: str) -> "Fields | None":
        """Read the fields of an object that may be null."""
        return None if self.is_null(name) else self.inside(name)

    def _take(self, name: str) -> Any:
        if name not in self._tree:
            raise ExportError(f"{self._where}: has no {self._path}{name}; export the network again")
        return self._tree[name]

    def _checked(self, value: Any, name: str, kind: type[T], low: float, high: float) -> T:
        if kind is float and type(value) is int and abs(value) < sys.maxsize:
            value = kind(value)
        if type(value) is not kind:
            raise self._wrong(name, value, kind.__name__)
        if isinstance(value, (int, float)) and not low <= value <= high:
            limits = f"at least {low:,.10g}" if high == inf else f"from {low:,.10g} to {high:,.10g}"
            raise self._wrong(name, value, limits)
        return value

    def _wrong(self, name: str, value: Any, right: str) -> ExportError:
        return ExportError(f"{self._where}: {self._path}{name} is {shorten(value, 40)!r}; it must be {right}")
