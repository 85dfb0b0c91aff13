"""The pages of the studies: every table is that of the stored runs."""

from importlib import import_module
from pathlib import Path

import pytest

STUDIES = Path(__file__).parents[1] / "studies"


@pytest.mark.slow
@pytest.mark.parametrize("study", sorted(path.parent.name for path in STUDIES.glob("*/README.md")))
def test_every_table_is_made_from_its_runs(study, monkeypatch):
    monkeypatch.syspath_prepend(str(STUDIES.parent))
    assert import_module("studies.tables").main(["--check", study]) == 0
