"""Constructor arguments are the command line: every one documented, typed and with its default."""

import inspect

import pytest
from jsonargparse import ArgumentParser

from sparsenas import data
from sparsenas.data import ImageData

MODULES = [getattr(data, name) for name in data.__all__ if name not in ("Augmentation", "ImageData")]
SHARED = [name for name in inspect.signature(ImageData).parameters if name != "source"]


@pytest.mark.parametrize("module", MODULES)
def test_help_shows_every_option_with_type_text_and_default(module):
    parser = ArgumentParser()
    parser.add_class_arguments(module, "data")
    text = " ".join(parser.format_help().split())
    for name in SHARED:
        assert f"--data.{name}" in text
    actions = [action for action in parser._actions if action.dest.startswith("data.")]
    assert len(actions) >= len(SHARED)
    assert [action.dest for action in actions if not action.help] == []
    defaults = vars(parser.get_defaults().data)
    assert set(SHARED) <= set(defaults)
    assert defaults["arch_fraction"] == 0.5
