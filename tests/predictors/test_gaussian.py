"""Gaussian processes: agreements with a solve in NumPy, with one another, and hand counts of the kernel of graphs."""

from itertools import pairwise

import numpy as np
import pytest

from sparsenas.errors import PredictorError
from sparsenas.predictors.gaussian import GaussianProcess
from sparsenas.predictors.weisfeiler_lehman import WeisfeilerLehman, effective
from sparsenas.spaces import DartsSpace, NasBench201Space, draw_distinct, encoding_of

SPACE = NasBench201Space()
ENCODING = encoding_of(SPACE)


def networks(count, space=SPACE):
    return draw_distinct(space, count, np.random.default_rng(0))


GENOTYPES = networks(45)
TARGETS = 60 + 5 * np.array([sum(c.primitive == "nor_conv_3x3" for c in g.cell("normal")) for g in GENOTYPES])
TARGETS = TARGETS + np.random.default_rng(1).normal(size=45)


def solved(predictor, seen, asked):
    """Posterior mean at the hyper-parameters of a process."""
    variance, lengthscale, noise = predictor.hyperparameters
    rows = [ENCODING.vectors(genotypes, "one_hot") for genotypes in (GENOTYPES[:seen], asked)]

    def kernel(a, b):
        distances = ((a[:, None] - b[None]) ** 2).sum(2)
        return variance * np.exp(-distances / (2 * lengthscale**2))

    targets = TARGETS[:seen]
    goal = (targets - targets.mean()) / targets.std()
    dual = np.linalg.solve(kernel(rows[0], rows[0]) + noise * np.eye(seen), goal)
    return targets.mean() + targets.std() * kernel(rows[1], rows[0]) @ dual


@pytest.mark.parametrize("steps", [0, 60])
def test_an_exact_process_is_a_solve(steps):
    predictor = GaussianProcess(ENCODING, steps=steps)
    predictor.fit(GENOTYPES[:35], TARGETS[:35], {})
    assert predictor.query(GENOTYPES[35:], {}) == pytest.approx(solved(predictor, 35, GENOTYPES[35:]), rel=1e-6)
    if not steps:
        assert predictor.hyperparameters == pytest.approx((5.0, 10.0, 1.0))


@pytest.mark.parametrize("inference", ["sparse", pytest.param("variational", marks=pytest.mark.slow)])
def test_a_sparse_process_with_all_networks_as_inducing_points_is_exact(inference):
    # the values at the inducing points are found step by step; the bound needs none
    predictor = GaussianProcess(ENCODING, inference, inducing=35, steps=2 if inference == "sparse" else 600)
    predictor.fit(GENOTYPES[:35], TARGETS[:35], {})
    expected = solved(predictor, 35, GENOTYPES[35:])
    error = np.abs(predictor.query(GENOTYPES[35:], {}) - expected).max()
    assert error < (0.02 if inference == "sparse" else 0.1) * TARGETS.std()


def test_inducing_points_lie_among_the_networks():
    import torch

    predictor = GaussianProcess(ENCODING, "sparse", seed=1)
    rows = torch.from_numpy(ENCODING.vectors(GENOTYPES, "one_hot"))
    places = predictor._places(rows)
    assert places.shape == (10, rows.shape[1])
    assert (predictor._places(rows[:7]) == rows[:7]).all()
    assert places.sum(1).numpy() == pytest.approx(np.full(10, 6.0))  # one of each of six decisions, in the mean
    assert ((places >= -1e-12) & (places <= 1 + 1e-12)).all()


@pytest.mark.parametrize("inference", ["exact", "sparse", "variational"])
def test_scores_of_the_networks_of_the_fit_do_not_depend_on_their_company(inference):
    predictor = GaussianProcess(ENCODING, inference, steps=20)
    predictor.fit(GENOTYPES, TARGETS, {})
    together, reversed_ = predictor.query(GENOTYPES, {}), predictor.query(GENOTYPES[::-1], {})[::-1]
    assert together == pytest.approx(reversed_, abs=1e-9)
    assert predictor.query(GENOTYPES[:1], {}) == pytest.approx(together[:1], abs=1e-9)


@pytest.mark.parametrize("inference", ["exact", "sparse", "variational"])
def test_the_random_state_of_others_is_left_alone(inference):
    import torch

    torch_before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()
    predictor = GaussianProcess(ENCODING, inference, steps=2)
    predictor.fit(GENOTYPES, TARGETS, {})
    scores = predictor.query(GENOTYPES, {})
    assert (torch.random.get_rng_state() == torch_before).all()
    assert np.random.get_state()[1].tolist() == numpy_before
    assert predictor.query(GENOTYPES, {}).tolist() == scores.tolist()


def test_options_that_are_none():
    for options in ({"inference": "full"}, {"inducing": 0}, {"steps": -1}):
        with pytest.raises(PredictorError, match="use exact, sparse or variational, at least 1 inducing point"):
            GaussianProcess(ENCODING, **options)
    with pytest.raises(PredictorError, match="depth is -1; use 0 iterations or more"):
        WeisfeilerLehman(ENCODING, depth=-1)


#: Input, conv, output; and input, conv, pool, output, with a conv beside.
LINE = SPACE.from_string("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|")
FORK = SPACE.from_string("|nor_conv_3x3~0|+|none~0|none~1|+|nor_conv_3x3~0|avg_pool_3x3~1|none~2|")


def test_the_kernel_of_graphs_counts_by_hand():
    predictor = WeisfeilerLehman(ENCODING)
    kernels = [predictor.kernel([LINE, FORK], [LINE, FORK], depth) for depth in range(3)]
    # operations: the line has input, conv, output; the fork input, 2 conv, pool, output
    assert kernels[0][0, 1] == pytest.approx((1 + 2 + 1) / np.sqrt(3 * 7))
    # one iteration: the line has input>(conv), conv>(output), output>(); the fork input>(conv, conv), conv>(output),
    # conv>(pool), pool>(output), output>(): one conv and the output are in both
    assert kernels[1][0, 1] == pytest.approx((4 + 2) / np.sqrt((3 + 3) * (7 + 5)))
    # two: conv>(output) before an output that had nothing, and the output
    assert kernels[2][0, 1] == pytest.approx((4 + 2 + 2) / np.sqrt((3 + 3 + 3) * (7 + 5 + 5)))
    for kernel in kernels:
        assert np.diag(kernel) == pytest.approx(1)
        assert kernel == pytest.approx(kernel.T)


def test_what_computes_nothing_is_not_seen():
    dead = SPACE.from_string("|none~0|+|none~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|none~2|")
    assert WeisfeilerLehman(ENCODING).kernel([LINE], [dead], 3)[0, 0] == pytest.approx(1)
    graph = ENCODING.graph(SPACE.from_string("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"))
    assert np.flatnonzero(effective(graph, ENCODING.operations)).tolist() == [0, 7]


def test_two_cells_give_the_mean_of_two_kernels():
    space = DartsSpace()
    encoding = encoding_of(space)
    first, second = networks(2, space)
    mixed = type(first)(**{**vars(first), "cells": (first.cells[0], second.cells[1])})
    predictor = WeisfeilerLehman(encoding, depth=2)
    both = predictor.kernel([mixed], [first], 2)[0, 0] + predictor.kernel([mixed], [second], 2)[0, 0]
    assert both == pytest.approx(1 + predictor.kernel([first], [second], 2)[0, 0])


def test_the_chosen_process_of_graphs_is_a_solve_and_the_most_likely():
    predictor = WeisfeilerLehman(ENCODING)
    predictor.fit(GENOTYPES[:35], TARGETS[:35], {})
    values = -np.log(1 - TARGETS[:35] / 100)
    goal = (values - values.mean()) / values.std()

    def covariance(depth, noise):
        return predictor.kernel(GENOTYPES[:35], GENOTYPES[:35], depth) + noise * np.eye(35)

    def likelihood(depth, noise):
        matrix = covariance(depth, noise)
        variance = goal @ np.linalg.solve(matrix, goal) / 35
        return -0.5 * (35 * np.log(variance) + np.linalg.slogdet(matrix)[1])

    best = likelihood(predictor.chosen, predictor.noise)
    others = [likelihood(depth, noise) for depth in range(4) for noise in np.geomspace(1e-7, 10, 30)]
    assert best >= max(others) - 1e-3
    dual = np.linalg.solve(covariance(predictor.chosen, predictor.noise), goal)
    mean = values.mean() + values.std() * predictor.kernel(GENOTYPES[35:], GENOTYPES[:35], predictor.chosen) @ dual
    assert predictor.query(GENOTYPES[35:], {}) == pytest.approx(100 * (1 - np.exp(-mean)))


def test_targets_that_are_no_percentages_are_standardised():
    order = np.argsort(TARGETS)
    targets = TARGETS - TARGETS.min() - 1.0  # one is negative
    predictor = WeisfeilerLehman(ENCODING)
    predictor.fit(GENOTYPES, targets, {})
    scores = predictor.query(GENOTYPES, {})
    predictor.fit(GENOTYPES, 3 * targets, {})
    assert predictor.query(GENOTYPES, {}) == pytest.approx(3 * scores, rel=1e-5)
    quarters = [scores[part].mean() for part in np.array_split(order, 4)]
    assert all(low < high for low, high in pairwise(quarters))
