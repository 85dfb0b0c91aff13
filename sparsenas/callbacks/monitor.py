"""Scalars of every recovery."""

from collections import Counter
from collections.abc import Sequence

import pytorch_lightning as pl
from torch import Tensor

from sparsenas.search import RecoveryListener, RecoveryReport, SearchModule
from sparsenas.spaces import Block


class SupportMonitor(RecoveryListener):
    """Log what each recovery found to every logger of the trainer; the x-axis counts training batches.

    * ``search/churn``: share of kept candidates replaced since the last recovery;
    * ``search/visited``: distinct architectures recovered so far;
    * ``search/residual``, ``search/l1_share``, ``search/nonzeros``, ``search/iterations``: means over the blocks;
      ``search/optimality``: the worst block;
    * ``residual/<cell>_node<i>``, ``l1_share/...``, ``nonzeros/...``, ``code_norm/...``: the same per block, and the
      Euclidean norm of its code;
    * ``normal_primitives/<primitive>`` and so on: count of a primitive in the support of a cell type.
    """

    def on_recovery(self, trainer: pl.Trainer, search: SearchModule, report: RecoveryReport) -> None:
        """Log the report."""
        scalars = {"search/churn": report.churn, "search/visited": float(report.visited)}
        blocks = search.space.blocks
        scalars |= _summary(report) | _primitive_counts(blocks, report) | _block_scalars(blocks, report)
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
