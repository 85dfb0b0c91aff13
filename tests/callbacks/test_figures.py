import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger

from sparsenas.callbacks import CellFigures
from sparsenas.callbacks.figures import _depth
from sparsenas.complexity import describe
from sparsenas.drawing import draw_genotype
from sparsenas.errors import ConfigError
from sparsenas.networks import DerivedNet, NormOptions
from sparsenas.spaces import Genotype, read_genotype


@pytest.mark.slow
def test_cells_text_and_history_are_shown(fit):
    done = fit(CellFigures(every_n_epochs=1, history_every_n_epochs=2))
    events = done.events
    assert {"genotype/cells", "genotype/support_history"} <= set(events.Tags()["images"])
    assert [e.step for e in events.Images("genotype/cells")] == [4, 8]
    assert [e.step for e in events.Images("genotype/support_history")] == [8, 8]
    assert all(e.width > 300 and e.height > 100 for e in events.Images("genotype/cells"))
    text = events.Tensors("genotype/json/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert Genotype.from_json(text) == done.search.genotype


@pytest.mark.slow
def test_titles_say_when_what_it_costs_and_how_good_it_is(fit, search_class, monkeypatch):
    class OfImages(search_class):
        def __init__(self, image_shape=(1, 8, 8)):
            super().__init__()
            self.save_hyperparameters()

    titles = []

    def draw(genotype, title, **size):
        titles.append(title)
        return draw_genotype(genotype, title, **size)

    monkeypatch.setattr("sparsenas.callbacks.figures.draw_genotype", draw)
    done = fit(CellFigures(every_n_epochs=1), search=OfImages())
    cost = describe(done.search.network.derive(done.search.genotype), (1, 8, 8))
    accuracy = float(done.trainer.callback_metrics["val/acc"])
    assert titles[-1] == f"after 8 training batches, 3 cells, {cost}, val/acc {accuracy:.4f}"


@pytest.mark.parametrize(
    ("name", "cells", "said"), [("resnet20", None, "9 layers in 3 stages"), ("darts_v2", 8, "8 cells")]
)
def test_the_depth_is_that_of_the_whole_network(name, cells, said):
    genotype = read_genotype(name)
    size = {"channels": 8, "cells": cells, "stem": "cifar", "auxiliary": False, "norms": NormOptions()}
    assert _depth(genotype, DerivedNet(genotype, (3, 32, 32), 2, **size)) == said


@pytest.mark.slow
def test_unchanged_cells_are_drawn_once(fit):
    callback = CellFigures(every_n_epochs=1)
    done = fit(callback)
    callback._draw_cells(done.trainer, done.search)
    assert len(done.events.Images("genotype/cells")) == 2


@pytest.mark.slow
def test_pictures_at_ends_of_epochs_can_be_turned_off(fit):
    events = fit(CellFigures(every_n_epochs=0, history_every_n_epochs=0)).events
    assert [e.step for e in events.Images("genotype/cells")] == [8]
    assert [e.step for e in events.Images("genotype/support_history")] == [8]


def test_nothing_is_drawn_without_tensorboard(fit, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("sparsenas.callbacks.figures.draw_genotype", lambda *args, **_: drawn.append(args))
    fit(CellFigures(every_n_epochs=1), logger=False)
    fit(CellFigures(every_n_epochs=1), logger=CSVLogger(str(tmp_path)))
    assert drawn == []


@pytest.mark.slow
def test_history_survives_a_resume(fit, tmp_path):
    saving = ModelCheckpoint(str(tmp_path / "saved"), save_last=True)
    fit(CellFigures(), saving, epochs=1, enable_checkpointing=True, logger=False)
    resumed, whole = CellFigures(), CellFigures()
    last = str(tmp_path / "saved" / "last.ckpt")
    assert torch.load(last, weights_only=True)["callbacks"]["CellFigures"]["counts"].tolist() == [0, 1, 2]
    fit(resumed, epochs=2, ckpt_path=last, logger=False)
    fit(whole, epochs=2, logger=False)
    assert resumed._recoveries == whole._recoveries
    assert [count for count, _, _ in whole._recoveries] == [0, 1, 2, 3, 4]


def test_state_makes_a_round_trip_also_when_empty():
    callback = CellFigures()
    callback.load_state_dict(CellFigures().state_dict())
    assert callback.state_dict()["supports"].numel() == 0


def test_nonsense_is_refused():
    with pytest.raises(ConfigError, match="history_every_n_epochs is -1; use 0 for never"):
        CellFigures(history_every_n_epochs=-1)
