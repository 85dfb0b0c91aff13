"""Snippets of the documentation."""

import re
import shlex
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


class Docs:
    """Reads and runs what the pages show."""

    def code_blocks(self, page, language="python"):
        text = (DOCS / page).read_text(encoding="utf-8")
        return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)

    def command_lines(self, page):
        """Arguments of the printed commands."""
        lines = [line for block in self.code_blocks(page, "shell") for line in block.splitlines()]
        assert all(line.startswith("python -m sparsenas ") for line in lines)
        return [shlex.split(line)[3:] for line in lines]

    def run_snippet(self, code, page, scope=None):
        """Execute a snippet, and return its names."""
        scope = {} if scope is None else scope
        exec(compile(code, page, "exec"), scope)
        return scope


@pytest.fixture(scope="session")
def docs():
    """Reads and runs what the pages show."""
    return Docs()
