"""A resumed training of another length: its learning rate is that of a training which was planned so."""

from types import SimpleNamespace

import pytest
import torch

from sparsenas.schedules import Schedule
from sparsenas.training import WeightTraining
from sparsenas.training.continuation import planned_length, rejoin_schedule


def after(schedule, epochs, run):
    """A trainer whose learning rate is where a run of that length has it after some epochs."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    scheduler = schedule.scheduler(optimizer, run)
    optimizer.step()
    for _ in range(epochs):
        scheduler.step()
    return SimpleNamespace(max_epochs=run, lr_scheduler_configs=[SimpleNamespace(scheduler=scheduler)]), optimizer


@pytest.mark.parametrize("shape", ["cosine", "linear"])
@pytest.mark.parametrize(("done", "run"), [(6, 6), (4, 6), (6, 12)])
def test_the_rate_goes_on_as_in_a_training_of_that_length(shape, done, run):
    schedule = Schedule(shape=shape)
    trainer, optimizer = after(schedule, done, run)
    scheduler = trainer.lr_scheduler_configs[0].scheduler
    scheduler.lr_lambdas = [lambda epoch: schedule.factor(epoch, 12)]  # as the resumed run makes it
    trainer.max_epochs = 12
    said = rejoin_schedule(trainer, WeightTraining(schedule=schedule), float(run))
    whole, expected = after(schedule, done, 12)
    assert whole.max_epochs == 12
    assert optimizer.param_groups[0]["lr"] == pytest.approx(expected.param_groups[0]["lr"])
    assert said.startswith(f"{run} epochs were planned, and 12 are now: " if run != 12 else "")
    assert bool(said) == (run != 12)


def test_an_old_checkpoint_and_a_constant_rate_change_nothing():
    for schedule, before in ((Schedule(), None), (Schedule(shape="constant"), 3.0)):
        trainer, optimizer = after(schedule, 3, 6)
        kept = optimizer.param_groups[0]["lr"]
        assert rejoin_schedule(trainer, WeightTraining(schedule=schedule), before) == ""
        assert optimizer.param_groups[0]["lr"] == kept


def test_the_length_is_in_the_unit_of_the_training():
    trainer = SimpleNamespace(max_epochs=7)
    kinds = (WeightTraining(), WeightTraining(steps=5), WeightTraining(seconds=2.5))
    assert [planned_length(trainer, kind) for kind in kinds] == [7.0, 5.0, 2.5]
    assert planned_length(SimpleNamespace(max_epochs=None), WeightTraining()) == -1.0
