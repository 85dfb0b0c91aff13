"""The parser of the plain commands."""

import argparse
from typing import NoReturn

from sparsenas.errors import ConfigError


class Parser(argparse.ArgumentParser):
    """A parser whose errors are :class:`ConfigError`, so that all errors look alike."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise ConfigError(f"{message}; see {self.prog} --help")
