"""Neural architecture search by sparse coding."""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsenas.api.checkpoint import load_checkpoint
    from sparsenas.api.compare import compare
    from sparsenas.api.front import train
    from sparsenas.api.pictures import predict
    from sparsenas.export import load
    from sparsenas.imports import trust
    from sparsenas.spaces import Genotype

__version__ = "0.1.0"

__all__ = ["Genotype", "__version__", "compare", "load", "load_checkpoint", "predict", "search", "train", "trust"]

#: Where the public names are; imported when first asked for, so that ``import sparsenas`` needs no torch.
_PLACES = {
    "Genotype": "sparsenas.spaces",
    "compare": "sparsenas.api.compare",
    "load": "sparsenas.export",
    "load_checkpoint": "sparsenas.api.checkpoint",
    "predict": "sparsenas.api.pictures",
    "train": "sparsenas.api.front",
    "trust": "sparsenas.imports",
}


class SearchRoom(ModuleType):
    """The room of the searchers, ``sparsenas.search``, which is also the function of that name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """See :func:`sparsenas.api.search`."""
        from sparsenas.api.front import search

        return search(*args, **kwargs)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name == "search":
        return import_module("sparsenas.search")
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
