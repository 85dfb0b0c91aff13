"""Searchers on one space at equal cost, judged by a published table and set beside what costs nothing."""

from sparsenas.comparison.checks import read_settings
from sparsenas.comparison.executors import Executor, LocalExecutor, RayExecutor, SubmititExecutor, choose_executor
from sparsenas.comparison.figure import draw_comparison
from sparsenas.comparison.jobs import Failure, Job, serve
from sparsenas.comparison.plan import Plan, PlannedRun, PublishedNetwork, read_plan
from sparsenas.comparison.records import Record, append_record, read_records
from sparsenas.comparison.report import Judged, Report, Row, SignTest, make_report, sign_test
from sparsenas.comparison.session import Session
from sparsenas.comparison.summary import Summary, summarize
from sparsenas.comparison.table_session import TableSession
from sparsenas.comparison.text import cap_table, markdown, percentile_table, summary_table

__all__ = [
    "Executor",
    "Failure",
    "Job",
    "Judged",
    "LocalExecutor",
    "Plan",
    "PlannedRun",
    "PublishedNetwork",
    "RayExecutor",
    "Record",
    "Report",
    "Row",
    "Session",
    "SignTest",
    "SubmititExecutor",
    "Summary",
    "TableSession",
    "append_record",
    "cap_table",
    "choose_executor",
    "draw_comparison",
    "make_report",
    "markdown",
    "percentile_table",
    "read_plan",
    "read_records",
    "read_settings",
    "serve",
    "sign_test",
    "summarize",
    "summary_table",
]
