"""The text of a genotype on the command line."""

import json
import shlex

import pytest

from sparsenas.cli import main
from sparsenas.spaces import PUBLISHED

PAIRS = [("sep_conv_3x3", 1), ("skip_connect", 0)]
FIELDS = {"normal": PAIRS, "normal_concat": [2], "reduce": PAIRS, "reduce_concat": [2]}
TRAINING = shlex.split(
    "fit --config train_digits --model.network.channels 4 --model.network.cells 3 --trainer.fast_dev_run true"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--model.genotype", PUBLISHED["darts_v2"].to_json()),
        ("--model.genotype", f"INFO: genotype: {FIELDS}"),
        ("--model.genotype=", str(FIELDS)),
        ("--model.init_args.genotype", json.dumps(FIELDS)),
        ("--model.init_args.genotype=", json.dumps(list(FIELDS.values()))),
    ],
)
def test_texts_that_look_like_yaml_stay_texts(tmp_path, monkeypatch, option, text):
    monkeypatch.chdir(tmp_path)
    assert main([*TRAINING, *([option + text] if option.endswith("=") else [option, text])]) == 0
