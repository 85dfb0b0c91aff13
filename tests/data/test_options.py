"""Constructor arguments are the command line: every one documented, typed and with its default."""

import inspect

import pytest
from jsonargparse import ArgumentParser

from sparsenas import data
from sparsenas.data import Augmentation, ImageData

MODULES = [getattr(data, name) for name in data.__all__ if name not in ("Augmentation", "CrossValidation", "ImageData")]
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


@pytest.fixture
def parsed(tmp_path, archive, arrays):
    """Builds the module of an archive as the shell does: from the text of a config, and arguments."""
    path = archive(arrays)

    def build(text, *args):
        parser = ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(ImageData, "data")
        parser.add_argument("--config", action="config")
        config = tmp_path / "images.yaml"
        lines = ["data:", "  class_path: sparsenas.data.NpzImages", "  init_args:", f"    path: {path}", f"    {text}"]
        config.write_text("\n".join(lines), encoding="utf-8")
        return parser.instantiate(parser.parse_args(["--config", str(config), *args])).data

    return build


NONE = Augmentation(0, False, 0, "reflect")


@pytest.mark.parametrize(
    ("text", "args", "augmentation"),
    [
        ("augmentation: auto", [], None),
        ("augmentation: none", [], NONE),
        ("augmentation: {cutout: 4}", [], Augmentation(0, True, 4, "reflect")),  # an eighth of 6 pixels is none
        ("", ["--data.augmentation=auto"], None),
        ("", ["--data.augmentation", "none"], NONE),
        ("", ["--data.augmentation.flip=false"], Augmentation(0, False, 0, "reflect")),
        ("augmentation: none", ["--data.augmentation.cutout=2"], Augmentation(0, True, 2, "reflect")),
        ("augmentation: {cutout: 4}", ["--data.augmentation.flip=false"], Augmentation(0, False, 4, "reflect")),
        ("augmentation: {cutout: 4}", ["--data.augmentation=none"], NONE),
        ("augmentation: {cutout: 4}", ["--data.augmentation=auto"], None),
    ],
)
def test_augmentation_is_a_word_or_options_in_config_and_shell(parsed, text, args, augmentation):
    images = parsed(text, *args)
    assert images._choices._chooses_augmentation == (augmentation is None)
    if augmentation is not None:
        assert images.augmentation == augmentation


@pytest.mark.parametrize(
    ("text", "args", "size"),
    [
        ("batch_size: 7", [], 7),
        ("batch_size: 7", ["--data.batch_size=auto"], 16),
        ("batch_size: auto", [], 16),
        ("batch_size: auto", ["--data.batch_size=9"], 9),
    ],
)
def test_batch_size_is_a_word_or_a_number_in_config_and_shell(parsed, text, args, size):
    assert parsed(text, *args).batch_size == size
