"""The discrete architecture: frozen, hashable, JSON."""

import ast
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsenas.errors import GenotypeError
from sparsenas.spaces.topology import Candidate

#: Version of the JSON layout; raised when the layout changes.
SCHEMA = "sparsenas.genotype/1"


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
            tree = json.loads(text)
        except json.JSONDecodeError as error:
            raise GenotypeError(f"{where}: not JSON (line {error.lineno}: {error.msg})") from error
        except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets nested too deeply
            raise GenotypeError(f"{where}: not the JSON of a genotype ({error})") from error
        if not isinstance(tree, dict) or tree.get("schema") != SCHEMA:
            found = tree.get("schema") if isinstance(tree, dict) else type(tree).__name__
            raise GenotypeError(f"{where}: schema is {found!r}; this version reads {SCHEMA!r}")
        space, cells = tree.get("space"), tree.get("cells")
        if not isinstance(space, str) or not isinstance(cells, dict):
            raise GenotypeError(f'{where}: needs "space" (a name) and "cells" (cell type -> list of candidates)')
        try:
            return cls.build(space, {cell: [_candidate(row) for row in rows] for cell, rows in cells.items()})
        except (TypeError, KeyError, ValueError) as error:
            raise GenotypeError(
                f'{where}: a candidate is {{"source": int, "target": int, "primitive": name}} ({error})'
            ) from error
        except GenotypeError as error:
            raise GenotypeError(f"{where}: {error}") from error

    @classmethod
    def from_printed(cls, text: str, where: str = "genotype") -> "Genotype":
        """Parse the field's printed form, ``Genotype(normal=[('sep_conv_3x3', 1), ...], normal_concat=..., ...)``.

        Every node holds two consecutive pairs (primitive, source), as in the DARTS code. Nothing is evaluated.

        Raises:
            GenotypeError: If the text is something else, or a cell does not concatenate all its nodes.

        Source: the printed namedtuple of Liu et al., DARTS (ICLR 2019), which every follow-up kept.
        """
        try:
            call = ast.parse(_right_hand_side(text), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # the latter three: absurd text
            reason = error.msg if isinstance(error, SyntaxError) else str(error)
            raise GenotypeError(f"{where}: not a printed Genotype(...): {reason}") from error
        if not isinstance(call, ast.Call) or call.args or ast.unparse(call.func) != "Genotype":
            raise GenotypeError(f"{where}: expected Genotype(normal=[...], normal_concat=..., reduce=..., ...)")
        names = sorted(keyword.arg or "**" for keyword in call.keywords)
        expected = ["normal", "normal_concat", "reduce", "reduce_concat"]
        if names != expected:
            raise GenotypeError(f"{where}: has fields {', '.join(names)}; expected {', '.join(expected)}")
        fields = {keyword.arg: _literal(keyword.value, where) for keyword in call.keywords}
        cells = {}
        for cell in ("normal", "reduce"):
            pairs, concat = fields[cell], fields[f"{cell}_concat"]
            well_formed = isinstance(pairs, list) and all(
                isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], str) and type(p[1]) is int for p in pairs
            )
            if not well_formed or len(pairs) % 2:
                raise GenotypeError(f"{where}: {cell} must list two ('primitive', source) pairs per node")
            nodes = range(2, 2 + len(pairs) // 2)
            if concat not in (nodes, list(nodes), tuple(nodes)):
                raise GenotypeError(f"{where}: {cell}_concat is {concat!r}; only all nodes {list(nodes)} are supported")
            cells[cell] = [Candidate(2 + i // 2, source, name) for i, (name, source) in enumerate(pairs)]
        try:
            return cls.build("darts", cells)
        except GenotypeError as error:
            raise GenotypeError(f"{where}: {error}") from error

    @classmethod
    def load(cls, path: str | Path) -> "Genotype":
        """Read a genotype file: JSON, or the printed form.

        Raises:
            GenotypeError: If the file cannot be read or parsed; the message names it.
        """
        try:
            text = Path(path).read_text(encoding="utf-8-sig")  # some editors write a byte-order mark
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise GenotypeError(f"{path}: cannot read the genotype ({reason})") from error
        is_json = text.lstrip().startswith(("{", "["))
        return cls.from_json(text, str(path)) if is_json else cls.from_printed(text, str(path))


def _right_hand_side(text: str) -> str:
    """Return the value that ``NAME = Genotype(...)`` assigns; other text as it is."""
    name, sign, value = text.partition("=")
    return value.strip() if sign and name.strip().isidentifier() else text.strip()


def _candidate(row: Any) -> Candidate:
    if not isinstance(row, dict) or set(row) != {"source", "target", "primitive"}:
        raise ValueError(f"found {row!r}")
    if type(row["source"]) is not int or type(row["target"]) is not int or not isinstance(row["primitive"], str):
        raise ValueError(f"found {row!r}")
    return Candidate(row["target"], row["source"], row["primitive"])


def _literal(node: ast.expr, where: str) -> Any:
    """Evaluate a literal, or ``range(...)`` / ``list(range(...))`` with literal bounds; ranges stay unexpanded."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        arguments = [_literal(argument, where) for argument in node.args]
        if node.func.id == "range" and len(arguments) in (1, 2) and all(type(a) is int for a in arguments):
            return range(*arguments)
        if node.func.id == "list" and len(arguments) == 1 and isinstance(arguments[0], range):
            return arguments[0]
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError) as error:
        raise GenotypeError(f"{where}: {ast.unparse(node)!r} is not a literal") from error
