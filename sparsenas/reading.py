"""JSON and YAML of any origin: read within limits, and refused in a few words."""

import json
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

#: Most bytes of a file, levels of brackets, and values; files of this package have far fewer.
LONGEST, DEEPEST, MOST = 2**27, 64, 10**7
#: Largest whole number: what tensors, files and other languages hold.
LARGEST = 2**63 - 1
#: Letters of a reason.
SHORT = 200


class ReadingError(ValueError):
    """A text is not what it should be; the message is the reason, in at most :data:`SHORT` letters."""

    def __init__(self, reason: str) -> None:
        super().__init__(shorten(reason))


def shorten(value: Any, most: int = SHORT) -> str:
    """Make a text of one line that is not too long for a message."""
    text = " ".join(str(value)[: 4 * most].split())
    return text if len(text) <= most else f"{text[: most - 3]}..."


def read_text(path: str | Path) -> str:
    """Read a text file in UTF-8.

    Raises:
        ReadingError: If it cannot be read, is too long, or no text.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(LONGEST + 1)
        if len(content) > LONGEST:
            raise ReadingError(f"is longer than {LONGEST:,} bytes")
        return content.decode("utf-8")
    except OSError as error:
        raise ReadingError(error.strerror or str(error)) from error
    except ValueError as error:  # not UTF-8, or a name with a NUL
        raise ReadingError("not text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)) from error


def parse_json(text: str) -> Any:
    """Parse JSON in which every key occurs once, and every number is finite.

    Raises:
        ReadingError: If it is something else, or nested too deeply.
    """
    try:
        tree = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise ReadingError(f"not JSON (line {error.lineno}: {error.msg})") from error
    except RecursionError as error:
        raise ReadingError("brackets are nested too deeply") from error
    except ReadingError:
        raise
    except ValueError as error:
        raise ReadingError("a number has thousands of digits") from error
    return _limited(tree)


def parse_yaml(text: str) -> Any:
    """Parse YAML without tags of Python.

    Raises:
        ReadingError: If it is something else, nested too deeply, or multiplied by references.
    """
    try:
        tree = yaml.safe_load(text)
    except RecursionError as error:
        raise ReadingError("nested too deeply") from error
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError) as error:  # such as a 13th month
        raise ReadingError(f"not YAML ({error})") from error
    return _limited(tree)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ReadingError(f"the key {shorten(twice, 40)!r} is there twice")
    return found


def _refuse(constant: str) -> Any:
    raise ReadingError(f"{constant} is no number of JSON")


def _limited(tree: Any) -> Any:
    """Check depth and size, level by level, without recursion."""
    level, count = [tree], 0
    for _ in range(DEEPEST):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value.values())
            elif isinstance(value, (list, tuple, set)):
                below.extend(value)
            elif isinstance(value, float) and not isfinite(value):
                raise ReadingError("a number is not finite")
            elif isinstance(value, int) and abs(value) > LARGEST:
                raise ReadingError(f"a whole number is beyond {LARGEST:,}")
            if count + len(below) > MOST:
                raise ReadingError(f"has more than {MOST:,} values")
        count += len(below)
        if not below:
            return tree
        level = below
    raise ReadingError(f"nested more than {DEEPEST} levels deep")
