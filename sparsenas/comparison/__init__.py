"""Searchers on one space at equal cost, judged by a published table and set beside what costs nothing."""

from sparsenas.comparison.figure import draw_comparison
from sparsenas.comparison.plan import Plan, PlannedRun, PublishedNetwork, read_plan
from sparsenas.comparison.pool import Failure, Job, run_all, run_jobs, serve
from sparsenas.comparison.records import Record, append_record, read_records
from sparsenas.comparison.report import Judged, Report, Row, SignTest, make_report, sign_test
from sparsenas.comparison.summary import Summary, summarize
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
    "SignTest",
    "Summary",
    "append_record",
    "cap_table",
    "draw_comparison",
    "make_report",
    "markdown",
    "percentile_table",
    "read_plan",
    "read_records",
    "run_all",
    "run_jobs",
    "serve",
    "sign_test",
    "summarize",
    "summary_table",
]
