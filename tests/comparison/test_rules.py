"""Rules of people: which architectures they are, and their rows in a report."""

import os

import pytest

from sparsenas.api.shipped import find_config
from sparsenas.comparison import make_report, read_plan
from sparsenas.comparison.report import HAND_MADE
from sparsenas.comparison.rules import is_hand_made
from sparsenas.spaces import NasBench201Space, NasBenchMacroSpace

NB201 = "|{}~0|+|none~0|nor_conv_3x3~1|+|{}~0|none~1|nor_conv_3x3~2|"


@pytest.mark.parametrize(
    ("first", "shortcut", "expected"),
    [
        ("nor_conv_3x3", "skip_connect", True),
        ("nor_conv_1x1", "skip_connect", True),
        ("avg_pool_3x3", "skip_connect", False),
        ("skip_connect", "skip_connect", False),
        ("nor_conv_3x3", "none", False),
    ],
)
def test_a_residual_block_of_nasbench201(first, shortcut, expected):
    assert is_hand_made(NasBench201Space().from_string(NB201.format(first, shortcut))) is expected


@pytest.mark.parametrize(
    ("text", "expected"), [("22222222", True), ("11000222", True), ("12000222", False), ("11000220", False)]
)
def test_stages_of_nasbench_macro(text, expected):
    assert is_hand_made(NasBenchMacroSpace().from_string(text)) is expected


@pytest.mark.slow
@pytest.mark.skipif("SPARSENAS_DATA" not in os.environ, reason="SPARSENAS_DATA names no folder with the tables")
@pytest.mark.parametrize("config", ["compare_nasbench201", "compare_nasbench_macro_signals"])
def test_the_rule_is_a_row_under_every_cap(config):
    plan = read_plan(find_config(config))
    table = plan.read_table()
    rows = [row for row in make_report(plan, [], table).rows if row.name == HAND_MADE]
    assert [row.cap for row in rows] == list(plan.caps)
    best = {row.cap: row.best for row in rows}
    truth = dict(zip(map(table.space.to_string, table), table.accuracies(*plan.training), strict=True))
    assert all(any(abs(value - accuracy) < 1e-9 for accuracy in truth.values()) for value in best.values())
    assert all(row.mean <= row.best for row in rows)
