"""The first of several processes speaks for all of them."""

import os
import time

#: Seconds for which other processes wait for the first one, which mostly meets the same error.
PATIENCE = 20.0


def is_first() -> bool:
    """Say if this process is the first of a run, by what launchers set."""
    return (os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or "0") == "0"


def is_spoken_for() -> bool:
    """Say, in another process than the first, after an error, if the first one ends too: then it has told the user.

    The first process started this one, so that this one gets another parent when it ends. Where another program started
    them, each of them speaks.
    """
    parent, end = os.getppid(), time.monotonic() + PATIENCE
    while not is_first() and time.monotonic() < end:
        if os.getppid() != parent:
            return True
        time.sleep(0.1)
    return False
