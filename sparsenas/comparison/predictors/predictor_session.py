"""A ranking of predictors in a folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsenas.comparison.plan import PlannedRun
from sparsenas.comparison.predictors.predictor_figure import draw_predictors
from sparsenas.comparison.predictors.predictor_plan import PredictorPlan
from sparsenas.comparison.predictors.predictor_record import PredictorRecord, predictor_record
from sparsenas.comparison.predictors.predictor_report import predictor_content, predictor_markdown, summarize_predictors
from sparsenas.comparison.session import Session, write_pages


class PredictorSession(Session[PredictorRecord]):
    """Predictors, judged by networks whose accuracies are known.

    Args:
        plan: The plan.
        out: Folder to write.
    """

    def __init__(self, plan: PredictorPlan, out: Path) -> None:
        super().__init__(plan.runs, out, "sparsenas.comparison.predictors")
        self.plan = plan

    def check(self, runs: Sequence[PlannedRun] | None = None) -> None:
        """See :meth:`Session.check`: a missing table, too few networks, info that nobody knows."""
        self.plan.check(None if runs is None else list(dict.fromkeys(run.searcher for run in runs)))

    def parse(self, fields: dict[str, Any]) -> PredictorRecord:
        """See :meth:`Session.parse`."""
        return predictor_record(fields)

    def outcome(self, record: PredictorRecord) -> str:
        """See :meth:`Session.outcome`: the largest size that was reached."""
        ranked = [point for point in record.points if point.figures]
        if not ranked:
            return f"no ranking: {record.points[-1].problem}" if record.points else "sizes are too small for it"
        return f"tau {ranked[-1].figures['tau']:.2f} after {ranked[-1].size} networks"

    def write_report(self, records: Sequence[PredictorRecord]) -> str:
        """See :meth:`Session.write_report`."""
        rows = summarize_predictors(records, self.plan.settings["test"])
        text = predictor_markdown(self.plan, rows, records)
        return write_pages(self.out, text, predictor_content(rows), draw_predictors(rows), len(records))
