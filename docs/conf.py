"""The documentation as a site: the pages of this folder, and a reference of every public name.

python -m sphinx -W --keep-going -b html docs docs/_build
"""

import inspect
import pkgutil
from importlib import import_module
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

import sparsenas

project = "sparsenas"
author = "The sparsenas developers"
project_copyright = author
release = version = sparsenas.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
html_theme = "furo"
html_title = f"sparsenas {release}"
exclude_patterns = ["_build"]

myst_enable_extensions = ["dollarmath"]
# ```math is how GitHub writes a formula, and as a directive it is one here.
myst_fence_as_directive = ["math"]
myst_heading_anchors = 3
# Links to Markdown files above this folder, such as studies, work in the repository and are plain text on the site. A
# link to a file that does not exist is a warning still.
nitpick_ignore_regex = [("myst", r"/.*")]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
# Defaults as they are written: `DartsSpace()`, not the address of an object.
autodoc_preserve_defaults = True
# An overridden method without a docstring of its own, such as a hook of Lightning, is not part of the reference.
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = False
# Attributes as one list; as entries of their own they would be there twice, as named tuples list theirs, too.
napoleon_use_ivar = True
# A short name in a docstring or a type can mean the same class in two rooms that both offer it.
suppress_warnings = ["ref.python"]


def rooms() -> list[str]:
    """Sub-packages and the modules beside them, as they are imported."""
    names = (module.name for module in pkgutil.iter_modules(sparsenas.__path__))
    return [f"sparsenas.{name}" for name in sorted(names) if not name.startswith("_")]


def public_names(room: str) -> list[str]:
    """What a room offers: its ``__all__`` or, of a single module, what it defines itself."""
    module = import_module(room)
    if hasattr(module, "__all__"):
        return list(module.__all__)
    documented = {name for scope, name in ModuleAnalyzer.for_module(room).find_attr_docs() if not scope}
    defined = {name for name, value in vars(module).items() if getattr(value, "__module__", None) == room}
    return sorted(name for name in documented | defined if not name.startswith("_"))


def comment_of(room: str, name: str) -> list[str]:
    """The ``#:`` comment above a constant, in whichever module of the room it stands; autodoc looks in one only."""
    inside = [info.name for info in pkgutil.walk_packages(getattr(import_module(room), "__path__", []), f"{room}.")]
    for module in [room, *inside]:
        if not module.endswith(".__main__"):
            found = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", name))
            if found:
                return found
    return []


def reference_page(room: str) -> str:
    """Text of the page of a room: what it is, a table of classes and functions, constants, and all in full."""
    module = import_module(room)
    names = public_names(room)
    documented = [n for n in names if inspect.isclass(getattr(module, n)) or inspect.isroutine(getattr(module, n))]
    lines = [room, "=" * len(room), "", f".. automodule:: {room}", "", f".. currentmodule:: {room}", ""]
    if documented:
        lines += [".. autosummary::", "", *(f"   {name}" for name in documented), ""]
    for name in names:
        if name not in documented:
            lines += [f".. py:data:: {name}", "", *(f"   {line}" for line in comment_of(room, name)), ""]
    for name in documented:
        kind = "autoclass" if inspect.isclass(getattr(module, name)) else "autofunction"
        options = ["   :members:", "   :show-inheritance:"] if kind == "autoclass" else []
        lines += [f".. {kind}:: {name}", *options, ""]
    return "\n".join(lines)


def write_reference(app: Sphinx) -> None:
    """Write one page per room before pages are looked for, so that new rooms and names appear; nobody keeps them."""
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    pages = {folder / f"{room}.rst": reference_page(room) for room in rooms()}
    for page in set(folder.glob("*.rst")) - set(pages):
        page.unlink()
    for page, text in pages.items():
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def skip_member(_app: Sphinx, _what: str, _name: str, member: Any, _skip: bool, _options: Any) -> bool | None:
    """Leave out the fields of named tuples: their class describes them, they only say "alias for field number"."""
    return True if type(member).__name__ == "_tuplegetter" else None


def setup(app: Sphinx) -> None:
    """Connect the above."""
    app.connect("builder-inited", write_reference)
    app.connect("autodoc-skip-member", skip_member)
