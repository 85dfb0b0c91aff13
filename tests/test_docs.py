"""The documentation: its code and commands run as printed, its links and names exist, its defaults are the code's."""

import ast
import inspect
import json
import os
import re
import shlex
import sys
from importlib import import_module
from itertools import product
from math import ceil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import pytorch_lightning.callbacks
import timm
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits

import sparsenas
from sparsenas import (
    callbacks,
    comparison,
    data,
    export,
    networks,
    ranking,
    schedules,
    search,
    spaces,
    sparse_coding,
    tables,
    training,
    zero_cost,
)
from sparsenas.api.compare import image_session
from sparsenas.cli import main
from sparsenas.comparison import read_plan
from sparsenas.comparison.build import build_run
from sparsenas.comparison.images import paired_test
from sparsenas.complexity import Complexity, count_parameters
from sparsenas.latency import read_layer_times
from sparsenas.limits import Limits
from sparsenas.networks import NormOptions, SuperNet, make_operation
from sparsenas.search import measured

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CONFIGS = {path.stem: path for path in (ROOT / "configs").glob("*.yaml")}
PAGES = sorted(page for page in DOCS.glob("*.md"))
#: Pages beside the site whose links and names are checked, too.
BESIDE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "configs" / "README.md"]
ROOMS = (
    callbacks,
    data,
    measured,
    networks,
    ranking,
    search,
    sparse_coding,
    spaces,
    tables,
    training,
    zero_cost,
)
PUBLIC = {name: getattr(room, name) for room in ROOMS for name in room.__all__} | {"Schedule": schedules.Schedule}
#: Snippets that the tests below run; a snippet more needs a test more.
SNIPPETS = {
    ("bring_your_data.md", "python"): 1,
    ("bring_your_data.md", "shell"): 2,
    ("bring_your_data.md", "yaml"): 2,
    ("bring_your_primitive.md", "python"): 2,
    ("bring_your_primitive.md", "yaml"): 1,
    ("bring_your_searcher.md", "python"): 1,
    ("bring_your_searcher.md", "shell"): 1,
    ("bring_your_searcher.md", "yaml"): 1,
    ("compare.md", "yaml"): 3,
    ("export.md", "python"): 5,
    ("export.md", "shell"): 1,
    ("method.md", "yaml"): 1,
    ("python.md", "python"): 2,
    ("spaces.md", "python"): 3,
    ("spaces.md", "shell"): 1,
    ("ranking.md", "python"): 1,
    ("tables.md", "python"): 1,
    ("tables.md", "shell"): 1,
    ("training.md", "bash"): 1,  # these in test_training_page.py
    ("training.md", "yaml"): 2,
}
#: Shown, not run.
PROSE = {"math", "text", "{toctree}"}
#: Appended to a printed command, so that it takes a second.
BRIEFLY = [
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=1",
    "--trainer.limit_val_batches=1",
    "--trainer.callbacks=ModelCheckpoint",
    "--trainer.callbacks.filename=best",
    "--data.batch_size=4",
    "--model.network.channels=8",
    "--model.network.cells=3",
]
#: The same for the kinds of search.
KINDS = {
    "photos": [
        "--trainer.callbacks.filename=last",
        "--model.budget.max_params=1e9",
        "--model.network.cells=null",
        "--model.training.seconds=2",
        "--model.tournament.random=1",
        "--model.tournament.rounds=0",
    ],
    "search_two_stage": ["--trainer.callbacks+=GenotypeFile", "--model.architecture.warmup_epochs=0"],
}
CLASSES = ("cat", "dog")


def name_of(page):
    """Path of a page in the repository, or its name inside the documentation."""
    return page.name if page.parent == DOCS else page.relative_to(ROOT).as_posix()


def code_blocks(page, language="python"):
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def prose(page):
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def links(page):
    """Links to files, without their anchors."""
    found = re.findall(r"\]\(([^)]+)\)", prose(page))
    return [link.partition("#")[0] for link in found if "://" not in link]


def run_snippet(code, page, scope=None):
    """Execute a snippet, and return its names."""
    scope = {} if scope is None else scope
    exec(compile(code, page, "exec"), scope)
    return scope


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_snippet_is_run(page):
    languages = re.findall(r"^```(.*)\n(?:.*\n)*?```$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    run = [language for language in languages if language not in PROSE]
    assert {language: run.count(language) for language in run} == {
        language: count for (name, language), count in SNIPPETS.items() if name == name_of(page)
    }


@pytest.mark.parametrize("page", [*PAGES, *BESIDE], ids=name_of)
def test_links_lead_to_files(page):
    assert [link for link in links(page) if link and not (page.parent / link).exists()] == []


def test_the_index_lists_every_page_and_study():
    listed = {(DOCS / link).resolve() for link in links(DOCS / "index.md")}
    studies = set((ROOT / "studies").glob("*/README.md"))
    assert {page for page in {*PAGES, *studies} - listed if page.name != "index.md"} == set()


@pytest.mark.parametrize("page", [*PAGES, *BESIDE], ids=name_of)
def test_named_classes_and_functions_exist(page):
    codes = re.findall(r"`([^`\n]+)`", prose(page))
    for dotted in (code for code in codes if re.fullmatch(r"sparsenas(\.\w+){2,}", code)):
        module, _, name = dotted.rpartition(".")
        assert name in import_module(module).__all__, dotted
    for code in codes:
        camel = re.match(r"([A-Z][a-z]+[A-Z]\w+)(?=$|[.(])", code)
        known = camel is None or camel[1] in PUBLIC or hasattr(sparsenas.errors, camel[1])
        assert known or hasattr(pytorch_lightning.callbacks, camel[1]), code


@pytest.mark.parametrize("page", [*PAGES, *BESIDE], ids=name_of)
def test_named_configs_and_scripts_exist(page):
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"--config (\w+)(?![\w./])", text))
    named |= {code for code in re.findall(r"`(\w+)`", text) if re.match(r"(search|train|compare|supernet)_\w+_", code)}
    assert named - {"CONFIG", "NAME"} <= set(CONFIGS)
    assert [path for path in re.findall(r"\b(?:benchmarks|tests)/\w+\.py", text) if not (ROOT / path).is_file()] == []


def test_the_matrix_of_configs_names_each_of_them_once():
    text = (ROOT / "configs" / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)) == sorted(CONFIGS)


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
    run_snippet(*code_blocks("bring_your_data.md"), "bring_your_data.md", {"images": images, "labels": labels})
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
        briefly = ["--data.num_workers=0"] if "images" in str(args) else []
        if command == "fit":
            briefly += [*BRIEFLY, "--data.size=8", *KINDS.get(args[1].removesuffix("_digits"), [])]
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
    scope, all_logits = export_page()
    assert capsys.readouterr().out.split() == [predicted[1]]
    assert float(predicted[2]) == pytest.approx(float(scope["probabilities"].max()), abs=1e-4)
    for logits in all_logits:
        found = torch.as_tensor(logits).softmax(1)
        torch.testing.assert_close(found, scope["probabilities"], rtol=0, atol=1e-4)


def export_page():
    """Run the snippets of the page on exports, one after another; names of the first one, logits of the others."""
    first, *others = code_blocks("export.md")
    names, scope, logits = run_snippet(first, "export.md"), {}, []
    try:
        for code in others:
            run_snippet(code, "export.md", scope)
            logits += [torch.as_tensor(scope.pop("logits"))] if "logits" in scope else []
    finally:
        sys.modules.pop("model", None)
        sys.path.remove("digits")
        sys.path_importer_cache.pop("digits", None)
    return names, logits


@pytest.mark.slow
@pytest.mark.parametrize("resize", ["squash", 20])
def test_the_export_page_prepares_photos_of_any_size(resize, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    preparation = export.Preparation((3, 17, 17), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), resize)
    genotype = spaces.REFERENCES["resnet8"].genotype
    network = networks.DerivedNet(genotype, preparation.image_shape, 2, 8, None).eval()
    description = export.Description(preparation, CLASSES)
    images = torch.randn(3, *preparation.image_shape, generator=torch.Generator().manual_seed(0))
    export.export_network(network, network, images, description, "digits", ("pt2", "python", "onnx"))
    pixels = np.random.default_rng(0).integers(0, 256, (61, 47, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("seven.png")
    scope, all_logits = export_page()
    assert len(all_logits) == 3
    for logits in all_logits:
        torch.testing.assert_close(logits.softmax(1), scope["probabilities"], rtol=0, atol=1e-4)


@pytest.mark.filterwarnings("ignore")  # as above
def test_archive_and_exchanged_parts_are_searched(user_folder, capsys):
    _, archive_config = code_blocks("bring_your_data.md", "yaml")
    (parts_config,) = code_blocks("method.md", "yaml")
    (user_folder / "images.yaml").write_text(archive_config, encoding="utf-8")
    (user_folder / "parts.yaml").write_text(parts_config, encoding="utf-8")
    search_command = next(line for line in command_lines("bring_your_data.md") if "search_two_stage_digits" in line)
    args = [*search_command, "--config", "parts.yaml", *BRIEFLY[-3:], "--trainer.fast_dev_run=true"]
    assert main(args) == 0, capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # as above
def test_the_front_door_finds_predicts_and_exports(user_folder, capsys):
    photo = (user_folder / "photos" / "cat" / "0.png").read_bytes()
    (user_folder / "new.jpg").write_bytes(photo)
    for name in CLASSES:
        for number in range(100, 160):  # enough for the batches of the config
            (user_folder / "photos" / name / f"{number}.png").write_bytes(photo)
    readme, (page, _) = code_blocks("../README.md"), code_blocks("python.md")
    calls = [re.findall(r"sparsenas\.search\(.*?\)|found\.\w+\(.*?\)", code) for code in (*readme, page)]
    assert calls[0] == calls[1]
    found = run_snippet(readme[0].replace("minutes=5", "minutes=0.3"), "README.md")["found"]
    assert sum(p.numel() for p in found.network.parameters()) <= 50_000
    assert found.predict("new.jpg")[0].label in CLASSES
    assert "accuracy" in capsys.readouterr().out
    assert (user_folder / "my_network" / "manifest.json").is_file()


@pytest.mark.filterwarnings("ignore")  # as above
def test_the_classes_beneath_search_and_train(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _, code = code_blocks("python.md")
    scope = run_snippet(code.replace("epochs = 20", "epochs = 2"), "python.md")
    assert scope["training"].genotype == scope["search"].genotype
    assert 0.0 <= float(scope["trainer"].callback_metrics["test/acc"]) <= 1.0


@pytest.fixture
def own_searcher(tmp_path, monkeypatch):
    """A folder with the page's module, importable under the name it tells to use, and its config."""
    (code,), (config,) = code_blocks("bring_your_searcher.md"), code_blocks("bring_your_searcher.md", "yaml")
    (tmp_path / "my_searcher.py").write_text(code, encoding="utf-8")
    (tmp_path / "my_search.yaml").write_text(config, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # restored afterwards; runs set it
    yield tmp_path
    sys.modules.pop("my_searcher", None)


@pytest.mark.filterwarnings("ignore")  # runs so short make Lightning doubt their settings
def test_own_searcher_runs_from_its_config(own_searcher, capsys):
    (command,) = command_lines("bring_your_searcher.md")
    briefly = ["--trainer.max_epochs=2", "--trainer.limit_train_batches=6", "--trainer.accelerator=cpu"]
    assert main([*command, *briefly]) == 0, capsys.readouterr().err
    (run,) = (own_searcher / "lightning_logs").iterdir()
    assert (run / "genotype.json").is_file()
    assert (run / "result.json").is_file()


def test_own_searcher_decides_and_keeps_its_budget(own_searcher):
    module = import_module("my_searcher")
    rng, budget = np.random.default_rng(0), search.Budget(max_params=30_000)
    size = networks.NetworkConfig(channels=8, cells=3, stem="small")
    searcher = module.EvolvingSearch((1, 8, 8), 10, network=size, budget=budget)
    assert searcher.decide() == searcher.support
    assert searcher.constraints.allows(searcher.support)
    tighter = search.Budget(max_params=20_000).of_network(searcher.network)
    draws = [searcher.space.sample_support(rng) for _ in range(50)]
    searcher.measured = {support: float(number) for number, support in enumerate(draws)}
    assert searcher.decide(tighter) == next(support for support in reversed(draws) if tighter.allows(support))


def test_own_searcher_uses_public_names_only():
    (code,) = code_blocks("bring_your_searcher.md")
    tree = ast.parse(code)
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    private = [name for name in names if name.startswith("_") and name != "__init__"]
    assert private + [module for module in modules if "._" in module] == []


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


def test_official_recovery_is_what_the_method_page_tabulates():
    (nonzeros, l1_share, residual, opposite), found, coherence = recovered(
        "uniform", 7, sparse_coding.LarsSolver(), draws=150
    )
    assert nonzeros.tolist() == [7.0] * 4
    assert ((l1_share > 0.5) & (l1_share < 0.6)).all()
    assert residual[[0, 3]].tolist() == pytest.approx([1.0, 0.7], abs=0.1)
    assert opposite.mean() == pytest.approx(0.25, abs=0.05)
    assert found[[0, 3]].tolist() == pytest.approx([0.9, 0.55], abs=0.1)
    assert coherence.mean() == pytest.approx(0.97, abs=0.02)


def test_default_recovery_is_what_the_method_page_tabulates():
    (_, _, _, opposite), found, coherence = recovered("low_coherence", 8, sparse_coding.ExactSolver())
    assert opposite.max() == 0
    assert found.tolist() == [1.0] * 4
    assert ((coherence > 0.25) & (coherence < 0.4)).all()


@pytest.fixture
def primitive_page(monkeypatch):
    """The page's module, importable under the name it tells to use, and the space it builds."""
    module_code, space_code = code_blocks("bring_your_primitive.md")
    module = ModuleType("my_primitives")
    run_snippet(module_code, "my_primitives.py", module.__dict__)
    monkeypatch.setitem(sys.modules, "my_primitives", module)
    monkeypatch.setenv("SPARSENAS_TRUST", "")  # what the page trusts is forgotten
    return run_snippet(space_code, "bring_your_primitive.md")["space"]


@pytest.mark.usefixtures("primitive_page")
@pytest.mark.parametrize("norms", [NormOptions(), NormOptions(affine=False, track=False)])
@pytest.mark.parametrize("stride", [1, 2])
def test_own_primitive_conforms(stride, norms):
    operation = make_operation("my_primitives:mbconv_3x3", 4, stride, norms)
    for height, width in ((8, 8), (9, 12)):
        assert operation(torch.randn(2, 4, height, width)).shape == (2, 4, ceil(height / stride), ceil(width / stride))


def test_own_primitive_is_searched_and_derived(primitive_page):
    space = primitive_page
    network = SuperNet(space, (1, 8, 8), 5, channels=4, cells=3, stem="small")
    own = space.primitives.index("my_primitives:mbconv_3x3")
    support = tuple((own, own + len(space.primitives)) for _ in space.blocks)
    genotype = space.genotype(support)
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(network(images, support), network.derive(genotype)(images))
    assert {candidate.primitive for candidate in genotype.cell("normal")} == {"my_primitives:mbconv_3x3"}
    assert space.sample(np.random.default_rng(0)).space == "darts"


def test_config_names_the_same_primitives(primitive_page):
    (config,) = code_blocks("bring_your_primitive.md", "yaml")
    settings = yaml.safe_load(config)
    named = settings["model"]["init_args"]["space"]["init_args"]["primitives"]
    assert (settings["trust"], tuple(named)) == (["my_primitives"], primitive_page.primitives)


@pytest.mark.skipif("SPARSENAS_DATA" not in os.environ, reason="SPARSENAS_DATA is not set: no real tables")
@pytest.mark.parametrize(
    ("page", "printed"),
    [
        ("ranking.md", ["| non-pool edges | 0.791 |", "| last snapshot | ", "| mean snapshot | 0.658 |"]),
        ("tables.md", [" 91.6067", "Cost(parameters="]),
    ],
)
def test_tables_are_asked_as_the_pages_show(page, printed, capsys):
    run_snippet(*code_blocks(page), page)
    text = capsys.readouterr().out
    assert [part for part in printed if part not in text] == []


def test_printed_commands_list_and_convert_tables(tmp_path, monkeypatch):
    monkeypatch.delenv("SPARSENAS_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    network = {"test_acc": [90.0, 91.0, 92.0], "mean_acc": 91.0, "std": 0.8, "params": 10, "flops": 20}
    networks = {"".join(digits): network for digits in product("012", repeat=8)}
    Path("nas-bench-macro_cifar10.json").write_text(json.dumps(networks))
    assert [main(args) for args in command_lines("tables.md")] == [0, 0]
    assert len(tables.NasBenchMacroTable("tables/nasbench_macro.csv.gz")) == len(networks)


def test_every_heuristic_is_an_option_of_the_baseline_super_net():
    rows = re.findall(r"^\|.*\| `(--.*)` \|$", (DOCS / "supernet.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    settings = yaml.safe_load(CONFIGS["supernet_nasbench201_baseline"].read_text(encoding="utf-8"))
    settings["data"] = {"class_path": "Digits", "init_args": {"arch_fraction": 0.4}}
    usual, _, _ = build_run(settings)
    assert rows
    for row in rows:
        changed = yaml.safe_load(yaml.safe_dump(settings["model"]))
        words = shlex.split(row)
        for option, value in zip(words[::2], words[1::2], strict=True):
            *parents, name = option.removeprefix("--model.").split(".")
            place = changed["init_args"]
            for parent in parents:
                place = place.setdefault(parent, {})
                place = place.setdefault("init_args", {}) if "class_path" in place else place
            place[name] = yaml.safe_load(value)
        built, _, _ = build_run({**settings, "model": changed})
        parts = [(s.network.mapping, s.network.norms, s.paths, s.weight_training.drop_path) for s in (usual, built)]
        assert parts[0] != parts[1], row


def test_own_searcher_is_an_entry_of_a_comparison(tmp_path):
    config = yaml.safe_load(CONFIGS["compare_nasbench201"].read_text(encoding="utf-8"))
    config["common"]["data"] = {"class_path": "Digits", "init_args": {"arch_fraction": 0.4}}
    config["searchers"] = yaml.safe_load(code_blocks("compare.md", "yaml")[2])["searchers"]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    runs = read_plan(tmp_path / "own.yaml").runs
    built, _, _ = build_run(runs[-1].settings)
    assert (len(runs), built.seed, built.selection.count, built.space.name) == (5, 4, 20, "nasbench201")


def test_own_searcher_is_an_entry_of_a_comparison_on_images(tmp_path):
    config = yaml.safe_load(CONFIGS["compare_images"].read_text(encoding="utf-8"))
    config["competitors"] = yaml.safe_load(code_blocks("compare.md", "yaml")[0])["competitors"]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    session = image_session(str(tmp_path / "own.yaml"), tmp_path)
    session.check()
    assert [run.searcher for run in session.runs] == ["two_stage"] * 3


def test_networks_of_timm_are_entries_of_a_comparison_on_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = yaml.safe_load(CONFIGS["compare_images"].read_text(encoding="utf-8"))
    config["budget"] = {"max_params": 1e6}
    config["competitors"] = yaml.safe_load(code_blocks("compare.md", "yaml")[1])["competitors"]
    options = config["competitors"]["fine_tuned"]["timm"]
    save_file(timm.create_model(options["model"]).state_dict(), options["pretrained"])
    Path("own.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    session = image_session("own.yaml", tmp_path)
    session.check()
    assert {run.searcher for run in session.runs} == {"resnet8", "from_scratch", "fine_tuned"}


def test_sizes_of_pretrained_networks_are_those_of_the_page_on_comparisons():
    sizes = dict(re.findall(r"`(mobilenetv3\w+)` (\d\.\d) M", prose(DOCS / "compare.md")))
    assert len(sizes) == 2
    for name, size in sizes.items():
        assert f"{count_parameters(timm.create_model(name, num_classes=0)) / 1e6:.1f}" == size


def test_smallest_p_of_wilcoxon_is_what_the_page_on_comparisons_gives():
    for seeds, smallest in ((3, 0.25), (6, 0.03)):
        better = paired_test("x", {seed: 1.0 + seed for seed in range(seeds)}, dict.fromkeys(range(seeds), 0.0))
        assert better.p_wilcoxon == pytest.approx(smallest, abs=0.005)


def test_smallest_p_of_sign_tests_is_what_the_page_on_comparisons_gives():
    smallest = [comparison.sign_test([1.0] * runs, 0.0).p for runs in (5, 10)]
    assert smallest == [pytest.approx(0.06, abs=0.005), pytest.approx(0.002, abs=0.0005)]


def test_spaces_as_the_page_shows_them(capsys):
    scope = run_snippet(code_blocks("spaces.md")[0], "spaces.md")
    text, parameters = capsys.readouterr().out.split()
    assert scope["space"].from_string(text) == scope["genotype"]
    assert sum(p.numel() for p in scope["published"].parameters()) == int(parameters)
    assert scope["logits"].shape == (4, 10)


def test_a_reference_network_fills_the_budget_of_the_page(capsys):
    run_snippet(code_blocks("spaces.md")[1], "spaces.md")
    channels = int(capsys.readouterr().out)
    genotype, limits = spaces.read_genotype("resnet8"), Limits(max_params=40e3, max_macs=2e6)
    costs = [Complexity(*networks.stage_cost(genotype, (3, 16, 16), 10, width)) for width in (channels, channels + 2)]
    assert [limits.allow(cost) for cost in costs] == [True, False]


@pytest.mark.filterwarnings("ignore")  # as above
def test_milliseconds_of_the_page_are_kept(user_folder, capsys):
    measure, train = command_lines("spaces.md")
    assert main([*measure, "--rounds=1"]) == 0
    assert main([*train, "--model.training.seconds=0.5", "--data.num_workers=0"]) == 0, capsys.readouterr().err
    found = sparsenas.load_checkpoint(next(user_folder.rglob("last.ckpt")))
    times, width = read_layer_times("times.json"), found.model.config.channels
    assert times.latency(found.genotype, (3, 32, 32), 2, width) <= 1


def test_own_space_is_searched_and_derived():
    space = run_snippet(code_blocks("spaces.md")[2], "spaces.md")["PoolingReductions"]()
    rng = np.random.default_rng(0)
    network = SuperNet(space, (1, 8, 8), 5, channels=4, cells=3, stem="small")
    support, images = space.sample_support(rng), torch.randn(2, 1, 8, 8)
    assert torch.equal(network(images, support), network.derive(space.genotype(support))(images))
    assert space.size == (4 * 12) ** 2
    assert space.mutate(space.genotype(support), rng) in space.neighbours(space.genotype(support))
