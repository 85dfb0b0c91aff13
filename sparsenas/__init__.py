"""Neural architecture search by sparse coding."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsenas.export import load

__version__ = "0.1.0"

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import :func:`load` when it is first asked for, so that ``import sparsenas`` needs no torch."""
    if name == "load":
        from sparsenas.export import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
