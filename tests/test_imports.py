"""Who may know whom: the package's imports, read from its source, go one way only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import sparsenas

#: What each room of the package may import from the others.
ALLOWED = {
    room: set(others.split())
    for room, others in {
        "__init__": "export api imports spaces",
        "__main__": "cli",
        "errors": "",
        "files": "errors",
        "imports": "errors",
        "reading": "",
        "checkpoints": "errors files imports metrics reading trainer",
        "texts": "",
        "trainer": "",
        "parser": "",
        "spaces": "errors reading",
        "sparse_coding": "errors",
        "networks": "errors imports spaces",
        "schedules": "errors trainer",
        "metrics": "classification",
        "classification": "",
        "reporting": "classification files texts drawing",
        "ranking": "errors spaces",
        "predictors": "errors ranking reading spaces sparse_coding",
        "tables": "errors reading spaces",
        "images": "errors",
        "data": "checkpoints classification errors images reading texts",
        "drawing": "errors files spaces networks",
        "complexity": "errors spaces networks",
        "runtimes": "errors",
        "export": "__init__ classification errors files reading images spaces networks complexity latency runtimes",
        "latency": "errors reading files spaces networks complexity runtimes",
        "zero_cost": "classification errors networks",
        "limits": "errors spaces networks complexity latency",
        "training": "classification checkpoints errors export trainer spaces networks schedules metrics limits",
        "search": "__init__ checkpoints classification errors reading files trainer spaces networks sparse_coding "
        "complexity latency limits schedules metrics zero_cost training predictors",
        "callbacks": "__init__ classification checkpoints errors files texts trainer spaces networks training search "
        "drawing complexity latency predictors reporting",
        "comparison": "__init__ classification errors reading files latency limits parser trainer spaces sparse_coding "
        "networks data drawing complexity predictors search callbacks ranking tables training",
        "api": "classification checkpoints errors reading files imports texts limits parser trainer spaces "
        "sparse_coding networks data drawing complexity search training callbacks export comparison reporting",
        "cli": "__init__ errors reading files imports texts trainer spaces sparse_coding networks data drawing "
        "complexity search training callbacks export comparison latency api tables",
    }.items()
}
#: Rooms inside `search`: what lies beside them is for all of them, and they know nothing of one another.
SEARCH_ROOMS = {"ista_nas", "measured", "baselines"}
#: Rooms of pure functions and plain data, which know no trainer.
WITHOUT_LIGHTNING = {
    *(
        "errors",
        "files",
        "texts",
        "spaces",
        "sparse_coding",
        "complexity",
        "drawing",
        "export",
        "images",
        "predictors",
        "ranking",
        "reporting",
        "tables",
    ),
    "latency",
    "limits",
    "zero_cost",
}
LIGHTNING = {"pytorch_lightning", "lightning", "lightning_fabric"}
RUNS_TEXT = {"eval", "exec"}


def violations(package: Path) -> list[str]:
    """One line per import or call of the package that breaks a rule."""
    found = []
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        room = inside.parts[0].removesuffix(".py")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        problems = [f"room {room!r} is not in the table"] if room not in ALLOWED else []
        for module in _imported(tree, package.name, inside):
            problems += _import_problems(module, package.name, room)
            if room == "search" and inside.parts[1:] != ("__init__.py",):  # which hands everything on
                problems += _search_problems(module, package.name, inside.parts[1].removesuffix(".py"))
        for node in ast.walk(tree):
            problems += _call_problems(node)
        found += [f"{inside}: {problem}" for problem in problems]
    return found


def _imported(tree: ast.AST, package: str, inside: Path) -> Iterator[str]:
    """Dotted names of all imports, relative ones resolved; ``from a import b`` gives ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            here = [package, *inside.parts[:-1]]
            base = here[: len(here) - node.level + 1] if node.level else []
            yield from (".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names)


def _import_problems(module: str, package: str, room: str) -> Iterator[str]:
    top, _, rest = module.partition(".")
    if module.endswith(".*"):
        yield f"star import {module}"
    if top in LIGHTNING and room in WITHOUT_LIGHTNING:
        yield f"imports {top}, but {room} knows no trainer"
    if top == "lightning":
        yield "imports lightning; the package is pytorch_lightning"
    if top == package:
        other = rest.split(".")[0]
        if other not in ALLOWED:  # a name of the package's __init__
            other = "__init__"
        if other != room and other not in ALLOWED.get(room, set()):
            yield f"imports {module}, but {room} may not know {other}"


def _search_problems(module: str, package: str, here: str) -> Iterator[str]:
    """Problems of an import inside `search`, in one of its rooms or in a file beside them."""
    inside = module.removeprefix(f"{package}.search.")
    there = inside.split(".")[0]
    if module.startswith(f"{package}.search.") and there in SEARCH_ROOMS and there != here:
        yield f"imports {module}, but search/{here} may not know search/{there}"
    if module == f"{package}.search" or (module.startswith(f"{package}.search.") and there[:1].isupper()):
        yield f"imports {module} from the face of search; name the file that defines it"


def _call_problems(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "cuda":
        yield f"line {node.lineno}: .cuda(); devices are the trainer's business"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RUNS_TEXT:
        yield f"line {node.lineno}: {node.func.id}() of text"


@pytest.mark.slow
def test_the_package_keeps_the_directions():
    assert violations(Path(sparsenas.__file__).parent) == []


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("spaces/a.py", "import pytorch_lightning as pl", "imports pytorch_lightning, but spaces knows no trainer"),
        ("sparse_coding/a.py", "def f():\n    from pytorch_lightning import Trainer", "knows no trainer"),
        ("sparse_coding/a.py", "from sparsenas.spaces import Genotype", "sparse_coding may not know spaces"),
        ("networks/a.py", "from sparsenas import sparse_coding", "networks may not know sparse_coding"),
        ("networks/a.py", "from ..sparse_coding import x", "networks may not know sparse_coding"),
        ("data/sub/a.py", "from ...networks.b import x", "data may not know networks"),
        ("search/a.py", "import sparsenas.callbacks.monitor", "search may not know callbacks"),
        ("callbacks/a.py", "from sparsenas.cli import main", "callbacks may not know cli"),
        ("training/a.py", "from sparsenas.search import Budget", "training may not know search"),
        ("search/base.py", "from sparsenas.search.measured import Proxy", "search/base may not know search/measured"),
        ("search/base.py", "from .ista_nas.phases import Phases", "search/base may not know search/ista_nas"),
        ("search/measured/a.py", "from ..baselines import paths", "search/measured may not know search/baselines"),
        ("search/ista_nas/a.py", "import sparsenas.search.measured", "search/ista_nas may not know search/measured"),
        ("search/baselines/a.py", "from sparsenas.search import Budget", "name the file that defines it"),
        ("spaces/a.py", "from sparsenas.errors import *", "star import sparsenas.errors.*"),
        ("search/a.py", "import lightning", "the package is pytorch_lightning"),
        ("search/a.py", "x = y.cuda()", "line 1: .cuda()"),
        ("spaces/a.py", "x = eval('1')", "line 1: eval() of text"),
        ("attic/a.py", "", "room 'attic' is not in the table"),
    ],
)
def test_a_planted_violation_is_found(tmp_path, file, source, expected):
    path = tmp_path / "sparsenas" / file
    path.parent.mkdir(parents=True)
    path.write_text(source)
    found = violations(tmp_path / "sparsenas")
    assert any(expected in line for line in found)
    assert found[0].startswith(file)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("spaces/a.py", "from sparsenas.spaces.b import x\nfrom .b import y\nfrom sparsenas.errors import DataError"),
        ("search/a.py", "import pytorch_lightning\nfrom sparsenas.sparse_coding import refit\nmodel.eval()"),
        ("search/a.py", "from sparsenas.training import WeightTraining"),
        ("search/__init__.py", "from sparsenas.search.measured import Proxy\nfrom sparsenas.search.base import x"),
        ("search/measured/a.py", "from sparsenas.search.measured.b import x\nfrom sparsenas.search.base import y"),
        ("cli/a.py", "from sparsenas import __version__"),
    ],
)
def test_allowed_imports_pass(tmp_path, file, source):
    path = tmp_path / "sparsenas" / file
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert violations(tmp_path / "sparsenas") == []
