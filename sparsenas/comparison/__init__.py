"""Searchers on one space at equal cost, judged by a published table and set beside what costs nothing."""

from sparsenas.comparison.checks import read_settings
from sparsenas.comparison.figure import draw_comparison
from sparsenas.comparison.plan import Plan, PlannedRun, PublishedNetwork, read_plan
from sparsenas.comparison.pool import Failure, Job, run_jobs, serve
from sparsenas.comparison.records import Record, append_record, read_records
from sparsenas.comparison.report import Judged, Report, Row, SignTest, make_report, sign_test
from sparsenas.comparison.session import Session
from sparsenas.comparison.summary import Summary, summarize
from sparsenas.comparison.table_session import TableSession
from sparsenas.comparison.text import cap_table, markdown, percentile_table, summary_table

__all__ = [
    "Failure",
    "Job",
    "Judged",
    "Plan",
    "PlannedRun",
    "PublishedNetwork",
    "Record",
    "Report",
    "Row",
    "Session",
    "SignTest",
    "Summary",
    "TableSession",
    "append_record",
    "cap_table",
    "draw_comparison",
    "make_report",
    "markdown",
    "percentile_table",
    "read_plan",
    "read_records",
    "read_settings",
    "run_jobs",
    "serve",
    "sign_test",
    "summarize",
    "summary_table",
]
