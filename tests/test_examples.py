"""The examples: the scripts run from end to end, and the notebook holds no outputs and runs as it stands."""

import json
import re
from importlib import import_module
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import sparsenas
from sparsenas.export import read_manifest
from sparsenas.networks import DerivedNet

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("*.py"))
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parent))  # of processes
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # restored afterwards; runs set it


def test_every_example_is_tested():
    assert SCRIPTS == ["compare_searchers", "search_and_export"]
    assert [path.name for path in NOTEBOOKS] == ["search_your_images.ipynb"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_says_what_a_script_does_costs_and_gives(name, capsys):
    script = import_module(name)
    with pytest.raises(SystemExit, match="0"):
        script.main(["--help"])
    text = capsys.readouterr().out
    assert script.__doc__.strip() in text
    assert {"Cost", "Expect"} <= set(re.findall(r"^(\w+):", text, flags=re.MULTILINE))
    (command,) = re.findall(r"^ +python (examples/\S+) (.*)$", script.__doc__, flags=re.MULTILINE)
    assert EXAMPLES.parent / command[0] == EXAMPLES / f"{name}.py"
    script.parser().parse_args(command[1].split())


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("search_and_export", ["nowhere"], "nowhere: no such folder; give a folder with a folder of images per class"),
        ("search_and_export", ["--minutes=0"], "minutes is 0.0; use a positive number"),
        ("search_and_export", ["--to=."], "--to .: is already there; name a new folder"),
        ("compare_searchers", ["nowhere"], "nowhere: no such folder; give a folder with a folder of images per class"),
        ("compare_searchers", ["--seeds=0"], "seeds is 0"),
        ("compare_searchers", ["--folder=taken/inside"], "cannot write to taken/inside"),
    ],
)
def test_a_mistake_is_one_line(name, args, message, tmp_path, capsys):
    (tmp_path / "taken").touch()
    assert import_module(name).main(args) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # runs so short make Lightning doubt their settings
def test_a_found_network_is_read_back_from_its_export(tmp_path, capsys):
    script = import_module("search_and_export")
    assert script.main(["digits", "--max_params=8000", "--minutes=0.25", "--to=network"]) == 0
    text, manifest = capsys.readouterr().out, read_manifest(tmp_path / "network")
    (right, images) = map(int, re.search(r"(\d+) of (\d+) images right$", text, flags=re.MULTILINE).groups())
    assert images == manifest.accuracy["test"].images
    assert right / images == pytest.approx(manifest.accuracy["test"].accuracy)
    assert right / images > 0.5  # chance is 0.1
    assert isinstance(sparsenas.load("network"), DerivedNet)
    assert manifest.parameters <= 8000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lightning_logs", "network"]


@pytest.mark.slow
def test_searchers_are_compared_at_equal_cost(tmp_path, capsys):
    script = import_module("compare_searchers")
    assert script.main(["digits", "--seconds=4", "--seeds=1", "--jobs=1", "--folder=out"]) == 0
    lines = [json.loads(line) for line in Path("out/runs.jsonl").read_text().splitlines()]
    runs = {line["searcher"]: line for line in lines}
    assert set(runs) == {"resnet8", "tournament", "two_stage"}
    assert len({run["parts"] for run in runs.values()}) == 1
    for run in runs.values():
        assert run["parameters"] <= 20_000
        assert run["macs"] <= 1e6
        assert run["seconds"] == pytest.approx(4, rel=0.3)
    difference = runs["tournament"]["accuracy"] - runs["two_stage"]["accuracy"]
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"tournament minus two_stage: {difference:+.2f} points over 1 seed"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_outputs(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells
    assert all(cell.outputs == [] and cell.execution_count is None and cell.metadata == {} for cell in cells)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}  # no traces of an editor


@pytest.mark.slow
def test_the_notebook_searches_predicts_exports_and_reads_back(tmp_path, monkeypatch):
    for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(variable, str(tmp_path / "settings"))
    (path,) = NOTEBOOKS
    notebook = nbformat.read(path, as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    folder = tmp_path / "work"
    folder.mkdir()
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    (shown,) = cells["show"].outputs
    assert '<img alt="architecture" src="data:image/png;base64,' in shown.data["text/html"]
    counts = {name: re.search(r"(\d+) of (\d+)", text_of(cells[name])) for name in ("predict", "read", "module-use")}
    right, same, again = ([int(count) for count in counts[name].groups()] for name in counts)
    assert right == again  # by the run, and by the export
    assert right[0] / right[1] > 0.5  # chance is 0.1
    assert same == [97, 97]
    assert any("image/png" in output.get("data", {}) for output in cells["predict"].outputs)
    assert read_manifest(folder / "my_network").parameters <= 20_000
    assert sorted(path.name for path in folder.iterdir()) == ["lightning_logs", "my_network"]


def text_of(cell):
    """What a cell printed."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")
