"""What competitors decide, and what all of them share."""

import numpy as np
import pytest
import torch

from sparsenas.comparison.images.clock import Clock, accuracy_on
from sparsenas.comparison.images.common import FILLED, Common
from sparsenas.comparison.images.competitors import DRAWS, Largest, RandomDraw, Reference
from sparsenas.comparison.images.contest import read_image_plan
from sparsenas.comparison.images.contestant import compete
from sparsenas.comparison.images.searching import Search
from sparsenas.complexity import network_cost
from sparsenas.data import Digits
from sparsenas.errors import ConfigError
from sparsenas.limits import Limits
from sparsenas.networks import NetworkConfig
from sparsenas.search import TournamentSearch, TwoStageSearch
from sparsenas.spaces import DartsSpace, Genotype, StageSpace, read_genotype
from sparsenas.training import StandAloneTraining, WeightTraining

SPACE = StageSpace(stages=2, layers=2)


def common(tmp_path, seed=0, limits=Limits(max_params=6000, max_macs=2e5), space=SPACE, seconds=10.0):
    data = Digits(seed=seed, arch_fraction=0.0)
    data.setup("fit")
    return Common(data, space, limits, WeightTraining(seconds=1.0), Clock(seconds), seed, tmp_path)


def names(part):
    return set(part.names)


def test_a_seed_decides_the_validation_images_and_never_the_test_images(tmp_path):
    first, again, other = (common(tmp_path, seed) for seed in (0, 0, 1))
    assert first.parts == again.parts != other.parts
    assert names(first.data.parts.test) == names(other.data.parts.test)
    assert names(first.data.parts.val) != names(other.data.parts.val)


@pytest.mark.parametrize("by", ["params", "macs", "both"])
def test_the_largest_uses_most_of_the_budget(tmp_path, by):
    shared = common(tmp_path)
    rng = np.random.default_rng(0)
    sizes = {}
    for genotype in (SPACE.sample(rng) for _ in range(DRAWS)):
        width = shared.limits.fill(genotype, (1, 8, 8), 10, FILLED)
        module = network_cost(genotype, (1, 8, 8), 10, width, FILLED)
        shares = {"params": module.parameters / 6000, "macs": module.macs / 2e5}
        sizes[genotype] = sum(shares.values()) if by == "both" else shares[by]
    assert sizes[Largest(by).decide(shared).genotype] == max(sizes.values())


@pytest.mark.slow
def test_a_random_network_that_no_width_fits_is_drawn_again(tmp_path):
    """At this budget the space has both kinds."""
    limits = Limits(max_params=1000)
    fits = [common(tmp_path, seed, limits).width(SPACE.sample(np.random.default_rng(seed))) for seed in range(20)]
    assert None in fits
    assert any(fits)
    for seed in range(20):
        shared = common(tmp_path, seed, limits)
        assert shared.width(RandomDraw().decide(shared).genotype) is not None


@pytest.mark.parametrize("competitor", [RandomDraw(), Largest("both")])
def test_a_budget_that_no_network_meets_is_named(tmp_path, competitor):
    with pytest.raises(ConfigError, match="random networks of the space keeps the budget: raise it"):
        competitor.decide(common(tmp_path, limits=Limits(max_params=10)))


def test_accuracy_agrees_with_a_count_and_keeps_the_mode(tmp_path):
    shared = common(tmp_path)
    torch.manual_seed(0)
    genotype = Reference("resnet8").decide(shared).genotype.to_json()
    module = StandAloneTraining((1, 8, 8), 10, genotype, FILLED, budget=shared.limits, training=WeightTraining())
    module.train()
    found = accuracy_on(module, shared.validation.batches)
    assert module.training
    module.eval()
    images, labels = map(torch.cat, zip(*shared.validation.batches, strict=True))
    with torch.no_grad():
        assert found == pytest.approx(float((module(images).argmax(1) == labels).float().mean()))
    assert shared.validation.images == len(labels)


def record_of(contest, write, kind, options):
    contest["competitors"] = {"one": {kind: options}}
    (run,) = read_image_plan(write(contest)).runs
    return compete(run.searcher, run.seed, run.digest, run.settings)


@pytest.mark.filterwarnings("ignore")  # trainings so short make Lightning doubt their settings
def test_a_network_that_cannot_be_is_a_result_with_its_reason(contest, write, one_thread):
    contest["budget"] = {"max_params": 500}
    assert "the network needs 1,360" in record_of(contest, write, "reference", "resnet8").impossible
    contest["budget"] = {"max_params": 50_000}
    deep = record_of(contest, write, "reference", "mobilenet_v1")
    assert "images are 8x8" in deep.impossible
    assert deep.seconds < contest["seconds"]
    assert deep.genotype == ""


@pytest.mark.filterwarnings("ignore")
def test_a_network_that_is_too_slow_is_found_out_by_one_batch(contest, write, one_thread):
    contest |= {"budget": {"max_params": 3e6}, "seconds": 0.3}
    record = record_of(contest, write, "reference", "resnet20")
    assert "raise seconds" in record.impossible
    assert record.seconds < 5


@pytest.mark.filterwarnings("ignore")
def test_a_diverged_training_counts_as_chance(contest, write, one_thread):
    """Left out, it would flatter networks that are hard to train."""
    contest["training"] = {"optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 1e30}}}
    record = record_of(contest, write, "reference", "resnet8")
    assert record.diverged
    assert record.accuracy == record.validation == 10.0
    assert record.parameters > 0
    assert "counts as chance: " in record.remark


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_young_statistics_decide_nothing(tmp_path, one_thread):
    """What is heard early is the accuracy by statistics of the present weights."""
    shared, heard = common(tmp_path), []

    def hear(point, accuracy):
        module.recalibrate()
        heard.append((accuracy, accuracy_on(module, shared.validation.batches)))
        return len(heard) == 12

    module = shared.make(Reference("resnet8").decide(shared).genotype)
    shared.train(module, lambda _: 2.0, 20, hear)
    assert len(heard) == 12
    for accuracy, again in heard:
        assert accuracy == pytest.approx(again, abs=0.02)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_curve_takes_little_of_a_short_training(tmp_path, one_thread):
    """Seconds are few where networks are compared briefly, and a curve decides nothing."""
    shared, heard = common(tmp_path), []
    module = shared.make(Reference("resnet20").decide(shared).genotype)
    shared.train(module, lambda _: 1.0, 1000, lambda *_: bool(heard.append(shared.clock.seconds)), most=0.05)
    assert 1 <= len(heard) < 20


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_cells_compete_with_stages_at_equal_cost(contest, write, one_thread):
    record = record_of(contest, write, "genotype", {"genotype": "darts_v2", "cells": 3, "stem": "small"})
    assert not record.impossible
    assert Genotype.from_json(record.genotype) == read_genotype("darts_v2")
    limits = Limits(**contest["budget"])
    size = NetworkConfig(channels=record.channels, cells=3, stem="small")
    assert record.parameters <= limits.max_params
    wider = network_cost(read_genotype("darts_v2"), (1, 8, 8), 10, record.channels + 2, size)
    assert not limits.allow(wider)
    assert record_of(contest, write, "genotype", "vgg_like").parameters


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_search_has_its_share_of_the_seconds(contest, write, one_thread):
    options = {"network": {"channels": 4, "cells": None}, "recovery": {"compressed_size": 3, "unit_weights": True}}
    options["space"] = {
        "class_path": "StageSpace",
        "init_args": {"stages": 2, "layers": 2, "types": ["conv_3x3", "residual_3x3"], "growths": [2.0]},
    }
    model = {"class_path": "TwoStageSearch", "init_args": options}
    contest["seconds"] = 8
    entry = {"share": 0.4, "model": model, "max_epochs": 1000, "arch_fraction": 0.5}
    found = record_of(contest, write, "search", entry)
    assert not found.impossible
    assert found.deciding == pytest.approx(0.4 * 8, rel=0.2)
    assert found.seconds == pytest.approx(8, rel=0.1)
    assert found.epochs > 0


def test_searches_that_do_not_suit_are_refused():
    entry, network = Search({}), NetworkConfig(channels=4, cells=3, stem="small")
    with pytest.raises(ConfigError, match="max_epochs is missing; TwoStageSearch needs the length of its schedules"):
        entry.check(TwoStageSearch((1, 8, 8), 10, DartsSpace(nodes=2), network))
    with pytest.raises(ConfigError, match="whose winner trains on; use the kind tournament instead"):
        entry.check(TournamentSearch((1, 8, 8), 10, SPACE))
    with pytest.raises(ConfigError, match="model is Linear, which searches nothing"):
        entry.check(torch.nn.Linear(1, 1))
