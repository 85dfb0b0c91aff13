"""The documentation: its code and commands run as printed, its names exist, its numbers are true."""

import ast
import gzip
import inspect
import json
import os
import re
import shlex
import sys
from collections import Counter
from importlib import import_module
from math import ceil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from sparsenas import (
    callbacks,
    comparison,
    data,
    networks,
    ranking,
    search,
    spaces,
    sparse_coding,
    tables,
    training,
    zero_cost,
)
from sparsenas.cli import main
from sparsenas.cli.shipped import shipped_configs
from sparsenas.comparison import read_plan
from sparsenas.comparison.build import build_run
from sparsenas.networks import NormOptions, SuperNet, make_operation

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
ROOMS = (callbacks, data, networks, ranking, search, sparse_coding, spaces, tables, training, zero_cost)
PUBLIC = {name: getattr(room, name) for room in ROOMS for name in room.__all__}
#: Snippets that the tests below run; a snippet more needs a test more.
SNIPPETS = {
    ("bring_your_data.md", "python"): 1,
    ("bring_your_data.md", "shell"): 2,
    ("bring_your_data.md", "yaml"): 2,
    ("bring_your_primitive.md", "python"): 2,
    ("bring_your_primitive.md", "yaml"): 1,
    ("compare.md", "yaml"): 1,
    ("export.md", "python"): 3,
    ("export.md", "shell"): 1,
    ("method.md", "yaml"): 1,
    ("spaces.md", "python"): 2,
    ("ranking.md", "python"): 1,
    ("tables.md", "python"): 1,
}
#: Shown, not run.
PROSE = {"math", "text"}
#: Appended to a printed command, so that it takes a second.
BRIEFLY = [
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=1",
    "--trainer.limit_val_batches=1",
    "--trainer.callbacks=ModelCheckpoint",
    "--trainer.callbacks.filename=best",
    "--data.batch_size=4",
    "--model.channels=8",
    "--model.cells=3",
]
#: The same for the modes of search.
MODES = {
    "search_one_stage": ["--trainer.max_epochs=18", "--trainer.callbacks.filename=last"],  # a measurement per epoch
    "search_two_stage": ["--trainer.callbacks+=GenotypeFile", "--model.warmup_epochs=0"],
}
CLASSES = ("cat", "dog")


def name_of(page):
    """Name of a page, with its folder below the documentation."""
    return page.relative_to(DOCS).as_posix()


def code_blocks(page, language="python"):
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def prose(page):
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_snippet_is_run(page):
    languages = re.findall(r"^```(.*)\n(?:.*\n)*?```$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    run = [language for language in languages if language not in PROSE]
    assert {language: run.count(language) for language in run} == {
        language: count for (name, language), count in SNIPPETS.items() if name == name_of(page)
    }


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)]+)\)", prose(page))
    assert [link for link in links if "://" not in link and not (page.parent / link.partition("#")[0]).exists()] == []


def test_the_index_lists_every_page():
    listed = re.findall(r"\]\(([^)]+)\)", (DOCS / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(name_of(page) for page in PAGES if name_of(page) != "README.md")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_classes_and_functions_exist(page):
    codes = re.findall(r"`([^`\n]+)`", prose(page))
    for dotted in (code for code in codes if re.fullmatch(r"sparsenas(\.\w+)+", code)):
        module, _, name = dotted.rpartition(".")
        assert name in import_module(module).__all__, dotted
    for code in codes:
        camel = re.match(r"([A-Z][a-z]+[A-Z]\w+)(?=$|[.(])", code)
        assert camel is None or camel[1] in PUBLIC, code


def defaults(page):
    """Rows ``| `Class.option` | `value` |``."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"^\| `(\w+)\.(\w+)` \| `(.+?)` \|", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("owner", "option", "value"), [row for page in ("method.md", "bring_your_data.md") for row in defaults(page)]
)
def test_quoted_defaults_are_those_of_the_code(owner, option, value):
    assert inspect.signature(PUBLIC[owner]).parameters[option].default == ast.literal_eval(value)


@pytest.fixture
def user_folder(tmp_path, monkeypatch):
    """Where a user stands: photos of cats and dogs, and the archive that the page makes of them."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    images = rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = tmp_path / "photos" / CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # restored afterwards; runs set it
    (code,) = code_blocks("bring_your_data.md")
    exec(compile(code, "bring_your_data.md", "exec"), {"images": images, "labels": labels})
    return tmp_path


def command_lines(page):
    """Arguments of the printed commands."""
    lines = [line for block in code_blocks(page, "shell") for line in block.splitlines()]
    assert all(line.startswith("python -m sparsenas ") for line in lines)
    return [shlex.split(line)[3:] for line in lines]


@pytest.mark.filterwarnings("ignore")  # runs so short make Lightning doubt their settings
def test_printed_commands_search_train_test_and_predict(user_folder, capsys):
    folder_config, _ = code_blocks("bring_your_data.md", "yaml")
    (user_folder / "images.yaml").write_text(re.sub(r"size: \d+", "size: 8", folder_config), encoding="utf-8")
    for command, *args in command_lines("bring_your_data.md"):
        briefly = ["--data.num_workers=0"] if "--config" in args else []
        if command == "fit":
            briefly += [*BRIEFLY, *MODES.get(args[1].removesuffix("_digits"), [])]
        assert main([command, *args, *briefly]) == 0, capsys.readouterr().err
    assert "test/acc" in capsys.readouterr().out
    (predictions,) = user_folder.glob("lightning_logs/*/predictions.csv")
    assert {line.split(",")[1] for line in predictions.read_text().splitlines()[1:]} <= set(CLASSES)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # as above
def test_an_export_is_used_in_every_way_the_page_shows(user_folder, capsys):
    digit = np.rint(load_digits().images[7] * (255 / 16)).astype(np.uint8)
    Image.fromarray(digit).save(user_folder / "seven.png")
    for command, *args in command_lines("export.md"):
        assert main([command, *args, *(BRIEFLY if command == "fit" else [])]) == 0, capsys.readouterr().err
    predicted = capsys.readouterr().out.splitlines()[-1].split()
    scopes = [{} for _ in code_blocks("export.md")]
    for code, scope in zip(code_blocks("export.md"), scopes, strict=True):
        exec(compile(code, "export.md", "exec"), scope)
    assert capsys.readouterr().out.split() == [predicted[1]]
    probabilities = scopes[0]["probabilities"]
    assert float(predicted[2]) == pytest.approx(float(probabilities.max()), abs=1e-4)
    for scope in scopes[1:]:
        torch.testing.assert_close(torch.as_tensor(scope["logits"]).softmax(1), probabilities, rtol=0, atol=1e-4)


@pytest.mark.filterwarnings("ignore")  # as above
def test_archive_and_exchanged_parts_are_searched(user_folder, capsys):
    _, archive_config = code_blocks("bring_your_data.md", "yaml")
    (parts_config,) = code_blocks("method.md", "yaml")
    (user_folder / "images.yaml").write_text(archive_config, encoding="utf-8")
    (user_folder / "parts.yaml").write_text(parts_config, encoding="utf-8")
    search_command = next(line for line in command_lines("bring_your_data.md") if "search_two_stage_digits" in line)
    args = [*search_command, "--config", "parts.yaml", *BRIEFLY[-3:], "--trainer.fast_dev_run=true"]
    assert main(args) == 0, capsys.readouterr().err


def recovered(kind, m, solver, draws=40):
    """Recoveries of Gaussian ``b``, and how often the support of an exact 2-sparse code is found."""
    generator = torch.Generator().manual_seed(0)
    sizes = tuple(len(block) for block in spaces.DartsSpace().blocks[:4])
    found, seen = torch.zeros(4), []
    dictionary = sparse_coding.make_dictionary(kind, sizes, m, generator)
    for _ in range(draws):
        if kind == "uniform":
            dictionary = sparse_coding.make_dictionary(kind, sizes, m, generator)
        problem = sparse_coding.RecoveryProblem(dictionary, sizes, 2)
        b = torch.randn(4, m, generator=generator, dtype=torch.float64)
        recovery = solver.solve(problem, b)
        weights = sparse_coding.architecture_weights(b, dictionary, recovery.code, recovery.support)
        opposite = (weights * recovery.code.gather(1, recovery.support) < 0).double().mean(1)
        certificate = recovery.certificate
        seen.append(torch.stack([certificate.nonzeros, certificate.l1_share, certificate.residual, opposite]))
        support = torch.stack([torch.randperm(n, generator=generator)[:2].sort().values for n in sizes])
        code = torch.zeros(4, max(sizes), dtype=torch.float64)
        code.scatter_(1, support, torch.randn(4, 2, generator=generator, dtype=torch.float64))
        image = (dictionary @ code[:, :, None])[:, :, 0]
        found += (solver.solve(problem, image).support == support).all(1)
    return torch.stack(seen).mean(0), found / draws, sparse_coding.mutual_coherence(dictionary, sizes)


def test_what_the_method_page_says_of_the_official_recovery():
    (nonzeros, l1_share, residual, opposite), found, coherence = recovered(
        "uniform", 7, sparse_coding.LarsSolver(), draws=150
    )
    assert nonzeros.tolist() == [7.0] * 4
    assert ((l1_share > 0.5) & (l1_share < 0.6)).all()
    assert residual[[0, 3]].tolist() == pytest.approx([1.0, 0.7], abs=0.1)
    assert opposite.mean() == pytest.approx(0.25, abs=0.05)
    assert found[[0, 3]].tolist() == pytest.approx([0.9, 0.55], abs=0.1)
    assert coherence.mean() == pytest.approx(0.97, abs=0.02)


def test_what_the_method_page_says_of_the_default_recovery():
    (_, _, _, opposite), found, coherence = recovered("low_coherence", 8, sparse_coding.ExactSolver())
    assert opposite.max() == 0
    assert found.tolist() == [1.0] * 4
    assert ((coherence > 0.25) & (coherence < 0.4)).all()


@pytest.fixture
def primitive_page(monkeypatch):
    """The page's module, importable under the name it tells to use, and the space it builds."""
    module_code, space_code = code_blocks("bring_your_primitive.md")
    module = ModuleType("my_primitives")
    exec(compile(module_code, "my_primitives.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "my_primitives", module)
    scope = {}
    exec(compile(space_code, "bring_your_primitive.md", "exec"), scope)
    return module_code, scope["space"]


def test_own_primitive_takes_about_twenty_lines(primitive_page):
    assert len(primitive_page[0].splitlines()) <= 20


@pytest.mark.usefixtures("primitive_page")
@pytest.mark.parametrize("norms", [NormOptions(), NormOptions(affine=False, track=False)])
@pytest.mark.parametrize("stride", [1, 2])
def test_own_primitive_conforms(stride, norms):
    operation = make_operation("my_primitives:mbconv_3x3", 4, stride, norms)
    for height, width in ((8, 8), (9, 12)):
        assert operation(torch.randn(2, 4, height, width)).shape == (2, 4, ceil(height / stride), ceil(width / stride))


def test_own_primitive_is_searched_and_derived(primitive_page):
    _, space = primitive_page
    network = SuperNet(space, (1, 8, 8), 5, channels=4, cells=3, stem="small")
    own = space.primitives.index("my_primitives:mbconv_3x3")
    support = tuple((own, own + len(space.primitives)) for _ in space.blocks)
    genotype = space.genotype(support)
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(network(images, support), network.derive(genotype)(images))
    assert {candidate.primitive for candidate in genotype.cell("normal")} == {"my_primitives:mbconv_3x3"}
    assert space.sample(np.random.default_rng(0)).space == "darts"


@pytest.mark.skipif("SPARSENAS_DATA" not in os.environ, reason="SPARSENAS_DATA is not set: no real tables")
@pytest.mark.parametrize(
    ("page", "printed"),
    [
        ("ranking.md", ["| non-pool edges | 0.791 |", "| last snapshot | ", "| mean snapshot | 0.658 |"]),
        ("tables.md", [" 91.6067", "Cost(parameters="]),
    ],
)
def test_tables_are_asked_as_the_pages_show(page, printed, capsys):
    (code,) = code_blocks(page)
    exec(compile(code, page, "exec"), {})
    text = capsys.readouterr().out
    assert [part for part in printed if part not in text] == []


def test_every_heuristic_is_a_level_of_the_study(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS.parent / "benchmarks"))
    levels = set(import_module("supernet_heuristics").LEVELS.values())
    text = (DOCS / "supernet.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\|.*\| `(--.*)` \|$", text, flags=re.MULTILINE))
    assert len(named) == 11
    assert named <= levels


def test_the_study_shows_the_figures_of_its_file(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS.parent / "benchmarks"))
    script, folder = import_module("weight_sharing_table"), DOCS / "studies"
    result = json.loads((folder / "weight_sharing_64.json").read_text(encoding="utf-8"))
    text = (folder / "weight_sharing_64.md").read_text(encoding="utf-8")
    assert script.rankings_table(result) in text
    assert script.published_table(result) in text
    assert (folder / "weight_sharing_64.png").stat().st_size < 60_000


def test_tables_of_the_super_nets_are_those_of_their_results(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS.parent / "benchmarks"))
    report, folder = import_module("supernet_report"), DOCS / "studies"
    tables = {report.levels_table, report.effects_table}
    for page, name, shown in (
        ("supernet_nasbench201", "supernet_nasbench201", tables | {report.none_table}),
        ("supernet_nasbench201", "supernet_nasbench201_better", tables | {report.none_table}),
        ("supernet_nasbench201", "supernet_nasbench201_single", tables),
        ("supernet_nasbench_macro", "supernet_nasbench_macro", tables),
    ):
        text = (folder / f"{page}.md").read_text(encoding="utf-8")
        result = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        assert [table.__name__ for table in shown if table(result) not in text] == []
        assert (folder / f"{page}.png").stat().st_size < 60_000


def test_tables_of_trained_weight_sharing_are_those_of_their_results(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS.parent / "benchmarks"))
    report, folder = import_module("weight_sharing_report"), DOCS / "studies"
    result = json.loads((folder / "weight_sharing_trained.json").read_text(encoding="utf-8"))
    text = (folder / "weight_sharing_trained.md").read_text(encoding="utf-8")
    for table in (report.levels_table, report.recency_table, report.fine_tuning_table):
        assert table(result) in text
    assert (folder / "weight_sharing_trained.png").stat().st_size < 60_000


def test_tables_of_the_comparison_are_those_of_its_results():
    text, folder = (DOCS / "studies" / "nasbench201.md").read_text(encoding="utf-8"), DOCS / "studies"
    rows = [
        comparison.Row(
            **row | {name: row[name] and comparison.SignTest(**row[name]) for name in ("beats_random", "beats_largest")}
        )
        for row in json.loads((folder / "nasbench201.json").read_text(encoding="utf-8"))["rows"]
    ]
    plan = read_plan(shipped_configs()["compare_nasbench201"])
    planned = Counter(run.searcher for run in plan.runs)
    assert comparison.percentile_table(rows) in text
    for cap in (None, 0.35e6):
        assert comparison.cap_table([row for row in rows if row.cap == cap], planned) in text
    with gzip.open(folder / "nasbench201_runs.jsonl.gz", "rt", encoding="utf-8") as file:
        runs = Counter(json.loads(line)["searcher"] for line in file)
    assert runs == planned
    assert (folder / "nasbench201.png").stat().st_size < 60_000


#: Name of the results, page, how many of their accuracies are on it, and searchers of ten runs each.
MEASURED_STUDIES = [
    (
        "measured_nasbench201",
        "measured_nasbench201.md",
        3,
        ("measured", "operation_counts", "jacobian_covariance", "single_path", "paired_losses"),
    ),
    ("measured_nasbench201_fourth", "measured_nasbench201.md", 1, ("measured", "jacobian_covariance")),
    ("measured_nasbench201_third", "measured_nasbench201.md", 1, ("measured", "jacobian_covariance")),
    ("measured_nasbench201_second", "measured_nasbench201.md", 1, ("measured", "jacobian_covariance")),
    ("measured_nasbench201_first", "measured_nasbench201.md", 1, ("measured", "jacobian_covariance", "single_path")),
    ("measured_nasbench_macro", "measured_other_spaces.md", 1, ("measured",)),
    ("measured_nasbench_macro_first", "measured_other_spaces.md", 1, ("measured",)),
    (
        "shared_weights_nasbench_macro",
        "shared_weights_nasbench_macro.md",
        1,
        ("best_of_100", "shared_weights", "fine_tuning", "paired_losses", "swaps"),
    ),
    ("measured_weight_sharing64", "measured_other_spaces.md", 1, ("measured", "paired_losses")),
    ("measured_weight_sharing64_first", "measured_other_spaces.md", 1, ("measured",)),
]


def measured_reports(name):
    """The reports of a study: by the accuracy that judges, then by others; rows and summaries as objects."""
    content = json.loads((DOCS / "studies" / f"{name}.json").read_text(encoding="utf-8"))
    for report in (content, *content["also"]):
        rows = [
            comparison.Row(
                **row
                | {name: row[name] and comparison.SignTest(**row[name]) for name in ("beats_random", "beats_largest")}
            )
            for row in report["rows"]
        ]
        yield rows, [comparison.Summary(**row) for row in report["summaries"]]


@pytest.mark.parametrize(("name", "page", "judged", "searchers"), MEASURED_STUDIES)
def test_tables_of_the_measured_search_are_those_of_its_results(name, page, judged, searchers):
    """The first ``judged`` accuracies are on the page."""
    text = (DOCS / "studies" / page).read_text(encoding="utf-8")
    for rows, summaries in list(measured_reports(name))[:judged]:
        assert comparison.percentile_table(rows) in text
        assert comparison.summary_table(summaries) in text
    with gzip.open(DOCS / "studies" / f"{name}_runs.jsonl.gz", "rt", encoding="utf-8") as file:
        runs = Counter(json.loads(line)["searcher"] for line in file)
    assert runs == dict.fromkeys(searchers, 10)


def test_tables_under_caps_of_the_measured_search():
    """The tightest cap, and where the first search failed."""
    text = (DOCS / "studies" / "measured_nasbench201.md").read_text(encoding="utf-8")
    rows, summaries = next(measured_reports("measured_nasbench201"))
    planned = {summary.name: 10 for summary in summaries if summary.runs}
    for cap in (None, 0.35e6, 1.1e6):
        assert comparison.cap_table([row for row in rows if row.cap == cap], planned) in text


@pytest.mark.parametrize("name", ["capped_quality", "capped_quality_four_signals"])
def test_cells_under_a_cap_are_those_of_the_study(name):
    text = (DOCS / "studies" / "measured_other_spaces.md").read_text(encoding="utf-8")
    content = json.loads((DOCS.parent / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))
    for row in content["rows"]:
        accuracies = [100 * cell["test_acc"] for cell in content["cells"] if cell["method"] == row["method"]]
        assert len(accuracies) == row["cells"]
        spread = f"{np.mean(accuracies):.1f} ± {np.std(accuracies, ddof=1):.1f}"
        figures = (
            f"{row['cells']} | {spread} ({min(accuracies):.1f} to {max(accuracies):.1f}) | {np.median(accuracies):.1f}"
        )
        assert f"| {figures} | {row['parameters_mean'] / 1e3:.1f} k |" in text, row["method"]


def test_figures_of_the_measured_search_in_the_readme():
    content = json.loads((DOCS / "studies" / "measured_nasbench201.json").read_text(encoding="utf-8"))
    summaries = {summary["name"]: summary for summary in content["summaries"]}
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    named = {
        "`MeasuredSearch`, default": "measured",
        "Jacobian covariance alone, a signal chosen with these accuracies": "jacobian_covariance",
        "a regression on operation counts over the same measurements": "operation_counts",
        "single-path search with shared weights, best of 100": "single_path",
        "the cell with the most live parameters: no search": "most live parameters",
        "the cell with the most parameters: no search": "most parameters",
    }
    section = readme.split("**Search by measurement on NAS-Bench-201**")[1]
    for text, name in named.items():
        summary = summaries[name]
        mean = f"{summary['mean']:.1f}" + (f" ({summary['worst']:.1f})" if summary["runs"] else "")
        p = summaries["measured"]["p"].get(name)
        printed = (
            ""
            if p is None
            else "< .001"
            if p < 0.001
            else f"{p:.3f}".lstrip("0")
            if p < 0.01
            else f"{p:.2f}".lstrip("0")
        )
        line = next(line for line in section.splitlines() if line.startswith(f"| {text} |"))
        assert line == f"| {text} | {summary['runs'] or ''} | {mean} | {printed} |".replace("|  |", "| |")


@pytest.mark.parametrize(
    ("study", "name", "printed"),
    [
        ("measured_nasbench_macro", "measured", "{mean} (worst run {worst})"),
        ("measured_nasbench_macro", "most parameters", "the chain with the most parameters has {mean}"),
        ("measured_nasbench_macro", "random in the band", "a random one of the band {mean}"),
        ("measured_nasbench_macro", "most live multiply-adds", "within the cap has {mean}"),
        ("shared_weights_nasbench_macro", "paired_losses", "(`PairedLosses`) has {mean} ({worst})"),
        ("shared_weights_nasbench_macro", "best_of_100", "the best of 100 chains {mean}"),
        ("shared_weights_nasbench_macro", "swaps", "gradients of swaps {mean}"),
        ("measured_nasbench201", "paired_losses", "on NAS-Bench-201 it has {mean} ({worst})"),
    ],
)
def test_figures_of_other_spaces_in_the_readme(study, name, printed):
    content = json.loads((DOCS / "studies" / f"{study}.json").read_text(encoding="utf-8"))
    (summary,) = (summary for summary in content["summaries"] if summary["name"] == name)
    readme = " ".join((DOCS.parent / "README.md").read_text(encoding="utf-8").split())
    assert printed.format(mean=f"{summary['mean']:.1f}", worst=f"{summary['worst']:.1f}") in readme


def test_figures_of_the_quickstart_in_the_readme():
    content = json.loads((DOCS.parent / "benchmarks" / "results" / "quickstart.json").read_text(encoding="utf-8"))
    arms = {arm["name"]: arm["runs"] for arm in content["arms"]}
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    named = {
        "the fixed 359 (`data.test_seed: 0`)": "once",
        "another 359 for each run (`data.test_seed` 1 to 5)": "other_images",
        "by steps on `b`: the fixed 359": "control",
    }
    for text, name in named.items():
        accuracies = [100 * run["test_acc"] for run in arms[name]]
        assert f"| {text} | {', '.join(f'{a:.1f}' for a in accuracies)} | {np.mean(accuracies):.1f} |" in readme
    losses = {
        name: f"{np.mean([run['val_loss'] for run in runs]):.3f}".lstrip("0")
        for name, runs in arms.items()
        if name != "other_images"
    }
    printed = " ".join(readme.split())
    assert f"{losses['once']} in the mean over the seeds against {losses['control']} by steps on `b`" in printed
    assert f"Step times as a second signal, {losses['short']}," in printed
    assert f"**The largest cell, without any search, has {losses['untrained']}**" in printed


def test_figures_of_the_comparison_in_the_readme():
    """Mean and worst accuracy without a cap, and the mean percentile over all caps, as printed."""
    rows = json.loads((DOCS / "studies" / "nasbench201.json").read_text(encoding="utf-8"))["rows"]
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    named = {
        "the cell with the most parameters: no search": ["most parameters"],
        "random search: nine cells trained alone": ["random"],
        "single-path, best of 100": ["single_path"],
        "PC-DARTS": ["pc_darts"],
        "two-stage, our default": ["two_stage"],
        "two-stage, official recipe": ["two_stage_official"],
        "DARTS, first and second order": ["darts_first_order", "darts_second_order"],
        "GDAS": ["gdas"],
        "a random cell": ["random cell"],
    }
    for text, names in named.items():
        uncapped = [row for name in names for row in rows if row["name"] == name and row["cap"] is None]
        means = [np.mean([row["percentile"] for row in rows if row["name"] == name]) for name in names]
        accuracy = " and ".join(f"{row['mean']:.1f} ({row['worst']:.1f})" for row in uncapped)
        line = next(line for line in readme.splitlines() if line.startswith(f"| {text} |"))
        assert line.endswith(f"| {accuracy} % | {' and '.join(f'{mean:.0f}' for mean in means)} |")


def test_config_names_the_same_primitives(primitive_page):
    (config,) = code_blocks("bring_your_primitive.md", "yaml")
    assert tuple(re.findall(r"[\w:]+", config.split("primitives: [")[1])) == primitive_page[1].primitives


def test_own_searcher_is_an_entry_of_a_comparison(tmp_path):
    config = yaml.safe_load(shipped_configs()["compare_nasbench201"].read_text(encoding="utf-8"))
    config["common"]["data"] = {"class_path": "Digits", "init_args": {"arch_fraction": 0.4}}
    config["searchers"] = yaml.safe_load(code_blocks("compare.md", "yaml")[0])["searchers"]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    runs = read_plan(tmp_path / "own.yaml").runs
    built, _, _ = build_run(runs[-1].settings)
    assert (len(runs), built.seed, built.selection.count, built.space.name) == (5, 4, 20, "nasbench201")


def test_what_the_page_on_comparisons_says_of_sign_tests():
    smallest = [comparison.sign_test([1.0] * runs, 0.0).p for runs in (5, 10)]
    assert smallest == [pytest.approx(0.06, abs=0.005), pytest.approx(0.002, abs=0.0005)]


def test_spaces_as_the_page_shows_them(capsys):
    use, _ = code_blocks("spaces.md")
    scope = {}
    exec(compile(use, "spaces.md", "exec"), scope)
    text, parameters = capsys.readouterr().out.split()
    assert scope["space"].from_string(text) == scope["genotype"]
    assert sum(p.numel() for p in scope["published"].parameters()) == int(parameters)
    assert scope["logits"].shape == (4, 10)


def test_own_space_is_searched_and_derived():
    scope = {}
    exec(compile(code_blocks("spaces.md")[1], "spaces.md", "exec"), scope)
    space, rng = scope["PoolingReductions"](), np.random.default_rng(0)
    network = SuperNet(space, (1, 8, 8), 5, channels=4, cells=3, stem="small")
    support, images = space.sample_support(rng), torch.randn(2, 1, 8, 8)
    assert torch.equal(network(images, support), network.derive(space.genotype(support))(images))
    assert space.size == (4 * 12) ** 2
    assert space.mutate(space.genotype(support), rng) in space.neighbours(space.genotype(support))
