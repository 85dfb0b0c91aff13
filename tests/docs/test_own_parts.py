"""Parts that a user writes after the pages: a searcher, primitives, a space, options of a super-net."""

import ast
import re
import shlex
import sys
from importlib import import_module
from math import ceil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import yaml

from sparsenas import (
    networks,
    search,
)
from sparsenas.api.compare import image_session
from sparsenas.cli import main
from sparsenas.comparison import read_plan
from sparsenas.comparison.build import build_run
from sparsenas.networks import NormOptions, SuperNet, make_operation

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CONFIGS = {path.stem: path for path in (ROOT / "configs").glob("*.yaml")}


@pytest.fixture
def own_searcher(docs, tmp_path, monkeypatch):
    """A folder with the page's module, importable under the name it tells to use, and its config."""
    (code,), (config,) = docs.code_blocks("bring_your_searcher.md"), docs.code_blocks("bring_your_searcher.md", "yaml")
    (tmp_path / "my_searcher.py").write_text(code, encoding="utf-8")
    (tmp_path / "my_search.yaml").write_text(config, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # restored afterwards; runs set it
    yield tmp_path
    sys.modules.pop("my_searcher", None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # runs so short make Lightning doubt their settings
def test_own_searcher_runs_from_its_config(docs, own_searcher, capsys):
    (command,) = docs.command_lines("bring_your_searcher.md")
    briefly = ["--trainer.max_epochs=2", "--trainer.limit_train_batches=6", "--trainer.accelerator=cpu"]
    assert main([*command, *briefly]) == 0, capsys.readouterr().err
    (run,) = (own_searcher / "lightning_logs").iterdir()
    assert (run / "genotype.json").is_file()
    assert (run / "result.json").is_file()


@pytest.mark.slow
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


def test_own_searcher_uses_public_names_only(docs):
    (code,) = docs.code_blocks("bring_your_searcher.md")
    tree = ast.parse(code)
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    private = [name for name in names if name.startswith("_") and name != "__init__"]
    assert private + [module for module in modules if "._" in module] == []


def test_own_searcher_is_an_entry_of_a_comparison(docs, tmp_path):
    config = yaml.safe_load(CONFIGS["compare_nasbench201"].read_text(encoding="utf-8"))
    config["common"]["data"] = {"class_path": "Digits", "init_args": {"arch_fraction": 0.4}}
    config["searchers"] = yaml.safe_load(docs.code_blocks("compare.md", "yaml")[2])["searchers"]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    runs = read_plan(tmp_path / "own.yaml").runs
    built, _, _ = build_run(runs[-1].settings)
    assert (len(runs), built.seed, built.selection.count, built.space.name) == (5, 4, 20, "nasbench201")


def test_own_searcher_is_an_entry_of_a_comparison_on_images(docs, tmp_path):
    config = yaml.safe_load(CONFIGS["compare_images"].read_text(encoding="utf-8"))
    config["competitors"] = yaml.safe_load(docs.code_blocks("compare.md", "yaml")[0])["competitors"]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    session = image_session(str(tmp_path / "own.yaml"), tmp_path)
    session.check()
    assert [run.searcher for run in session.runs] == ["two_stage"] * 3


@pytest.fixture
def primitive_page(docs, monkeypatch):
    """The page's module, importable under the name it tells to use, and the space it builds."""
    module_code, space_code = docs.code_blocks("bring_your_primitive.md")
    module = ModuleType("my_primitives")
    docs.run_snippet(module_code, "my_primitives.py", module.__dict__)
    monkeypatch.setitem(sys.modules, "my_primitives", module)
    monkeypatch.setenv("SPARSENAS_TRUST", "")  # what the page trusts is forgotten
    return docs.run_snippet(space_code, "bring_your_primitive.md")["space"]


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


def test_config_names_the_same_primitives(docs, primitive_page):
    (config,) = docs.code_blocks("bring_your_primitive.md", "yaml")
    settings = yaml.safe_load(config)
    named = settings["model"]["init_args"]["space"]["init_args"]["primitives"]
    assert (settings["trust"], tuple(named)) == (["my_primitives"], primitive_page.primitives)


def test_own_space_is_searched_and_derived(docs):
    space = docs.run_snippet(docs.code_blocks("spaces.md")[2], "spaces.md")["PoolingReductions"]()
    rng = np.random.default_rng(0)
    network = SuperNet(space, (1, 8, 8), 5, channels=4, cells=3, stem="small")
    support, images = space.sample_support(rng), torch.randn(2, 1, 8, 8)
    assert torch.equal(network(images, support), network.derive(space.genotype(support))(images))
    assert space.size == (4 * 12) ** 2
    assert space.mutate(space.genotype(support), rng) in space.neighbours(space.genotype(support))


@pytest.mark.slow
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
