"""Figures as bytes and files."""

from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from sparsenas.errors import ConfigError
from sparsenas.files import write_atomically

#: File types by suffix, and the metadata without which the same figure gives the same bytes.
_UNDATED: dict[str, dict[str, None]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def figure_bytes(figure: Figure, form: str = "png") -> bytes:
    """Return the content of a file of the given type (``"png"``, ``"svg"`` or ``"pdf"``)."""
    buffer = BytesIO()
    figure.savefig(buffer, format=form, metadata=_UNDATED[form])
    return buffer.getvalue()


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write the figure as PNG, SVG or PDF, by suffix, whole or not at all; return the path.

    Raises:
        ConfigError: If the suffix is another one, or the folder is missing or cannot be written.
    """
    path = Path(path)
    form = path.suffix.removeprefix(".").lower()
    if form not in _UNDATED:
        known = ", ".join(f".{name}" for name in _UNDATED)
        raise ConfigError(f"{path}: cannot draw to {path.suffix or 'a name without suffix'!r}; use one of {known}")
    write_atomically(path, figure_bytes(figure, form))
    return path
