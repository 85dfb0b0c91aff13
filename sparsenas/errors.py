"""Errors that a user can cause. Every message says what was wrong, where, and what would be right."""

#: Letters of a message; one that quotes a long input is cut in its middle.
LONGEST = 500
_HEAD, _TAIL = 280, 210


class SparseNASError(Exception):
    """Base of all errors that end a run with one clear message and exit code 2.

    The message is at most :data:`LONGEST` letters long, and every terminal and file takes it.
    """

    def __init__(self, message: str = "") -> None:
        text = message.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
        super().__init__(text if len(text) <= LONGEST else f"{text[:_HEAD]} ... {text[-_TAIL:]}")


class ConfigError(SparseNASError):
    """An option, or two options together, cannot work."""


class BudgetError(ConfigError):
    """There is no network of an architecture within the budget, for these images, or in the time."""


class DataError(SparseNASError):
    """A data file or folder is missing, damaged, or incomplete."""


class GenotypeError(SparseNASError):
    """A genotype, its file, or its printed text does not describe a cell of the space."""


class RecoveryError(SparseNASError):
    """A sparse-recovery problem is malformed, or no support satisfies its constraints."""


class CheckpointError(SparseNASError):
    """A checkpoint is missing, damaged, or belongs to another model."""


class DivergenceError(SparseNASError):
    """Losses or weights of a run are no longer finite numbers."""


class ExportError(SparseNASError):
    """An export does not compute what its checkpoint's network does, or a folder holds no intact export."""


class RankingError(SparseNASError):
    """Scores or accuracies from which a ranking figure cannot be computed."""


class PredictorError(SparseNASError):
    """A predictor lacks what it needs, or what it is given cannot be learned from."""


class TableError(SparseNASError):
    """A benchmark table is missing, damaged, or does not hold what is asked for."""
