"""The pages: every snippet is run by a test, links and names exist, defaults are the code's."""

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest
import pytorch_lightning.callbacks

import sparsenas
from sparsenas import (
    callbacks,
    data,
    networks,
    predictors,
    ranking,
    schedules,
    search,
    spaces,
    sparse_coding,
    tables,
    training,
    zero_cost,
)
from sparsenas.search import measured

ROOT = Path(__file__).parents[2]
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
    predictors,
    ranking,
    search,
    sparse_coding,
    spaces,
    tables,
    training,
    zero_cost,
)
PUBLIC = {name: getattr(room, name) for room in ROOMS for name in room.__all__} | {"Schedule": schedules.Schedule}
#: Snippets that the tests of this folder run; a snippet more needs a test more.
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
    ("predictors.md", "python"): 1,
    ("ranking.md", "python"): 1,
    ("tables.md", "python"): 1,
    ("tables.md", "shell"): 1,
    ("training.md", "bash"): 2,  # these in test_training_page.py
    ("training.md", "yaml"): 2,
}
#: Shown, not run.
PROSE = {"math", "text", "{toctree}"}


def name_of(page):
    """Path of a page in the repository, or its name inside the documentation."""
    return page.name if page.parent == DOCS else page.relative_to(ROOT).as_posix()


def prose(page):
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def links(page):
    """Links to files, without their anchors."""
    found = re.findall(r"\]\(([^)]+)\)", prose(page))
    return [link.partition("#")[0] for link in found if "://" not in link]


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
