"""A calm terminal: known noise of Lightning is left out, everything else stays."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

#: Beginnings of log lines, each with the reason why nobody misses it.
LOG_NOISE = (
    "GPU available: ",  # a GPU that is there but not used has a warning of its own
    "TPU available: ",  # likewise
    "💡 Tip: ",  # advertises other packages
    "`Trainer.fit` stopped: `max_epochs",  # the usual end, which the summary tells
)
#: Regular expressions for the beginnings of warnings, likewise.
WARNING_NOISE = (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own call, no one else can mend it
    r"\s*(By default only one JsonargparseDeprecationWarning|.*was deprecated in v4)",  # likewise
    r"The '.*' does not have many workers",  # images are held in memory; workers would only copy them
    r"Your `IterableDataset` has `__len__` defined",  # true of the batch loader, whose length is exact
    r"You're using the WeightAveraging callback, but loading",  # the checkpoint's weights are the averaged ones
    r"No complete tensor found in the group",  # of torch.export, about weights that are not on a CPU
    r"Checkpoint directory .* exists and is not empty",  # created by the check that it can be written
)


@contextmanager
def calm_terminal() -> Iterator[None]:
    """Leave out the known noise."""
    logger = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    logger.addFilter(_is_worth_reading)
    try:
        with warnings.catch_warnings():
            for noise in WARNING_NOISE:
                warnings.filterwarnings("ignore", message=noise)
            yield
    finally:
        logger.removeFilter(_is_worth_reading)


def _is_worth_reading(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(LOG_NOISE)
