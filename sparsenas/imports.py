"""Trust in modules that files may name: those of the package, and those that the user has named.

Genotypes, checkpoints and exports hold names of functions and classes. Importing a module runs it, so a file from
elsewhere must not decide what is imported.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pydoc import locate
from typing import Any

import jsonargparse
from jsonargparse import _common  # no public function takes an allowlist back

from sparsenas.errors import ConfigError

#: Variable that holds the trusted modules with commas between; processes that this one starts inherit it.
VARIABLE = "SPARSENAS_TRUST"
#: Help of the option.
TRUST = "module that genotypes, checkpoints and exports may import, besides this package; it runs with your rights"
#: Modules whose classes any checkpoint may name; others of this package write files, or run commands.
OWN = (
    "sparsenas.data",
    "sparsenas.limits",
    "sparsenas.networks",
    "sparsenas.schedules",
    "sparsenas.search",
    "sparsenas.spaces",
    "sparsenas.sparse_coding",
    "sparsenas.training",
    "sparsenas.zero_cost",
    "torch.optim",
    "torchvision.transforms.v2",
)
#: Keys of configurations whose values are imported.
_CLASSES = ("class_path", "_class_path")


def trust(*modules: str) -> None:
    """Let genotypes, checkpoints and exports import these modules, and what lies in them, in this process.

    Args:
        modules: Dotted names, such as ``"my_primitives"``.

    Raises:
        ConfigError: If one is not such a name.
    """
    for module in modules:
        if not all(part.isidentifier() for part in module.split(".")):
            raise ConfigError(f"trust: {module!r} is no module; give a dotted name, such as my_primitives")
    os.environ[VARIABLE] = ",".join(sorted({*_trusted(), *modules}))


def is_trusted(module: str, among: tuple[str, ...] = ()) -> bool:
    """Say if a module, or a package that it lies in, is trusted."""
    return any(module == known or module.startswith(f"{known}.") for known in (*_trusted(), *among))


def find(module: str, name: str) -> Any:
    """Import an object of a module that the user trusts.

    Raises:
        ConfigError: If the module is not trusted; nothing was imported then.
        ImportError, AttributeError, TypeError, ValueError: If there is no such object.
    """
    if not is_trusted(module):
        raise ConfigError(
            f"would run code of the module {module!r}; if you know what is in it, add --trust {module} (in Python: "
            f"sparsenas.trust({module!r}))"
        )
    return getattr(import_module(module), name)


def check_classes(settings: Any, asked: Any = None) -> None:
    """Check that a stored configuration names classes of trusted modules only.

    Args:
        settings: The stored configuration.
        asked: One that the user has given; the classes that it names are trusted.

    Raises:
        ConfigError: If one is of another module.
    """
    known = set(_class_names(asked))
    for name in _class_names(settings):
        module = name.rpartition(".")[0]
        if module and name not in known and not is_trusted(module, OWN):
            raise ConfigError(_advice(name, module))


@contextmanager
def only_trusted(asked: Any = None) -> Iterator[None]:
    """Let parsers import nothing but classes of trusted modules, however a stored configuration names them.

    A class path may stand in a text, or in a file that the configuration names: only the parser finds them all. What it
    finds must also be defined where it is named.

    Args:
        asked: A configuration that the user has given; the classes that it names are trusted.

    Raises:
        ConfigError: If something else is named; it was not imported then.
    """
    settings = _common.parsing_settings
    before = {name: settings[name] for name in ("import_path_verdicts", "import_paths_enforced")}
    allowed = {*OWN, *_trusted()}
    for name in _class_names(asked):
        if name.count(".") and (found := locate(name)) is not None:
            allowed |= {name, f"{getattr(found, '__module__', name)}.{getattr(found, '__qualname__', '')}".rstrip(".")}
    paths = sorted(path for path in allowed if all(part.isidentifier() for part in path.split(".")))
    jsonargparse.set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=paths)
    try:
        yield
    except Exception as error:  # of a parser or a constructor, which goes on as it is if nothing was denied
        denied = re.search(r"Importing '([\w.]+)' is not allowed", str(error))
        if denied is None:
            raise
        module = denied[1].rpartition(".")[0]
        raise ConfigError(_advice(denied[1], module)) from error
    finally:
        settings.update(before)


def _advice(name: str, module: str) -> str:
    return (
        f"names the class {name}; if you know what is in its module, add --trust {module} (in Python: "
        f"sparsenas.trust({module!r}))"
    )


def _class_names(settings: Any) -> Iterator[str]:
    if isinstance(settings, Mapping):
        yield from (str(value) for key, value in settings.items() if key in _CLASSES)
        settings = settings.values()
    elif not isinstance(settings, (list, tuple)):
        return
    for value in settings:
        yield from _class_names(value)


def _trusted() -> tuple[str, ...]:
    return tuple(filter(None, os.environ.get(VARIABLE, "").split(",")))
