"""Predictors that are judged: splits, figures, sizes and looks, limits, and what a ranking of them says."""

import time
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from sparsenas.comparison.predictors import (
    Point,
    PredictorPlan,
    PredictorRecord,
    best_by_regime,
    draw_predictors,
    figures_of,
    judge,
    networks_of_table,
    pareto_front,
    summarize_predictors,
)
from sparsenas.comparison.predictors.known_networks import KnownNetworks, Look, networks_with_scores, ranked_last
from sparsenas.comparison.predictors.predictor_report import predictor_markdown
from sparsenas.drawing import figure_bytes
from sparsenas.errors import ConfigError, PredictorError
from sparsenas.predictors import CurveRegression, EarlyStopAccuracy, Predictor
from sparsenas.spaces import NasBench201Space, encoding_of
from sparsenas.tables import PublishedScores, Training


class Memory(Predictor):
    """Scores by a rule; remembers what it has seen."""

    least = 3

    def __init__(self, rule=lambda genotype: float(hash(genotype) % 1000), seconds=0.0):
        super().__init__()
        self.rule, self.seconds, self.learned, self.asked = rule, seconds, [], []

    def _fit(self, genotypes, targets, info):
        time.sleep(self.seconds)
        self.learned = list(genotypes)

    def _query(self, genotypes, info):
        self.asked = list(genotypes)
        return np.array([self.rule(genotype) for genotype in genotypes])


def networks(count=60, twins=1, space=NasBench201Space()):
    """Random cells, each of a class of ``twins``; accuracies and a curve that count convolutions."""
    rng = np.random.default_rng(0)
    genotypes = tuple({space.sample(rng): None for _ in range(count)})
    worth = np.array([sum("3x3" in c.primitive for c in g.cell("normal")) for g in genotypes], dtype=float)
    targets = 50 + worth + rng.random(len(genotypes)) / 10
    return KnownNetworks(
        genotypes,
        encoding_of(space),
        targets,
        100,
        np.arange(len(genotypes)) // twins,
        {"val_accuracy": np.stack([targets - 9, targets - 5, targets - 1], 1)},
        (Look(3, 1, 3), Look(9, 3, 20)),
        {"parameters": targets},
    )


def test_no_two_networks_of_a_split_are_isomorphic_and_smaller_sizes_are_a_beginning():
    known = networks(60, twins=3)
    split = known.split(8, 10, seed=1)
    rows = [*split.learn, *split.test]
    assert len({int(known.classes[row]) for row in rows}) == 18
    assert known.split(5, 10, seed=1).learn.tolist() == split.learn[:5].tolist()
    assert known.split(8, 10, seed=2).test.tolist() != split.test.tolist()
    with pytest.raises(
        ConfigError, match="15 networks to learn from and 10 to predict are more than the 20 that differ"
    ):
        known.split(15, 10, seed=0)


def test_figures_agree_with_definitions():
    rng = np.random.default_rng(0)
    truth = rng.normal(90, 2, 50)
    scores = truth + rng.normal(0, 1, 50)
    found = figures_of(scores, truth)
    order = np.argsort(-scores)
    assert found["tau"] == pytest.approx(stats.kendalltau(scores, truth).statistic)
    assert found["spearman"] == pytest.approx(stats.spearmanr(scores, truth).statistic)
    assert found["regret_1"] == pytest.approx(truth.max() - truth[order[0]])
    assert found["regret_10"] == pytest.approx(truth.max() - truth[order[:10]].max())
    assert found["top_10"] == pytest.approx(truth[order[:10]].mean())
    assert found["rank_10"] == 1 + (truth > truth[order[:10]].max()).sum()
    perfect = figures_of(truth, truth)
    assert (perfect["tau"], perfect["ndcg_10"], perfect["regret_1"], perfect["rank_10"]) == (1, 1, 0, 1)


def test_a_predictor_learns_from_one_part_and_is_asked_about_the_other():
    made = []

    def make():
        made.append(Memory())
        return made[-1]

    known = networks()
    points = judge(make, known, [2, 5, 20], test=15, seed=0, limit=10)
    assert [point.size for point in points] == [5, 20]  # 2 are fewer than it needs
    assert [(point.trained, point.spent, point.epoch) for point in points] == [(500, 0, 0), (2000, 0, 0)]
    small, large = made[-2:]
    assert large.learned[:5] == small.learned
    assert small.asked == large.asked
    assert not set(large.learned) & set(large.asked)


def test_a_predictor_of_curves_sees_them_up_to_the_look():
    known = networks()
    points = judge(EarlyStopAccuracy, known, [5], test=15, seed=0, limit=10)
    assert [(p.size, p.epoch, p.trained, p.spent) for p in points] == [(0, 3, 0, 3), (0, 9, 0, 20)]
    assert all(point.figures["tau"] == 1 for point in points)
    info = known.info(frozenset({"val_accuracy", "parameters"}), np.array([4, 2]), known.looks[1])
    assert info["val_accuracy"].tolist() == known.curves["val_accuracy"][[4, 2], :3].tolist()
    assert info["parameters"].tolist() == known.targets[[4, 2], None].tolist()


def test_what_takes_too_long_is_stopped_and_larger_sizes_are_not_tried():
    begin = time.perf_counter()
    points = judge(lambda: Memory(seconds=30), networks(), [5, 10, 20], test=15, seed=0, limit=0.2)
    assert time.perf_counter() - begin < 5
    assert [point.problem for point in points] == [
        "took more than 0.2 s",
        *["0.2 s were over at a smaller size"] * 2,
    ]
    assert not any(point.figures for point in points)


def test_a_library_that_catches_errors_is_stopped_too():
    class Stubborn(Memory):
        def _fit(self, genotypes, targets, info):
            end = time.perf_counter() + 3
            while time.perf_counter() < end:
                try:
                    time.sleep(1)
                except Exception:  # as scikit-learn does for each draw of hyper-parameters
                    continue

    (point,) = judge(Stubborn, networks(), [5], test=15, seed=0, limit=0.2)
    assert (point.problem, point.figures) == ("took more than 0.2 s", {})


@pytest.mark.parametrize(
    ("rule", "problem"),
    [(lambda genotype: 1.0, "all 15 values are 1"), (lambda genotype: np.nan, "the score of network 0 is nan")],
)
def test_what_ranks_nothing_has_no_figures(rule, problem):
    (point,) = judge(lambda: Memory(rule), networks(), [5], test=15, seed=0, limit=10)
    assert problem in point.problem
    assert point.figures == {}


def row(name, size, epoch, tau, epochs, deviation=0.01):
    point = Point(size, epoch, size * 100, (epochs - size * 100) // 10, {"tau": tau}, 1.0, 0.1)
    records = [
        PredictorRecord(name, seed, "d", (replace(point, figures={"tau": tau + sign * deviation}),))
        for seed, sign in enumerate((-1, 1))
    ]
    return summarize_predictors(records, 10)[0]


def test_the_best_of_a_budget_may_spend_less_and_names_whom_it_does_not_beat():
    rows = [
        row("random_forest", 10, 0, 0.30, 1000),
        row("random_forest", 50, 0, 0.60, 5000),
        row("lcsvr", 50, 9, 0.595, 5090),
        row("early_stop_accuracy", 0, 9, 0.40, 90),
    ]
    best = {tuple(regime): [row.name for row in found] for regime, found in best_by_regime(rows).items()}
    assert best == {
        (0, 9): ["early_stop_accuracy"],
        (10, 0): ["random_forest"],
        (10, 9): ["early_stop_accuracy"],
        (50, 0): ["random_forest"],
        (50, 9): ["random_forest", "lcsvr"],
    }
    assert [(row.name, row.epochs) for row in pareto_front(rows)] == [
        ("early_stop_accuracy", 90),
        ("random_forest", 5000),
    ]


def test_summaries_count_what_failed():
    good = Point(5, 0, 500, 0, {"tau": 0.4}, 2.0, 0.1)
    bad = Point(5, 0, 500, 0, {}, problem="it broke")
    records = [PredictorRecord("random_forest", seed, "d", (point,)) for seed, point in enumerate((good, bad, good))]
    (found,) = summarize_predictors(records, 10)
    assert (found.seeds, found.failed, found.problem, found.tau) == (2, 1, "it broke", pytest.approx(0.4))
    assert (found.epochs, found.fit_seconds) == (500, 2.0)


def test_a_report_names_who_needs_more_networks_than_there_are():
    plan = PredictorPlan("small", {"test": 10, "sizes": [2]}, ())
    text = predictor_markdown(plan, [], [PredictorRecord("lcsvr", seed, "d", ()) for seed in (0, 1)])
    assert text.count("`lcsvr` has no ranking") == 1


@pytest.mark.slow
def test_figures_can_be_drawn_where_all_is_free_or_fails():
    rows = [row("random_forest", 50, 0, 0.60, 5000), row("early_stop_accuracy", 0, 9, 0.40, 90)]
    late = PredictorRecord("random_forest", 0, "d", (Point(5, 0, 500, 0, {}, problem="too late"),))
    failed = summarize_predictors([late], 10)
    for shown in (rows, rows[:1], [*rows, *failed], failed, []):
        assert figure_bytes(draw_predictors(shown), "png").startswith(b"\x89PNG")


def test_tables_give_early_accuracies_each_from_a_training_of_its_own(settings):
    from sums import SumTable

    table = SumTable(**settings["table"]["init_args"])
    known = networks_of_table(table, Training("digits", "valid", 30), [2, 5, 9])
    assert known.looks == (Look(2, 1, 2, 2), Look(5, 2, 7, 7), Look(9, 3, 16, 16))
    assert "epochs" not in known.known  # points of these curves are not one epoch each
    assert known.info(frozenset({"epochs"}), np.array([0]), known.looks[0]) == {}
    (_, _, point) = judge(lambda: CurveRegression(draws=2), known, [10], test=15, seed=0, limit=20)
    assert (point.trained, point.spent) == (10 * (30 + 16), 16)  # networks to learn from are trained early, too
    assert known.curves["val_accuracy"][:, 1].tolist() == table.accuracies("digits", "valid", 5).tolist()
    assert known.scores == {}
    with pytest.raises(ConfigError, match=r"early is \[9, 30\]; name ascending epochs below the 30 of the accuracy"):
        networks_of_table(table, Training("digits", "valid", 30), [9, 30])


def test_networks_without_a_score_come_last():
    found = ranked_last(np.array([3.0, np.nan, 1.0, 5.0]))
    assert found.tolist() == [3, 1 - 4, 1, 5]
    assert ranked_last(np.full(2, np.nan)).tolist() == [0, 0]


def test_published_scores_belong_to_their_benchmark():
    known = networks()
    genotypes = (known.genotypes[7], known.genotypes[2])
    scores = {"snip": np.array([np.nan, 2.0])}
    kept = networks_with_scores(known, PublishedScores(genotypes, np.array([7, 2]), scores))
    assert kept.targets.tolist() == known.targets[[7, 2]].tolist()
    assert kept.scores["snip"].tolist() == [1, 2]
    assert kept.split(1, 1, 0).test.tolist() != kept.split(1, 1, 0).learn.tolist()
    with pytest.raises(ConfigError, match="they are of NAS-Bench-201, and the table is another one"):
        networks_with_scores(known, PublishedScores(genotypes, np.array([2, 7]), scores))


def test_errors_of_predictors_are_told_not_raised():
    class Broken(Memory):
        def _fit(self, genotypes, targets, info):
            raise PredictorError("Broken: no library")

    (point,) = judge(Broken, networks(), [5], test=15, seed=0, limit=10)
    assert point.problem == "Broken: no library"
