"""Real runs in processes of their own: what they write, what is repeated, what is left when one fails or all stop."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy.stats import binomtest, kendalltau
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sparsenas.cli import main
from sparsenas.networks import NormOptions, SuperNet
from sparsenas.spaces import WeightSharing64Space

pytestmark = pytest.mark.slow


def lines(out):
    return [json.loads(line) for line in (out / "runs.jsonl").read_text().splitlines()]


@pytest.fixture
def compare(write, tmp_path, capsys):
    """Runs the command; gives its exit code and what it printed."""

    def run(settings, *options):
        code = main(["compare", "--config", str(write(settings)), "--out", str(tmp_path / "out"), *options])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_report_agrees_with_a_computation_of_its_own(settings, compare, tmp_path, monkeypatch):
    """Nobody reads the table in a run, or its accuracies before the last one has chosen: it would raise."""
    out, cap = tmp_path / "out", settings["caps"][1]
    monkeypatch.setenv("PLANTED_RUNS", str(out / "runs.jsonl"))
    monkeypatch.setenv("PLANTED_COUNT", "4")
    code, text, _ = compare(settings, "--jobs", "2")
    assert code == 0
    runs = lines(out)
    assert sorted((run["searcher"], run["seed"]) for run in runs) == [
        *(("coded", 0), ("coded", 1), ("measured", 0), ("measured", 1))
    ]
    assert all(run["timeline"][-1][1] == dict(map(tuple, run["chosen"]))[None] for run in runs)
    assert all((out / "logs" / f"{run['searcher']}-{run['seed']}.log").is_file() for run in runs)

    from planted import PlantedTable

    table = PlantedTable(settings["table"]["init_args"]["texts"])
    truth = {text: table._accuracy(row, None) for row, text in enumerate(table.texts)}
    sizes = {text: derived_size(text) for text in table.texts}
    rows = {(row["cap"], row["name"]): row for row in json.loads((out / "table.json").read_text())["rows"]}
    for limit in (None, cap):
        feasible = [text for text in table.texts if limit is None or sizes[text] <= limit]
        population = np.array([truth[text] for text in feasible])
        most = max(sizes[text] for text in feasible)
        largest = [truth[text] for text in feasible if sizes[text] == most]
        assert rows[limit, "random cell"]["mean"] == pytest.approx(population.mean())
        assert rows[limit, "most parameters"]["mean"] == pytest.approx(np.mean(largest))
        assert rows[limit, "most parameters"]["runs"] == len(largest)
        for name in ("coded", "measured"):
            mine = [run for run in runs if run["searcher"] == name]
            found = np.array([truth[dict(map(tuple, run["chosen"]))[limit]] for run in mine])
            row = rows[limit, name]
            expected = (found.mean(), np.median(found), found.min(), found.max())
            assert tuple(row[key] for key in ("mean", "median", "worst", "best")) == pytest.approx(expected)
            assert row["percentile"] == pytest.approx(np.mean([100 * np.mean(population <= acc) for acc in found]))
            wins = int((found > np.median(population)).sum())
            assert (row["beats_random"]["wins"], row["beats_random"]["runs"]) == (wins, 2)
            assert row["beats_random"]["p"] == pytest.approx(binomtest(wins, 2).pvalue)
            assert row["visited"] == np.mean([run["visited"] for run in mine])
            taus = []
            for run in mine:
                kept = [(score, truth[text]) for text, score in dict(run["scored"])[limit] if text in feasible]
                taus += [kendalltau(*zip(*kept, strict=True)).statistic] if kept else []
            assert row["tau"] == (pytest.approx(np.mean(taus)) if taus else None)
    assert rows[None, "measured"]["tau"] is not None
    assert rows[None, "coded"]["tau"] is None
    assert (out / "table.md").read_text().strip() in text
    events = EventAccumulator(str(out)).Reload().Tags()
    assert (events["images"], events["tensors"]) == (["compare/accuracy"], ["compare/table/text_summary"])

    # a second call makes what is missing only, and the same run again
    kept, removed = (out / "runs.jsonl").read_text().splitlines()[1:], runs[0]
    (out / "runs.jsonl").write_text("".join(f"{line}\n" for line in kept))
    code, text, _ = compare(settings, "--jobs", "1")
    assert code == 0
    assert text.startswith("1 runs, 1 at a time")
    again = lines(out)[-1]
    assert again["chosen"] == removed["chosen"]
    assert again["scored"] == removed["scored"]


def derived_size(text):
    """Parameters of the published network of a cell, counted in the network itself."""
    space = WeightSharing64Space()
    network = SuperNet(space, (1, 8, 8), 10, 4, 1, norms=NormOptions(affine=True, track=True, append="none"))
    return sum(p.numel() for p in network.derive(space.from_string(text)).parameters())


def test_a_crash_is_reported_and_the_others_go_on(settings, compare, tmp_path):
    settings["searchers"]["coded"]["seeds"] = settings["searchers"]["measured"]["seeds"] = 1
    settings["searchers"]["coded"]["model"] = {"class_path": "planted.Crashing"}
    code, text, errors = compare(settings)
    assert code == 1
    assert "coded with seed 0 ended with code 1" in errors
    assert "RuntimeError: planted crash" in errors
    assert [run["searcher"] for run in lines(tmp_path / "out")] == ["measured"]
    assert "| measured | 1 |" in text


def test_a_run_that_the_budget_ends_is_marked(settings, compare, tmp_path):
    settings["searchers"] = {"coded": settings["searchers"]["coded"] | {"seeds": 1, "max_epochs": 10_000}}
    settings["budget_seconds"] = 1.5
    code, text, _ = compare(settings)
    assert code == 0
    (run,) = lines(tmp_path / "out")
    assert run["cut"]
    assert 1.4 < run["seconds"] < 10
    assert "| coded | 1, 1 cut |" in text
    assert "The budget ended 1 of the 1 runs of `coded` early." in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopping_keeps_finished_runs_and_leaves_no_process(settings, write, planted, tmp_path, monkeypatch, number):
    pids = tmp_path / "pids"
    pids.mkdir()
    settings["searchers"]["measured"]["seeds"] = settings["searchers"]["coded"]["seeds"] = 1
    settings["searchers"]["coded"]["model"] = {"class_path": "planted.Waiting"}
    out = tmp_path / "out"
    path = os.pathsep.join([str(planted), *filter(None, sys.path)])
    command = [sys.executable, "-m", "sparsenas", "compare", "--config", write(settings), "--out", out, "--jobs", "2"]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": path, "PLANTED_PIDS": str(pids)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # a shell in the background has told its children to ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for(lambda: (out / "runs.jsonl").is_file() and any(pids.iterdir()))
    (pid,) = (int(file.name) for file in pids.iterdir())
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "1 of 2 runs are kept" in errors
    assert [run["searcher"] for run in lines(out)] == ["measured"]
    wait_for(lambda: not alive(pid))


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.1)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"  # a zombie waits for init only
    except FileNotFoundError:
        return False
