"""A run whose event file cannot be written goes on."""

import resource

import pytest
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from torch.utils.tensorboard import SummaryWriter

from sparsenas.callbacks import EventGuard
from sparsenas.callbacks.events import GuardedEvents
from sparsenas.data import Digits
from sparsenas.training import StandAloneTraining


@pytest.fixture
def full(monkeypatch):
    """No event of a step can be written."""
    add_event = EventFileWriter.add_event

    def fail(self, event):
        if event.step > 0:
            raise OSError(28, "No space left on device")
        add_event(self, event)

    monkeypatch.setattr(EventFileWriter, "add_event", fail)


@pytest.mark.slow
@pytest.mark.usefixtures("full")
def test_a_fit_goes_on_without_events(fit_briefly, tmp_path, capsys):
    model, data = StandAloneTraining((1, 8, 8), 10, "darts_v2"), Digits(arch_fraction=0.0)
    logger = TensorBoardLogger(tmp_path / "logs")
    trainer = fit_briefly(model, data, EventGuard(), epochs=1, batches=2, logger=logger, log_every_n_steps=1)
    assert trainer.current_epoch == 1
    trainer.test(model, data, verbose=False)
    err = capsys.readouterr().err
    assert err.count("note: TensorBoard's events are lost from now on (No space left on device)") in (1, 2)
    assert "Traceback" not in err


def test_a_full_disk_is_noticed_in_the_thread_that_writes(tmp_path, capfd):
    writer = SummaryWriter(tmp_path)
    file = writer._get_file_writer()
    file.event_writer = GuardedEvents(file.event_writer)
    writer.add_scalar("a", 1.0)
    writer.flush()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        for step in range(50):
            writer.add_scalar("a", 1.0, step)
            writer.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    writer.close()
    err = capfd.readouterr().err
    assert err.count("TensorBoard's events are lost from now on") == 1
    assert "Traceback" not in err
