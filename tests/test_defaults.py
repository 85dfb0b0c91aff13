"""Defaults that are objects are shared by all calls, so none of them may be changed: what ruff's B008 cannot know."""

import dataclasses
import enum
import inspect
import types
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

import sparsenas
from sparsenas.spaces import SearchSpace

MODULES = sorted(m.name for m in walk_packages(sparsenas.__path__, "sparsenas.") if not m.name.endswith("__main__"))
PLAIN = (type(None), bool, int, float, str, bytes, Path, type, enum.Enum, types.FunctionType, types.BuiltinFunctionType)


def immutable(value):
    if isinstance(value, tuple | frozenset):
        return all(immutable(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value).__dataclass_params__.frozen
    made_for_each_call = type(value).__name__ == "_HAS_DEFAULT_FACTORY_CLASS"  # by a dataclass
    return made_for_each_call or isinstance(value, (*PLAIN, SearchSpace))


def functions(module):
    """Functions and methods that a module defines."""
    for value in vars(module).values():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        members = vars(value).values() if inspect.isclass(value) else [value]
        yield from (member for member in members if inspect.isfunction(member))


@pytest.mark.parametrize("name", MODULES)
def test_defaults_cannot_be_changed(name):
    defaults = {
        f"{function.__qualname__}({parameter.name})": parameter.default
        for function in functions(import_module(name))
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is not parameter.empty
    }
    assert {place: value for place, value in defaults.items() if not immutable(value)} == {}
