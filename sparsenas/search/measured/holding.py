"""The loop of a tournament: measure what its plan asks for, and keep no more files than those who can go on."""

from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter

import numpy as np
from tqdm.auto import tqdm

from sparsenas.search.measured.crew import Crew
from sparsenas.search.measured.history import History, Measurement
from sparsenas.search.measured.plan import Plan, Task
from sparsenas.search.measured.record_file import RecordFile

#: What tells trainings apart, whatever the number of the entrant.
Key = tuple[str, int, int]


def hold(plan: Plan, file: RecordFile, crew: Crew) -> None:
    """Measure what a plan asks for, until it asks for nothing more; the file and its history grow.

    A crew of several measures ahead what the plan will probably ask for. The history gets only what it does ask for,
    in its order: where lengths are in steps, it is that of one process. Seconds for what was not asked for are charged
    to the next one.
    """
    ahead: dict[Key, Measurement] = {}
    task: Task | None
    begin, before = perf_counter(), file.history.spent
    shown = "{desc}: {n_fmt} trainings in {elapsed}{postfix}"
    with tqdm(desc="searching", bar_format=shown, disable=None, leave=False) as bar:
        while (task := plan.next(file.history)) is not None:
            if _key(task) not in ahead:
                tasks = upcoming(plan, file.history, crew.size, ahead)
                owed = 0.0 if crew.by_steps else sum(known.spent for known in ahead.values())
                first, *others = crew.measure(tasks)
                ahead = {key: known if crew.by_steps else replace(known, spent=0.0) for key, known in ahead.items()}
                ahead |= zip(map(_key, tasks), [replace(first, spent=first.spent + owed), *others], strict=True)
            file.append(replace(ahead.pop(_key(task)), entrant=task.entrant))
            _forget(plan, file.history, crew, ahead)
            bar.set_postfix_str(_left(plan, file.history.spent, before, perf_counter() - begin), refresh=False)
            bar.update()


def upcoming(plan: Plan, history: History, most: int, known: Mapping[Key, Measurement]) -> list[Task]:
    """Tasks that come next, the first for sure, others if each measurement is like those before.

    They are of one rung and one round, as what the next one asks for depends on all of this.

    Args:
        plan: The plan.
        history: Measurements so far.
        most: Most tasks.
        known: What is measured already.
    """
    plan, guess = replace(plan), History(list(history))  # a copy, as its verdict on guesses is one itself
    tasks: list[Task] = []
    while len(tasks) < most and (task := plan.next(guess)) is not None:
        if tasks and _round(task) != _round(tasks[0]):
            break
        there = known.get(_key(task))
        if there is None:
            tasks.append(task)
        guess.add(_typical(plan, guess, task) if there is None else replace(there, entrant=task.entrant))
    return tasks


def _left(plan: Plan, spent: float, before: float, seconds: float) -> str:
    """Say how long search and training will take, as one length is that of both.

    Args:
        plan: The plan.
        spent: Part of its length that is over.
        before: Part of it that was over when this process began.
        seconds: Seconds since then.
    """
    left = tqdm.format_interval(seconds * max(plan.length - spent, 0.0) / max(spent - before, 1e-9))
    return f"{left} left, the training included"


def _typical(plan: Plan, history: History, task: Task) -> Measurement:
    """Guess a measurement: the one in the middle of its rung."""
    ranked = history.ranked(task.rung)
    if ranked:
        middle = ranked[len(ranked) // 2]
        spent = float(np.median([m.spent for m in ranked]))
        return replace(middle, entrant=task.entrant, repeat=task.repeat, spent=spent)
    rungs = (0.0, *plan.options.rungs)
    length, before = rungs[task.rung + 1] * plan.length, rungs[task.rung] * plan.length
    return Measurement(task.entrant, task.rung, (1.0,), 0.0, length, length - before)


def _key(task: Task) -> Key:
    return task.entrant.key, task.rung, task.repeat


def _round(task: Task) -> tuple[int, int]:
    """Name what is decided together: a wave of entrants, a later rung, or a repeat."""
    return (task.rung, task.repeat) if task.rung or task.repeat else (0, -1 - task.entrant.wave)


def _forget(plan: Plan, history: History, crew: Crew, ahead: Mapping[Key, Measurement]) -> None:
    """Remove the files of those who will not go on, once the first one did: before, an entrant may change all ranks."""
    if history.highest < 1:
        return
    most = plan.options.most_going_on(len(plan.field.seeds))
    ranked = history.ranked(history.highest)
    kept: set[int] = {m.entrant.number for m in ranked[:most]}
    if len(ranked) < most:
        kept |= {m.entrant.number for m in history.ranked(history.highest - 1)[:most]}
    waiting = {key for key, _, _ in ahead}
    for entrant in history.entrants:
        if entrant.number not in kept and entrant.key not in waiting:
            crew.trainings.forget(entrant)
