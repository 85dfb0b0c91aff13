"""Texts of any origin, made fit for any file and any terminal."""

import sys
import unicodedata


def readable(text: str | bytes) -> str:
    """Return a name as text that every encoding of Unicode takes; bytes that are no UTF-8 are escaped."""
    if isinstance(text, str):
        try:
            raw = text.encode("utf-8", "surrogateescape")  # names of files keep foreign bytes this way
        except UnicodeEncodeError:  # half of a pair of UTF-16
            raw = text.encode("utf-8", "backslashreplace")
    else:
        raw = text
    # file systems differ in how they compose letters, and a line break would end a row of a table
    composed = unicodedata.normalize("NFC", raw.decode("utf-8", "backslashreplace"))
    return "".join(repr(c)[1:-1] if unicodedata.category(c) == "Cc" else c for c in composed)


def escape_unprintable() -> None:
    """Let the terminal escape what it has no letters for, instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # streams of tests and notebooks have none
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def note(text: str) -> None:
    """Tell the user something that is no result."""
    print(f"sparsenas: note: {text}", file=sys.stderr)
