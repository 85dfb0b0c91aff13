"""Who enters a tournament, what a code proposes, and what is learned for the next one."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from sparsenas.errors import BudgetError, ConfigError
from sparsenas.networks import NetworkConfig
from sparsenas.search import Budget, Tournament
from sparsenas.search.measured.field import Entry
from sparsenas.search.measured.history import Entrant, Measurement
from sparsenas.search.measured.prior import Prior, combined, prior_of, read_prior
from sparsenas.search.measured.proposals import identity
from sparsenas.spaces import REFERENCES, Genotype, NasBenchMacroSpace, StageSpace
from sparsenas.spaces.features import Dictionary, Feature, describe
from sparsenas.spaces.stage import read_chain, stage_genotype

SPACE = StageSpace(layers=2, types=("conv_3x3", "residual_3x3", "sep_conv_3x3"), stems=("conv_3x3", "conv_3x3/stride"))
FILLED = NetworkConfig(channels=None, cells=None)
BUDGET = Budget(max_params=40_000, max_macs=2e6)


def entry(options=None, budget=BUDGET, space=SPACE, side=32, seed=0, network=FILLED):
    return Entry(space, (3, side, side), 10, network, budget, Tournament(**(options or {"prior": "none"})), seed)


def depth(genotype):
    return sum(layer.repeats for stage in read_chain(genotype).stages for layer in stage.layers)


def measured(entrant, loss, rung=0):
    return Measurement(entrant, rung, (loss,) * 4, 0.5, 1.0, 1.0)


def field_of(made, worth, count=30):
    """Measurements of random architectures whose loss falls with what they are worth."""
    rng = np.random.default_rng(0)
    keys = [made.space.sample(rng).to_json() for _ in range(count)]
    return [
        measured(Entrant(i, key, "random"), math.exp(-worth(Genotype.from_json(key)))) for i, key in enumerate(keys)
    ]


def test_all_references_that_fit_enter_and_draws_do():
    made = entry({"prior": "none", "random": 3})
    origins = [origin for _, origin in made.seeds]
    assert set(origins) == {*REFERENCES, "random"} - {"mobilenet_v1"}
    assert origins.count("random") == 3
    assert made.unfit == ("mobilenet_v1",)  # divides by 32 at this size
    for key, _ in made.seeds:
        cost = made.cost(Genotype.from_json(key))
        assert cost.parameters <= 40_000
        assert cost.macs <= 2e6


@pytest.mark.slow
@pytest.mark.parametrize("side", [8, 16, 32])
def test_a_network_made_by_hand_is_among_the_first_three_whatever_the_prior_says(side):
    for seed in range(5):
        names = [origin for _, origin in entry({"prior": "shipped", "random": 6}, side=side, seed=seed).seeds]
        assert set(names[:3]) & set(REFERENCES)
        assert len(names) == len(set(names) - {"prior"}) + 6


def test_equal_seeds_of_a_run_draw_equal_architectures():
    assert entry().seeds == entry().seeds
    assert entry().seeds != entry(seed=1).seeds


def test_a_filter_chooses_the_best_of_many_draws():
    made = entry({"prior": "none", "references": "none", "random": 3, "filtered": 40})
    plain = entry({"prior": "none", "references": "none", "random": 40})
    made.zero_cost = depth
    found, drawn = ([depth(Genotype.from_json(key)) for key, _ in one.seeds] for one in (made, plain))
    assert sorted(found) == sorted(drawn)[-3:]


def test_forbidden_primitives_do_not_enter():
    budget = Budget(max_params=40_000, forbidden=("residual_3x3", "sep_conv_3x3"), max_per_cell={"stage3": {"skip": 0}})
    made = entry({"prior": "none", "random": 5}, budget)
    for key, _ in made.seeds:
        cells = dict(Genotype.from_json(key).cells)
        names = [candidate.primitive for kept in cells.values() for candidate in kept]
        assert not {"residual_3x3", "sep_conv_3x3"} & set(names)
        assert "skip" not in [candidate.primitive for candidate in cells.get("stage3", ())]
    assert "resnet8" in made.unfit


def test_a_width_of_its_own_must_keep_the_budget():
    network = NetworkConfig(channels=12, cells=None)
    made = entry({"prior": "none", "random": 4}, Budget(max_params=20_000), network=network)
    assert made.unfit
    assert all(made.sized(Genotype.from_json(key)).channels == 12 for key, _ in made.seeds)


def test_nothing_that_fits_is_an_error():
    said = r"neither a reference nor a network .* keeps max_params 10, at any width: .* lower network\.channels"
    with pytest.raises(BudgetError, match=said):
        _ = entry(budget=Budget(max_params=10)).seeds


@pytest.mark.parametrize("side", [12, 32])  # of small images, some networks cannot be built
def test_a_latency_table_that_cannot_be_read_is_named(side, tmp_path):
    missing = str(tmp_path / "times.json")
    with pytest.raises(ConfigError, match=r"times\.json") as caught:
        _ = entry(budget=Budget(max_latency_ms=2, latency_table=missing), side=side).seeds
    assert "neither a reference" not in str(caught.value)
    (tmp_path / "times.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"times\.json") as caught:
        _ = entry(budget=Budget(max_latency_ms=2, latency_table=missing), side=side).seeds
    assert "neither a reference" not in str(caught.value)


@pytest.mark.slow
def test_a_code_finds_what_decides():
    made = entry()

    def worth(genotype):
        return -0.3 * depth(genotype)

    found = field_of(made, worth)
    (best, *_) = made.proposer.propose(found, {m.entrant.key for m in found}, 1)
    assert depth(best) == 3  # the shallowest
    code = made.proposer.recover(found)
    assert code.fit.gap < 1e-3
    predicted = [item.mean for item in made.proposer.expect(found, [m.entrant.key for m in found])]
    truth = [worth(Genotype.from_json(m.entrant.key)) for m in found]
    assert np.corrcoef(predicted, truth)[0, 1] > 0.9


def test_proposals_are_new_fit_and_differ():
    made = entry()
    found = field_of(made, depth)
    taken = {m.entrant.key for m in found}
    proposed = made.proposer.propose(found, taken, 4)
    known = {identity(key) for key in taken}
    assert len({identity(genotype.to_json()) for genotype in proposed} - known) == len(proposed) > 1
    assert all(made.fits(genotype) for genotype in proposed)


def test_a_reference_is_not_proposed_again_under_another_spelling():
    written = stage_genotype(
        "conv_3x3",
        (1, ["conv_3x3", "skip"]),
        (2, ["conv_3x3/max_pool", "conv_3x3"]),
        (2, ["conv_3x3/max_pool", "skip"]),
    )
    assert identity(written.to_json()) == identity(REFERENCES["vgg_like"].genotype.to_json())


def test_few_measurements_leave_what_was_expected():
    made = entry({"prior": "references"})
    code = made.proposer.recover(field_of(made, depth, count=3))
    assert code.fit is None
    assert code.values == pytest.approx(code.prior)


def test_what_sets_references_apart_is_expected():
    made = entry({"prior": "references"})
    names = ["vgg_like", "plain_cnn"]
    rng = np.random.default_rng(5)
    references = made.proposer.expect([], [REFERENCES[name].genotype.to_json() for name in names])
    random = made.proposer.expect([], [SPACE.sample(rng).to_json() for _ in range(30)])
    assert np.mean([item.mean for item in references]) > np.mean([item.mean for item in random])
    assert not made.learned


def learned(worth, space=SPACE):
    """A prior learned from a worth of genotypes."""
    rng = np.random.default_rng(1)
    genotypes = [space.sample(rng) for _ in range(200)]
    described = [describe(genotype) for genotype in genotypes]
    dictionary = Dictionary(described)
    rows, scores = dictionary.rows(described), np.array([worth(genotype) for genotype in genotypes])
    code = np.linalg.lstsq(rows - rows.mean(0), scores - scores.mean(), rcond=None)[0]
    widths = np.full(len(code), 0.2)
    return Prior("stage", dictionary.named(code), dictionary.named(widths), "made up")


def test_a_learned_prior_leads_and_orders(tmp_path):
    path = tmp_path / "prior.json"
    path.write_text(learned(lambda genotype: -0.5 * depth(genotype)).to_json())
    made = entry({"prior": str(path), "references": "none", "random": 4})
    assert made.learned
    depths = [depth(Genotype.from_json(key)) for key, origin in made.seeds if origin == "prior"]
    assert depths[0] == 3
    assert np.mean(depths) < 4


def test_a_wrong_prior_is_outvoted(tmp_path):
    def worth(genotype):
        return -0.4 * depth(genotype)

    path = tmp_path / "wrong.json"
    path.write_text(learned(lambda genotype: -worth(genotype)).to_json())
    made = entry({"prior": str(path)})
    found = field_of(made, worth)
    (best, *_) = made.proposer.propose(found, set(), 1)
    assert depth(best) == 3


def test_a_prior_survives_its_file(tmp_path):
    prior = learned(depth)
    path = tmp_path / "prior.json"
    path.write_text(prior.to_json())
    again = read_prior(str(path), "stage")
    assert again.mean == pytest.approx(prior.mean, abs=1e-4)
    assert again.width == pytest.approx(prior.width, abs=1e-4)


def test_what_was_learned_is_the_prior_of_the_next_search(tmp_path):
    made = entry()
    posterior = made.proposer.posterior(field_of(made, lambda genotype: -0.3 * depth(genotype)))
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"summary": "", "prior": json.loads(posterior.to_json())}))
    again = entry({"prior": str(path), "references": "none", "random": 1})
    assert depth(Genotype.from_json(again.seeds[0][0])) == 3
    assert made.proposer.posterior(field_of(made, depth, count=3)) is None


def test_combined_priors_hold_what_they_differ_by():
    feature = Feature("depth at 8 px", "layers")
    priors = [Prior("stage", {feature: mean}, {feature: 0.1}, "") for mean in (-1.0, 1.0)]
    both = combined(priors, "both")
    assert both.mean[feature] == 0.0
    assert both.width[feature] == pytest.approx((1 + 0.01 / 2) ** 0.5)


def test_the_shipped_prior_is_of_stages_and_finite():
    prior = read_prior("shipped", "stage")
    assert len(prior.mean) > 20
    assert min(prior.width.values()) > 0
    assert entry({"prior": "shipped"}).learned


def test_other_spaces_have_draws_only_unless_they_are_small():
    made = Entry(
        NasBenchMacroSpace(), (3, 32, 32), 10, NetworkConfig(channels=4, cells=None), Budget(), Tournament(), 0
    )
    assert {origin for _, origin in made.seeds} == {"random"}
    assert made.proposer.possible


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("nonsense", "no prior, nor the result.json of a tournament"),
        ("{}", "no prior, nor the result.json of a tournament"),
        ('{"schema": "sparsenas.prior/2"}', "no prior, nor the result.json of a tournament"),
        (Prior("nasbench201", {}, {}, "").to_json(), "is of the space 'nasbench201', but 'stage' is searched"),
        (Prior("stage", {Feature("a", "b"): math.nan}, {}, "").to_json(), "no prior, nor the result.json"),
    ],
)
def test_a_prior_that_cannot_be_used_is_named(text, message, tmp_path):
    path = tmp_path / "prior.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        entry({"prior": str(path)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"references": ("resnet9",)}, "tournament.references names 'resnet9'"),
        ({"references": "none", "prior": "references"}, "tournament.prior is references, but none enter"),
    ],
)
def test_wrong_words_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        entry(options)


def test_random_draws_and_references_give_a_prior_of_both():
    described = [describe(REFERENCES[name].genotype) for name in ("vgg_like", "plain_cnn", "resnet8")]
    rng = np.random.default_rng(0)
    random = [describe(SPACE.sample(rng)) for _ in range(20)]
    prior = prior_of(described, random, "stage")
    dictionary = Dictionary([*described, *random])
    values = dictionary.rows([*described, *random]) @ dictionary.vector(dict(prior.mean))
    assert values[:3].mean() - values[3:].mean() == pytest.approx(1.0)
    assert replace(prior, source="").width == {}


def test_a_size_of_images_or_networks_that_fits_nothing_is_named():
    with pytest.raises(ConfigError, match=r"images are 4x4, but .* use images of at least") as refused:
        _ = entry(side=4).seeds
    assert "budget" not in str(refused.value)
    wide = NetworkConfig(channels=4096, cells=None)
    with pytest.raises(BudgetError, match=r"with network\.channels 4096: set it to null, raise the budget, or lower"):
        _ = entry(network=wide).seeds
