"""One message out of a wall of text."""

import argparse
import re
from collections.abc import Iterator

from pytorch_lightning.utilities.exceptions import MisconfigurationException  # type: ignore[attr-defined]  # re-export

from sparsenas.errors import ConfigError, SparseNASError

#: Lines of a jsonargparse message that say how it looked, not what it found.
_NOISE = re.compile(
    r"Parser key|Does not validate against|Subtypes:|Errors:|Given value|Problem with given class_path"
    r"|Expected a <class 'NoneType'>|Expected a path but|Not a valid subclass of"
)


def user_error(error: BaseException) -> SparseNASError | None:
    """The error of the user behind an exception; None if it is a defect of the program.

    jsonargparse wraps what a constructor raises, so the causes are searched too.
    """
    for cause in _causes(error):
        if isinstance(cause, SparseNASError):
            return cause
        if isinstance(cause, MisconfigurationException):
            return ConfigError(str(cause))
    return ConfigError(shorten(str(error))) if isinstance(error, argparse.ArgumentError) else None


def shorten(message: str) -> str:
    """What was wrong and where, out of a message of jsonargparse.

    Example: ``model.recovery: option 'solvr' is not accepted by sparsenas.search.SparseRecovery``.
    """
    keys = re.findall(r'Parser key "([^"]+)":', message)
    if not keys:
        return message
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    found = list(dict.fromkeys(line for line in lines if line and not _NOISE.match(line)))
    found += re.findall(r'Parser key "[^"]+": (.+)', message)
    found = [line[0].lower() + line[1:] for line in found]
    classes = re.findall(r"given class_path '([^']+)'", message)
    if classes and found and found[-1].endswith("is not accepted"):
        name = classes[-1]
        return f"{'.'.join(keys)}: {found[-1]} by {name}; see --{'.'.join(keys)}.help {name.rpartition('.')[2]}"
    given = re.search(r"Given value: (?!NestedArg)(.+)", message)
    suffix = f"; got {given.group(1)!r}" if given and "ot value" not in message else ""
    return f"{'.'.join(dict.fromkeys(keys))}: {', or '.join(found)}{suffix}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
