"""A run that goes on from any batch of an epoch is the uninterrupted one, to the last bit."""

import csv
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, GradientAccumulationScheduler, StochasticWeightAveraging
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities.exceptions import SIGTERMException

from sparsenas.callbacks import RegularCheckpoint
from sparsenas.data import Augmentation, Digits
from sparsenas.errors import ConfigError
from sparsenas.networks import NetworkConfig
from sparsenas.search import (
    ArchitectureTraining,
    BestOf,
    Budget,
    Exploration,
    FullGradient,
    Governor,
    GumbelRelaxation,
    MixtureSampling,
    NoveltyPaths,
    OneStageSearch,
    PairedLosses,
    Phases,
    RandomSearch,
    RelaxedSearch,
    SinglePathSearch,
    SparseRecovery,
    Tournament,
    TournamentSearch,
    TwoStageSearch,
)
from sparsenas.spaces import DartsSpace, StageSpace
from sparsenas.trainer import within_epoch_checkpoint
from sparsenas.training import StandAloneTraining, WeightTraining

SHAPE = ((1, 8, 8), 10)
SPACE = DartsSpace(nodes=2, primitives=("avg_pool_3x3", "skip_connect", "sep_conv_3x3"))
SMALL = {"space": SPACE, "network": NetworkConfig(channels=4, cells=3, stem="small")}
DROPPED = WeightTraining(drop_path=0.2, auxiliary_weight=0.4)
TOURNAMENT = Tournament(
    (1 / 16, 1 / 8), ("plain_cnn",), 2, 1, 1, keep=0.5, prior="none", governor=Governor(share=0.5, most=0.6), images=64
)
#: Each model, the share of images that trains its architecture, callbacks, and options of the trainer.
MODELS = {
    "two_stage": (
        lambda: TwoStageSearch(
            *SHAPE,
            **SMALL,
            recovery=SparseRecovery(every_n_steps=2),
            signal=FullGradient(every=2),
            sampling=MixtureSampling(0.75, 0.25),
            architecture=ArchitectureTraining(warmup_epochs=1),
        ),
        0.4,
        (),
        {},
    ),
    "paired_losses": (
        lambda: TwoStageSearch(*SHAPE, **SMALL, recovery=SparseRecovery(every_n_steps=None), signal=PairedLosses()),
        0.4,
        (),
        {},
    ),
    "one_stage": (
        lambda: OneStageSearch(
            *SHAPE,
            **SMALL,
            training=DROPPED,
            phases=Phases(search_epochs=1),
            recovery=SparseRecovery(every_n_steps=1, unit_weights=True),
            exploration=Exploration(signal="loss"),
        ),
        0.0,
        (),
        {},
    ),
    "darts": (lambda: RelaxedSearch(*SHAPE, **SMALL, second_order=True), 0.4, (), {}),
    "gdas": (lambda: RelaxedSearch(*SHAPE, **SMALL, relaxation=GumbelRelaxation()), 0.4, (), {}),
    "single_path": (
        lambda: SinglePathSearch(
            *SHAPE, **SMALL, training=WeightTraining(drop_path=0.2), selection=BestOf(3), measure_batches=3
        ),
        0.4,
        (),
        {},
    ),
    "novelty": (
        lambda: SinglePathSearch(
            *SHAPE,
            **SMALL,
            paths=NoveltyPaths(archive=4, neighbours=2, proposal="evolution_strategy", candidates=3, novelty=0.5),
            selection=BestOf(3, finalists=2),
            measure_batches=3,
        ),
        0.4,
        (),
        {},
    ),
    "random": (lambda: RandomSearch(*SHAPE, **SMALL, epochs_each=1, measure_batches=3), 0.4, (), {}),
    "training": (
        lambda: StandAloneTraining(
            *SHAPE, SPACE.sample(np.random.default_rng(1)).to_json(), SMALL["network"], training=DROPPED
        ),
        0.0,
        (lambda: EMAWeightAveraging(decay=0.5),),
        {"accumulate_grad_batches": 2, "val_check_interval": 3},
    ),
    "training_by_epochs": (
        lambda: StandAloneTraining(*SHAPE, SPACE.sample(np.random.default_rng(1)).to_json(), SMALL["network"]),
        0.0,
        (),
        {},
    ),
    "training_by_steps": (
        lambda: StandAloneTraining(
            *SHAPE,
            SPACE.sample(np.random.default_rng(1)).to_json(),
            SMALL["network"],
            training=WeightTraining(drop_path=0.2, steps=8),
        ),
        0.0,
        (),
        {},
    ),
    "tournament": (
        lambda: TournamentSearch(
            *SHAPE,
            StageSpace(stages=2, layers=2, types=("conv_3x3", "residual_3x3")),
            training=WeightTraining(steps=32),
            budget=Budget(max_params=4000),
            tournament=TOURNAMENT,
        ),
        0.0,
        (),
        {},
    ),
}
BATCHES = 5


class Keep(RegularCheckpoint):
    """Keeps the checkpoint of every batch at which one may be written."""

    def __init__(self, folder):
        super().__init__(minutes=1e-9)
        self.folder, self.paths = folder, []

    def _save(self, trainer):
        self.paths.append(self.folder / f"epoch={trainer.current_epoch}-batch={trainer.fit_loop.batch_idx}.ckpt")
        trainer.save_checkpoint(self.paths[-1])


@pytest.fixture
def fit(fit_briefly, tmp_path):
    """Fit a model of the table."""

    def run(name, *callbacks, folder, init=0, epochs=2, **options):
        build, share, others, settings = MODELS[name]
        torch.manual_seed(init)
        data = Digits(batch_size=32, arch_fraction=share, augmentation=Augmentation(1, False, 2))
        logger = CSVLogger(tmp_path, "logs", folder)
        if name.endswith("steps") or name == "tournament":
            epochs = -1
        return fit_briefly(
            build(),
            data,
            *(make() for make in others),
            *callbacks,
            folder=folder,
            epochs=epochs,
            batches=BATCHES,
            default_root_dir=tmp_path / folder,
            logger=logger,
            log_every_n_steps=1,
            **settings,
            **options,
        )

    return run


def metrics(folder):
    """Logged values of every epoch but times."""
    with next(folder.rglob("metrics.csv")).open() as file:
        rows = list(csv.DictReader(file))
    return {
        (row["epoch"], name): value
        for row in rows
        for name, value in row.items()
        if value and name not in ("epoch", "step") and not name.startswith("speed/")
    }


def assert_goes_on(fit, state_differences, tmp_path, name, choose):
    keep = Keep(tmp_path)
    whole = fit(name, keep, folder="whole")
    last = torch.load(whole.checkpoint_callback.last_model_path, weights_only=True)
    assert len(keep.paths) >= 2
    for number, path in enumerate(choose(keep.paths)):
        trainer = fit(name, folder=f"rest{number}", init=7, ckpt_path=path)
        rest = torch.load(trainer.checkpoint_callback.last_model_path, weights_only=True)
        parts = ("state_dict", "optimizer_states", "lr_schedulers", "search", "epoch", "global_step")
        for part in parts:
            assert state_differences(last.get(part), rest.get(part)) == [], (path.name, part)
        logged = metrics(tmp_path / "logs" / "whole")
        for key, value in metrics(tmp_path / "logs" / f"rest{number}").items():
            assert logged[key] == value, (path.name, key)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_goes_on_from_a_batch(fit, differences, tmp_path, name):
    rng = np.random.default_rng(len(name))
    assert_goes_on(fit, differences, tmp_path, name, lambda paths: [paths[rng.integers(len(paths))]])


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_goes_on_from_every_batch(fit, differences, tmp_path, name):
    assert_goes_on(fit, differences, tmp_path, name, lambda paths: paths)


class TestWhen:
    @pytest.mark.slow
    def test_seldom_writes_nothing_and_a_finished_run_leaves_nothing(self, fit, tmp_path):
        for number, minutes in enumerate((0, 60, 1e-9)):
            trainer = fit("training", RegularCheckpoint(minutes), folder=f"run{number}", epochs=1)
            assert [path.name for path in (tmp_path / f"run{number}").glob("within*")] == []
        assert Path(trainer.checkpoint_callback.last_model_path).exists()

    def test_it_is_whole_and_the_newest_one(self, fit, tmp_path):
        class Dies(pl.Callback):
            def on_train_batch_start(self, trainer, *_):
                if trainer.global_step == 3:
                    raise KeyError

        with pytest.raises(KeyError):
            fit("training_by_steps", RegularCheckpoint(1e-9), Dies(), folder="run")
        kept = torch.load(tmp_path / "run" / "within_epoch.ckpt", weights_only=True)
        assert kept["global_step"] == 3

    @pytest.mark.slow
    def test_sigterm_leaves_one(self, fit, differences, tmp_path):
        class Ends(pl.Callback):
            def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
                # what Lightning's handler of the signal does
                trainer._signal_connector.received_sigterm = (trainer.current_epoch, batch_idx) == (1, 1)

        with pytest.raises(SIGTERMException):
            fit("two_stage", RegularCheckpoint(60), Ends(), folder="run")
        kept = torch.load(tmp_path / "run" / "within_epoch.ckpt", weights_only=True)
        assert (kept["epoch"], kept["search"]["batches"]) == (1, BATCHES + 2)
        rest = fit("two_stage", folder="rest", init=7, ckpt_path=tmp_path / "run" / "within_epoch.ckpt")
        whole = fit("two_stage", folder="whole")
        states = [torch.load(run.checkpoint_callback.last_model_path, weights_only=True) for run in (rest, whole)]
        for part in ("state_dict", "optimizer_states", "search"):
            assert differences(states[0][part], states[1][part]) == []

    @pytest.mark.slow
    def test_another_number_of_batches_is_refused(self, fit, tmp_path, monkeypatch):
        keep = Keep(tmp_path)
        fit("two_stage", keep, folder="whole")
        monkeypatch.setitem(globals(), "BATCHES", 4)
        with pytest.raises(ConfigError, match="within an epoch of 5 batches, but this run has 4"):
            fit("two_stage", RegularCheckpoint(), folder="rest", ckpt_path=keep.paths[1])

    @pytest.mark.slow
    def test_callbacks_that_begin_with_an_epoch(self, fit, differences, tmp_path, capsys):
        def grow():
            return GradientAccumulationScheduler({1: 2})

        keep = Keep(tmp_path)
        whole = fit("training_by_epochs", keep, grow(), folder="whole")
        rest = fit("training_by_epochs", grow(), RegularCheckpoint(), folder="rest", init=7, ckpt_path=keep.paths[-1])
        states = [torch.load(run.checkpoint_callback.last_model_path, weights_only=True) for run in (rest, whole)]
        assert differences(states[0]["state_dict"], states[1]["state_dict"]) == []
        average = StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1, device=None)
        fit("training_by_epochs", RegularCheckpoint(1e-9), average, folder="averaged")
        assert "no checkpoint is written within epochs, as StochasticWeightAveraging" in capsys.readouterr().out

    @pytest.mark.slow
    def test_the_last_of_all_steps_is_that_of_the_epoch(self, fit, tmp_path):
        keep = Keep(tmp_path)
        fit("training_by_epochs", keep, folder="whole", max_steps=7)
        assert keep.paths[-1].name == "epoch=1-batch=0.ckpt"

    def test_a_file_of_another_run_is_not_its_own(self, fit, tmp_path):
        (tmp_path / "run").mkdir()
        other = tmp_path / "run" / "within_epoch.ckpt"
        other.write_bytes(b"of another run")
        trainer = fit("training_by_epochs", RegularCheckpoint(60), folder="run", epochs=1)
        assert within_epoch_checkpoint(trainer) is None
        assert other.exists()

    def test_minutes_that_are_none(self):
        for minutes in (-1, float("nan")):
            with pytest.raises(ConfigError, match=r"save_every_minutes is (-1|nan); use a positive number"):
                RegularCheckpoint(minutes)
