"""Scalars of every recovery."""

from collections import Counter
from collections.abc import Sequence

import pytorch_lightning as pl
from torch import Tensor

from sparsenas.errors import ConfigError
from sparsenas.search.base import RecoveryListener, RecoveryReport, SearchModule
from sparsenas.spaces import Block


class SupportMonitor(RecoveryListener):
    """Log what each recovery found to every logger of the trainer; the x-axis counts training batches.

    * ``search/churn``: share of kept candidates replaced since the last recovery;
    * ``search/visited``: distinct architectures recovered so far;
    * ``search/residual``, ``search/l1_share``, ``search/nonzeros``, ``search/iterations``: means over the blocks;
      ``search/optimality``: the worst block;
    * ``residual/<cell>_node<i>``, ``l1_share/...``, ``nonzeros/...``, ``code_norm/...``: the same per block, and the
      Euclidean norm of its code;
    * ``normal_primitives/<primitive>`` and so on: how often the support holds a primitive in a cell type.

    Args:
        every_n_recoveries: Log only every so many recoveries. The churn is still that of a single one.
        per_block: Whether to log the scalars per block.

    Raises:
        ConfigError: If ``every_n_recoveries`` is below 1.
    """

    def __init__(self, every_n_recoveries: int = 1, per_block: bool = True) -> None:
        super().__init__()
        if every_n_recoveries < 1:
            raise ConfigError(f"SupportMonitor.every_n_recoveries is {every_n_recoveries}; use at least 1")
        self.every_n_recoveries = every_n_recoveries
        self.per_block = per_block

    def on_recovery(self, trainer: pl.Trainer, search: SearchModule, report: RecoveryReport) -> None:
        """Log the report, if it is its turn."""
        if report.count % self.every_n_recoveries:
            return
        scalars = {"search/churn": report.churn, "search/visited": float(report.visited)}
        scalars |= _summary(report) | _primitive_counts(search.space.blocks, report)
        if self.per_block:
            scalars |= _block_scalars(search.space.blocks, report)
        for logger in trainer.loggers:  # they write on rank zero only
            logger.log_metrics(scalars, step=report.batch)


def _summary(report: RecoveryReport) -> dict[str, float]:
    certificate = report.certificate
    if certificate is None:
        return {}
    return {
        "search/residual": _mean(certificate.residual),
        "search/l1_share": _mean(certificate.l1_share),
        "search/nonzeros": _mean(certificate.nonzeros),
        "search/iterations": _mean(certificate.iterations),
        "search/optimality": float(certificate.optimality.max()),
    }


def _block_scalars(blocks: Sequence[Block], report: RecoveryReport) -> dict[str, float]:
    certificate, code = report.certificate, report.code
    if certificate is None or code is None:
        return {}
    columns = {
        "residual": certificate.residual,
        "l1_share": certificate.l1_share,
        "nonzeros": certificate.nonzeros,
        "code_norm": code.norm(dim=1),
    }
    return {
        f"{name}/{block.cell}" + ("" if block.node is None else f"_node{block.node}"): value
        for name, values in columns.items()
        for block, value in zip(blocks, values.tolist(), strict=True)
    }


def _primitive_counts(blocks: Sequence[Block], report: RecoveryReport) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for block, kept in zip(blocks, report.support, strict=True):
        counts.update({f"{block.cell}_primitives/{c.primitive}": 0 for c in block.candidates})
        counts.update(f"{block.cell}_primitives/{block.candidates[index].primitive}" for index in kept)
    return {name: float(count) for name, count in counts.items()}


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
