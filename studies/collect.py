"""Look up what the runs of a comparison chose, and write all of it as the ``runs.csv.gz`` of a study.

    SPARSENAS_DATA=... python -m studies.collect CONFIG FOLDER [FOLDER ...]

``CONFIG`` is one of the shipped configs of ``compare``, each ``FOLDER`` one that ``compare --out`` has filled; the file
goes to the first. A row is a run under one cap. Baselines, which cost nothing, have a row under each cap and no seed.
Accuracies and percentiles are those of the table that judges; ``percentile DATASET`` is by its other accuracies.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sparsenas.api.shipped import shipped_configs
from sparsenas.api.terminal import calm_terminal
from sparsenas.comparison import Plan, Record, make_report, read_plan, read_records
from sparsenas.comparison.report import total_costs
from sparsenas.errors import RankingError
from sparsenas.ranking import kendall_tau
from studies.common import Fields, write_runs


def collect(plan: Plan, records: Sequence[Record]) -> Iterator[Fields]:
    """Rows of the baselines, then of all runs."""
    table = plan.read_table()
    report = make_report(plan, records, table)
    others = [(make_report(replace(plan, training=other), records, table), other.dataset) for other in plan.also]
    costs = total_costs(table, plan.space, plan.published.costs(plan.space))
    for row in report.rows:
        if row.visited is None:
            found: Fields = {"searcher": row.name, "seed": "", "cap": row.cap, "accuracy": row.mean}
            found["percentile"] = row.percentile
            for other, name in others:
                (same,) = (r for r in other.rows if (r.cap, r.name) == (row.cap, row.name))
                found[f"percentile {name}"] = same.percentile
            yield found
    for index, judged in enumerate(report.runs):
        run = judged.record
        for cap, cell in run.chosen:
            found = {"searcher": run.searcher, "seed": run.seed, "cap": cap, "accuracy": judged.chosen[cap]}
            found["percentile"] = judged.percentiles[cap]
            found |= {f"percentile {name}": other.runs[index].percentiles[cap] for other, name in others}
            scored = [(table.row(table.space.from_string(text)), score) for text, score in dict(run.scored)[cap]]
            within = [(row, score) for row, score in scored if cap is None or costs[row] <= cap]
            try:
                truth = table.accuracies(*plan.training)[[row for row, _ in within]]
                found["tau"] = kendall_tau(np.array([score for _, score in within]), truth)
            except (RankingError, IndexError):  # fewer than two, or all equal
                found["tau"] = ""
            found |= {"visited": run.visited, "seconds": run.seconds, "cell": cell}
            yield found | {"remark": dict(run.remarks).get(cap, "")}


if __name__ == "__main__":
    config, *folders = sys.argv[1:]
    runs = [record for folder in folders for record in read_records(Path(folder) / "runs.jsonl")]
    with calm_terminal():
        write_runs(Path(folders[0]) / "runs.csv.gz", collect(read_plan(shipped_configs()[config]), runs))
