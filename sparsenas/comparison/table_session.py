"""A comparison by a table in a folder."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sparsenas.comparison.figure import draw_comparison
from sparsenas.comparison.plan import Plan, PlannedRun
from sparsenas.comparison.records import Record, from_json
from sparsenas.comparison.report import Report, make_report
from sparsenas.comparison.session import Session, write_pages
from sparsenas.comparison.summary import summarize
from sparsenas.comparison.text import markdown


class TableSession(Session[Record]):
    """Runs of searchers, judged by a published table after all of them have chosen.

    Args:
        plan: The plan.
        out: Folder to write.
    """

    def __init__(self, plan: Plan, out: Path) -> None:
        super().__init__(plan.runs, out, "sparsenas.comparison")
        self.plan = plan

    def check(self, runs: Sequence[PlannedRun] | None = None) -> None:
        """See :meth:`Session.check`: a table that is missing, or is of another space."""
        self.plan.read_table()

    def parse(self, fields: dict[str, Any]) -> Record:
        """See :meth:`Session.parse`."""
        return from_json(fields)

    def outcome(self, record: Record) -> str:
        """See :meth:`Session.outcome`."""
        return f"{record.seconds:.1f} s{', cut by the budget' if record.cut else ''}"

    def write_report(self, records: Sequence[Record]) -> str:
        """See :meth:`Session.write_report`."""
        table = self.plan.read_table()
        report = make_report(self.plan, records, table)
        also = [make_report(replace(self.plan, training=training), records, table) for training in self.plan.also]
        content = _content(report) | {"budget_seconds": self.plan.budget_seconds, "also": list(map(_content, also))}
        return write_pages(self.out, markdown(report, also), content, draw_comparison(report), len(records))


def _content(report: Report) -> dict[str, Any]:
    """A report as what JSON knows."""
    rows = [asdict(row) for row in report.rows]
    for row, found in zip(rows, report.rows, strict=True):
        for name in ("beats_random", "beats_largest"):
            test = getattr(found, name)
            row[name] = None if test is None else test._asdict()
    return {"accuracy": str(report.plan.training), "rows": rows, "summaries": list(map(asdict, summarize(report)))}
