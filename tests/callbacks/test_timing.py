from time import sleep

import pytest
from pytorch_lightning.loggers import TensorBoardLogger

from sparsenas.callbacks import StepTimer


def test_median_of_the_epoch_is_logged_over_training_batches(fit, search_class):
    class Slow(search_class):
        def training_step(self, batch, batch_idx):
            super().training_step(batch, batch_idx)
            sleep(0.02 if batch_idx else 0.3)  # the first step of an epoch is often the slow one

    events = fit(StepTimer(), search=Slow()).events
    seconds = events.Scalars("speed/seconds_per_step")
    assert [e.step for e in seconds] == [4, 8]
    assert all(0.02 <= e.value < 0.2 for e in seconds)
    assert events.Scalars("speed/steps_per_second")[0].value == pytest.approx(1 / seconds[0].value)


def test_one_batch_has_no_step_to_measure(fit, tmp_path):
    done = fit(StepTimer(), limit_train_batches=1, logger=TensorBoardLogger(str(tmp_path), default_hp_metric=False))
    assert "speed/seconds_per_step" not in done.events.Tags()["scalars"]
