"""One message out of a wall of text."""

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager

from pytorch_lightning.utilities.exceptions import MisconfigurationException  # type: ignore[attr-defined]  # re-export

from sparsenas.api.refusals import one_line, refusal
from sparsenas.api.renamed import renamed
from sparsenas.errors import CheckpointError, ConfigError, SparseNASError

#: Lines of a jsonargparse message that say how it looked, not what it found.
_NOISE = re.compile(
    r"Parser key|Does not validate against|Subtypes:|Errors:|Given value|Problem with given class_path"
    r"|Expected a <class 'NoneType'>|Expected a path but|Not a valid subclass of|Subclass types expect"
    r"|a (?:class path|dict) "
)

_NAMES = "give a class of sparsenas by its name, or one of your own as package.module.Class"
#: What to do after a message that says only what was wrong.
_HINTS = {
    "arguments are required": "; name a config by --config",
    "unrecognized arguments": "; see --help of the command",
    "does not accept option": "; see --help of the command",
}


def user_error(error: BaseException) -> SparseNASError | None:
    """The error of the user behind an exception; None if it is a defect of the program.

    jsonargparse wraps what a constructor raises, so the causes are searched too.
    """
    for cause in _causes(error):
        if isinstance(cause, SparseNASError):
            return cause
        if isinstance(cause, MisconfigurationException):
            return ConfigError(one_line(str(cause)))
        if str(cause).startswith("Error(s) in loading state_dict"):  # torch's own, a plain RuntimeError
            return CheckpointError(f"the checkpoint does not fit the model: {_first_mismatch(str(cause))}")
        if said := refusal(cause):
            return ConfigError(said)
    if isinstance(error, ValueError) and str(error).startswith("Does not validate against"):
        return ConfigError(_innermost(str(error)))  # a constructor refused, and a union of types hides its exception
    return ConfigError(shorten(str(error))) if isinstance(error, argparse.ArgumentError) else None


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn what jsonargparse and Lightning say about options into one message; defects go on as they are."""
    try:
        yield
    except Exception as error:  # defects are raised again
        mistake = user_error(error)
        if mistake is None or mistake is error:
            raise
        raise mistake from error


def _first_mismatch(message: str) -> str:
    """The first thing that torch found wrong."""
    found = [line.strip() for line in message.splitlines()[1:] if line.strip()]
    first = found[0] if found else message
    return f"{first[:200]}; use the config and the version of sparsenas it was written with"


def _innermost(message: str) -> str:
    """Take what a constructor said out of what jsonargparse says of all the types that an option may have."""
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    said = [line for line in lines if line and not _NOISE.match(line) and not line.startswith("Expected")]
    return one_line(said[0] if said else lines[0])


def shorten(message: str) -> str:
    """Extract what was wrong, and where, from a message of jsonargparse.

    Example: ``model.recovery: option 'solvr' is not accepted by sparsenas.search.SparseRecovery``.
    """
    keys = ".".join(dict.fromkeys(re.findall(r'Parser key "([^"]+)":', message)))
    told = renamed(message, keys)
    if told is not None:
        return told
    if not keys:
        return message + next((hint for start, hint in _HINTS.items() if start in message), "")
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    lines += re.findall(r'Parser key "[^"]+": (.+)', message)
    found = list(dict.fromkeys(_plain_words(line) for line in lines if line and not _NOISE.match(line)))
    kept = _of_what_was_given([text for text in found if text])
    classes = re.findall(r"given class_path '([^']+)'", message)
    if classes and kept and kept[-1].endswith("is not accepted"):
        # options in whose place a word may stand have no help of their own; that of their class lists them
        place, shown = (keys.rpartition(".")[0], classes[-2:][0]) if kept != found else (keys, classes[-1])
        return f"{keys}: {kept[-1]} by {classes[-1]}; see --{place}.help {shown.rpartition('.')[2]}"
    given = re.search(r"Given value: (?!NestedArg)(.{1,80})$", message, re.MULTILINE)
    said = any("; got " in text or "unknown class" in text for text in kept)
    got = f"; got {given[1]!r}" if given and not said else ""
    return f"{keys}: {', or '.join(kept)}{got}"


def _of_what_was_given(found: list[str]) -> list[str]:
    """Keep what concerns a word, or options, where either is possible and only one was given."""
    words = [text for text in found if re.match(r"expected one of [^;]*$", text)]
    others = [text for text in found if text not in words]
    if not words or not others:
        return found
    if any(re.match(r"unknown class '[a-z]\w*'", text) for text in others):
        return words  # no class is written so
    return others if any("; got " in text or text.startswith("option ") for text in others) else found


def _plain_words(line: str) -> str:
    """One finding of jsonargparse without Python's words."""
    line = re.sub(r"<class '([^']+)'>", r"\1", line)
    line = re.sub(r"typing\.Literal\[(.+?)\]", r"one of \1", line)
    line = re.sub(r"^Type typing\.Callable\[.*?\] expects a function or a callable class: ", "", line)
    line = re.sub(r'^Parser key "[^"]+":$', "", line)
    line = re.sub(r"\. Got value: Namespace\(.*$", "", line)
    line = re.sub(r"^Expected an? ", "expected ", line)
    line = re.sub(r"^Unable to load config [\"']([^\"']*)[\"'].*$", r"expected options; got '\1'", line)
    line = re.sub(r"\. Got value: (.*)$", r"; got '\1'", line)
    line = re.sub(r"^expected dot import path string: (.*)$", rf"unknown class '\1'; {_NAMES}", line)
    return line[:1].lower() + line[1:]


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
