"""Scores that are known or measured, and OMNI, which joins them with curves and encodings."""

import numpy as np
import pytest

from sparsenas.errors import PredictorError
from sparsenas.predictors.boosting import BoostedDistributions
from sparsenas.predictors.known import KnownScore, MeasuredScore
from sparsenas.predictors.omni import Omni
from sparsenas.ranking import kendall_tau
from sparsenas.spaces import NasBench201Space, encoding_of

SPACE = NasBench201Space()
ENCODING = encoding_of(SPACE)
GENOTYPES = list(dict.fromkeys(SPACE.sample(np.random.default_rng(seed)) for seed in range(60)))[:50]
INF = float("inf")


def test_a_known_score_is_handed_on():
    scores = np.array([[3.0], [1.0], [2.0]])
    assert KnownScore("flops").query(GENOTYPES[:3], {"flops": scores, "zen": -scores}).tolist() == [3, 1, 2]
    with pytest.raises(PredictorError, match="KnownScore: needs zen of every network"):
        KnownScore("zen").query(GENOTYPES[:3], {"flops": scores})
    with pytest.raises(PredictorError, match=r"zen has shape \(3, 2\); give one score of each network"):
        KnownScore("zen").query(GENOTYPES[:3], {"zen": np.ones((3, 2))})


@pytest.mark.parametrize(
    ("measured", "scores"),
    [
        ([3, -INF, 1, -INF], [3, -1, 1, -1]),
        ([5, -INF, 5, -INF], [5, 4, 5, 4]),
        ([-INF] * 4, [0] * 4),
        ([4, 3, 2, 1], [4, 3, 2, 1]),
    ],
)
def test_networks_without_a_path_rank_last(measured, scores):
    values = dict(zip(GENOTYPES, measured, strict=False))
    predictor = MeasuredScore(values.__getitem__)
    predictor.fit(GENOTYPES[:4], np.arange(4.0), {})
    assert predictor.query(GENOTYPES[:4], {}).tolist() == scores


@pytest.mark.parametrize("value", [float("nan"), INF])
def test_a_measured_score_that_is_no_number_is_an_error(value):
    predictor = MeasuredScore(lambda genotype: value if genotype == GENOTYPES[2] else 1.0)
    with pytest.raises(PredictorError, match=f"MeasuredScore: the score of network 2 is {value}"):
        predictor.query(GENOTYPES[:4], {})


def known(count=50):
    """Targets, of which a score, a curve and the cell tell a part each."""
    rng = np.random.default_rng(0)
    score, loss = rng.normal(size=(2, count))
    convolutions = np.array([sum(c.primitive == "nor_conv_3x3" for c in g.cell("normal")) for g in GENOTYPES])
    targets = 70 + 3 * score - 3 * loss + 3 * convolutions
    return targets, {"jacobian_covariance": 1e3 * score[:, None], "train_loss": np.stack([loss - 1, loss], 1)}


def part(info, where):
    return {name: values[where] for name, values in info.items()}


@pytest.mark.slow
def test_omni_without_draws_is_boosting_on_standardised_numbers_of_the_fit():
    targets, info = known()
    omni = Omni(ENCODING, draws=0, seed=1)
    omni.fit(GENOTYPES[:35], targets[:35], part(info, slice(35)))
    numbers = np.stack([info["jacobian_covariance"][:, 0], -info["train_loss"][:, 1]], 1)
    rows = np.concatenate(
        [(numbers - numbers[:35].mean(0)) / numbers[:35].std(0), ENCODING.vectors(GENOTYPES, "one_hot")], 1
    )
    goal = (targets[:35] - targets[:35].mean()) / targets[:35].std()
    expected = targets[:35].mean() + targets[:35].std() * BoostedDistributions(1).fit(rows[:35], goal).predict(rows)
    assert omni.query(GENOTYPES, info) == pytest.approx(expected, rel=1e-9)
    alone = [omni.query([genotype], part(info, [n]))[0] for n, genotype in enumerate(GENOTYPES[:5])]
    assert alone == pytest.approx(expected[:5], rel=1e-9)  # who else is asked about makes no difference


@pytest.mark.slow
def test_each_source_adds_to_omni():
    targets, info = known()
    learn, ask = slice(35), slice(35, 50)
    taus = {}
    for used in ("encoding", "zero_cost", "curve", "all"):
        everything = used == "all"
        omni = Omni(
            ENCODING if used in ("encoding", "all") else None,
            zero_cost=used == "zero_cost" or everything,
            curve=used == "curve" or everything,
            draws=0,
        )
        assert len(omni.requires) == {"encoding": 0, "all": 2}.get(used, 1)
        omni.fit(GENOTYPES[learn], targets[learn], part(info, learn))
        taus[used] = kendall_tau(omni.query(GENOTYPES[ask], part(info, ask)), targets[ask])
    assert taus["all"] > max(value for used, value in taus.items() if used != "all")


@pytest.mark.slow
def test_the_draw_of_least_held_out_loss_is_taken():
    targets, info = known()
    omni = Omni(ENCODING, draws=3, seed=2)
    omni.fit(GENOTYPES, targets, info)
    rows = omni._rows(GENOTYPES, omni._numbers(GENOTYPES, info))
    goal = (targets - targets.mean()) / targets.std()
    fold = np.random.default_rng(2).permutation(len(goal)) % 3

    def loss(options):
        seen = [(BoostedDistributions(2, **options).fit(rows[fold != k], goal[fold != k]), fold == k) for k in range(3)]
        return np.mean([model.loss(rows[out], goal[out]) for model, out in seen])

    assert set(omni.options) == {
        "estimators", "rate", "minibatch", "max_depth", "max_features", "min_samples_leaf", "min_samples_split"
    }  # fmt: skip
    assert loss(omni.options) < loss({})


@pytest.mark.slow
def test_the_smallest_fit_of_omni_draws_what_trees_can_take():
    targets, info = known()
    omni = Omni(ENCODING, draws=1)
    for seed in range(2):
        omni.seed = seed
        omni.fit(GENOTYPES[:8], targets[:8], part(info, slice(8)))
        assert np.isfinite(omni.query(GENOTYPES, info)).all()


def test_omni_without_a_source_is_none():
    with pytest.raises(PredictorError, match="at least one of encoding, zero_cost and curve"):
        Omni(None, zero_cost=False, curve=False)
    with pytest.raises(PredictorError, match="OMNI: draws=-1"):
        Omni(ENCODING, draws=-1)
