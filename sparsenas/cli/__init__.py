"""The command line: ``python -m sparsenas COMMAND``."""

from sparsenas.cli.entry import main

__all__ = ["main"]
