import csv
from pathlib import Path

import pytest
from pytorch_lightning.loggers import CSVLogger

from sparsenas.callbacks import SupportMonitor


def test_every_recovery_is_logged_over_training_batches(fit):
    events = fit(SupportMonitor()).events
    churn = events.Scalars("search/churn")
    assert [(e.step, e.value) for e in churn] == [(0, 0.0), (2, 0.25), (4, 0.25), (6, 0.25), (8, 0.25)]
    assert [e.value for e in events.Scalars("search/visited")] == [1, 2, 3, 4, 5]
    expected = {"residual": 0.5, "l1_share": 0.75, "nonzeros": 3, "iterations": 0, "optimality": 0}
    for name, value in expected.items():
        assert events.Scalars(f"search/{name}")[-1].value == value


@pytest.mark.slow
def test_each_block_has_its_own_scalars(fit):
    tags = fit(SupportMonitor()).events.Tags()["scalars"]
    for name in ("residual", "l1_share", "nonzeros", "code_norm"):
        for block in ("normal_node2", "normal_node3", "reduce_node2", "reduce_node3"):
            assert f"{name}/{block}" in tags


def test_primitives_of_the_support_are_counted_per_cell(fit):
    done = fit(SupportMonitor())
    events = done.events
    for cell, candidates in done.search.genotype.cells:
        for primitive in done.search.space.primitives:
            last = events.Scalars(f"{cell}_primitives/{primitive}")[-1].value
            assert last == sum(c.primitive == primitive for c in candidates)


def test_other_loggers_and_none_work_too(fit, tmp_path):
    fit(SupportMonitor(), logger=False)
    done = fit(SupportMonitor(), logger=CSVLogger(str(tmp_path)))
    with (Path(done.trainer.log_dir) / "metrics.csv").open() as file:
        assert [float(row["search/churn"]) for row in csv.DictReader(file) if row["search/churn"]] == [0.0] + 4 * [0.25]
