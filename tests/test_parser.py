"""Whole numbers and shares are different settings, from every front door and in every order of imports."""

from typing import Union

import pytest
import yaml
from pytorch_lightning import Callback

from sparsenas.api.settings import assemble
from sparsenas.api.terminal import calm_terminal
from sparsenas.cli import main
from sparsenas.comparison.build import build_run
from sparsenas.parser import SettingsParser

#: What Lightning counts in batches when it is whole.
LIMITS = ("limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches")
COUNTS = (*LIMITS, "val_check_interval", "overfit_batches")
SEARCH = {
    "model": {"class_path": "RandomSearch", "init_args": {"network": {"channels": 2, "cells": 3, "stem": "small"}}},
    "data": {"class_path": "Digits", "init_args": {"arch_fraction": 0.0}},
}


class Stretched(Callback):
    """Takes what SWA of Lightning takes, in the order that typing may have seen first."""

    def __init__(self, start: Union[float, int, None] = None, ends: float | int = 0):  # noqa: UP007 - the old spelling
        self.start, self.ends = start, ends


def trainer_options(values):
    off = {"logger": False, "enable_checkpointing": False, "accelerator": "cpu", "devices": 1}
    return {**off, "enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 1, **values}


@pytest.mark.parametrize("value", [1, 1.0, 2, 0.5, 0])
@pytest.mark.parametrize("build", [lambda s: assemble(s).trainer, lambda s: build_run(s)[2]], ids=["fit", "compare"])
def test_settings_in_python_keep_numbers_and_shares(build, value):
    with calm_terminal():
        trainer = build({**SEARCH, "trainer": trainer_options(dict.fromkeys(LIMITS, value))})
    kept = [getattr(trainer, name) for name in LIMITS]
    assert [(number, type(number)) for number in kept] == [(value, type(value))] * len(LIMITS)


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("1.0", 1.0), ("3", 3), ("0.5", 0.5)])
def test_command_line_and_config_keep_numbers_and_shares(capsys, tmp_path, text, value):
    options = [word for name in COUNTS for word in (f"--trainer.{name}", text)]
    assert main(["fit", "--config", "train_digits", *options, "--print_config"]) == 0
    written = tmp_path / "config.yaml"
    written.write_text(capsys.readouterr().out)
    assert main(["fit", "--config", str(written), "--print_config"]) == 0
    for config in (written.read_text(), capsys.readouterr().out):
        kept = [yaml.safe_load(config)["trainer"][name] for name in COUNTS]
        assert [(number, type(number)) for number in kept] == [(value, type(value))] * len(COUNTS)


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("true", True), ("3", 3), ("false", False)])
def test_a_dry_run_of_one_batch_is_not_a_yes(capsys, text, value):
    assert main(["fit", "--config", "train_digits", "--trainer.fast_dev_run", text, "--print_config"]) == 0
    kept = yaml.safe_load(capsys.readouterr().out)["trainer"]["fast_dev_run"]
    assert (kept, type(kept)) == (value, type(value))


@pytest.mark.parametrize("value", [1, 1.0, 0.25])
def test_options_of_nested_classes_too(value):
    parser = SettingsParser(exit_on_error=False)
    parser.add_subclass_arguments(Callback, "callback")
    settings = {"class_path": f"{__name__}.Stretched", "init_args": {"start": value, "ends": value}}
    made = parser.instantiate(parser.parse_object({"callback": settings})).callback
    assert [(made.start, type(made.start)), (made.ends, type(made.ends))] == [(value, type(value))] * 2


def test_a_default_that_is_a_member_of_a_list_can_be_kept():
    parser = SettingsParser(exit_on_error=False)
    parser.add_subclass_arguments(Callback, "callback")
    settings = {"class_path": "pytorch_lightning.callbacks.Timer", "init_args": {"duration": "00:00:10:00"}}
    kept = yaml.safe_load(parser.dump(parser.parse_object({"callback": settings})))
    assert kept["callback"]["init_args"] == {"duration": "00:00:10:00", "interval": "step", "verbose": True}
