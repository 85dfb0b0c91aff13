"""SIGTERM, by which batch systems and containers end a program, as an interruption."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM came where no trainer waits for it."""


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM interrupt as Ctrl-C does; a trainer that handles it itself ends its run in its own way."""
    before = signal.getsignal(signal.SIGTERM)
    if before not in (None, signal.SIG_DFL) or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if signal.getsignal(signal.SIGTERM) is _interrupt:
        raise Terminated
