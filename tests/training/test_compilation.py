"""Compiled cells: the same training, few graphs, one message for each mistake."""

import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch._dynamo import register_backend

from sparsenas.callbacks import CellCompiler
from sparsenas.callbacks.compilation import compile_cells
from sparsenas.cli import main
from sparsenas.data import Digits
from sparsenas.errors import ConfigError

#: The compiler looks at gradients of what it is given, and hides torch's warning from people, not from pytest.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
GRAPHS = []


@register_backend(tags=("debug",))
def counting(graph, example_inputs):
    """Runs graphs as they are, and keeps them."""
    GRAPHS.append(graph)
    return graph.forward


@register_backend(tags=("debug",))
def broken(graph, example_inputs):
    raise RuntimeError("no compiler found\nsecond line")


@pytest.fixture(autouse=True)
def fresh():
    """No graph of another test."""
    GRAPHS.clear()
    torch.compiler.reset()
    yield
    torch.compiler.reset()


class CountGraphs(Callback):
    """Graphs at the end of every epoch; drop-path of every batch."""

    def __init__(self):
        self.counts, self.rates = [], []

    def on_train_batch_end(self, trainer, training, outputs, batch, batch_idx):
        self.rates.append(float(training.network.drop_path))

    def on_train_epoch_end(self, trainer, training):
        self.counts.append(len(GRAPHS))


@pytest.mark.slow
def test_it_is_the_plain_training(make_training, fit):
    """Where nothing is drawn; the backend keeps the order of the sums."""
    plain, compiled = make_training(drop_path=0.0), make_training(drop_path=0.0)
    fit(plain, epochs=1)
    fit(compiled, CellCompiler("counting"), epochs=1)
    assert len(GRAPHS) > 1
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], tensor, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("validated", [1, 0])
def test_evaluation_and_later_epochs_compile_nothing(make_training, fit, validated):
    watch = CountGraphs()
    options = {"batches": 1, "epochs": 3, "limit_val_batches": validated}
    fit(make_training(drop_path=0.4), CellCompiler("counting"), watch, **options)
    assert watch.counts[0] == watch.counts[-1] <= 1 + 3  # one is that of the trial, the others are of three cells
    assert watch.rates == pytest.approx([0.0, 0.4 / 3, 0.8 / 3])


@pytest.mark.slow
def test_nothing_is_compiled_after_the_fit(make_training, fit):
    training = make_training(drop_path=0.4)
    trainer = fit(training, CellCompiler("counting"), batches=1, epochs=2)
    GRAPHS.clear()
    trainer.test(training, Digits(batch_size=32, arch_fraction=0.0), verbose=False)
    training.train()(torch.randn(4, 1, 8, 8))
    assert not GRAPHS
    assert isinstance(training.network.drop_path, float)


@pytest.mark.slow
def test_an_error_in_validation_leaves_nothing_behind(make_training, fit):
    class Broken(Callback):
        def on_validation_batch_start(self, trainer, training, batch, batch_idx, dataloader_idx=0):
            if not trainer.sanity_checking:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fit(make_training(), CellCompiler("counting"), Broken(), batches=1, epochs=1)
    before = len(GRAPHS)
    torch.compile(lambda x: x + 2, backend="counting")(torch.zeros(1))
    assert len(GRAPHS) == before + 1  # not forced to be eager any more


@pytest.mark.slow
def test_cells_that_differ_in_weights_share_a_graph(make_training):
    """First, second and later cells of a stage differ, and reductions, whose inputs have other widths: nine in all."""
    network = make_training(network={"cells": 15, "channels": 2}).network
    compile_cells(network, "counting")
    network(torch.randn(4, 1, 8, 8))
    assert len(GRAPHS) == 9


@pytest.mark.slow
def test_the_compile_time_is_logged(make_training, fit, tmp_path, caplog):
    logger = TensorBoardLogger(str(tmp_path), default_hp_metric=False)
    with caplog.at_level("INFO"):
        fit(make_training(), CellCompiler("counting"), batches=2, epochs=1, logger=logger, log_every_n_steps=1)
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    [seconds] = events.Scalars("speed/compile_seconds")
    assert seconds.value > 0.1
    assert f"compiled: the first batch took {seconds.value:.0f} seconds" in caplog.text


@pytest.mark.slow
def test_its_checkpoint_is_that_of_a_plain_training(make_training, fit):
    compiled = fit(make_training(), CellCompiler("counting"), batches=1, epochs=1)
    resumed = make_training(init=1)
    plain = fit(resumed, batches=1, epochs=2, folder="plain", ckpt_path=compiled.checkpoint_callback.last_model_path)
    assert plain.global_step == 2


def test_an_unknown_backend():
    with pytest.raises(ConfigError, match=r"CellCompiler.backend is 'inducter'; torch knows .*inductor"):
        CellCompiler("inducter")


def test_a_backend_that_does_not_work(make_training, fit):
    with pytest.raises(ConfigError, match=r"the backend 'broken' does not work here \(.*no compiler found\); install"):
        fit(make_training(), CellCompiler("broken"), epochs=1)


@pytest.mark.slow
def test_a_super_net_is_not_compiled(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = "fit --config search_two_stage_digits --model.network.cells 3 --model.network.channels 4"
    options = "--trainer.accelerator cpu --trainer.callbacks+ CellCompiler --trainer.callbacks.backend eager"
    assert main([*command.split(), *options.split()]) == 2
    assert "CellCompiler compiles derived nets, but TwoStageSearch trains a super-net" in capsys.readouterr().err
