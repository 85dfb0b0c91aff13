"""Real runs on the digits, in processes of their own."""

import json

import pytest

import sparsenas
from sparsenas.cli import main
from sparsenas.comparison.images import ImageReport
from sparsenas.spaces import read_genotype

pytestmark = pytest.mark.slow

SECONDS = 2.5


def lines(out):
    return [json.loads(line) for line in (out / "runs.jsonl").read_text().splitlines()]


def test_the_same_images_budget_and_seconds_for_all(contest, write, tmp_path, capsys):
    contest["competitors"] = {
        "hand": {"reference": "resnet8"},
        "deep": {"reference": "mobilenet_v1"},
        "asha": {"asha": {"share": 0.4, "trial_share": 0.2}},
        "guided": {"guided": {"share": 0.4, "trial_share": 0.1, "random": 2}},
    }
    out = tmp_path / "out"
    command = ["compare", "--config", str(write(contest)), "--out", str(out), "--jobs", "2"]
    assert main([*command, "--data", "digits", "--seconds", str(SECONDS)]) == 0
    runs = {run["searcher"]: run for run in lines(out)}
    assert len({run["parts"] for run in runs.values()}) == 1
    assert "images are 8x8" in runs["deep"]["impossible"]
    for name in ("hand", "asha", "guided"):
        run = runs[name]
        assert run["seconds"] == pytest.approx(SECONDS, rel=0.1)
        assert run["parameters"] <= 6000
        assert run["macs"] <= 2e5
        assert read_genotype(run["genotype"]).to_json() == run["genotype"]
        seconds = [second for second, _ in run["curve"]]
        assert seconds == sorted(seconds)
        assert run["deciding"] < seconds[0] < seconds[-1] <= run["seconds"]
    assert runs["hand"]["accuracy"] > 50  # chance is 10
    assert runs["hand"]["deciding"] < 0.4 < runs["asha"]["deciding"]
    assert all("trials" in runs[name]["remark"] for name in ("asha", "guided"))
    text = capsys.readouterr().out
    assert (out / "table.md").read_text().strip() in text
    table = json.loads((out / "table.json").read_text())
    assert {row["name"] for row in table["rows"]} == set(runs)
    assert table["best_reference"] == "hand"
    assert (out / "figure.png").is_file()

    # from Python, a run that is missing is made, and no other
    kept = [line for line in (out / "runs.jsonl").read_text().splitlines() if '"deep"' not in line]
    (out / "runs.jsonl").write_text("".join(f"{line}\n" for line in kept))
    report = sparsenas.compare("digits", seconds=SECONDS, folder=out, config=str(tmp_path / "small.yaml"), jobs=1)
    assert "1 runs, 1 at a time" in capsys.readouterr().out
    assert isinstance(report, ImageReport)
    assert str(report) == (out / "table.md").read_text()
    assert [row.name for row in report.rows][-1] == "deep"

    # other seconds are other settings
    assert main([*command, "--data", "digits", "--seconds", "1"]) == 2
    assert "was run with other settings" in capsys.readouterr().err


def test_found_cells_and_references_are_trained_and_tested_under_attack(contest, write, tmp_path, capsys):
    model = {
        "class_path": "RelaxedSearch",
        "init_args": {
            "space": {"class_path": "DartsSpace", "init_args": {"nodes": 2}},
            "network": {"channels": 4, "cells": 3, "stem": "small"},
            "training": {"adversary": {"epsilon": 16}},
            "architecture": {"objectives": {"resource": {"low": 3000}}},
        },
    }
    search = {"model": model, "max_epochs": 1, "arch_fraction": 0.5, "cells": 3, "stem": "small"}
    contest |= {"attacks": {"epsilon": 16, "steps": [1, 3]}, "competitors": {"found": {"search": search}}}
    contest["training"]["adversary"] = {"epsilon": 16}
    contest["competitors"]["hand"] = {"reference": "resnet8"}
    assert main(["compare", "--config", str(write(contest)), "--out", str(tmp_path / "out"), "--seconds", "6"]) == 0
    runs = {run["searcher"]: run for run in lines(tmp_path / "out")}
    assert runs["found"]["genotype"]
    for run in runs.values():
        attacked = run["under_attack"]
        assert set(attacked) == {"fgsm", "pgd_3"}
        assert max(attacked.values()) <= run["accuracy"]
    assert "The networks were trained on attacked images." in capsys.readouterr().out
    rows = json.loads((tmp_path / "out" / "table.json").read_text())["rows"]
    assert not all(row["dominated"] for row in rows)
