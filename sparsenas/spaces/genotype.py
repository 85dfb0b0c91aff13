"""The discrete architecture: frozen, hashable, JSON."""

import codecs
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsenas.errors import GenotypeError
from sparsenas.reading import ReadingError, parse_json, shorten
from sparsenas.spaces.printed import darts_cells
from sparsenas.spaces.topology import Candidate

#: Version of the JSON layout; raised when the layout changes.
SCHEMA = "sparsenas.genotype/1"

#: Bytes of a file that is read; the log of a long search has fewer.
_LONGEST = 2**24


@dataclass(frozen=True)
class Genotype:
    """A discrete architecture: the kept candidates of every cell type.

    Genotypes made by :meth:`build` are equal exactly when they hold the same candidates.

    Attributes:
        space: Name of the search space, e.g. ``"darts"``.
        cells: ``(cell type, candidates)`` pairs, sorted by cell type; candidates sorted by target, source, primitive.
    """

    space: str
    cells: tuple[tuple[str, tuple[Candidate, ...]], ...]

    @classmethod
    def build(cls, space: str, cells: Mapping[str, Iterable[Candidate]]) -> "Genotype":
        """Make a genotype from candidates in any order.

        Raises:
            GenotypeError: If a candidate is listed twice, an edge does not point forward, or a cell is empty.
        """
        canonical = []
        for cell in sorted(cells):
            candidates = tuple(sorted(cells[cell]))
            if not candidates:
                raise GenotypeError(f"genotype: the {cell} cell is empty; it needs at least one candidate")
            if len(set(candidates)) < len(candidates):
                double = next(c for c in candidates if candidates.count(c) > 1)
                raise GenotypeError(f"genotype: the {cell} cell lists {double} twice; list each candidate once")
            for candidate in candidates:
                if not 0 <= candidate.source < candidate.target:
                    raise GenotypeError(
                        f"genotype: the {cell} cell has {candidate}; an edge leads from a lower node (>= 0) to a higher"
                    )
            canonical.append((cell, candidates))
        if not canonical:
            raise GenotypeError("genotype: no cells; it needs at least one cell type")
        return cls(space, tuple(canonical))

    def cell(self, name: str) -> tuple[Candidate, ...]:
        """Return the candidates of one cell type, or raise a ``GenotypeError`` if there is no such cell."""
        for cell, candidates in self.cells:
            if cell == name:
                return candidates
        raise GenotypeError(f"genotype: no cell {name!r}; it has {', '.join(self.cell_types)}")

    @property
    def cell_types(self) -> tuple[str, ...]:
        """Names of the cells, sorted."""
        return tuple(cell for cell, _ in self.cells)

    def to_json(self) -> str:
        """Write JSON text with a schema version, one candidate a line."""
        cells = []
        for cell, candidates in self.cells:
            rows = ",\n      ".join(
                json.dumps({"source": c.source, "target": c.target, "primitive": c.primitive}) for c in candidates
            )
            cells.append(f"    {json.dumps(cell)}: [\n      {rows}\n    ]")
        body = ",\n".join(cells)
        return (
            f'{{\n  "schema": {json.dumps(SCHEMA)},\n  "space": {json.dumps(self.space)},\n'
            f'  "cells": {{\n{body}\n  }}\n}}\n'
        )

    @classmethod
    def from_json(cls, text: str, where: str = "genotype") -> "Genotype":
        """Read the text of :meth:`to_json`; ``where`` names the file or option in messages.

        Raises:
            GenotypeError: If the text is not such JSON; the message says where and what is expected.
        """
        try:
            tree = parse_json(_without_surroundings(text))
        except ReadingError as error:
            raise GenotypeError(f"{where}: {error}") from error
        if not isinstance(tree, dict) or tree.get("schema") != SCHEMA:
            found = tree.get("schema") if isinstance(tree, dict) else type(tree).__name__
            raise GenotypeError(f"{where}: schema is {shorten(repr(found), 40)}; this version reads {SCHEMA!r}")
        space, cells = tree.get("space"), tree.get("cells")
        if not isinstance(space, str) or not isinstance(cells, dict):
            raise GenotypeError(f'{where}: needs "space" (a name) and "cells" (cell type -> list of candidates)')
        try:
            return cls.build(space, {cell: [_candidate(row) for row in rows] for cell, rows in cells.items()})
        except (TypeError, KeyError, ValueError) as error:
            raise GenotypeError(
                f'{where}: a candidate is {{"source": int, "target": int, "primitive": name}} ({shorten(error)})'
            ) from error
        except GenotypeError as error:
            raise GenotypeError(f"{where}: {error}") from error

    @classmethod
    def from_printed(cls, text: str, where: str = "genotype") -> "Genotype":
        """Read the field's printed form, ``Genotype(normal=[('sep_conv_3x3', 1), ...], normal_concat=..., ...)``.

        Every node holds two pairs (primitive, source), in a row as in the DARTS code or grouped. Text around it is
        skipped, and fields beyond the four may be there if they are empty. Nothing is evaluated.

        Raises:
            GenotypeError: If the text is something else, or a cell does not concatenate all its nodes.

        Source: the printed namedtuple of Liu et al., DARTS (ICLR 2019), which every follow-up kept.
        """
        try:
            return cls.build("darts", darts_cells(text, where))
        except GenotypeError as error:
            message = str(error)
            raise GenotypeError(message if message.startswith(where) else f"{where}: {message}") from error

    @classmethod
    def load(cls, path: str | Path) -> "Genotype":
        """Read a genotype file: JSON, or the printed form.

        Raises:
            GenotypeError: If the file cannot be read or parsed; the message names it.
        """
        text = read_text(path)
        return cls.from_json(text, str(path)) if is_own_json(text) else cls.from_printed(text, str(path))


def is_own_json(text: str) -> bool:
    """True for the text of :meth:`Genotype.to_json`, right or wrong."""
    return '"schema"' in text


def _without_surroundings(text: str) -> str:
    """The JSON object in a text, which may have a name in front of it, or quotes around it."""
    start, end = text.find("{"), text.rfind("}")
    return text[start : end + 1] if is_own_json(text) and 0 <= start < end else text


def read_text(path: str | Path) -> str:
    """Read a text file, as editors and shells write it.

    Raises:
        GenotypeError: If it cannot be read, or is no text.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_LONGEST + 1)
        if len(content) > _LONGEST:
            raise GenotypeError(f"{path}: is longer than {_LONGEST} bytes; give a file with one genotype")
        # some editors write a byte-order mark, and a redirection of PowerShell writes UTF-16
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if wide else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise GenotypeError(f"{path}: cannot read the genotype ({reason})") from error


def _candidate(row: Any) -> Candidate:
    if not isinstance(row, dict) or set(row) != {"source", "target", "primitive"}:
        raise ValueError(f"found {row!r}")
    if type(row["source"]) is not int or type(row["target"]) is not int or not isinstance(row["primitive"], str):
        raise ValueError(f"found {row!r}")
    return Candidate(row["target"], row["source"], row["primitive"])
