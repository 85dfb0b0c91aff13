"""Compare from Python: the function behind ``sparsenas.compare``."""

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from sparsenas.api.image_settings import Images, data_settings
from sparsenas.api.messages import user_errors
from sparsenas.api.shipped import find_config
from sparsenas.api.terminal import calm_terminal
from sparsenas.comparison import Executor, choose_executor, read_settings
from sparsenas.comparison.checks import check_number, check_whole
from sparsenas.comparison.images import ImagePlan, ImageReport, ImageSession, read_image_plan
from sparsenas.data import ImageData
from sparsenas.errors import ConfigError, DataError
from sparsenas.limits import Limits


def compare(
    data: Images | None = None,
    *,
    max_params: float | None = None,
    max_macs: float | None = None,
    seconds: float | None = None,
    seeds: int | None = None,
    folder: str | PathLike[str] | None = None,
    config: str = "compare_images",
    jobs: int | None = None,
    executor: str | Mapping[str, Mapping[str, Any]] | Executor | None = None,
) -> ImageReport:
    """Compare networks, found and made by hand, on images, at equal cost and in the same total time.

    Each run is a process of one thread. Finished runs are kept in the folder: the same call makes those that are
    missing, and writes the report anew.

    Args:
        data: A folder with a folder of images per class, an ``.npz`` archive, ``"digits"``, or ``(images, labels)``;
            ``None`` for those of the config.
        max_params: Most parameters; if only one limit is given, there is no other.
        max_macs: Most multiply-accumulates of one image.
        seconds: Processor seconds of a run, searching included.
        seeds: Runs of each competitor that has no number of its own.
        folder: Folder to write; ``None`` for ``lightning_logs/CONFIG``.
        config: Config file, or name of a shipped one, that says everything else.
        jobs: Runs at a time; ``None`` for one per core, or for what the cluster takes.
        executor: Who makes the runs: ``"local"``, ``"ray"``, one with options, such as ``{"ray": {"retries": 2}}``, or
            an object; ``None`` for that of the config, or processes of this machine.

    Returns:
        The report: ``print`` it, or read its ``rows`` and ``tests``.

    Raises:
        SparseNASError: If an option or the images are wrong, or no run was finished; the message says why.
    """
    path = find_config(config)
    out = Path("lightning_logs") / Path(path).stem if folder is None else Path(folder)
    with calm_terminal(), user_errors():
        session = image_session(path, out, data, max_params, max_macs, seconds, seeds)
        if not isinstance(executor, Executor):
            executor = choose_executor(read_settings(path).get("executor") if executor is None else executor)
        if jobs is not None:
            check_whole(jobs, "jobs")
        chosen = session.chosen()
        session.check(chosen)
        session.open()
        failures = session.make(chosen, jobs, executor)
        finished = session.finished()
        if not finished:
            raise ConfigError(f"no run was finished: {failures[0]}")
        session.write_report(finished)
        return session.report(finished)


def image_session(
    config: str,
    out: Path,
    data: Images | None = None,
    max_params: float | None = None,
    max_macs: float | None = None,
    seconds: float | None = None,
    seeds: int | None = None,
) -> ImageSession:
    """Read the plan of a comparison on images, with what is given in place of what the config says.

    Args:
        config: Path of the config.
        out: Folder of the comparison.
        data: See :func:`compare`, as for the following.
        max_params: Limit.
        max_macs: Limit.
        seconds: Seconds of a run.
        seeds: Runs of a competitor.

    Raises:
        SparseNASError: If something is wrong.
    """
    plan = read_image_plan(config)
    changes: dict[str, Any] = {}
    given = {"max_params": max_params, "max_macs": max_macs}
    limits = {name: check_number(value, name) for name, value in given.items() if value is not None}
    if limits:
        changes["limits"] = Limits(max_params=limits.get("max_params"), max_macs=limits.get("max_macs"))
    if seconds is not None:
        changes["seconds"] = check_number(seconds, "seconds")
    if seeds is not None:
        changes["seeds"] = check_whole(seeds, "seeds")
    if data is not None:
        changes["data"] = _data(data, plan, out)
    return ImageSession(replace(plan, **changes), out)


def _data(data: Images, plan: ImagePlan, out: Path) -> dict[str, Any]:
    """Settings of the given images."""
    if isinstance(data, ImageData):
        raise DataError(
            "each run reads the images in a process of its own: give a path, arrays, or a config with these data, not "
            "a data module"
        )
    settings = data_settings(data, out, plan.first_seed)
    decided = ("seed", "arch_fraction")  # by the comparison, for each run
    options = {name: value for name, value in settings.get("init_args", {}).items() if name not in decided}
    return {**settings, "init_args": options}
