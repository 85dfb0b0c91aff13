"""One process that makes a job, on this machine or another one.

Knows nothing but Python, so that :func:`run_elsewhere` can be sent, text and all, to a machine without sparsenas, which
can then say so.
"""

import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.machinery import PathFinder
from importlib.util import find_spec


def own_paths() -> list[str]:
    """Return the folders of modules that do not come with this Python, so that classes of the user's own are found."""
    brought = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders = [os.path.abspath(path or os.getcwd()) for path in sys.path]
    return [
        folder
        for folder in dict.fromkeys(folders)
        if not folder.endswith(".zip") and not any(f"{folder}{os.sep}".startswith(f"{b}{os.sep}") for b in brought)
    ]


def own_variables() -> dict[str, str]:
    """Return the variables that sparsenas reads, as they are here."""
    return {name: value for name, value in os.environ.items() if name.startswith("SPARSENAS_")}


def processor_name() -> str:
    """Return the name of this machine's processor, or at least its kind."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def start_process(
    arguments: Sequence[str], paths: Sequence[str], variables: Mapping[str, str], folder: str, log: int
) -> "subprocess.Popen[str]":
    """Start ``python -m`` with arguments, as a process of one thread; what it writes to its error stream is the log."""
    known = [*paths, *filter(None, [os.environ.get("PYTHONPATH")])]
    # a run is no task of SLURM, whatever started it: Lightning would count tasks, and wait for signals
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        cwd=folder,
        env={**inherited, **variables, "PYTHONPATH": os.pathsep.join(known), "OMP_NUM_THREADS": "1"},
        encoding="utf-8",
        start_new_session=True,  # Ctrl-C reaches this process only, which then stops the others
    )


def finish_process(process: "subprocess.Popen[str]", text: str) -> tuple[int, str]:
    """Give a process its line, and wait for its exit code and its answer."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):  # its exit code tells
        # stdin stays open: the process ends when this one does, however that ends
        process.stdin.write(text + "\n")
        process.stdin.flush()
    answer = process.stdout.read()
    code = process.wait()
    process.stdout.close()
    with suppress(BrokenPipeError):
        process.stdin.close()
    return code, answer


def run_elsewhere(
    arguments: Sequence[str], text: str, paths: Sequence[str], variables: Mapping[str, str], folder: str
) -> tuple[int, str, str]:
    """Make a job on another machine, in a process of its own there.

    Args:
        arguments: See :func:`start_process`, as for the following.
        text: Line that the process reads.
        paths: Further folders of modules; those that are not there do no harm.
        variables: Variables of its environment.
        folder: Folder in which it runs, as relative paths of the settings mean.

    Returns:
        Its exit code, its answer and its log; the log begins with the machine.
    """
    here = f"{platform.node()} ({processor_name()}, {os.cpu_count()} cores, {sys.executable})"
    package = arguments[0].partition(".")[0]
    if find_spec(package) is None and PathFinder.find_spec(package, list(paths)) is None:
        return 2, "", f"on {here}\n{package} is not installed there; install the same version on all machines\n"
    if not os.path.isdir(folder):
        return 2, "", f"on {here}\nthere is no folder {folder}; compare in a folder that all machines share\n"
    with tempfile.TemporaryFile() as log:
        process = start_process(arguments, paths, variables, folder, log.fileno())
        try:
            code, answer = finish_process(process, text)
        finally:
            process.kill()  # if a signal has ended the waiting
            process.wait()
        log.seek(0)
        return code, answer, f"on {here}\n{log.read().decode('utf-8', 'replace')}"
