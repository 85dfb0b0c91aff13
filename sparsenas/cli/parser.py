"""The parser of the plain commands."""

import argparse
from typing import Any, NoReturn

from sparsenas.errors import ConfigError
from sparsenas.imports import TRUST, trust


class Parser(argparse.ArgumentParser):
    """A parser whose errors are :class:`ConfigError`, so that all errors look alike; all know ``--trust``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_argument("--trust", metavar="MODULE", action="append", default=[], help=TRUST)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, and trust the modules that are named."""
        options = super().parse_args(args, namespace)
        trust(*options.trust)
        return options

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise ConfigError(f"{message}; see {self.prog} --help")
