"""Constructor calls as trees: made of modules, printed, and turned into functions where they differ in numbers only."""

import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from sparsenas.errors import ExportError

#: Longest line.
WIDTH = 110


@dataclass(frozen=True)
class Call:
    """A call ``name(arguments)``; a list if the name is ``[``, a dictionary if it is ``{``.

    Attributes:
        name: What is called.
        arguments: Name and value of each. A number may become a parameter; a text is source.
        keywords: How many of them, from the end, are given by name.
    """

    name: str
    arguments: tuple[tuple[str, "Value"], ...]
    keywords: int = 0

    @property
    def skeleton(self) -> object:
        """Name and arguments without the numbers: equal for calls that differ in numbers only."""
        inner = (
            (name, value.skeleton if isinstance(value, Call) else None if isinstance(value, int) else value)
            for name, value in self.arguments
        )
        return self.name, self.keywords, tuple(inner)

    def numbers(self) -> Iterator[tuple[str, int]]:
        """Yield all numbers in their order, each with the name of its argument."""
        for name, value in self.arguments:
            if isinstance(value, Call):
                yield from value.numbers()
            elif isinstance(value, int):
                yield name, value

    def replaced(self, numbers: Iterator[str]) -> "Call":
        """Replace all numbers by source, in their order."""
        found: list[tuple[str, Value]] = []
        for name, value in self.arguments:
            if isinstance(value, Call):
                found.append((name, value.replaced(numbers)))
            else:
                found.append((name, next(numbers) if isinstance(value, int) else value))
        return Call(self.name, tuple(found), self.keywords)

    def text(self) -> str:
        """Print in one line."""
        inner = (f"{label}{_text(value)}" for label, value in self._labelled())
        return f"{self._opening}{', '.join(inner)}{self._closing}"

    def lines(self, before: str = "", after: str = "", indent: int = 0) -> list[str]:
        """Print in one line if it is not too long, else with a line for each argument."""
        margin, line = " " * indent, self.text()
        if indent + len(before) + len(line) + len(after) <= WIDTH or not self.arguments:
            return [f"{margin}{before}{line}{after}"]
        found = [f"{margin}{before}{self._opening}"]
        for label, value in self._labelled():
            if isinstance(value, Call):
                found += value.lines(label, ",", indent + 4)
            else:
                found.append(f"{margin}    {label}{value},")
        return [*found, f"{margin}{self._closing}{after}"]

    @property
    def _opening(self) -> str:
        return self.name if self.name in ("[", "{") else f"{self.name}("

    @property
    def _closing(self) -> str:
        return {"[": "]", "{": "}"}.get(self.name, ")")

    def _labelled(self) -> Iterator[tuple[str, "Value"]]:
        for number, (name, value) in enumerate(self.arguments):
            if self.name == "{":
                yield f"{json.dumps(name)}: ", value
            else:
                yield (f"{name}=" if number >= len(self.arguments) - self.keywords else ""), value


Value = Call | int | str


def _text(value: Value) -> str:
    return value.text() if isinstance(value, Call) else str(value)


def sequence(name: str, values: Sequence[Value]) -> Call:
    """Make a call with arguments by position."""
    return Call(name, tuple(("", value) for value in values))


def of_torch(module: nn.Module, kind: type[nn.Module]) -> Call:
    """Make the call that constructs a module of PyTorch without parts; defaults are left out.

    Args:
        module: The module.
        kind: Its class in ``torch.nn``.

    Raises:
        ExportError: If it is no such module.
    """
    if not kind.__module__.startswith("torch.nn.modules.") or next(module.children(), None) is not None:
        raise ExportError(f"its part {kind.__name__} is none of PyTorch's, so no plain source can be written for it")
    positional: list[tuple[str, Value]] = []
    keywords: list[tuple[str, Value]] = []
    for name, parameter in inspect.signature(kind).parameters.items():
        if not hasattr(module, name) or (name == "bias" and isinstance(module, nn.BatchNorm2d)):
            continue  # device and dtype, and a bias that the affine map has
        value = getattr(module, name)
        if name == "bias":
            value = value is not None
        if isinstance(value, tuple) and len(set(value)) == 1:
            value = value[0]
        source: Value = value if type(value) is int else repr(value)
        if parameter.default is parameter.empty:
            positional.append((name, source))
        elif value != parameter.default:
            keywords.append((name, source))
    return Call(f"nn.{kind.__name__}", (*positional, *keywords), len(keywords))


@dataclass(frozen=True)
class Function:
    """A function that makes several parts, which differ in numbers only."""

    name: str
    parameters: tuple[str, ...]
    body: Call

    def lines(self) -> list[str]:
        """Print its definition."""
        return [f"def {self.name}({', '.join(self.parameters)}):", *self.body.lines("return ", indent=4)]


def as_function(name: str, calls: Sequence[Call]) -> tuple[Function, list[Call]]:
    """Make a function of calls with one skeleton, and the calls of it that take their places.

    Numbers that are equal in all calls stay; those that vary alike become one parameter.
    """
    rows = [list(call.numbers()) for call in calls]
    columns = [tuple(number for _, number in column) for column in zip(*rows, strict=True)]
    hints: dict[tuple[int, ...], list[str]] = {}
    for (hint, _), column in zip(rows[0], columns, strict=True):
        if len(set(column)) > 1:
            hints.setdefault(column, []).append(hint)
    parameters: dict[tuple[int, ...], str] = {}
    for column, names in hints.items():
        wanted = "channels" if {"in_channels", "out_channels"} <= set(names) else names[0]
        taken = sum(known.rstrip("0123456789_") == wanted for known in parameters.values())
        parameters[column] = f"{wanted}_{taken + 1}" if taken else wanted
    body = calls[0].replaced(iter([parameters.get(column, str(column[0])) for column in columns]))
    uses = [
        Call(name, tuple((parameter, column[i]) for column, parameter in parameters.items())) for i in range(len(calls))
    ]
    return Function(name, tuple(parameters.values()), body), uses
