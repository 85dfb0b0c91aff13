"""Executors: the same answers from all, attempts only at what died, nothing left behind, one message for a mistake."""

import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

import sparsenas
from sparsenas.cli import main
from sparsenas.comparison import (
    Failure,
    Job,
    LocalExecutor,
    RayExecutor,
    SubmititExecutor,
    choose_executor,
    read_plan,
)
from sparsenas.comparison.executors import submitit_executor
from sparsenas.comparison.executors.process import finish_process, run_elsewhere
from sparsenas.errors import ConfigError

#: Speaks as `serve` does, but is there at once, as it imports nothing of the package.
MODULE = """
import json, os, signal, sys, threading, time
from pathlib import Path

message = json.loads(sys.stdin.readline())["message"]
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
print(f"number {message['number']}", file=sys.stderr, flush=True)
folder = Path(message["folder"])
attempts = len(list(folder.glob(f"{message['number']}.*")))
(folder / f"{message['number']}.{os.getpid()}").touch()
if attempts < message.get("deaths", 0):
    os.kill(os.getpid(), signal.SIGKILL)
if "code" in message:
    sys.exit(message["code"])
time.sleep(message.get("seconds", 0))
print(json.dumps({"root": message["number"] ** 0.5, "threads": os.environ["OMP_NUM_THREADS"], "cwd": os.getcwd()}))
"""
LOCAL_JOBS = {"submitit": {"minutes": 5, "cluster": "local"}}


@pytest.fixture(scope="session")
def ray_cluster():
    """Address of a Ray cluster of this machine, to which this process is connected."""
    ray = pytest.importorskip("ray")
    before = signal.getsignal(signal.SIGTERM)
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            "local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=80 * 1024**2,
            _temp_dir=folder,
        )
        signal.signal(signal.SIGTERM, before)
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()


@pytest.fixture
def seen(tmp_path, monkeypatch):
    """Folder with a file ``NUMBER.PID`` for every attempt; the module of the jobs can be imported."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "quick_job.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    (tmp_path / "logs").mkdir()
    (tmp_path / "seen").mkdir()
    return tmp_path / "seen"


def job(seen, number, **message):
    return Job(f"job-{number}", f"job {number}", ("quick_job",), {"number": number, "folder": str(seen), **message})


def answers(executor, jobs, parallel=2):
    logs = Path(jobs[0].message["folder"]).parent / "logs"
    with closing(executor.run_jobs(jobs, parallel, logs)) as ended:
        return {made.name: answer for made, answer in ended}


def attempts(seen, number):
    return len(list(seen.glob(f"{number}.*")))


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"  # which waits for init only
    except FileNotFoundError:
        return False


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def assert_conforms(executor, seen):
    """Same answers, as many attempts as were allowed at what died and one at the rest; closing ends the processes."""
    found = answers(
        executor,
        [
            *(job(seen, number) for number in (2, 3)),
            job(seen, 4, code=2),
            job(seen, 5, code=1),
            job(seen, 6, deaths=9),
            job(seen, 7, deaths=1),
        ],
    )
    logs = seen.parent / "logs"
    assert sorted(os.listdir(logs)) == [f"job-{number}.log" for number in range(2, 8)]
    for number in (2, 3, 7):
        assert found[f"job-{number}"] == {"root": number**0.5, "threads": "1", "cwd": os.getcwd()}
        assert f"number {number}\n" in (logs / f"job-{number}.log").read_text()
    assert [attempts(seen, number) for number in range(2, 8)] == [1, 1, 1, 1, 2, 2]
    for number, code, tried in ((4, 2, 1), (5, 1, 1), (6, -signal.SIGKILL, 2)):
        failure = found[f"job-{number}"]
        assert isinstance(failure, Failure)
        assert (failure.code, failure.attempts) == (code, tried)
        assert failure.lines[-1] == f"number {number}"
    assert "job 6 ended with code -9 in attempt 2 of 2" in str(found["job-6"])
    assert "ended with code -9; trying again" in (logs / "job-7.log").read_text()

    with closing(executor.run_jobs([job(seen, 8), *(job(seen, n, seconds=600) for n in (9, 10))], 3, logs)) as ended:
        assert next(ended)[0].name == "job-8"
        wait_for(lambda: attempts(seen, 9) and attempts(seen, 10))
        start = time.monotonic()
    pids = [int(path.suffix[1:]) for number in (9, 10) for path in seen.glob(f"{number}.*")]
    wait_for(lambda: not any(map(alive, pids)), seconds=30)
    assert time.monotonic() - start < 15
    assert all(name.startswith("job-") for name in os.listdir(logs))


def test_processes_of_this_machine_conform(seen):
    assert_conforms(LocalExecutor(retries=1), seen)


def test_a_ray_cluster_conforms(seen, ray_cluster):
    assert_conforms(RayExecutor(), seen)


@pytest.mark.slow
def test_jobs_of_submitit_conform(seen):
    # programs that a shell started in the background ignore Ctrl-C, by which submitit ends jobs of this machine
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert_conforms(choose_executor(LOCAL_JOBS), seen)


@pytest.mark.slow
def test_a_worker_of_ray_that_dies_is_an_attempt(seen, ray_cluster, monkeypatch):
    kill = job(seen, 1, seconds=600)
    logs = seen.parent / "logs"
    with closing(RayExecutor(retries=1).run_jobs([kill], 1, logs)) as ended:

        def end_workers():
            for tried in (1, 2):
                wait_for(lambda tried=tried: attempts(seen, 1) == tried)
                for path in seen.glob("1.*"):
                    if alive(path.suffix[1:]):
                        os.kill(parent(path.suffix[1:]), signal.SIGKILL)

        threading.Thread(target=end_workers, daemon=True).start()
        ((_, failure),) = ended
    assert (failure.code, failure.attempts) == (None, 2)
    assert "job 1 has no result: its worker or machine was lost (WorkerCrashedError) in attempt 2 of 2" in str(failure)
    wait_for(lambda: not any(alive(path.suffix[1:]) for path in seen.glob("1.*")))


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.slow
def test_resources_that_no_machine_of_ray_has_end_in_a_message(seen, ray_cluster):
    executor = RayExecutor(gpus=8, memory=1)
    message = "has what a run needs, cpus 1, gpus 8, memory 1 GB; there are cpus 2, gpus 0, memory "
    with pytest.raises(ConfigError, match=message):
        answers(executor, [job(seen, 1)])
    with pytest.raises(ConfigError, match="this process is connected to Ray; leave it out"):
        answers(RayExecutor(address="127.0.0.1:1"), [job(seen, 1)])


def test_an_address_where_nobody_answers_ends_in_a_message(seen, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # whatever other tests have left
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with pytest.raises(ConfigError, match=r"address 127\.0\.0\.1:1: .*refused"):
        answers(RayExecutor(address="127.0.0.1:1"), [job(seen, 1)])


@pytest.mark.parametrize(
    ("executor", "library"), [(RayExecutor(), "ray"), (SubmititExecutor(minutes=1, cluster="local"), "submitit")]
)
def test_a_missing_library_ends_in_a_message(seen, monkeypatch, executor, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=rf"pip install 'sparsenas\[{library}\]', or use --executor local"):
        executor.check()


def test_a_machine_without_the_package_or_the_folder_says_so(seen, monkeypatch):
    """What is sent to another machine is a function, and plain data."""
    code, answer, log = run_elsewhere(("not_there.worker",), "{}", [], {}, os.getcwd())
    assert (code, answer) == (2, "")
    assert "not_there is not installed there; install the same version on all machines" in log
    code, answer, log = run_elsewhere(("sparsenas.comparison",), "{}", [], {}, str(seen / "no"))
    assert (code, answer) == (2, "")
    assert f"there is no folder {seen / 'no'}" in log


@pytest.mark.slow
def test_another_version_of_the_package_ends_in_a_message(tmp_path):
    code = "from sparsenas.comparison.jobs import serve; serve(lambda message: message)"
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        assert finish_process(process, '{"version": "0.0.0", "message": {}}') == (2, "")
    assert "but 0.0.0 where the comparison is; install the same version" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--executor", "cloud"], "executor is 'cloud'; use one of local, ray, submitit"),
        (["--retries", "-1"], "executor: retries is -1; use a whole number from 0 on"),
        (["--address", "auto"], "executor local: unknown entry 'address'; known are retries"),
        (
            ["--executor", "ray", "--partition", "gpu"],
            "executor ray: unknown entry 'partition'; known are retries, cpus",
        ),
        (["--executor", "ray", "--cpus", "0"], "executor: cpus is 0; use a whole number from 1 on"),
        (["--executor", "ray", "--memory", "-1"], "executor: memory is -1.0; use a positive number"),
        (["--executor", "submitit"], "executor submitit: minutes is missing"),
        (["--jobs", "0"], "--jobs is 0; use at least 1"),
    ],
)
def test_wrong_options_end_in_a_message(settings, write, tmp_path, capsys, options, message):
    assert main(["compare", "--config", str(write(settings)), "--out", str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"ray": {}, "local": {}}, "give one of local, ray, submitit, alone or as a mapping"),
        ({"ray": {"gpu": 1}}, "executor ray: unknown entry 'gpu'"),
        ({"submitit": {"minutes": 1, "cluster": "moon"}}, "cluster is 'moon'; use one of slurm, local"),
        ({"submitit": {"minutes": 1, "slurm": "x"}}, "executor: slurm: must be a mapping"),
        ({"ray": {"address": 1}}, "address is 1; give HOST:PORT"),
    ],
)
def test_wrong_sections_end_in_a_message(section, message):
    with pytest.raises(ConfigError, match=message):
        choose_executor(section)


def test_python_takes_the_same_names():
    with pytest.raises(ConfigError, match="executor is 'moon'; use one of local, ray, submitit"):
        sparsenas.compare("digits", executor="moon")


def test_the_command_line_counts_more_than_the_config():
    section = {"ray": {"retries": 3, "cpus": 2}}
    assert choose_executor(section) == RayExecutor(retries=3, cpus=2)
    assert choose_executor(section, None, {"cpus": 1}) == RayExecutor(retries=3, cpus=1)
    assert choose_executor(section, "ray", {"gpus": 1}) == RayExecutor(retries=3, cpus=2, gpus=1)
    assert choose_executor(section, "local") == LocalExecutor(retries=0)
    assert choose_executor("ray") == choose_executor(None, "ray") == RayExecutor(retries=1)
    assert choose_executor() == LocalExecutor()


def test_the_executor_is_no_setting_of_a_run(settings, write):
    plain = read_plan(write(settings))
    settings["executor"] = {"ray": {"retries": 2}}
    assert read_plan(write(settings)).runs == plain.runs


#: Commands of SLURM, which run jobs at once in groups of processes of their own; ``state`` is that of all jobs.
SLURM = {
    "sbatch": r"""
        cp "$1" "$FAKE_SLURM/$$.sh"
        last=$(sed -n 's/^#SBATCH --array=0-\([0-9]*\).*/\1/p' "$1")
        export SLURM_JOB_ID=$$ SLURM_NTASKS=1
        for task in $(seq 0 ${last:-0}); do
            name=$$; [ -n "$last" ] && name=$$_$task && export SLURM_ARRAY_JOB_ID=$$ SLURM_ARRAY_TASK_ID=$task
            if [ ! -e "$FAKE_SLURM/state" ]; then
                setsid bash "$FAKE_SLURM/$$.sh" >/dev/null 2>&1 </dev/null &
                echo $! >"$FAKE_SLURM/$name.pid"
            fi
        done
        echo "Submitted batch job $$"
    """,
    "srun": r"""
        while [ "${1#--}" != "$1" ]; do
            case "$1" in --output|--error) shift;; esac
            shift
        done
        exec "$@"
    """,
    "sacct": r"""
        echo "JobID|State|NodeList"
        for id in "$@"; do
            case "$id" in [0-9]*) for name in $id ${id}_0 ${id}_1; do
                echo "$name|$(cat "$FAKE_SLURM/state" 2>/dev/null || echo RUNNING)|here"
            done;; esac
        done
    """,
    "scancel": r"""
        echo "$1" >>"$FAKE_SLURM/cancelled"
        kill -KILL -- "-$(cat "$FAKE_SLURM/$1.pid")"
    """,
}


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Folder of what the commands of a SLURM that is none have done."""
    submitit = pytest.importorskip("submitit")
    (tmp_path / "bin").mkdir()
    (tmp_path / "slurm").mkdir()
    for name, text in SLURM.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{textwrap.dedent(text)}")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path / "slurm"))
    monkeypatch.setattr(submitit.core.core.Job, "_results_timeout_s", 0.1)  # seconds for a slow file system
    return tmp_path / "slurm"


@pytest.mark.slow
def test_jobs_of_slurm_conform(seen, slurm):
    executor = SubmititExecutor(
        minutes=2.5, cpus=2, gpus=1, memory=4, partition="night", slurm={"account": "mine", "constraint": "epyc"}
    )
    assert_conforms(executor, seen)
    scripts = [path.read_text() for path in slurm.glob("*.sh")]
    for line in ("time=3", "cpus-per-task=2", "gpus-per-node=1", "mem=4GB", "partition=night", "account=mine"):
        assert all(f"#SBATCH --{line}\n" in script for script in scripts)
    assert all(f"#SBATCH --job-name=compare-{seen.parent.name}\n" in script for script in scripts)
    assert len((slurm / "cancelled").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("state", "tried", "message"),
    [
        ("NODE_FAIL", 2, "SLURM has ended it (NODE_FAIL) in attempt 2 of 2"),
        ("TIMEOUT", 1, "it needs more than the 1 minutes it has; raise --minutes"),
        ("CANCELLED by 7", 1, "SLURM has ended it (CANCELLED by 7)"),
        ("PREEMPTED", 2, "SLURM has preempted it, and not put it back in attempt 2 of 2"),
    ],
)
def test_a_job_that_slurm_ends_is_tried_again_if_it_may_help(seen, slurm, monkeypatch, state, tried, message):
    monkeypatch.setattr(submitit_executor, "PREEMPTED", 0.0)
    (slurm / "state").write_text(state)
    (failure,) = answers(SubmititExecutor(minutes=1), [job(seen, 1)]).values()
    assert (failure.code, failure.attempts) == (None, tried)
    assert message in str(failure)


def test_time_that_runs_out_is_told(seen, slurm):
    """SLURM sends SIGUSR2 before the end."""
    with closing(SubmititExecutor(minutes=1).run_jobs([job(seen, 1, seconds=600)], 1, seen.parent / "logs")) as ended:

        def warn():
            wait_for(lambda: attempts(seen, 1))
            (path,) = seen.glob("1.*")
            os.kill(parent(path.suffix[1:]), signal.SIGUSR2)

        threading.Thread(target=warn, daemon=True).start()
        ((_, failure),) = ended
    assert failure.attempts == 1
    assert "raise --minutes" in str(failure)


def test_what_slurm_refuses_ends_in_a_message(seen, slurm, tmp_path, capsys):
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/bash\necho 'sbatch: error: invalid partition: x' >&2; exit 1\n")
    with pytest.raises(ConfigError, match="SLURM refuses the runs: sbatch: error: invalid partition: x"):
        answers(SubmititExecutor(minutes=1, partition="x"), [job(seen, 1)])
    with pytest.raises(ConfigError, match="executor submitit: Unknown argument 'colour' for executor 'slurm'"):
        answers(SubmititExecutor(minutes=1, slurm={"colour": "red"}), [job(seen, 1)])
    assert capsys.readouterr() == ("", "")


def test_without_slurm_there_is_a_message(monkeypatch, tmp_path):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="there is no SLURM here"):
        SubmititExecutor(minutes=1).check()


def compare(config, out, *options, **variables):
    """Start the command as a program of its own."""
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        [sys.executable, "-m", "sparsenas", "compare", "--config", str(config), "--out", str(out), *options],
        env={**os.environ, "PYTHONPATH": path, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # whatever a shell has told its children
    )


def records(out):
    """Finished runs without what they took."""
    lines = [json.loads(line) for line in (out / "runs.jsonl").read_text().splitlines()]
    chosen = ("searcher", "seed", "digest", "chosen", "scored", "visited", "remarks")
    return sorted([str({name: line[name] for name in chosen}) for line in lines])


@pytest.mark.slow
def test_all_executors_make_the_same_runs_and_go_on_with_each_other(settings, write, tmp_path, ray_cluster):
    del settings["searchers"]["coded"]
    here = tmp_path / "here"
    assert main(["compare", "--config", str(write(settings)), "--out", str(here)]) == 0
    settings["executor"] = LOCAL_JOBS
    mixed = tmp_path / "mixed"
    assert main(["compare", "--config", str(write(settings)), "--out", str(mixed)]) == 0
    first, _ = (mixed / "runs.jsonl").read_text().splitlines()
    (mixed / "runs.jsonl").write_text(f"{first}\n")
    process = compare(write(settings), mixed, "--executor", "ray", "--address", ray_cluster)
    text, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (0, "")
    assert text.startswith("1 runs, as many at a time as the Ray cluster takes; results in ")
    assert records(mixed) == records(here)
    assert sorted(os.listdir(mixed / "logs")) == ["measured-0.log", "measured-1.log"]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_nothing_of_a_ray_cluster(settings, write, tmp_path, number, code):
    pytest.importorskip("ray")
    (tmp_path / "pids").mkdir()
    settings["searchers"]["coded"]["model"] = {"class_path": "planted.Waiting"}
    # the name of a socket has at most 107 letters
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        variables = {"PLANTED_PIDS": str(tmp_path / "pids"), "TMPDIR": folder}
        options = ("--executor", "ray", "--only", "coded")
        process = compare(write(settings), tmp_path / "out", *options, **variables)
        wait_for(lambda: any((tmp_path / "pids").iterdir()), seconds=200)
        process.send_signal(number)
        text, errors = process.communicate(timeout=60)
        assert process.returncode == code, errors
        assert text.startswith("2 runs, as many at a time as the Ray cluster takes; results in ")
        assert errors.startswith("sparsenas: interrupted; 0 of 2 runs are kept in ")
        assert len(errors.splitlines()) == 2
        assert shlex.join(options) in errors
        assert [name for name in os.listdir(folder) if "ray" in name] == []
        wait_for(lambda: not any(folder in line for line in command_lines()), seconds=10)
    wait_for(lambda: not any(alive(path.name) for path in (tmp_path / "pids").iterdir()), seconds=10)


def command_lines():
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it may end meanwhile
            yield path.read_text(errors="replace")
