"""Trials that a predictor chooses: who wins, who is stopped, and what is wrong with options."""

from types import SimpleNamespace

import numpy as np
import pytest

from sparsenas.comparison.images import guiding
from sparsenas.comparison.images.contest import make_competitor
from sparsenas.comparison.images.guiding import Guided
from sparsenas.errors import BudgetError, ConfigError, DivergenceError, PredictorError
from sparsenas.spaces import StageSpace

SPACE = StageSpace(stages=2, layers=2, types=["conv_3x3", "residual_3x3"], growths=[1.0, 2.0])


def quality(genotype):
    """Share of residual layers, in accuracy."""
    names = [c.primitive for _, kept in genotype.cells for c in kept]
    return 0.5 + 0.4 * np.mean([name.startswith("residual") for name in names])


class Fake:
    """The common part of a run whose trainings take a second each, and follow a formula."""

    def __init__(self, total=100.0, fits=lambda genotype: True, diverges=lambda genotype: False):
        self.clock = SimpleNamespace(seconds=0.0, total=total)
        self.space, self.seed, self.fits, self.diverges = SPACE, 3, fits, diverges
        self.validation = SimpleNamespace(batches=[])
        self.begun, self.ended = [], []

    def width(self, genotype):
        return 8 if self.fits(genotype) else None

    def make(self, genotype):
        return SimpleNamespace(genotype=genotype, finished=False)

    def train(self, module, seconds, points, hear):
        self.begun.append(module.genotype)
        if self.diverges(module.genotype):
            self.clock.seconds += 1
            raise DivergenceError("planted")
        for point in range(1, points):
            self.clock.seconds += seconds(module) / points
            if hear(point, quality(module.genotype) * (1 - 0.5**point)):
                return SimpleNamespace(module=module)
        module.finished = True
        self.ended.append(module.genotype)
        return SimpleNamespace(module=module)


@pytest.fixture
def decide(monkeypatch):
    monkeypatch.setattr(guiding, "accuracy_on", lambda module, batches: quality(module.genotype))

    def run(fake, **options):
        return Guided(**{"share": 0.4, "trial_share": 0.01, "ensemble": 1, "batch": 5, **options}).decide(fake)

    return run


@pytest.mark.slow
def test_the_best_whole_trial_wins_and_a_guide_finds_better_ones(decide):
    fake = Fake(total=70)
    decision = decide(fake, delta=1.0)
    assert quality(decision.genotype) == max(map(quality, fake.ended))
    assert len(set(fake.begun)) == len(fake.begun) >= 20
    assert np.mean([*map(quality, fake.begun[-10:])]) > np.mean([*map(quality, fake.begun[:4])])
    assert "stopped" not in decision.remark


@pytest.mark.slow
def test_trials_whose_end_is_foreseen_are_stopped_and_never_win(decide):
    fake = Fake(total=60)
    decision = decide(fake, delta=0.9)
    stopped = set(fake.begun[:-1]) - set(fake.ended)  # the clock ends the last one
    assert stopped
    assert " stopped" in decision.remark
    assert decision.genotype in fake.ended
    assert max(map(quality, stopped)) <= quality(decision.genotype)
    assert fake.begun[:8] == fake.ended[:8]  # nobody is stopped before these


@pytest.mark.slow
def test_only_networks_within_the_budget_are_tried(decide):
    fits = lambda genotype: "conv_3x3" in genotype.to_json()  # noqa: E731  # a rule for this test
    fake = Fake(total=40, fits=fits)
    decide(fake)
    assert all(map(fits, fake.begun))
    with pytest.raises(BudgetError, match="random networks of the space keeps the budget: raise it"):
        decide(Fake(fits=lambda genotype: False))


@pytest.mark.slow
def test_what_diverges_is_left_behind(decide):
    fake = Fake(total=40, diverges=lambda genotype: quality(genotype) > 0.65)
    decision = decide(fake)
    assert quality(decision.genotype) <= 0.65
    assert len(set(fake.begun)) == len(fake.begun)


@pytest.mark.slow
@pytest.mark.parametrize(("predictor", "least"), [("sparse_regression", 5), ("random_forest", 2)])
def test_random_trials_go_on_until_a_predictor_can_learn(decide, monkeypatch, predictor, least):
    asked = []
    propose = guiding.GuidedStrategy.propose
    monkeypatch.setattr(
        guiding.GuidedStrategy,
        "propose",
        lambda self, trained, *rest: asked.append(len(trained)) or propose(self, trained, *rest),
    )
    fake = Fake(total=25)
    decide(fake, predictor=predictor, random=1, batch=1)
    assert min(asked) == least
    assert len(set(fake.begun)) == len(fake.begun) > least


def test_a_missing_library_is_told_before_the_first_trial(decide, monkeypatch):
    def missing(*_):
        raise PredictorError("xgboost: needs xgboost")

    monkeypatch.setattr(guiding, "make_predictor", missing)
    fake = Fake()
    with pytest.raises(PredictorError, match="needs xgboost"):
        decide(fake)
    assert fake.begun == []


def test_no_whole_trial_names_the_options(decide):
    with pytest.raises(ConfigError, match="guided: no trial came to its end within 40 s; raise seconds, share"):
        decide(Fake(), trial_share=0.9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"predictor": "sotl"}, "predictor is 'sotl'; use one that learns from genotypes: acenas"),
        ({"acquisition": "ei"}, "acquisition is 'ei'; use mean or thompson"),
        ({"share": 1.5}, "share is 1.5; a share of the seconds lies between 0 and 1"),
        ({"batch": 0}, "batch is 0; use a whole number from 1 on"),
        ({"delta": 0.3}, r"delta=0\.3, spared=0\.05; delta lies in"),
    ],
)
def test_a_mistake_is_named(options, message):
    with pytest.raises(ConfigError, match=message):
        make_competitor("guided", options, "competitors.x")
