"""Crews: processes that measure at the same time, here without any, on networks whose curves are known."""

import pickle
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from sparsenas.errors import ConfigError
from sparsenas.search.measured.crew import Crew
from sparsenas.search.measured.governor import Governor
from sparsenas.search.measured.history import Entrant, History, Measurement
from sparsenas.search.measured.holding import hold, upcoming
from sparsenas.search.measured.plan import Field, Plan, Task, Tournament
from sparsenas.search.measured.proposals import Expected
from sparsenas.search.measured.record_file import RecordFile

LENGTH = 100.0


class Pretended:
    """A crew whose trainings are numbers; it counts its rounds."""

    def __init__(self, options, size, seed):
        self.options, self.size, self.rounds, self.asked = options, size, 0, []
        self.quality = dict(zip("abcdefghijklmnop", np.random.default_rng(seed).normal(size=16), strict=True))
        self.forgotten = []
        self.trainings = SimpleNamespace(forget=lambda entrant: self.forgotten.append(entrant.key))

    by_steps = True

    def measure(self, tasks):
        """Measure by the quality of a key."""
        assert len(tasks) <= self.size
        self.rounds += bool(tasks)
        self.asked += [(task.entrant.key, task.rung, task.repeat) for task in tasks]
        rungs = (0.0, *self.options.rungs)
        found = []
        for task in tasks:
            assert task.rung == 0 or task.entrant.key not in self.forgotten  # its file is still there
            until, before = rungs[task.rung + 1] * LENGTH, rungs[task.rung] * LENGTH
            loss = np.exp(-0.1 * self.quality[task.entrant.key]) / (1 + task.rung + 0.1 * task.repeat)
            losses = tuple(float(loss * (1 + 0.1 * np.sin(part + len(task.entrant.key)))) for part in range(4))
            found.append(Measurement(task.entrant, task.rung, losses, 0.5, until, until - before, repeat=task.repeat))
        return found


def field():
    """Eight seeds; proposals depend on who leads."""

    def propose(measured, taken, most):
        best = min(measured, key=lambda m: m.loss).entrant.key
        return [key for key in "ijklmnop"[ord(best) % 4 :] if key not in taken][:most]

    def expect(measured, keys):
        leader = min((m.loss for m in measured), default=1.0)
        return [Expected(np.sin(ord(key) + leader), 1.0) for key in keys]

    return Field([(key, "random" if number else "plain_cnn") for number, key in enumerate("abcdefgh")], propose, expect)


def held(path, size, seed, **options):
    """Hold a tournament; gives its plan, the file and the crew."""
    tournament = Tournament(rungs=(0.01, 0.03), proposals=2, keep=0.4, again=2, **options)
    plan, crew = Plan(tournament, field(), LENGTH), Pretended(tournament, size, seed)
    file = RecordFile(path / f"{size}-{seed}.jsonl", {})
    hold(plan, file, crew)
    return plan, file, crew


@pytest.mark.slow
@pytest.mark.parametrize("governor", [Governor(), Governor(share=0.4), Governor(spread=0.5)])
def test_a_crew_of_any_size_leaves_the_record_of_one(tmp_path, governor):
    for seed in range(3):
        plan, alone, single = held(tmp_path, 1, seed, governor=governor)
        assert single.rounds == len(alone.history)
        for size in (2, 3, 4):
            other, file, crew = held(tmp_path, size, seed, governor=governor)
            assert file.path.read_text() == alone.path.read_text()
            assert other.verdict == plan.verdict
            assert len(crew.asked) == len(set(crew.asked))  # nothing is measured twice
            assert set(single.asked) <= set(crew.asked)


def test_a_crew_takes_fewer_rounds(tmp_path):
    rounds = [held(tmp_path, size, 0, governor=Governor(share=0.4))[2].rounds for size in (1, 2, 4)]
    assert rounds[0] > 1.6 * rounds[1] > 2 * rounds[2]


def test_the_first_of_what_comes_is_what_the_plan_asks_for():
    tournament = Tournament(rungs=(0.01, 0.03))
    plan = Plan(tournament, field(), LENGTH)
    tasks = upcoming(plan, History(), 4, {})
    assert tasks[0] == plan.next(History())
    assert len({task.entrant.key for task in tasks}) == len({task.entrant.number for task in tasks}) == 4
    assert plan.verdict is None


def test_seconds_for_what_was_not_asked_for_are_charged_once(tmp_path):
    for seed in range(3):
        tournament = Tournament(rungs=(0.01, 0.03), proposals=2, keep=0.4)
        plan, crew, given = Plan(tournament, field(), LENGTH), Pretended(tournament, 3, seed), []
        crew.by_steps, measure = False, crew.measure
        crew.measure = lambda tasks, measure=measure, given=given: given.append(measure(tasks)) or given[-1]
        file = RecordFile(tmp_path / f"{seed}.jsonl", {})
        hold(plan, file, crew)
        total, last = (sum(m.spent for found in some for m in found) for some in (given, given[-1:]))
        assert total - last <= file.history.spent + 1e-9 <= total + 2e-9  # what is left at the end may be


class Trainings:
    """What a crew asks for, without training."""

    def __init__(self, steps, error=None):
        self.training, self.error = SimpleNamespace(steps=steps), error

    def train(self, entrant, rung, until, repeat):
        """Give a measurement of eight units, or an error."""
        if self.error is not None:
            raise self.error
        return Measurement(entrant, rung, (1.0,), 0.5, until, 8.0, repeat=repeat)


class Link:
    """Processes as threads that tell each other pickled objects; who waits for too long gets an error."""

    def __init__(self, size):
        self.barrier, self.told, self.here = threading.Barrier(size, timeout=20), [b""] * size, threading.local()

    def gather(self, outcomes, own):
        """Stand for ``torch.distributed.all_gather_object``."""
        self.told[self.here.rank] = pickle.dumps(own)
        self.barrier.wait()
        outcomes[:] = map(pickle.loads, self.told)
        self.barrier.wait()

    def broadcast(self, box, src):
        """Stand for ``torch.distributed.broadcast_object_list``."""
        outcomes = []
        self.gather(outcomes, box[0])
        box[0] = outcomes[src]


def together(monkeypatch, trainings, lead):
    """Let a process lead a crew of so many; gives its answer, and the error with which each has ended."""
    link, errors, answers = Link(len(trainings)), [None] * len(trainings), []
    monkeypatch.setattr("torch.distributed.broadcast_object_list", link.broadcast)
    monkeypatch.setattr("torch.distributed.all_gather_object", link.gather)

    def run(rank):
        link.here.rank = rank
        crew = Crew(trainings[rank], (0.1,), rank, len(trainings))
        try:
            if rank:
                crew.help()
            else:
                with crew:
                    answers.append(lead(crew))
        except Exception as error:
            errors[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(len(trainings))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers, errors


TASKS = [Task(Entrant(number, key, "random"), 0) for number, key in enumerate("ab")]


@pytest.mark.parametrize(("steps", "spent"), [(100, 8.0), (None, 4.0)])
def test_seconds_that_pass_for_both_are_charged_once(monkeypatch, steps, spent):
    (found,), errors = together(monkeypatch, [Trainings(steps) for _ in range(3)], lambda crew: crew.measure(TASKS))
    assert [(m.entrant, m.spent) for m in found] == [(task.entrant, spent) for task in TASKS]
    assert errors == [None] * 3  # the others were sent away


@pytest.mark.parametrize("where", [0, 1])
@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ConfigError("too few images"), ConfigError, "^too few images$"),
        (ValueError("more than one value"), RuntimeError, "^ValueError: more than one value$"),
    ],
)
def test_an_error_in_a_training_ends_all_processes(monkeypatch, where, error, kind, message):
    trainings = [Trainings(100, error if rank == where else None) for rank in range(3)]
    answers, errors = together(monkeypatch, trainings, lambda crew: crew.measure(TASKS))
    assert not answers
    for one in errors:
        with pytest.raises(kind, match=message):
            raise one


def test_an_error_of_the_first_process_between_trainings_ends_all(monkeypatch):
    def lead(crew):
        crew.measure(TASKS)
        raise ConfigError("no space left")

    _, errors = together(monkeypatch, [Trainings(100) for _ in range(2)], lead)
    assert [(type(error), str(error)) for error in errors] == [(ConfigError, "no space left")] * 2
