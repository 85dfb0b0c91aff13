"""The command rank-predictors: what it writes, what it repeats, and what is wrong with its config."""

import json
from pathlib import Path

import pytest

from sparsenas.cli import main
from sparsenas.comparison.predictors import PredictorSession, read_predictor_plan
from sparsenas.errors import ConfigError


@pytest.fixture
def rank(write, tmp_path, capsys):
    """Runs the command; gives its exit code and what it printed."""

    def run(settings, *options):
        code = main(["rank-predictors", "--config", str(write(settings)), "--out", str(tmp_path / "out"), *options])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.mark.slow
def test_finished_runs_are_kept_and_missing_ones_made(settings, rank, tmp_path):
    code, _, _ = rank(settings, "--only", "early_stop_accuracy")
    assert code == 0
    before = (tmp_path / "out" / "runs.jsonl").read_text()
    assert before.count("\n") == 2
    code, _, _ = rank(settings)
    after = (tmp_path / "out" / "runs.jsonl").read_text()
    assert (code, after.startswith(before), after.count("\n")) == (0, True, 4)
    content = json.loads((tmp_path / "out" / "table.json").read_text())
    rows = {(row["name"], row["size"], row["epoch"]): row for row in content["rows"]}
    assert set(rows) == {
        *(("early_stop_accuracy", 0, epoch) for epoch in (2, 5, 9)),
        *(("random_forest", size, 0) for size in (4, 20)),
    }
    assert rows["random_forest", 20, 0]["means"]["tau"] > 0.3
    assert rows["early_stop_accuracy", 0, 9]["epochs"] == 30 * 16
    assert all(row["seeds"] == 2 for row in rows.values())
    assert (tmp_path / "out" / "figure.png").stat().st_size > 0
    code, _, errors = rank({**settings, "sizes": [4, 12]})
    assert (code, "was run with other settings" in errors) == (2, True)


def test_a_compare_names_the_command(settings, write, run_error):
    assert "rank-predictors" in run_error("compare", "--config", str(write(settings)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"table": None}, "give table and accuracy, or curves"),
        ({"curves": "x.npz"}, "give table and accuracy, or curves"),
        ({"sizes": [20, 4]}, r"sizes is \[20, 4\]; name ascending whole numbers, each once"),
        ({"sizes": []}, "sizes: empty"),
        ({"table": None, "accuracy": None, "curves": "x.npz", "published_scores": "cifar10"}, "of a table, not of"),
        ({"table": None, "accuracy": None, "curves": 5}, "curves is 5; it must be text"),
        ({"space": "DartsSpace"}, "a table has its own space; leave space out"),
        ({"test": 1}, "test is 1; use a whole number from 2 on"),
        ({"early": 5}, "early must be a list of ascending whole numbers"),
        ({"seeds": 0}, "seeds is 0"),
        ({"limit_seconds": 0}, "limit_seconds is 0; use a positive number"),
        ({"predictors": ["oracle"]}, "predictors: no oracle; known are acenas"),
        ({"predictors": []}, "predictors must be a list of names"),
        ({"predictors": ["sotl", "sotl"]}, "predictors must be a list of names, each once"),
        ({"other": 1}, "unknown entry 'other'"),
        ({"accuracy": {"dataset": "digits"}}, "split is missing"),
    ],
)
def test_wrong_entries_are_named(settings, write, change, message):
    given = {name: value for name, value in {**settings, **change}.items() if value is not None}
    with pytest.raises(ConfigError, match=message):
        read_predictor_plan(write(given))


def test_what_is_not_chosen_need_not_work(settings, write, tmp_path):
    plan = read_predictor_plan(write({**settings, "predictors": ["early_stop_accuracy", "sotl"]}))
    session = PredictorSession(plan, tmp_path)
    session.check(session.chosen(["early_stop_accuracy"]))
    with pytest.raises(ConfigError, match="sotl needs train_loss"):
        session.check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"predictors": ["sotl"]},
            "sotl needs train_loss, of which these networks know nothing; they have val_accuracy",
        ),
        ({"test": 60}, "20 networks to learn from and 60 to predict are more than the 64 that differ"),
        ({"early": [3]}, "no accuracy digits/valid/3"),
        ({"accuracy": {"dataset": "x", "split": "valid", "epochs": 30}}, "no accuracy x/valid/"),
    ],
)
def test_what_cannot_work_is_told_before_any_run(settings, rank, change, message, tmp_path):
    code, _, errors = rank({**settings, **change})
    assert code == 2
    assert message in errors
    assert not Path(tmp_path, "out").exists()
