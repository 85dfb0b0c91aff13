"""The signals: their gradients against finite differences and dense autograd, and what they leave alone."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from sparsenas.errors import ConfigError
from sparsenas.networks import NormOptions, candidate_gradients
from sparsenas.search import FullGradient, NearbySampling, PairedLosses, SupportGradient
from sparsenas.search.ista_nas.signals import swap_changes
from sparsenas.spaces import DartsSpace, NasBench201Space
from sparsenas.sparse_coding import ExactSolver, IstaSolver, LarsSolver

TRACKED = NormOptions(affine=True, track=True, append="pools_and_skips")
SIGNALS = [
    SupportGradient(),
    FullGradient(spread=0.0),
    FullGradient(spread=1.0),
    FullGradient(swaps=True),
    PairedLosses(),
]


@pytest.fixture
def criterion(batch):
    return lambda logits: functional.cross_entropy(logits, batch[1])


def dense_loss(network, images, criterion, codes):
    """Loss of the dense super-net: every candidate runs, weighted by its entry of the code. Written independently."""
    older, newer = network.stem(images)
    for cell_type, cell in zip(network.cell_types, network.cells, strict=True):
        states = [cell.preprocess0(older), cell.preprocess1(newer)]
        for block, code in zip(network.space.blocks, codes, strict=True):
            if block.cell == cell_type:
                terms = [
                    code[j] * cell.operations[f"{c.source}_{c.target}_{c.primitive}"](states[c.source])
                    for j, c in enumerate(block.candidates)
                ]
                states.append(torch.stack(terms).sum(0))
        older, newer = newer, torch.cat(states[2:], 1)
    return criterion(network.classifier(newer.mean((2, 3))))


def step(signal, architecture, network, batch, criterion, seed=0):
    return signal.step(architecture, network, batch[0], criterion, np.random.default_rng(seed))


@pytest.mark.parametrize("solver", [ExactSolver(), LarsSolver()], ids=str)
def test_support_gradient_is_the_derivative_of_the_loss(make_network, make_architecture, batch, criterion, solver):
    network, architecture = make_network().double(), make_architecture(solver=solver).double()
    images = batch[0].double()

    def loss():
        return criterion(network(images, architecture.support, architecture.weights()))

    _, gradient = SupportGradient().step(architecture, network, images, criterion, np.random.default_rng(0))
    b, width = architecture.b.data, 1e-6
    for position in [(0, 0), (1, 3), (2, 7), (3, 5)]:
        values = []
        for sign in (1, -1):
            b[position] += sign * width
            values.append(loss().item())
            b[position] -= sign * width
        assert float(gradient[position]) == pytest.approx((values[0] - values[1]) / (2 * width), abs=1e-7, rel=1e-5)


def test_support_gradient_cannot_leave_the_span_of_the_support(make_network, make_architecture, batch, criterion):
    architecture = make_architecture()
    gradient = step(SupportGradient(), architecture, make_network(), batch, criterion).gradient.double()
    columns = architecture.dictionary.gather(2, architecture.indices[:, None].expand(-1, 8, -1))
    inside = (columns @ torch.linalg.pinv(columns) @ gradient[:, :, None])[:, :, 0]
    assert gradient.norm(dim=1).min() > 1e-8
    torch.testing.assert_close(inside, gradient, atol=1e-7, rtol=1e-4)


def test_full_gradient_leaves_it(make_network, make_architecture, batch, criterion):
    architecture = make_architecture()
    gradient = step(FullGradient(spread=0.0), architecture, make_network(), batch, criterion).gradient.double()
    columns = architecture.dictionary.gather(2, architecture.indices[:, None].expand(-1, 8, -1))
    outside = gradient - (columns @ torch.linalg.pinv(columns) @ gradient[:, :, None])[:, :, 0]
    assert (outside.norm(dim=1) / gradient.norm(dim=1)).max() > 0.1


@pytest.mark.parametrize("spread", [0.0, 1.0])
@pytest.mark.parametrize("norms", [None, TRACKED], ids=["search", "tracked"])
def test_full_gradient_is_that_of_the_dense_super_net(make_network, make_architecture, batch, criterion, spread, norms):
    network, architecture = make_network(norms).double(), make_architecture().double()
    images = batch[0].double()
    signal = FullGradient(spread=spread)
    loss, gradient = signal.step(architecture, network, images, criterion, np.random.default_rng(4))

    support = NearbySampling(spread, spread).draw(architecture, 0.0, np.random.default_rng(4))
    weights = architecture.weights_at(support)
    codes = [torch.zeros(len(block), dtype=torch.float64) for block in network.space.blocks]
    for code, kept, values in zip(codes, support, weights, strict=True):
        code[list(kept)] = values
        code.requires_grad_()
    dense = dense_loss(network, images, criterion, codes)
    torch.testing.assert_close(loss, dense.detach())
    derivatives = torch.autograd.grad(dense, codes)
    for block, derivative in enumerate(derivatives):
        expected = architecture.dictionary[block][:, : len(derivative)] @ derivative
        torch.testing.assert_close(gradient[block], expected.to(gradient.dtype), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("space", [NasBench201Space(), DartsSpace(nodes=2)], ids=lambda space: space.name)
def test_swap_changes_are_derivatives_along_swaps(space):
    """On an edge with an active candidate the swap replaces that one; on another, all active ones in equal parts."""
    rng = np.random.default_rng(0)
    block, kept = space.blocks[-1], space.sample_support(rng)[-1]
    gradient = torch.from_numpy(rng.normal(size=len(block)))
    changes = swap_changes(block, gradient, kept)
    active = {block.candidates[index].edge: index for index in kept}
    for index, candidate in enumerate(block.candidates):
        swap = torch.zeros(len(block), dtype=torch.float64)
        swap[index] = 1.0
        replaced = [active[candidate.edge]] if candidate.edge in active else list(kept)
        swap[replaced] -= 1 / len(replaced)
        torch.testing.assert_close(changes[index], gradient @ swap)
    assert changes[list(kept)].abs().max() < 1e-12


def test_swaps_do_not_see_what_all_candidates_of_an_edge_share():
    """To add any operation may lower the loss; that says nothing of which one."""
    space = NasBench201Space()
    block, kept = space.blocks[0], space.sample_support(np.random.default_rng(0))[0]
    gradient, shared = torch.randn(2, len(block), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    common = torch.stack([shared[block.edges.index(candidate.edge)] for candidate in block.candidates])
    torch.testing.assert_close(swap_changes(block, gradient + common, kept), swap_changes(block, gradient, kept))


def test_full_gradient_takes_swaps_before_it_compresses(make_network, make_architecture, batch, criterion):
    network, architecture = make_network().double(), make_architecture().double()
    images, rng = batch[0].double(), np.random.default_rng
    _, gradient = FullGradient(spread=0.0, swaps=True).step(architecture, network, images, criterion, rng(0))
    support = architecture.support
    _, rows = candidate_gradients(network, images, criterion, support, architecture.weights_at(support))
    for block, row in enumerate(rows):
        changes = swap_changes(network.space.blocks[block], row, support[block]).double()
        expected = architecture.dictionary[block][:, : len(row)] @ changes
        torch.testing.assert_close(gradient[block], expected.to(gradient.dtype), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("signal", SIGNALS, ids=str)
@pytest.mark.parametrize("norms", [None, TRACKED], ids=["search", "tracked"])
def test_a_signal_changes_nothing(make_network, make_architecture, batch, criterion, signal, norms):
    network, architecture = make_network(norms), make_architecture()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = {name: tensor.clone() for name, tensor in architecture.state_dict().items()}
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    result = step(signal, architecture, network, batch, criterion)
    assert result.loss.ndim == 0
    assert not result.loss.requires_grad
    assert not result.gradient.requires_grad
    assert result.gradient.shape == architecture.b.shape
    assert result.gradient.dtype == architecture.b.dtype
    assert torch.isfinite(result.gradient).all()
    assert architecture.b.grad is None
    assert all(torch.equal(parameter.grad, torch.full_like(parameter, 0.5)) for parameter in network.parameters())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    for name, tensor in architecture.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    assert network.training


@pytest.mark.parametrize("signal", SIGNALS, ids=str)
def test_the_same_draws_give_the_same_signal(make_network, make_architecture, batch, criterion, signal):
    first, again = (step(signal, make_architecture(), make_network(), batch, criterion, seed=9) for _ in range(2))
    assert torch.equal(first.gradient, again.gradient)


def test_one_iteration_is_one_proximal_gradient_step(make_network, make_architecture, batch, criterion):
    """From the point b = A z, the step on b and one iteration give z <- soft(z - (eta / L) A^T A g, lambda / L)."""
    eta, lam = 0.3, 0.05
    architecture = make_architecture(solver=IstaSolver(lam=lam, relative=False, iterations=1, tolerance=0.0))
    A = architecture.dictionary
    lipschitz = torch.linalg.eigvalsh(A.mT @ A).amax(1)[:, None, None]
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(architecture.dense_code.shape, generator=generator, dtype=torch.float64)[:, :, None]
    z = z * A.any(1)[:, :, None]  # zero in the padding
    architecture.double()
    architecture.load_state_dict(architecture.state_dict() | {"dense_code": z[:, :, 0], "b": (A @ z)[:, :, 0]})
    images = batch[0].double()
    signal = FullGradient(spread=0.0)
    gradient = signal.step(architecture, make_network().double(), images, criterion, np.random.default_rng(0)).gradient
    optimizer = torch.optim.SGD([architecture.b], lr=eta)
    architecture.b.grad = gradient.double()
    optimizer.step()
    recovery = architecture.recover()

    moved = z - eta / lipschitz * (A.mT @ gradient.double()[:, :, None])
    expected = moved.sign() * (moved.abs() - lam / lipschitz).clamp_min(0.0)
    torch.testing.assert_close(recovery.dense_code, expected[:, :, 0], atol=1e-10, rtol=1e-9)
    assert torch.equal(architecture.dense_code, recovery.dense_code)
    torch.testing.assert_close(recovery.certificate.iterations, torch.ones(4, dtype=torch.int64))


def test_single_iterations_add_up(make_architecture):
    """One iteration per recovery, started from the dense code, is ISTA; from the truncated one it would be stuck."""
    options = {"lam": 0.05, "relative": True, "tolerance": 0.0}
    one = make_architecture(solver=IstaSolver(iterations=1, **options))
    for _ in range(29):
        one.recover()
    many = make_architecture(solver=IstaSolver(iterations=30, **options))
    torch.testing.assert_close(one.dense_code, many.dense_code, atol=1e-12, rtol=1e-9)
    assert one.support == many.support


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SupportGradient(every=0), "signal.every is 0; take a step on every batch"),
        (lambda: FullGradient(every=-2), "signal.every is -2; take a step on every batch"),
        (lambda: FullGradient(spread=1.5), "signal.spread is 1.5; a probability lies in"),
        (lambda: FullGradient(spread=float("nan")), "signal.spread is nan; a probability lies in"),
    ],
)
def test_options_out_of_range(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
