"""The loop of a tournament: measure what its plan asks for, and keep no more files than those who can go on."""

from tqdm.auto import tqdm

from sparsenas.search.measured.history import History
from sparsenas.search.measured.plan import Plan, Task
from sparsenas.search.measured.record_file import RecordFile
from sparsenas.search.measured.trainings import Trainings


def hold(plan: Plan, file: RecordFile, trainings: Trainings) -> None:
    """Measure what a plan asks for, until it asks for nothing more; the file and its history grow."""
    task: Task | None
    with tqdm(desc="searching", unit="training", disable=None, leave=False) as bar:
        while (task := plan.next(file.history)) is not None:
            until = plan.options.rungs[task.rung]
            file.append(trainings.train(task.entrant, task.rung, until, task.repeat))
            _forget(plan, file.history, trainings)
            bar.update()


def _forget(plan: Plan, history: History, trainings: Trainings) -> None:
    """Remove the files of those who will not go on, so that their number does not grow with that of entrants."""
    most = plan.options.most_going_on(len(plan.field.seeds))
    ranked = history.ranked(history.highest)
    kept: set[int] = {m.entrant.number for m in ranked[:most]}
    if len(ranked) < most and history.highest > 0:
        kept |= {m.entrant.number for m in history.ranked(history.highest - 1)[:most]}
    for entrant in history.entrants:
        if entrant.number not in kept:
            trainings.forget(entrant)
