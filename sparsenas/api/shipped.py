"""Configs that come with the package, found by name."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from sparsenas.api.renamed import CONFIGS
from sparsenas.errors import ConfigError


def shipped_configs() -> dict[str, Path]:
    """Shipped configs by name, without suffix."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "configs"  # where a wheel puts them; in a clone they lie beside the package
    folder = inside if inside.is_dir() else package.parent / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_config(name: str) -> str:
    """Path of a config given by path or by name.

    Raises:
        ConfigError: If there is no such file and no shipped config of that name, or the file is no text.
    """
    if Path(name).is_file():
        try:
            Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else f"{error.reason}, at byte {error.start}"
            raise ConfigError(f"--config {name}: cannot be read as UTF-8 ({reason}); save it so") from error
        return name
    shipped, stem = shipped_configs(), name.removesuffix(".yaml")
    if stem in CONFIGS:
        raise ConfigError(f"--config {name}: this config is now called {CONFIGS[stem]}")
    try:
        return str(shipped[stem])
    except KeyError:
        near = get_close_matches(stem, shipped, n=3)
        advice = f"near are {', '.join(near)}" if near else f"shipped are {', '.join(shipped)}"
        raise ConfigError(f"--config {name}: no such file, and no shipped config of that name; {advice}") from None


def resolve_configs(args: Sequence[str]) -> list[str]:
    """The arguments with every ``--config NAME`` replaced by a path.

    Raises:
        ConfigError: If a config is not found.
    """
    resolved: list[str] = []
    for arg in args:
        if resolved and resolved[-1] in ("--config", "-c"):
            resolved.append(find_config(arg))
        elif arg.startswith("--config="):
            resolved.append(f"--config={find_config(arg.removeprefix('--config='))}")
        else:
            resolved.append(arg)
    return resolved
