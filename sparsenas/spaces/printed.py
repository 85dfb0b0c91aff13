"""Genotypes as the programs of the field print them, found in the text around them. Nothing is evaluated."""

import ast
import re
import warnings
from collections.abc import Iterator
from typing import Any, TypeVar

from sparsenas.errors import GenotypeError
from sparsenas.spaces.topology import Candidate

#: The form that messages ask for.
EXPECTED = "Genotype(normal=[('sep_conv_3x3', 1), ...], normal_concat=range(2, 6), reduce=[...], reduce_concat=...)"
_FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")

_Found = TypeVar("_Found")

#: Where a value with these fields begins: the named tuple, a dictionary, or the list into which JSON turns the tuple.
_BEGINNINGS = (
    re.compile(r"(?<!\w)Genotype\s*\("),
    re.compile(r"""\{\s*['"](?:normal|reduce)(?:_\w+)?['"]\s*:"""),
    re.compile(r"""[\[(](?:\s*[\[(]){2,3}\s*['"]"""),
)
#: What web pages, editors and shells make of plain quotes and blanks.
_PLAIN = str.maketrans("\u2018\u2019\u201c\u201d\u00a0", "''\"\" ", "\ufeff\u200b")
#: Calls around a value that change nothing about it, such as numpy's ``np.int64(1)``.
_AROUND_VALUES = {"list", "tuple", "array", "int64", "int32", "str_", "float64", "float32"}
#: Values of fields that say nothing.
_EMPTY = {"None", "null", "[]", "()", "{}", "''"}
#: Pieces of a snippet between which brackets count: texts in quotes, comments, brackets.
_PIECES = re.compile(r"""'[^'\n]*'|"[^"\n]*"|#[^\n]*|[()\[\]{}]""")


def plain(text: str) -> str:
    """Undo what web pages, editors and shells do to a text."""
    return text.translate(_PLAIN).replace("\\'", "'").replace('\\"', '"')


def excerpt(text: str) -> str:
    """The beginning of a text, quoted, for messages."""
    words = " ".join(text[:200].split())
    return repr(words if len(words) <= 40 and len(text) <= 200 else f"{words[:40]}...")


def one_of(found: list[_Found], where: str) -> _Found:
    """Return what was found in a text, once or several times.

    Raises:
        GenotypeError: If they differ.
    """
    if any(other != found[0] for other in found[1:]):
        raise GenotypeError(f"{where}: holds {len(found)} genotypes, which differ; give one of them")
    return found[0]


def darts_cells(text: str, where: str) -> dict[str, list[Candidate]]:
    """Find the cells of the DARTS space in a text: a log line, an assignment, a dictionary, JSON.

    Raises:
        GenotypeError: If there are none, several that differ, or some that the space does not hold.
    """
    text = plain(text)
    for beginning in _BEGINNINGS:
        if snippets := list(_snippets(text, beginning)):
            try:
                return one_of([_cells(_fields(_parsed(snippet, where), where), where) for snippet in snippets], where)
            except (RecursionError, MemoryError) as error:
                raise GenotypeError(f"{where}: is nested too deeply; expected {EXPECTED}") from error
    found = excerpt(text) if text.strip() else "nothing"
    raise GenotypeError(f"{where}: not a printed Genotype(...): found {found}; expected {EXPECTED}")


def _snippets(text: str, beginning: re.Pattern[str]) -> Iterator[str]:
    """Cut out what begins like a genotype, up to the bracket that closes it."""
    position = 0
    while match := beginning.search(text, position):
        depth, position = 0, len(text)
        first = re.compile(r"[(\[{]").search(text, match.start())
        assert first is not None  # every beginning has a bracket
        for piece in _PIECES.finditer(text, first.start()):
            depth += (piece[0] in "([{") - (piece[0] in ")]}")
            if depth == 0 and piece[0] in ")]}":
                position = piece.end()
                break
        yield text[match.start() : position]


def _parsed(snippet: str, where: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the style of somebody else's text
            return ast.parse(snippet, mode="eval").body
    except (SyntaxError, ValueError) as error:  # the latter: a number of thousands of digits
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise GenotypeError(
            f"{where}: not a printed Genotype(...): {reason} in {excerpt(snippet)}; expected {EXPECTED}"
        ) from error


def _fields(value: ast.expr, where: str) -> dict[str, Any]:
    """Name the four fields of a genotype, without further ones that are empty."""
    if isinstance(value, ast.Call):
        pairs = [(keyword.arg or "**", keyword.value) for keyword in value.keywords]
        values = value.args
    elif isinstance(value, ast.Dict):
        pairs = [
            (str(_literal(key, where)) if key else "**", entry)
            for key, entry in zip(value.keys, value.values, strict=True)
        ]
        values = []
    else:
        assert isinstance(value, (ast.List, ast.Tuple))  # so begins what was cut out
        pairs, values = [], value.elts
    if values and (pairs or len(values) != len(_FIELDS)):
        raise GenotypeError(f"{where}: found a list of {len(values)} values without names; expected {EXPECTED}")
    pairs += zip(_FIELDS, values, strict=False)
    found = ", ".join(sorted(name for name, _ in pairs))
    # what some programs add to the four is empty unless it is used
    pairs = [(name, entry) for name, entry in pairs if name in _FIELDS or ast.unparse(entry) not in _EMPTY]
    if sorted(name for name, _ in pairs) != sorted(_FIELDS):
        raise GenotypeError(f"{where}: has fields {found[:200]}; expected {', '.join(sorted(_FIELDS))}")
    return {name: _literal(entry, where) for name, entry in pairs}


def _cells(fields: dict[str, Any], where: str) -> dict[str, list[Candidate]]:
    cells = {}
    for cell in ("normal", "reduce"):
        nodes = _nodes(fields[cell])
        if nodes is None:
            raise GenotypeError(f"{where}: {cell} must list two ('primitive', source) pairs per node")
        numbers, concat = range(2, 2 + len(nodes)), fields[f"{cell}_concat"]
        if concat not in (numbers, list(numbers), tuple(numbers)):
            raise GenotypeError(
                f"{where}: {cell}_concat is {repr(concat)[:80]}; only all nodes {list(numbers)} are supported"
            )
        cells[cell] = [
            Candidate(node, source, name) for node, pairs in zip(numbers, nodes, strict=True) for name, source in pairs
        ]
    return cells


def _nodes(value: Any) -> list[list[tuple[str, int]]] | None:
    """Group the pairs of a cell by their node; ``None`` if they are no such pairs.

    Ungrouped, two consecutive pairs belong to a node. A pair may bring its strength as a third number.
    """
    if not isinstance(value, (list, tuple)):
        return None
    grouped = bool(value) and all(isinstance(entry, (list, tuple)) and not _is_pair(entry) for entry in value)
    groups = list(value) if grouped else [value[start : start + 2] for start in range(0, len(value), 2)]
    if not all(len(pairs) == 2 and all(map(_is_pair, pairs)) for pairs in groups):
        return None
    return [[(pair[0], pair[1]) for pair in pairs] for pairs in groups]


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) in (2, 3)
        and isinstance(value[0], str)
        and type(value[1]) is int
        and all(isinstance(strength, float) for strength in value[2:])
    )


def _literal(node: ast.expr, where: str) -> Any:
    """Evaluate a literal, ``range(...)`` with literal bounds, or a plain call around one; ranges stay unexpanded."""
    if isinstance(node, (ast.List, ast.Tuple)):
        entries = [_literal(entry, where) for entry in node.elts]
        return entries if isinstance(node, ast.List) else tuple(entries)
    if isinstance(node, ast.Call) and not node.keywords:
        name = ast.unparse(node.func).rpartition(".")[2]
        arguments = [_literal(argument, where) for argument in node.args]
        if name == "range" and len(arguments) in (1, 2, 3) and all(type(a) is int for a in arguments):
            if arguments[2:] != [0]:
                return range(*arguments)
        elif name in _AROUND_VALUES and len(arguments) == 1:
            return arguments[0]
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError) as error:
        raise GenotypeError(f"{where}: {excerpt(ast.unparse(node))} is not a literal") from error
