"""Machines of a Ray cluster."""

import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsenas.comparison.executors import process
from sparsenas.comparison.executors.base import ClusterExecutor, Ended, add_to_log, load
from sparsenas.comparison.jobs import Job
from sparsenas.errors import ConfigError

GB = 1024**3
#: Bytes that a local cluster keeps for objects; answers are short, and Ray accepts no less.
STORE = 80 * 1024**2
#: Seconds in which a cluster must accept a connection, and in which its tasks end.
CONNECTION, END = 5.0, 10.0
#: Variable by which Ray is told whether to report how it is used.
STATISTICS = "RAY_USAGE_STATS_ENABLED"


@dataclass(frozen=True)
class RayExecutor(ClusterExecutor):
    """Runs jobs on a Ray cluster.

    If this process is connected to one already, that one is used.

    Args:
        retries: See :class:`ClusterExecutor`, as for the following.
        cpus: Cores.
        gpus: GPUs.
        memory: GB.
        address: Address of a running cluster, as ``ray.init`` takes it; ``None`` to start one on this machine, which
            ends with the comparison.
    """

    address: str | None = None

    def __post_init__(self) -> None:
        """See :meth:`Executor.__post_init__`."""
        super().__post_init__()
        if self.address is not None and not (isinstance(self.address, str) and self.address):
            raise ConfigError(f"executor: address is {self.address!r}; give HOST:PORT of a Ray cluster, or auto")

    def __str__(self) -> str:
        """Text for people."""
        return "the Ray cluster"

    def check(self) -> None:
        """See :meth:`Executor.check`."""
        load("ray", "runs jobs by Ray")

    @contextmanager
    def _workers(self, logs: Path) -> Generator["_RayWorkers"]:
        ray = load("ray", "runs jobs by Ray")
        with _connected(ray, self.address):
            self._check_machines(ray)
            ray.cloudpickle.register_pickle_by_value(process)  # the other machine may not have it
            workers = _RayWorkers(ray, self, logs)
            try:
                yield workers
            finally:
                workers.stop()

    def options(self) -> dict[str, Any]:
        """Return the options of a task."""
        needed: dict[str, Any] = {"num_cpus": self.cpus, "num_gpus": self.gpus}
        if self.memory is not None:
            needed["memory"] = int(self.memory * GB)
        return {**needed, "max_retries": 0}  # whoever asked for the job counts its attempts

    def _check_machines(self, ray: Any) -> None:
        """Raise a ``ConfigError`` unless a machine has all that a run needs: it would wait for ever."""
        needed = {"CPU": self.cpus, "GPU": self.gpus, "memory": (self.memory or 0) * GB}
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(all(machine.get(name, 0) >= need for name, need in needed.items()) for machine in machines):
            there = "; or ".join(sorted(set(map(_resources, machines))))
            raise ConfigError(
                f"executor ray: no machine of the cluster has what a run needs, {_resources(needed)}; there are {there}"
            )


def _resources(of: Mapping[str, float]) -> str:
    """Text of resources as Ray names them, by the names of our options."""
    return f"cpus {of.get('CPU', 0):g}, gpus {of.get('GPU', 0):g}, memory {of.get('memory', 0) / GB:.3g} GB"


class _RayWorkers:
    """Tasks of Ray, each of which waits for one process where it runs."""

    def __init__(self, ray: Any, executor: RayExecutor, logs: Path) -> None:
        self._ray, self._logs = ray, logs
        self._task = ray.remote(process.run_elsewhere).options(**executor.options())
        self._live: dict[Future[Any], tuple[Any, Job]] = {}
        self._where = (process.own_paths(), process.own_variables(), os.getcwd())

    def start(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            reference = self._task.remote(job.arguments, job.text, *self._where)
            self._live[reference.future()] = reference, job

    def wait(self) -> list[tuple[Job, Ended]]:
        ended, _ = wait(self._live, return_when=FIRST_COMPLETED)  # Ray's own takes SIGTERM for Ctrl-C
        return [self._ended(future, self._live.pop(future)[1]) for future in ended]

    def stop(self) -> None:
        """Cancel what runs; a process ends with the worker that waits for it."""
        for reference, _ in self._live.values():
            self._ray.cancel(reference, force=True)
        wait(self._live, timeout=END)

    def _ended(self, future: Future[Any], job: Job) -> tuple[Job, Ended]:
        errors = self._ray.exceptions
        try:
            code, answer, log = future.result()
        except errors.RayTaskError as error:  # the function itself: a folder for temporary files is missing, and such
            add_to_log(job, self._logs, f"{error}\n")
            return job, Ended(None, reason="it could not be started there")
        except errors.RayError as error:
            add_to_log(job, self._logs, f"{error}\n")
            return job, Ended(None, reason=f"its worker or machine was lost ({type(error).__name__})", lost=True)
        add_to_log(job, self._logs, log)
        return job, Ended(code, answer)


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Connect to a cluster, which is started if there is no address; both end with the context."""
    if ray.is_initialized():
        if address is not None:
            raise ConfigError(f"executor ray: address is {address}, but this process is connected to Ray; leave it out")
        yield
        return
    with tempfile.TemporaryDirectory(prefix="sparsenas-ray-", ignore_cleanup_errors=True) as folder:
        own = {"include_dashboard": False, "object_store_memory": STORE, "_temp_dir": folder}
        try:
            try:
                _check_address(address)
                with _same_handlers():
                    ray.init(
                        address=address or "local",
                        log_to_driver=False,
                        logging_level=logging.CRITICAL,
                        **({} if address else own),
                    )
            except (OSError, RuntimeError, ValueError) as error:  # what Ray raises of addresses, versions and folders
                where = f"address {address}" if address else "no cluster can be started on this machine"
                raise ConfigError(f"executor ray: {where}: {str(error).strip()}") from error
            yield
        finally:
            ray.shutdown()


def _check_address(address: str | None) -> None:
    """Raise an ``OSError`` if nobody answers there: Ray itself would try for minutes."""
    host, _, port = (address or "").rpartition("//")[2].rpartition(":")
    if host and port.isdecimal():
        with socket.create_connection((host, int(port)), CONNECTION):
            pass


@contextmanager
def _same_handlers() -> Iterator[None]:
    """Keep the answer to SIGTERM, which Ray replaces, and report nothing to Ray's makers unless the user wants it."""
    before, told = signal.getsignal(signal.SIGTERM), STATISTICS in os.environ
    os.environ.setdefault(STATISTICS, "0")
    try:
        yield
    finally:
        if not told:
            del os.environ[STATISTICS]
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
