"""Event files of TensorBoard, which nobody loses a run for."""

import threading
from typing import Any

import pytorch_lightning as pl

from sparsenas.callbacks.tensorboard import summary_writers
from sparsenas.texts import note


class EventGuard(pl.Callback):
    """Let a run go on where its event file cannot be written, such as on a full disk; a note says so once."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Guard the files that are open now; a test after a fit has files of its own."""
        for writer in summary_writers(trainer):
            file = writer._get_file_writer()  # type: ignore[no-untyped-call]  # torch's own
            if not isinstance(file.event_writer, GuardedEvents):
                file.event_writer = GuardedEvents(file.event_writer)


class GuardedEvents:
    """Writer of events that drops what cannot be written.

    Args:
        writer: TensorBoard's writer, which fails in a thread, and then wherever it is called.
    """

    def __init__(self, writer: Any) -> None:
        self._writer, self._lost = writer, False
        if not isinstance(threading.excepthook, _Quiet):
            threading.excepthook = _Quiet(threading.excepthook)

    def add_event(self, event: Any) -> None:
        """Write an event, if possible."""
        self._try("add_event", event)

    def flush(self) -> None:
        """Flush, if possible."""
        self._try("flush")

    def close(self) -> None:
        """Close, if possible."""
        self._try("close")

    def _try(self, name: str, *args: Any) -> None:
        if self._lost:
            return
        try:
            getattr(self._writer, name)(*args)
        except OSError as error:
            self._lost = True
            note(f"TensorBoard's events are lost from now on ({error.strerror or error})")

    def __getattr__(self, name: str) -> Any:
        """Everything else is the writer's."""
        return getattr(self._writer, name)


class _Quiet:
    """Hook for errors in threads that leaves out those of event files, which their callers get, too."""

    def __init__(self, before: Any) -> None:
        self._before = before

    def __call__(self, args: Any) -> None:
        if not (type(args.thread).__module__.startswith("tensorboard.") and isinstance(args.exc_value, OSError)):
            self._before(args)
