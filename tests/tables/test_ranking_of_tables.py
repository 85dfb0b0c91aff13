"""Published figures of rankings, from the real tables."""

import numpy as np
import pytest

from sparsenas.ranking import (
    comparison,
    consensus_rank,
    kendall_tau,
    non_pool_edges,
    percentile,
    spearman,
    stability,
    top_mean,
    top_rank,
    trivial_scores,
    truth_tau_spread,
    truth_taus,
)


@pytest.fixture(scope="module")
def cells(real):
    return real("weight_sharing64")


@pytest.fixture(scope="module")
def truth(cells):
    return cells.accuracies("cifar10", "test", 200)


@pytest.fixture(scope="module")
def edges(cells):
    return np.array([non_pool_edges(genotype) for genotype in cells])


@pytest.fixture(scope="module")
def runs(cells, truth):
    """30 times ten independent trainings of every cell: normal with the mean and deviation over the ten seeds."""
    return np.random.default_rng(0).normal(truth, cells.deviations, (30, 10, 64))


def test_independent_trainings_agree_with_each_other_as_published(runs):
    assert np.mean([stability(ten).mean for ten in runs]) == pytest.approx(0.712, abs=0.03)


def test_an_independent_training_agrees_with_truth_as_published(runs, truth):
    assert np.mean([truth_taus(ten, truth) for ten in runs]) == pytest.approx(0.7985, abs=0.03)


def test_shared_accuracies_agree_with_truth_as_known(cells, truth):
    one = truth_tau_spread(cells.snapshots, truth, len(cells.snapshots))
    assert one == pytest.approx((0.508, 0.151), abs=0.001)
    assert kendall_tau(cells.snapshots.mean(0), truth) == pytest.approx(0.658, abs=0.001)
    # a consensus, too, is better than a single ranking
    assert kendall_tau(-consensus_rank(cells.snapshots), truth) > one.mean + 0.1


def test_counting_poolings_ranks_as_well_as_a_training(truth, edges, runs):
    tau = kendall_tau(edges, truth)
    assert tau == pytest.approx(0.79, abs=0.005)
    assert tau == pytest.approx(np.mean([truth_taus(ten, truth) for ten in runs]), abs=0.03)
    # best rank of a random cell without pooling, and of three
    assert top_rank(edges, truth, 1) == pytest.approx(14, abs=0.5)
    assert top_rank(edges, truth, 3) == pytest.approx(7, abs=0.5)


def test_little_can_be_found_among_cells_without_pooling(truth, edges, runs):
    free = edges == 3
    assert free.sum() == 27
    assert np.mean([truth_taus(ten[:, free], truth[free]) for ten in runs]) == pytest.approx(0.49, abs=0.03)


@pytest.fixture(scope="module")
def benchmark(real):
    table = real("nasbench201")
    costs = [table.cost(genotype) for genotype in table]
    parameters, flops = np.array([(cost.parameters, cost.flops) for cost in costs], float).T
    return table, parameters, flops, table.accuracies("cifar10", "test", 200)


@pytest.mark.parametrize(
    ("cap", "accuracy", "share"),
    [
        (0.35, 87.66, 67.9),
        (0.60, 91.26, 77.7),
        (0.85, 92.79, 87.5),
        (1.10, 93.32, 94.5),
        (1.40, 93.62, 97.9),
        (np.inf, 93.76, 98.9),
    ],
)
def test_random_cells_of_most_parameters(benchmark, cap, accuracy, share):
    _, parameters, _, truth = benchmark
    feasible = parameters <= 1e6 * cap
    sizes, accuracies = parameters[feasible], truth[feasible]
    assert top_mean(sizes, accuracies) == pytest.approx(accuracy, abs=0.01)
    # the reference counts cells that are worse, not those that are not better: up to 0.13 less
    assert top_mean(sizes, percentile(accuracies, accuracies)) == pytest.approx(share, abs=0.13)


def test_correlations_of_costs(benchmark):
    table, parameters, flops, truth = benchmark
    assert spearman(parameters, truth) == pytest.approx(0.753, abs=0.001)
    assert spearman(flops, truth) == pytest.approx(0.732, abs=0.001)
    assert spearman(table.accuracies("cifar10-valid", "valid", 12), truth) == pytest.approx(0.772, abs=0.001)
    assert spearman(table.accuracies("cifar10-valid", "valid", 200), truth) == pytest.approx(0.984, abs=0.001)


def test_baselines_under_a_cap_are_rows_of_one_table(benchmark):
    table, parameters, flops, truth = benchmark
    feasible = parameters <= 350_000
    genotypes = [genotype for genotype, fits in zip(table, feasible, strict=True) if fits]
    costs = {"parameters": parameters[feasible], "flops": flops[feasible]}
    short = table.accuracies("cifar10", "test", 12)[feasible]
    rows = comparison(trivial_scores(genotypes, costs) | {"12 epochs": short}, truth[feasible], width=0.1, resamples=0)
    by_name = {row.name: row for row in rows}
    assert list(by_name) == ["parameters", "flops", "non-pool edges", "12 epochs"]
    assert by_name["parameters"].chosen == pytest.approx(87.66, abs=0.01)
    assert by_name["12 epochs"].percentile > by_name["parameters"].percentile + 20
    assert by_name["12 epochs"].chosen == top_mean(short, truth[feasible])
