"""Tournaments as one run: they search, and the winner trains on; what survives a kill and a resume."""

import json
from dataclasses import replace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, EMAWeightAveraging

from sparsenas.data import Augmentation, Digits
from sparsenas.errors import BudgetError, CheckpointError, ConfigError, DivergenceError
from sparsenas.networks import NetworkConfig
from sparsenas.search import Budget, Governor, RandomSearch
from sparsenas.search.measured.trainings import Trainings
from sparsenas.spaces import REFERENCES, NasBench201Space, read_genotype
from sparsenas.training import WeightTraining


class KilledError(Exception):
    """Whatever ends a process."""


class Rates(pl.Callback):
    """Learning rates of all steps."""

    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, *_):
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.fixture
def trained(monkeypatch):
    """Numbers and rungs of all trainings of entrants; ``lives`` says before which one the process dies, and how."""

    class Trained(list):
        lives, death = None, KilledError

    seen, train = Trained(), Trainings.train

    def count(self, entrant, rung, until, repeat=0):
        if seen.lives == len(seen):
            seen.lives = None
            raise seen.death
        seen.append((entrant.number, rung))
        return train(self, entrant, rung, until, repeat)

    monkeypatch.setattr(Trainings, "train", count)
    return seen


def same(first, second):
    """Whether two states are bit-equal."""
    return first.keys() == second.keys() and all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def lines_of(folder):
    return [json.loads(line) for line in (folder / "tournament.jsonl").read_text().splitlines()[1:]]


class TestOneRun:
    @pytest.mark.slow
    def test_all_compete_and_the_winner_trains_on(self, make_tournament, fit_in, trained, tmp_path, capsys):
        search, rates = make_tournament(), Rates()
        fit_in(search, rates)
        assert [rung for _, rung in trained] == [0] * 5 + [1] * 2
        result = search.result
        assert {other.origin for other in result.competitors} >= {"plain_cnn", "resnet8", "random"}
        assert result.found.genotype == search.genotype == search.network.genotype
        assert [len(other.stops) for other in result.competitors] == [2, 2, 1, 1, 1]
        assert [stop[0] for stop in result.found.stops] == [3, 6]
        assert (result.unit, result.length, result.images) == ("steps", 48, 64)
        # 21 steps of trainings, of which six are of the winner, and the rest of 48
        assert result.spent == 15
        assert len(rates.seen) == 48 - 21
        assert search.finished
        assert search.trained == pytest.approx(6 + 27)
        # it goes on from an eighth of the schedule to its end
        assert rates.seen[0] == pytest.approx(0.05 * (1 + np.cos(np.pi / 8)) / 2, rel=0.02)
        assert rates.seen[-1] < 0.001
        text = capsys.readouterr().out
        assert "48 steps in all: at most 5 networks are compared after 3 steps and 6 steps of training each" in text
        assert f"found: {result.summary}" in text
        assert len(lines_of(tmp_path / "run")) == 7
        assert not (tmp_path / "run" / "entrants").exists()  # what they learned is no longer needed

    @pytest.mark.slow
    def test_everyone_fills_the_budget(self, make_tournament, fit_in):
        search = make_tournament(budget=Budget(max_params=3000, max_macs=2e5))
        fit_in(search, epochs=0)
        for other in search.result.competitors:
            assert other.parameters <= 3000
            assert other.macs <= 2e5
            assert sum(p.numel() for p in search.build_for(other.genotype.to_json()).parameters()) == other.parameters

    @pytest.mark.slow
    def test_a_seed_decides_everything(self, make_tournament, fit_in):
        first, again, other = (make_tournament(seed=seed) for seed in (0, 0, 1))
        for number, search in enumerate((first, again, other)):
            fit_in(search, folder=f"run{number}", init=number)
        assert first.result == again.result
        assert same(first.state_dict(), again.state_dict())
        assert [c.genotype for c in first.result.competitors] != [c.genotype for c in other.result.competitors]

    @pytest.mark.slow
    def test_without_epochs_it_only_searches(self, make_tournament, fit_in, trained, tmp_path):
        search, rates = make_tournament(), Rates()
        fit_in(search, rates, epochs=0)
        assert len(trained) == 7
        assert rates.seen == []
        assert not search.finished
        assert search.genotype == search.result.found.genotype
        assert len(list((tmp_path / "run" / "entrants").iterdir())) <= 4  # of those who could go on

    @pytest.mark.slow
    def test_the_winner_has_what_it_learned(self, make_tournament, fit_in, tmp_path):
        search = make_tournament()
        fit_in(search, epochs=0)
        files = [torch.load(file, weights_only=True) for file in (tmp_path / "run" / "entrants").iterdir()]
        (state,) = (state for state in files if same(search.network.state_dict(), state["network"]))
        assert state["steps"] == 6

    def test_a_dry_run_searches_nothing_and_leaves_nothing(self, make_tournament, fit_in, trained, tmp_path):
        search = make_tournament()
        fit_in(search, fast_dev_run=True, limit_val_batches=1)
        assert trained == []
        assert search.genotype == REFERENCES["plain_cnn"].genotype
        assert not list(tmp_path.rglob("tournament.jsonl"))

    @pytest.mark.slow
    def test_a_known_genotype_is_trained_alone(self, make_tournament, fit_in, trained):
        search, rates = make_tournament(genotype="resnet8"), Rates()
        fit_in(search, rates)
        assert trained == []
        assert search.genotype == REFERENCES["resnet8"].genotype
        assert len(rates.seen) == 48
        assert search.result is None

    @pytest.mark.slow
    def test_other_spaces_have_no_references(self, make_tournament, fit_in):
        search = make_tournament(
            space=NasBench201Space(), network=NetworkConfig(4, 3), budget=Budget(), rules={"references": "all"}
        )
        fit_in(search, epochs=0)
        assert {other.origin for other in search.result.competitors} <= {"random", "proposed"}
        assert search.result.reference is None
        assert search.decide() == search.support == search.space.support(search.genotype)


class TestKilled:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("lives", "death"), [(0, KilledError), (1, KilledError), (4, KeyboardInterrupt), (6, KilledError)]
    )
    def test_started_again_it_is_the_uninterrupted_run(self, make_tournament, fit_in, trained, tmp_path, lives, death):
        """Weights included, as they are drawn and trained in the same way."""
        whole = make_tournament()
        fit_in(whole, folder="whole")
        trainings = list(trained)
        trained.clear()
        trained.lives, trained.death = lives, death
        with pytest.raises((KilledError, KeyboardInterrupt, SystemExit)):
            fit_in(make_tournament())
        assert list(trained) == trainings[:lives]
        again = make_tournament()
        fit_in(again)
        assert list(trained) == trainings  # each once
        assert (tmp_path / "run" / "tournament.jsonl").read_bytes() == (
            tmp_path / "whole" / "tournament.jsonl"
        ).read_bytes()
        assert (again.genotype, again.result) == (whole.genotype, whole.result)
        assert same(again.state_dict(), whole.state_dict())

    @pytest.mark.slow
    def test_a_torn_last_line_is_measured_again_and_nothing_else(self, make_tournament, fit_in, trained, tmp_path):
        whole, again = make_tournament(), make_tournament()
        fit_in(whole, epochs=0)
        file = tmp_path / "run" / "tournament.jsonl"
        text, last = file.read_bytes(), trained[-1]
        file.write_bytes(text[:-40])
        trained.clear()
        fit_in(again, epochs=0)
        assert list(trained) == [last]
        assert again.result.competitors == whole.result.competitors

    @pytest.mark.slow
    def test_a_search_that_is_started_once_more_measures_nothing(self, make_tournament, fit_in, trained):
        whole, again = make_tournament(), make_tournament()
        fit_in(whole, epochs=0)
        trained.clear()
        fit_in(again, epochs=0)
        assert trained == []
        assert again.result == whole.result
        assert same(again.state_dict(), whole.state_dict())

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("other", "named"),
        [
            ({"seed": 1}, "images, seed"),
            ({"rules": {"random": 3}}, "tournament"),
            ({"budget": Budget(max_params=5000)}, "budget"),
            ({"training": WeightTraining(steps=48)}, "training"),
            ({"data": Digits(batch_size=8, arch_fraction=0.0)}, "batches"),
            ({"data": Digits(batch_size=16, arch_fraction=0.0, augmentation="none")}, "batches"),
        ],
    )
    def test_measurements_of_other_settings_are_refused(self, make_tournament, fit_in, tmp_path, other, named):
        options = {**other}
        data = options.pop("data", None)
        fit_in(make_tournament(), epochs=0)
        text = (tmp_path / "run" / "tournament.jsonl").read_bytes()
        names = named if "seed" not in other else "seed"
        with pytest.raises(CheckpointError, match=rf"with other settings \({names}\); choose another folder"):
            fit_in(make_tournament(**options), epochs=0, data=data)
        assert (tmp_path / "run" / "tournament.jsonl").read_bytes() == text

    @pytest.mark.slow
    def test_a_finished_run_is_not_made_again_in_its_folder(self, make_tournament, fit_in):
        fit_in(make_tournament())
        with pytest.raises(CheckpointError, match="the search of this folder is over"):
            fit_in(make_tournament())


class TestCheckpoint:
    @pytest.mark.slow
    def test_it_holds_the_genotype_and_the_length(self, make_tournament, load_tournament, fit_in, trained, tmp_path):
        search = make_tournament()
        fit_in(search)
        files = sorted((tmp_path / "run").glob("epoch=*.ckpt"))
        trained.clear()
        kept = torch.load(files[0], weights_only=True)
        assert read_genotype(kept["hyper_parameters"]["genotype"]) == search.genotype
        loaded = load_tournament(files[-1])
        assert loaded.genotype == search.genotype == loaded.network.genotype
        assert same(loaded.state_dict(), search.state_dict())
        assert trained == []

    @pytest.mark.slow
    @pytest.mark.parametrize("from_file", [True, False], ids=["loaded", "made anew"])
    def test_a_resumed_run_searches_nothing_and_ends_the_same(
        self, make_tournament, load_tournament, fit_in, trained, tmp_path, from_file
    ):
        whole = make_tournament()
        fit_in(whole)
        checkpoint = tmp_path / "run" / "epoch=1.ckpt"
        trained.clear()
        if from_file:
            search = load_tournament(checkpoint)
        else:
            kept = torch.load(checkpoint, weights_only=True)["hyper_parameters"]["genotype"]
            search = make_tournament(genotype=kept)
        fit_in(search, folder="on", ckpt_path=checkpoint)
        assert trained == []
        assert search.finished
        assert search.trained == pytest.approx(whole.trained)
        assert same(search.state_dict(), whole.state_dict())

    def test_one_of_another_search_is_refused(self, make_tournament, fit_in, tmp_path):
        other = RandomSearch((1, 8, 8), 10, NasBench201Space(), NetworkConfig(4, 3), epochs_each=1)
        fit_in(other, epochs=1, data=Digits(batch_size=16, arch_fraction=0.4))
        with pytest.raises(CheckpointError, match="not one of a tournament; give one that TournamentSearch wrote"):
            make_tournament().on_load_checkpoint(torch.load(tmp_path / "run" / "epoch=0.ckpt", weights_only=True))


class TestRefused:
    def test_a_training_without_a_length(self, make_tournament):
        with pytest.raises(ConfigError, match=r"set training\.seconds or training\.steps"):
            make_tournament(training=WeightTraining())

    def test_images_without_validation(self, make_tournament, fit_in):
        with pytest.raises(ConfigError, match=r"set data\.val_fraction above 0"):
            fit_in(make_tournament(), data=Digits(batch_size=16, arch_fraction=0.0, val_fraction=0.0))

    def test_a_budget_that_nothing_fits(self, make_tournament, fit_in):
        with pytest.raises(BudgetError, match="neither a reference nor a network of the space keeps"):
            fit_in(make_tournament(budget=Budget(max_params=10)))

    def test_all_have_diverged(self, make_tournament, fit_in, trained):
        training = WeightTraining(lambda p: torch.optim.SGD(p, lr=1e30), steps=48, gradient_clip=0.0)
        with pytest.raises(
            DivergenceError, match=r"all [45] networks have diverged within 6\.2% .* use a smaller learning rate"
        ):
            fit_in(make_tournament(training=training))

    @pytest.mark.slow
    def test_other_rules(self, make_tournament, fit_in):
        search = make_tournament()
        fit_in(search, epochs=0)
        with pytest.raises(ConfigError, match="search again under the other rules"):
            search.decide(Budget(forbidden=("conv_3x3",)).constraints(search.space))

    def test_before_the_search_nothing_is_found(self, make_tournament):
        search = make_tournament()
        with pytest.raises(ConfigError, match="nothing has been measured yet: fit the search first"):
            search.genotype  # noqa: B018  # it raises
        assert (search.result, search.summary(), search.finished) == (None, "", False)

    def test_an_unknown_reference(self, make_tournament):
        with pytest.raises(ConfigError, match=r"tournament\.references names 'resnet9'"):
            make_tournament(rules={"references": ("resnet9",)})


@pytest.mark.slow
def test_seconds_are_the_length_of_everything(make_tournament, fit_in):
    seconds = 3.0
    rules = {"governor": Governor(), "rungs": (1 / 30, 1 / 15)}
    search = make_tournament(training=WeightTraining(seconds=seconds, gradient_clip=0.0), rules=rules)
    fit_in(search, batches=1.0)
    assert search.finished
    result = search.result
    assert (result.unit, result.length) == ("seconds", seconds)
    assert 0 < result.spent < seconds
    assert 0 < search.trained < seconds
    assert search.trained == pytest.approx(seconds - result.spent, rel=0.25)


@pytest.mark.slow
def test_a_limit_of_the_trainer_shortens_the_search(make_tournament, fit_in):
    training = WeightTraining(seconds=1000.0)
    search = make_tournament(training=training, rules={"rungs": (1 / 30,)})
    fit_in(search, max_time={"seconds": 3}, batches=1.0)
    assert search.result.length == pytest.approx(0.9 * 3, abs=0.3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You're using the WeightAveraging callback with a model that overrides")
def test_weights_of_classes_reach_entrants_and_early_stopping_ends_the_training(
    make_tournament, fit_in, trained, monkeypatch, tmp_path
):
    seen, advance = [], Trainings._advance

    def noting(self, state, until):
        seen.append(self.loss.weights)
        return advance(self, state, until)

    monkeypatch.setattr(Trainings, "_advance", noting)
    options = replace(make_tournament().weight_training, class_weights="auto")
    data = Digits(batch_size=16, arch_fraction=0.0, augmentation=Augmentation(0, False, mixup=0.2, randaugment=1))
    stopping = EarlyStopping("val/macro_f1", mode="max", stopping_threshold=-1.0)
    search = make_tournament(options)
    trainer = fit_in(search, EMAWeightAveraging(decay=0.5), stopping, batches=2, data=data, limit_val_batches=1)
    counts = torch.as_tensor(data.parts.class_counts)
    assert trained
    assert all(torch.allclose(weights, counts.sum() / (10 * counts)) for weights in seen)
    assert search.finished
    assert trainer.current_epoch == 1
    assert not (tmp_path / "run" / "entrants").exists()
