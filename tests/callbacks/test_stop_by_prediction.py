"""Trainings of a sweep that share a file of curves: who is stopped, and what the file keeps."""

import json

import pytest
import pytorch_lightning as pl
import torch

from sparsenas.callbacks import StopByPrediction
from sparsenas.errors import ConfigError
from sparsenas.predictors import read_curves

EPOCHS = 8


class Known(pl.LightningModule):
    """A module whose accuracy after each epoch is known before."""

    def __init__(self, curve):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.curve = curve

    def training_step(self, batch, batch_idx):
        return self.weight.sum()

    def validation_step(self, batch, batch_idx):
        self.log("val/acc", self.curve[self.current_epoch])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def curve_to(final):
    return [final * (1 - 0.5 ** (epoch + 1)) for epoch in range(EPOCHS)]


@pytest.fixture
def train(tmp_path):
    """Train a module with an accuracy that is known before; gives its trainer."""

    def run(curve, *, ckpt_path=None, epochs=EPOCHS, callback=None, **options):
        callback = callback or StopByPrediction(str(tmp_path / "curves.jsonl"), least=8, spared=0.0, **options)
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[callback, pl.callbacks.ModelCheckpoint(tmp_path, save_last=True, enable_version_counter=False)],
        )
        images = torch.utils.data.DataLoader(torch.zeros(2, 1), num_workers=0)
        trainer.fit(Known(curve), images, images, ckpt_path=ckpt_path, weights_only=True)
        return trainer

    return run


@pytest.fixture
def swept(train, tmp_path):
    """The file after eight trainings that went to their end, the best of them to 0.8."""
    with (tmp_path / "curves.jsonl").open("w") as file:
        for number in range(8):
            file.write(json.dumps({"curve": curve_to(0.45 + 0.05 * number), "predicted": None}) + "\n")
    return tmp_path / "curves.jsonl"


pytestmark = pytest.mark.filterwarnings(
    "ignore:The .* does not have many workers", "ignore:Checkpoint directory .* exists"
)


def test_a_training_that_will_not_be_the_best_is_stopped_and_says_what_was_expected(train, swept, capsys):
    trainer = train(curve_to(0.5))
    assert trainer.current_epoch == 4
    assert "stopped after 4 of 8 validations: val/acc would end at 0.4" in capsys.readouterr().err
    *_, kept = read_curves(swept)
    assert kept.curve == pytest.approx(curve_to(0.5)[:4])
    assert kept.predicted == pytest.approx(0.5, abs=0.05)


def test_the_best_one_goes_to_its_end_and_is_kept(train, swept):
    assert train(curve_to(0.9)).current_epoch == EPOCHS
    *_, kept = read_curves(swept)
    assert kept.curve == pytest.approx(curve_to(0.9))
    assert kept.predicted is None


def test_where_less_is_better_signs_turn(train, swept):
    text = [json.loads(line) for line in swept.read_text().splitlines()]
    swept.write_text("".join(json.dumps({**tree, "curve": [1 - v for v in tree["curve"]]}) + "\n" for tree in text))
    trainer = train([1 - value for value in curve_to(0.5)], mode="min")
    assert trainer.current_epoch == 4
    assert read_curves(swept)[-1].predicted == pytest.approx(0.5, abs=0.05)


def test_few_or_foreign_curves_stop_nothing(train, tmp_path, capsys):
    file = tmp_path / "curves.jsonl"
    file.write_text('{"curve": [0.1, 0.2, 0.3], "predicted": null}\n')
    assert train(curve_to(0.1)).current_epoch == EPOCHS
    assert "1 trainings of another length than 8 validations are left out" in capsys.readouterr().err
    assert len(read_curves(file)) == 2


def test_a_callback_of_several_trainings_keeps_their_curves_apart(train, tmp_path):
    callback = StopByPrediction(str(tmp_path / "curves.jsonl"))
    for final in (0.5, 0.7):
        train(curve_to(final), callback=callback)
    assert [record.curve[-1] for record in read_curves(tmp_path / "curves.jsonl")] == [
        pytest.approx(curve_to(final)[-1]) for final in (0.5, 0.7)
    ]


def test_a_resumed_training_has_one_curve(train, tmp_path):
    file = tmp_path / "curves.jsonl"
    train(curve_to(0.5), epochs=3)
    file.unlink()
    train(curve_to(0.5), ckpt_path=str(tmp_path / "last.ckpt"))
    (kept,) = read_curves(file)
    assert kept.curve == pytest.approx(curve_to(0.5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "up"}, "mode is 'up'; use max or min"),
        ({"checkpoints": (1.0,)}, r"checkpoints are \[1.0\]; give shares between 0 and 1"),
        ({"delta": 0.2}, r"StopByPrediction: delta=0.2, spared=0.05; delta lies in \(0.5, 1\]"),
    ],
)
def test_options_that_are_none(options, message):
    with pytest.raises(ConfigError, match=message):
        StopByPrediction("curves.jsonl", **options)


def test_a_metric_that_is_not_logged_and_a_length_that_is_not_known(train):
    with pytest.raises(ConfigError, match="monitor is 'val/f1', but val/acc is logged"):
        train(curve_to(0.5), monitor="val/f1")
    with pytest.raises(ConfigError, match=r"the number of validations is not known: set trainer.max_epochs"):
        train(curve_to(0.5), epochs=-1)
