"""The compressed architecture: identities of its weights, recovery, constraints, and what survives a reload."""

import numpy as np
import pytest
import torch

from sparsenas.errors import ConfigError, RecoveryError
from sparsenas.search import Budget, NearbySampling, SparseRecovery
from sparsenas.spaces import DartsSpace
from sparsenas.sparse_coding import ExactSolver, FistaSolver, IstaSolver, LarsSolver

SOLVERS = [ExactSolver(), LarsSolver(lam=1e-5), LarsSolver(lam=1e-5, refit=True), IstaSolver(), FistaSolver()]


def on_support(code, architecture):
    return code.gather(1, architecture.indices)


@pytest.mark.parametrize("dictionary", ["uniform", "gaussian", "low_coherence"])
@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_weights_are_those_of_the_equivalence(make_architecture, solver, dictionary):
    architecture = make_architecture(solver=solver, dictionary=dictionary)
    A, b, z = architecture.dictionary, architecture.b.detach().double(), architecture.code
    E = A.mT @ A - torch.eye(A.shape[2], dtype=torch.float64)
    whole = torch.einsum("bm,bmn->bn", b, A) - torch.einsum("bn,bnk->bk", z, E)
    torch.testing.assert_close(architecture.weights().double(), on_support(whole, architecture), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("solver", [ExactSolver(), LarsSolver(lam=1e-5, refit=True)], ids=str)
def test_refitted_codes_are_the_weights(make_architecture, solver):
    architecture = make_architecture(solver=solver)
    code = on_support(architecture.code, architecture).float()
    torch.testing.assert_close(architecture.weights(), code, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(architecture.weights_at(architecture.support), code, atol=1e-6, rtol=1e-5)


def test_truncated_codes_of_the_lasso_are_not(make_architecture):
    architecture = make_architecture(solver=LarsSolver(lam=1e-5), dictionary="uniform", compressed_size=7)
    difference = architecture.weights() - on_support(architecture.code, architecture)
    assert difference.abs().max() > 0.1


def test_gradient_of_weights_lies_in_the_span_of_active_columns(make_architecture):
    architecture = make_architecture()
    coefficients = torch.arange(8.0).view(4, 2)
    (gradient,) = torch.autograd.grad((architecture.weights() * coefficients).sum(), architecture.b)
    columns = architecture.dictionary.gather(2, architecture.indices[:, None].expand(-1, 8, -1)).float()
    torch.testing.assert_close(gradient, (columns @ coefficients[:, :, None])[:, :, 0])


def test_initial_codes_have_a_norm_about_one(make_architecture):
    norms = torch.stack([make_architecture(seed, dictionary="gaussian").b.norm(dim=1) for seed in range(20)])
    assert 0.9 < norms.mean() < 1.1
    assert make_architecture(initial_std=1e-3).b.norm(dim=1).mean() < 1e-2


def test_support_follows_the_recovery(make_architecture):
    architecture = make_architecture()
    before = architecture.support
    with torch.no_grad():
        architecture.b.copy_(torch.randn(4, 8, generator=torch.Generator().manual_seed(5)))
    assert architecture.support == before
    recovery = architecture.recover()
    assert architecture.support == recovery.indices != before
    assert architecture.recovery.certificate is recovery.certificate


def test_same_generator_same_architecture(make_architecture):
    first, again, other = make_architecture(3), make_architecture(3), make_architecture(4)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    assert not torch.equal(first.dictionary, other.dictionary)
    assert not torch.equal(first.b, other.b)


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_a_loaded_state_brings_dictionary_support_and_start(make_architecture, solver):
    kept, loaded = make_architecture(0, solver=solver), make_architecture(1, solver=solver)
    assert loaded.support is not None  # resolved, and to be forgotten
    loaded.load_state_dict(kept.state_dict())
    assert loaded.support == kept.support
    for architecture in (kept, loaded):
        with torch.no_grad():
            architecture.b.mul_(0.9).add_(0.05)
        architecture.recover()
    for name, tensor in kept.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name


def test_draws_leave_out_what_is_forbidden_and_nothing_else(make_architecture, space):
    architecture, rng = (
        make_architecture(budget=Budget(forbidden=("skip_connect", "avg_pool_3x3"))),
        np.random.default_rng(0),
    )
    draws = [architecture.draw(rng) for _ in range(2000)]
    assert all(space.support(space.genotype(draw)) == draw for draw in draws)
    for block, rows in zip(space.blocks, zip(*draws, strict=True), strict=True):
        counts = np.bincount(np.ravel(rows), minlength=len(block))
        allowed = np.array(["conv" in candidate.primitive for candidate in block.candidates])
        assert counts[~allowed].sum() == 0
        np.testing.assert_allclose(counts[allowed] / counts.sum(), 1 / allowed.sum(), atol=0.03)


def test_draws_nearby_keep_or_replace_whole_blocks(make_architecture, space):
    rng, architecture = np.random.default_rng(0), make_architecture()
    recovered = architecture.support
    assert NearbySampling(0.0, 1.0).draw(architecture, 0.0, rng) == recovered
    draws = [NearbySampling(0.2, 0.8).draw(architecture, 0.5, rng) for _ in range(400)]
    assert all(space.support(space.genotype(draw)) == draw for draw in draws)
    kept = np.mean([[new == old for new, old in zip(draw, recovered, strict=True)] for draw in draws])
    # a uniform draw meets the recovered pair of the first node with 1/16, of the second with 1/48
    assert abs(kept - (0.5 + 0.5 * (1 / 16 + 1 / 48) / 2)) < 0.05


@pytest.mark.parametrize("support", [((0, 5), (1, 6), (2, 7), (3, 11)), ((2, 4), (0, 9), (1, 6), (5, 8))])
def test_probes_have_equal_weights_and_hand_on_the_gradient_of_their_columns(make_architecture, support):
    architecture = make_architecture()
    weights = architecture.probe(support)
    assert torch.equal(weights, torch.full((4, 2), 2**-0.5))
    gradient = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    weights.backward(gradient)
    for block, kept in enumerate(support):
        expected = architecture.dictionary[block][:, list(kept)].float() @ gradient[block]
        torch.testing.assert_close(architecture.b.grad[block], expected)


@pytest.mark.slow
def test_probes_add_up_to_the_gradient_by_all_candidates(make_architecture, space):
    # if the loss were linear in the code, with slope g, uniform draws would give A g on average, up to a factor
    architecture, rng = make_architecture(), np.random.default_rng(0)
    slope = torch.randn(len(space.blocks), 12, generator=torch.Generator().manual_seed(1))
    draws = 4000
    for _ in range(draws):
        support = space.sample_support(rng)
        (architecture.probe(support) * slope.gather(1, torch.tensor(support))).sum().backward()
    for block, row in enumerate(space.blocks):
        chance = 2 / len(row)  # with which a candidate is drawn
        expected = architecture.dictionary[block][:, : len(row)].float() @ slope[block, : len(row)] * chance
        torch.testing.assert_close(architecture.b.grad[block] / draws, expected, atol=0.04, rtol=0.0)


def test_weights_elsewhere_are_least_squares(make_architecture):
    architecture = make_architecture()
    support = architecture.space.sample_support(np.random.default_rng(3))
    weights = architecture.weights_at(support)
    assert not weights.requires_grad
    for block, kept in enumerate(support):
        columns = architecture.dictionary[block][:, list(kept)]
        expected = torch.linalg.lstsq(columns, architecture.b[block].detach().double()[:, None]).solution[:, 0]
        torch.testing.assert_close(weights[block].double(), expected, atol=1e-5, rtol=1e-5)


class TestConstraints:
    def recoveries(self, make_architecture, count=30, **options):
        architecture = make_architecture(**options)
        generator = torch.Generator().manual_seed(7)
        for _ in range(count):
            with torch.no_grad():
                architecture.b.copy_(torch.randn(architecture.b.shape, generator=generator))
            architecture.recover()
            yield architecture.space.genotype(architecture.support)

    @pytest.mark.parametrize("solver", [ExactSolver(), LarsSolver(), FistaSolver()], ids=str)
    def test_every_recovery_keeps_them(self, make_architecture, solver):
        budget = Budget(
            max_per_cell={cell: {"skip_connect": 1} for cell in ("normal", "reduce")}, forbidden=("avg_pool_3x3",)
        )
        for genotype in self.recoveries(make_architecture, solver=solver, budget=budget):
            for cell in genotype.cell_types:
                names = [candidate.primitive for candidate in genotype.cell(cell)]
                assert names.count("skip_connect") <= 1
                assert "avg_pool_3x3" not in names
                edges = [candidate.edge for candidate in genotype.cell(cell)]
                assert len(set(edges)) == len(edges)

    def test_free_edges_are_really_free(self, make_architecture):
        space = DartsSpace(nodes=2, distinct_edges=False)
        genotypes = list(self.recoveries(make_architecture, space=space))
        edges = [[c.edge for c in genotype.cell("normal")] for genotype in genotypes]
        assert any(len(set(cell)) < len(cell) for cell in edges)

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            (
                {"forbidden": ("sep_conv_9x9",)},
                ConfigError,
                "budget.forbidden names the primitive 'sep_conv_9x9'; the space has",
            ),
            (
                {"max_per_cell": {"reduce": {"skip": 1}}},
                ConfigError,
                r"budget.max_per_cell\[reduce\] names the primitive 'skip'; the reduce cell has avg_pool_3x3, dil_",
            ),
            (
                {"max_per_cell": {"skip_connect": {"skip_connect": 1}}},
                ConfigError,
                "budget.max_per_cell names the cell type 'skip_connect'; the space has normal, reduce",
            ),
            (
                {"max_per_cell": {"normal": {"skip_connect": -1}}},
                RecoveryError,
                r"^budget.max_per_cell\[normal\]\[skip_connect\] is -1, but the smallest value .* is 0$",
            ),
            (
                {"forbidden": ("avg_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3")},
                RecoveryError,
                "forbidden|feasible",
            ),
            (
                {
                    "max_per_cell": {"normal": {"sep_conv_3x3": 1}},
                    "forbidden": ("avg_pool_3x3", "skip_connect", "dil_conv_3x3"),
                },
                RecoveryError,
                r"^budget.max_per_cell\[normal\]\[sep_conv_3x3\] is 1, but the smallest value .* is 4$",
            ),
        ],
    )
    def test_impossible_ones_are_refused(self, make_architecture, options, error, message):
        with pytest.raises(error, match=message):
            make_architecture(budget=Budget(**options))

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"compressed_size": 3}, RecoveryError, "recovery.compressed_size is 3; codes with 2 non-zeros .* below 4"),
            ({"every_n_steps": 0}, ConfigError, "recovery.every_n_steps is 0; use at least 1, or null for every epoch"),
            ({"initial_std": 0.0}, ConfigError, "recovery.initial_std is 0.0; use a positive number, or null"),
        ],
    )
    def test_recoveries_that_cannot_be_are_refused(self, make_architecture, options, error, message):
        with pytest.raises(error, match=message):
            make_architecture(**options)

    def test_defaults_are_those_of_the_docs(self):
        recovery = SparseRecovery()
        assert (recovery.solver, recovery.dictionary, recovery.every_n_steps) == (ExactSolver(), "low_coherence", 8)
