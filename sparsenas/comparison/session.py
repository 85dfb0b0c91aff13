"""A comparison in a folder: finished runs are kept, missing ones are made, and all are reported."""

import json
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any, Generic

from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from sparsenas.comparison.executors import Executor, LocalExecutor
from sparsenas.comparison.jobs import Failure, Job
from sparsenas.comparison.plan import PlannedRun
from sparsenas.comparison.records import Finished, append_record, planned_records, read_finished
from sparsenas.drawing import save_figure
from sparsenas.errors import ConfigError
from sparsenas.files import held, write_atomically


class Session(ABC, Generic[Finished]):
    """A comparison in a folder.

    Args:
        runs: All runs.
        out: Folder to write.
        module: Module that makes a run in a process of its own, by :func:`sparsenas.comparison.serve`.

    Attributes:
        path: File of the finished runs.
    """

    def __init__(self, runs: Sequence[PlannedRun], out: Path, module: str) -> None:
        self.runs, self.out, self._module = tuple(runs), out, module
        self.path = out / "runs.jsonl"

    @abstractmethod
    def check(self, runs: Sequence[PlannedRun] | None = None) -> None:
        """Find out now, not after an hour, what cannot work.

        Args:
            runs: Those that are to be made; all by default.

        Raises:
            SparseNASError: If something cannot.
        """

    def seconds(self, runs: Sequence[PlannedRun]) -> float:
        """Estimate the seconds of runs, one after the other; 0 if nobody knows."""
        return 0.0

    @abstractmethod
    def parse(self, fields: dict[str, Any]) -> Finished:
        """Read a finished run from its JSON form."""

    @abstractmethod
    def outcome(self, record: Finished) -> str:
        """Say in a few words how a run has ended."""

    @abstractmethod
    def write_report(self, records: Sequence[Finished]) -> str:
        """Write table and figure into the folder; gives their text and where they are."""

    def chosen(self, only: Sequence[str] | None = None) -> list[PlannedRun]:
        """Choose runs by the names of their entries; first seeds first, so that early ones say something of all.

        Raises:
            ConfigError: If there is no such entry.
        """
        known = dict.fromkeys(run.searcher for run in self.runs)
        for name in only or ():
            if name not in known:
                raise ConfigError(f"--only {name}: no such entry; there are {', '.join(known)}")
        return sorted((run for run in self.runs if not only or run.searcher in only), key=lambda run: run.seed)

    def open(self) -> None:
        """Make the folder.

        Raises:
            ConfigError: If it cannot be written.
        """
        try:
            (self.out / "logs").mkdir(parents=True, exist_ok=True)
            for folder in (self.out, self.out / "logs"):
                with tempfile.TemporaryFile(dir=folder):
                    pass
        except OSError as error:
            raise ConfigError(
                f"cannot write to {self.out} ({error.strerror}); name a writable folder by --out"
            ) from error

    def finished(self) -> tuple[Finished, ...]:
        """Read the finished runs of the plan.

        Raises:
            DataError: If the file is damaged.
            ConfigError: If a run was made with other settings.
        """
        return planned_records(read_finished(self.path, self.parse), self.runs, self.path)

    def make(
        self, runs: Sequence[PlannedRun], jobs: int | None = None, executor: Executor | None = None
    ) -> list[Failure]:
        """Make those of the runs that are missing, so many at a time; keep each as soon as it ends.

        Args:
            runs: The runs.
            jobs: Runs at a time; ``None`` for what the executor has room for.
            executor: Who makes them; ``None`` for processes of this machine.

        Returns:
            Runs that failed; they are told, too.

        Raises:
            ConfigError: If another process makes runs in this folder, or the executor cannot make them.
        """
        executor = LocalExecutor() if executor is None else executor
        executor.check()
        with held(self.out):
            return self._make(runs, executor.at_a_time(jobs), executor)

    def _make(self, runs: Sequence[PlannedRun], jobs: int | None, executor: Executor) -> list[Failure]:
        there = {(record.searcher, record.seed) for record in self.finished()}
        missing = [run for run in runs if (run.searcher, run.seed) not in there]
        if not missing:
            return []
        minutes = self.seconds(missing) / (jobs or len(missing)) / 60
        about = f", about {max(minutes, 1):.0f} min" if minutes else ""
        pace = f"{jobs} at a time{about}" if jobs else f"as many at a time as {executor} takes"
        print(f"{len(missing)} runs, {pace}; results in {self.path}, output in {self.out / 'logs'}", flush=True)
        failures, made, begin = [], [], perf_counter()
        terminal = sys.stderr.isatty()
        with tqdm(total=len(missing), unit="run", disable=not terminal) as bar:
            for number, (run, outcome) in enumerate(self._made(missing, jobs, executor), start=1):
                made.append(run)
                if isinstance(outcome, Failure):
                    bar.write(f"sparsenas: {outcome}", file=sys.stderr)
                    failures.append(outcome)
                else:
                    append_record(self.path, outcome)
                    if not terminal:
                        left = self._left(missing, made, perf_counter() - begin)
                        print(f"{number}/{len(missing)}  {run.title}: {self.outcome(outcome)}{left}", flush=True)
                bar.update()
        return failures

    def _left(self, runs: Sequence[PlannedRun], made: Sequence[PlannedRun], seconds: float) -> str:
        """Say how long the runs that are left will take, at the pace of those that are made; empty after the last."""
        whole, done = self.seconds(runs) or len(runs), self.seconds(made) or len(made)
        return "" if len(made) == len(runs) else f"  {tqdm.format_interval(seconds * (whole - done) / done)} left"

    def _made(
        self, runs: Sequence[PlannedRun], jobs: int | None, executor: Executor
    ) -> Iterator[tuple[PlannedRun, Finished | Failure]]:
        planned = {str(run): run for run in runs}
        work = [Job(name, run.title, (self._module,), asdict(run)) for name, run in planned.items()]
        with closing(executor.run_jobs(work, jobs, self.out / "logs")) as answers:
            for job, answer in answers:
                yield planned[job.name], answer if isinstance(answer, Failure) else self.parse(answer)


def write_pages(out: Path, text: str, content: dict[str, Any], figure: Figure, step: int) -> str:
    """Write a report as text, JSON, figure, and for TensorBoard; gives the text and where all is."""
    write_atomically(out / "table.md", text.encode())
    write_atomically(out / "table.json", (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    save_figure(figure, out / "figure.png")
    with SummaryWriter(str(out)) as writer:
        writer.add_text("compare/table", text, global_step=step)
        writer.add_figure("compare/accuracy", figure, global_step=step, close=False)
    return f"{text}\ntable         {out / 'table.md'}, {out / 'table.json'}\nfigure        {out / 'figure.png'}"
