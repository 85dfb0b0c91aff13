"""What the studies share: runs as a table in a file, jobs in processes of their own, and the command line's ``fit``."""

import argparse
import csv
import gzip
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

from sparsenas.comparison import Failure, Job, LocalExecutor, serve
from sparsenas.errors import ConfigError, DataError, SparseNASError
from sparsenas.files import write_atomically

#: Images of most studies, as an option of a data module.
DATA_FILE = "${SPARSENAS_DATA}/cifar10_12k_16px.npz"
#: What a job gets, and what it gives back: plain data by name.
Fields = dict[str, Any]
#: One line of a file of runs; what a run does not have is empty.
Row = dict[str, str]


def read_runs(path: Path) -> list[Row]:
    """All rows of a ``runs.csv.gz``."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_runs(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a ``runs.csv.gz``: columns in the order in which they occur, numbers with nine digits."""
    rows = list(rows)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: f"{value:.9g}" if isinstance(value, float) else value for name, value in row.items()} for row in rows
    )
    # without the time of writing, so that equal rows are equal files
    write_atomically(path, gzip.compress(text.getvalue().encode(), mtime=0))


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Options that all studies have."""
    made = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    made.add_argument("--out", type=Path, required=True, help="folder of all results; nothing is written elsewhere")
    made.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    return made


def complete(module: str, jobs: Sequence[Fields], out: Path, parallel: int) -> list[Fields]:
    """Run the jobs that ``out/runs.jsonl`` lacks, each by ``run(job, folder)`` of a module in a process of its own.

    Args:
        module: Name of the module.
        jobs: Plain data, ``arm`` and ``seed`` among it; no two are equal.
        out: Folder of that file, of logs and of what the runs write.
        parallel: Processes at a time.

    Returns:
        The fields of every job and of its result, in the order of the jobs.

    Raises:
        DataError: If a job failed, after all others have ended.
    """
    (out / "logs").mkdir(parents=True, exist_ok=True)
    path, failures = out / "runs.jsonl", []
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    done = {_key(entry["job"]): entry["result"] for entry in map(json.loads, lines)}
    missing = []
    for number, job in enumerate(jobs):
        if _key(job) not in done:
            name = re.sub(r"\W+", "_", f"{number}-{job['arm']}-{job['seed']}")
            message = {"module": module, "job": job, "folder": str(out / name)}
            missing.append(Job(name, f"{module} {name}", ("studies.common",), message))
    print(f"{len(jobs) - len(missing)} of {len(jobs)} runs are done; running {len(missing)}, {parallel} at a time")
    with closing(LocalExecutor().run_jobs(missing, parallel, out / "logs")) as answers:
        for made, answer in answers:
            if isinstance(answer, Failure):
                failures.append(str(answer))
                continue
            job = made.message["job"]
            done[_key(job)] = answer
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"job": job, "result": answer}) + "\n")
            figures = ", ".join(f"{key} {value:.4g}" for key, value in answer.items() if isinstance(value, float))
            print(f"{made.name}: {figures}", flush=True)
    if failures:
        raise DataError("\n".join(failures))
    return [{**job, **done[_key(job)]} for job in jobs]


def _key(job: Fields) -> str:
    return json.dumps(job, sort_keys=True)


def main(body: Callable[[], Iterable[Mapping[str, Any]]], out: Path) -> int:
    """Write what a study found to ``runs.csv.gz``; a user's mistake is one line and exit code 2."""
    try:
        if "SPARSENAS_DATA" not in os.environ:
            raise ConfigError(
                "SPARSENAS_DATA is not set; it names the folder of images and published tables: docs/tables.md says "
                "what they hold, `python -m sparsenas tables` where tables are published"
            )
        write_runs(out / "runs.csv.gz", body())
    except SparseNASError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{out / 'runs.csv.gz'}: copy it into the folder of the study, then python -m studies.tables")
    return 0


def fit(options: Sequence[str], folder: Path, seed: int | None = None) -> Any:
    """``fit --config OPTIONS`` with all files in ``folder``; the command line holds model, data and trainer.

    Args:
        options: First the name of a config.
        folder: Of the run.
        seed: Of the model, the data and the program, unless the options say it.
    """
    from sparsenas.api.shipped import resolve_configs
    from sparsenas.api.terminal import calm_terminal
    from sparsenas.cli.lightning import CommandLine

    args = ["fit", *resolve_configs(["--config", *options]), "--trainer.logger.init_args.save_dir", str(folder)]
    if seed is not None:
        args += [part for name in ("model.seed", "data.seed", "seed_everything") for part in (f"--{name}", str(seed))]
    with calm_terminal():
        return CommandLine(args, [])


if __name__ == "__main__":
    serve(lambda message: import_module(message["module"]).run(message["job"], Path(message["folder"])))
