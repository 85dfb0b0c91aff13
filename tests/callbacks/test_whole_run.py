"""A resumed run ends with the checkpoints that the uninterrupted one has."""

import shutil
from pathlib import Path

import pytest
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from sparsenas.callbacks import GenotypeFile, WholeRunCheckpoints


@pytest.fixture
def run(fit, search_class, tmp_path):
    """Run epochs whose scores are given; every epoch is kept as ``epoch=K.ckpt``. Gives the first callback after it."""

    class Scored(search_class):
        def __init__(self, scores):
            super().__init__()
            self.scores = scores

        def validation_step(self, batch, batch_idx):
            self.log("score", self.scores[self.current_epoch], batch_size=1)

    def resume(folder, scores, ckpt_path=None, epochs=None, more=(), **options):
        place = str(tmp_path / folder)
        settings = {"monitor": "score", "mode": "max", "filename": "best"} | options
        best = ModelCheckpoint(**{"dirpath": place} | settings)
        every = ModelCheckpoint(place, "{epoch}", "step", save_top_k=-1)
        callbacks = [WholeRunCheckpoints(), *more, best, every]
        epochs = len(scores) if epochs is None else epochs
        ckpt_path = ckpt_path and str(tmp_path / ckpt_path)
        fit(*callbacks, search=Scored(scores), epochs=epochs, enable_checkpointing=True, ckpt_path=ckpt_path)
        return best

    return resume


def scores_in(callback):
    """Scores of the kept files, as the files themselves say."""
    return {
        Path(path).name: float(torch.load(path, weights_only=True)["callbacks"][callback.state_key]["current_score"])
        for path in callback.best_k_models
    }


SCORES = [0.5, 0.875, 0.25, 0.375, 0.125]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("keep", [1, 2, -1])
def test_a_resumed_run_keeps_the_best_of_the_whole_run(run, tmp_path, mode, keep):
    scores = SCORES if mode == "max" else [1 - score for score in SCORES]
    options = {"mode": mode, "save_top_k": keep, "filename": "best{epoch}"}
    whole = run("whole", scores, **options)
    resumed = run("resumed", scores, "whole/epoch=2.ckpt", **options)
    assert Path(resumed.best_model_path) == tmp_path / "resumed" / Path(whole.best_model_path).name
    assert float(resumed.best_model_score) == float(whole.best_model_score)
    names = [{Path(path).name: float(score) for path, score in c.best_k_models.items()} for c in (whole, resumed)]
    assert names[0] == names[1] == scores_in(resumed)
    assert float(resumed.kth_value) == float(whole.kth_value)


@pytest.mark.slow
def test_nothing_left_to_train_still_names_the_best(run, tmp_path):
    run("whole", SCORES)
    resumed = run("resumed", SCORES, "whole/epoch=4.ckpt")
    assert resumed.best_model_path == str(tmp_path / "resumed" / "best.ckpt")
    assert scores_in(resumed) == {"best.ckpt": 0.875}


def test_a_best_of_a_later_epoch_is_not_named(run, capsys):
    scores = [0.5, 0.25, 0.875, 0.125]
    run("whole", scores)
    resumed = run("resumed", [0.5, 0.25, 0.375, 0.125], "whole/epoch=1.ckpt")
    assert scores_in(resumed) == {"best.ckpt": 0.375}
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sparsenas: note: ")]
    assert len(notes) == 1
    assert "gone, or overwritten by a later epoch" in notes[0]
    assert "best.ckpt (score 0.5000)" in notes[0]


def test_nothing_is_named_that_does_not_have_the_score(run, capsys):
    run("same", [0.5, 0.25, 0.875])
    resumed = run("same", [0.5, 0.25, 0.875], "same/epoch=1.ckpt", epochs=2)
    assert (resumed.best_model_path, resumed.best_model_score, resumed.best_k_models) == ("", None, {})
    assert "sparsenas: note: gone, or overwritten" in capsys.readouterr().err


def test_a_folder_that_was_moved_is_found_beside_the_checkpoint(run, tmp_path):
    run("whole", SCORES)
    shutil.move(tmp_path / "whole", tmp_path / "moved")
    resumed = run("resumed", SCORES, "moved/epoch=2.ckpt")
    assert scores_in(resumed) == {"best.ckpt": 0.875}


@pytest.mark.slow
def test_a_file_of_another_run_is_not_overwritten(run, tmp_path):
    run("whole", SCORES)
    run("other", [0.75])
    resumed = run("other", SCORES, "whole/epoch=2.ckpt")
    assert scores_in(resumed) == {"best-v1.ckpt": 0.875}
    assert (tmp_path / "other" / "best.ckpt").is_file()


@pytest.mark.slow
def test_fewer_are_kept_if_the_resumed_run_keeps_fewer(run):
    run("whole", SCORES, save_top_k=3, filename="{epoch}of")
    resumed = run("resumed", SCORES, "whole/epoch=2.ckpt", save_top_k=1, filename="{epoch}of")
    assert scores_in(resumed) == {"epoch=1of.ckpt": 0.875}


@pytest.mark.slow
def test_the_last_one_is_that_resumed_from_until_another_is_written(run, tmp_path):
    last = {"monitor": None, "mode": "min", "filename": "newest", "save_last": True}
    run("whole", SCORES, **last)
    resumed = run("resumed", SCORES, "whole/epoch=2.ckpt", epochs=3, **last)
    for path in (resumed.best_model_path, resumed.last_model_path):
        assert Path(path).parent == tmp_path / "resumed"
        assert torch.load(path, weights_only=True)["epoch"] == 2
    again = run("again", SCORES, "whole/epoch=2.ckpt", **last)
    assert {
        torch.load(path, weights_only=True)["epoch"] for path in (again.best_model_path, again.last_model_path)
    } == {4}
    assert sorted(path.name for path in (tmp_path / "again").glob("[nl]*.ckpt")) == ["last.ckpt", "newest.ckpt"]


@pytest.mark.slow
def test_the_genotype_beside_a_checkpoint_comes_with_it(run, tmp_path):
    run("whole", SCORES, more=[GenotypeFile(figures=False)])
    run("resumed", SCORES, "whole/epoch=2.ckpt", more=[GenotypeFile(figures=False)])
    kept = [(tmp_path / folder / "best.genotype.json").read_text() for folder in ("whole", "resumed")]
    assert kept[0] == kept[1]


@pytest.mark.slow
def test_patience_goes_on(run):
    stop = [EarlyStopping("score", mode="max", patience=3) for _ in range(2)]
    run("whole", SCORES, more=stop[:1])
    run("resumed", SCORES, "whole/epoch=2.ckpt", more=stop[1:])
    assert stop[0].stopped_epoch == stop[1].stopped_epoch == 4
