"""Machines of a SLURM cluster, by submitit."""

import io
import logging
import math
import os
import shutil
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sparsenas.comparison.checks import check_mapping, check_number
from sparsenas.comparison.executors import process
from sparsenas.comparison.executors.base import ClusterExecutor, Ended, add_to_log, load
from sparsenas.comparison.jobs import Job
from sparsenas.errors import ConfigError

#: Clusters of submitit: the real one, and processes of this machine that behave like its jobs, for tests.
CLUSTERS = ("slurm", "local")
#: Seconds between two looks at the files of results.
LOOK = 0.5
#: Seconds after which a preempted job that SLURM has not put back into its queue is lost.
PREEMPTED = 60.0
#: Seconds before the end of its time in which SLURM warns a run.
WARNING = 30
#: Seconds in which processes of this machine end.
END = 10.0
#: States of SLURM after which another attempt would end in the same way.
FINAL = ("TIMEOUT", "DEADLINE", "CANCELLED")


@dataclass(frozen=True)
class SubmititExecutor(ClusterExecutor):
    """Runs jobs on a SLURM cluster, from one of its machines; all share the folder of the comparison.

    Args:
        retries: See :class:`ClusterExecutor`, as for the following. A job that SLURM itself puts back into its queue
            is the same attempt.
        cpus: Cores.
        gpus: GPUs.
        memory: GB.
        minutes: Time after which SLURM ends a run.
        partition: Partition; ``None`` for that of the cluster.
        slurm: Further options of ``sbatch``, as submitit names them, such as ``account`` or ``constraint``.
        cluster: ``slurm``; ``local`` for processes of this machine instead, to try it.
    """

    minutes: float | None = None
    partition: str | None = None
    slurm: Mapping[str, Any] = field(default_factory=dict)
    cluster: str = "slurm"

    def __post_init__(self) -> None:
        """See :meth:`Executor.__post_init__`."""
        super().__post_init__()
        if self.minutes is None:
            raise ConfigError("executor submitit: minutes is missing; SLURM ends a run after so many")
        object.__setattr__(self, "minutes", check_number(self.minutes, "executor: minutes"))
        if self.partition is not None and not (isinstance(self.partition, str) and self.partition):
            raise ConfigError(f"executor: partition is {self.partition!r}; give the name of one")
        check_mapping(self.slurm, "executor: slurm", (), None)
        if self.cluster not in CLUSTERS:
            raise ConfigError(f"executor: cluster is {self.cluster!r}; use one of {', '.join(CLUSTERS)}")

    def __str__(self) -> str:
        """Text for people."""
        return "SLURM"

    def check(self) -> None:
        """See :meth:`Executor.check`."""
        load("submitit", "runs jobs on SLURM by submitit")
        if self.cluster == "slurm" and shutil.which("srun") is None:
            raise ConfigError(
                "executor submitit: there is no SLURM here (srun is not found); compare on a machine from which jobs "
                "are submitted, or use --executor local"
            )

    @contextmanager
    def _workers(self, logs: Path) -> Generator["_SubmititWorkers"]:
        self.check()
        submitit = load("submitit", "runs jobs on SLURM by submitit")
        submitit.core.utils.cloudpickle.register_pickle_by_value(process)  # the other machine may not have it
        logger = logging.getLogger("submitit")
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            # beside the logs, as all machines must see it
            with tempfile.TemporaryDirectory(prefix=".submitit-", dir=logs, ignore_cleanup_errors=True) as folder:
                workers = _SubmititWorkers(submitit, self, folder, logs)
                try:
                    yield workers
                finally:
                    workers.stop()
        finally:
            logger.setLevel(level)

    def parameters(self, name: str) -> dict[str, Any]:
        """Return the options of the jobs of a comparison, as submitit names them."""
        assert self.minutes is not None
        return {
            "name": name,
            "timeout_min": math.ceil(self.minutes),
            "cpus_per_task": self.cpus,
            "gpus_per_node": self.gpus or None,  # an option of clusters that have some
            "mem_gb": self.memory,
            "slurm_partition": self.partition,
            "slurm_signal_delay_s": WARNING,
            **{f"slurm_{option}": value for option, value in self.slurm.items()},
        }


class _SubmititWorkers:
    """Jobs of SLURM, each of which waits for one process where it runs."""

    def __init__(self, submitit: Any, executor: SubmititExecutor, folder: str, logs: Path) -> None:
        self._submitit, self._asked, self._logs = submitit, executor, logs
        self._live: list[tuple[Any, Job]] = []
        self._preempted: dict[str, float] = {}
        self._where = (process.own_paths(), process.own_variables(), os.getcwd())
        self._executor = submitit.AutoExecutor(folder=folder, cluster=executor.cluster)
        try:
            self._executor.update_parameters(**executor.parameters(f"compare-{logs.absolute().parent.name}"))
        except (NameError, AssertionError, TypeError, ValueError) as error:  # what submitit raises of its options
            raise ConfigError(f"executor submitit: {' '.join(str(error).split())}") from error

    def start(self, jobs: Sequence[Job]) -> None:
        self._executor.update_parameters(slurm_array_parallelism=len(jobs))
        calls = [partial(process.run_elsewhere, job.arguments, job.text, *self._where) for job in jobs]
        try:
            with redirect_stderr(io.StringIO()):  # submitit prints what it raises
                submitted = self._executor.submit_array(calls)
        except (self._submitit.core.utils.FailedJobError, self._submitit.core.utils.FailedSubmissionError) as error:
            raise ConfigError(f"executor submitit: SLURM refuses the runs: {' '.join(str(error).split())}") from error
        self._live += zip(submitted, jobs, strict=True)

    def wait(self) -> list[tuple[Job, Ended]]:
        while True:
            ended = [(handle, job) for handle, job in self._live if handle.done() or self._is_lost(handle)]
            if ended:
                self._live = [entry for entry in self._live if entry not in ended]
                return [self._ended(handle, job) for handle, job in ended]
            time.sleep(LOOK)

    def stop(self) -> None:
        """Cancel what runs or waits in the queue."""
        for handle, _ in self._live:
            handle.cancel(check=False)
        end = time.monotonic() + (END if self._asked.cluster == "local" else 0)  # SLURM ends them by itself
        while time.monotonic() < end and not all(handle.done() for handle, _ in self._live):
            time.sleep(LOOK / 10)

    def _is_lost(self, handle: Any) -> bool:
        """Say if a job was preempted and not put back: submitit would wait for ever."""
        if handle.state != "PREEMPTED":
            self._preempted.pop(handle.job_id, None)
            return False
        since = self._preempted.setdefault(handle.job_id, time.monotonic())
        return time.monotonic() - since > PREEMPTED

    def _ended(self, handle: Any, job: Job) -> tuple[Job, Ended]:
        errors = self._submitit.core.utils
        if not handle.done():
            handle.cancel(check=False)
            return job, Ended(None, reason="SLURM has preempted it, and not put it back", lost=True)
        try:
            code, answer, log = handle.result()
        except errors.FailedJobError as error:  # the function itself
            add_to_log(job, self._logs, f"{error}\n")
            if "timed-out" in str(error):
                return job, self._too_slow()
            return job, Ended(None, reason="it could not be started there")
        except errors.UncompletedJobError as error:
            add_to_log(job, self._logs, f"{error}\n")
            state = str(handle.state)
            if state.startswith("TIMEOUT"):
                return job, self._too_slow()
            return job, Ended(None, reason=f"SLURM has ended it ({state})", lost=not state.startswith(FINAL))
        add_to_log(job, self._logs, log)
        return job, Ended(code, answer)

    def _too_slow(self) -> Ended:
        return Ended(None, reason=f"it needs more than the {self._asked.minutes:g} minutes it has; raise --minutes")
