"""DARTS, PC-DARTS and GDAS: against plain autograd, against each other, and as whole runs."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from sparsenas.data import Digits
from sparsenas.errors import ConfigError, RecoveryError
from sparsenas.networks import NetworkConfig, NormOptions, SuperNet
from sparsenas.search import (
    ArchitectureTraining,
    Budget,
    EdgeNormalizedRelaxation,
    GumbelRelaxation,
    RelaxedSearch,
    SoftmaxRelaxation,
)
from sparsenas.search.baselines.relaxation import RelaxedArchitecture
from sparsenas.search.baselines.unrolling import unrolled_gradient
from sparsenas.search.optimizers import darts_adam
from sparsenas.spaces import DartsSpace, NasBench201Space, StageSpace
from sparsenas.training import WeightTraining

SPACES = {
    "darts": DartsSpace(nodes=2, primitives=("none", "avg_pool_3x3", "skip_connect", "sep_conv_3x3")),
    "nasbench201": NasBench201Space(),
    "stage": StageSpace(stages=2, layers=2, types=["conv_3x3", "residual_3x3"], growths=[1.5]),
}


@pytest.fixture(params=SPACES)
def any_space(request):
    return SPACES[request.param]


@pytest.fixture
def make_relaxed(space):
    """A tiny search; ``init`` seeds the network's weights."""

    def make(init=0, space=space, **options):
        torch.manual_seed(init)
        network = NetworkConfig(4, 3, "small" if space.name == "darts" else "cifar")
        return RelaxedSearch((1, 8, 8), 10, **({"network": network, "space": space} | options))

    return make


def relaxed_architecture(space, seed=0):
    architecture = RelaxedArchitecture(space, Budget().constraints(space), torch.Generator().manual_seed(seed))
    with torch.no_grad():
        architecture.alpha.copy_(torch.randn(architecture.alpha.shape, generator=torch.Generator().manual_seed(seed)))
        architecture.beta.copy_(torch.randn(architecture.beta.shape, generator=torch.Generator().manual_seed(seed + 1)))
    return architecture


def dense_logits(network, images, alpha):
    """DARTS as its paper writes it: every edge multiplies outputs of all its operations with a softmax, and sums."""
    trail = network.stem(images)
    weights = dict(zip(edges_of(network.space), alpha.softmax(1), strict=True))
    for cell_type, cell in network.typed_cells():
        nodes = [getattr(cell, f"preprocess{i}")(x) for i, x in enumerate(trail)]
        candidates = [c for b in network.space.blocks if b.cell == cell_type for c in b.candidates]
        for target in sorted({c.target for c in candidates}):
            total = 0.0
            for source in sorted({c.source for c in candidates if c.target == target}):
                edge = [c for c in candidates if c.edge == (source, target)]
                outputs = [cell.operation(c)(nodes[source]) for c in edge]
                total = total + sum(w * y for w, y in zip(weights[cell_type, (source, target)], outputs, strict=False))
            nodes.append(total)
        trail = (*trail[1:], cell.output(nodes))
    return network.classify(trail[-1])


def edges_of(space):
    return list(dict.fromkeys((block.cell, c.edge) for block in space.blocks for c in block.candidates))


def test_gradient_of_alpha_is_that_of_a_plain_dense_forward(any_space, batch):
    torch.manual_seed(0)
    stem = {"stem": "small"} if any_space.name == "darts" else {}
    network = SuperNet(any_space, (1, 8, 8), 10, channels=4, cells=3, **stem).double()
    architecture = relaxed_architecture(any_space).double()
    images, labels = batch[0].double(), batch[1]
    mixture = SoftmaxRelaxation().mixture(architecture, 0.0, np.random.default_rng(0))
    ours = functional.cross_entropy(network(images, *mixture), labels)
    plain = functional.cross_entropy(dense_logits(network, images, architecture.logits), labels)
    torch.testing.assert_close(ours, plain)
    (our_gradient,) = torch.autograd.grad(ours, architecture.alpha)
    (plain_gradient,) = torch.autograd.grad(plain, architecture.alpha)
    assert plain_gradient.abs().max() > 1e-4
    torch.testing.assert_close(our_gradient, plain_gradient, rtol=1e-6, atol=1e-12)


def test_first_step_of_a_run_uses_that_gradient(make_relaxed, fit_briefly):
    search = make_relaxed(architecture=ArchitectureTraining(lambda p: torch.optim.SGD(p, lr=1.0)))
    seen = []

    def remember(module, batch, batch_idx):
        images, labels = batch["arch"]
        loss = functional.cross_entropy(dense_logits(module.network, images, module.architecture.alpha), labels)
        seen.append(
            (module.architecture.alpha.detach().clone(), torch.autograd.grad(loss, module.architecture.alpha)[0])
        )
        return RelaxedSearch.training_step(module, batch, batch_idx)

    search.training_step = remember.__get__(search)
    fit_briefly(search, Digits(batch_size=32, arch_fraction=0.4), batches=2, epochs=1)
    (alpha, gradient), (moved, _) = seen
    torch.testing.assert_close(moved, alpha - gradient, rtol=1e-5, atol=1e-6)


class Toy(nn.Module):
    """Smooth, so that second derivatives exist."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Parameter(torch.randn(5, 4, generator=generator, dtype=torch.float64))
        self.second = nn.Parameter(torch.randn(4, 3, generator=generator, dtype=torch.float64))
        self.alpha = nn.Parameter(torch.randn(2, 4, generator=generator, dtype=torch.float64))

    def loss(self, x, y, first, second):
        hidden = self.alpha[0].softmax(0) * torch.tanh(x @ first) + self.alpha[1].sigmoid() * torch.sin(x @ first)
        return functional.cross_entropy(hidden @ second, y)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_unrolled_gradient_is_the_exact_one(momentum):
    toy, generator = Toy(), torch.Generator().manual_seed(1)
    x, y = torch.randn(40, 5, generator=generator, dtype=torch.float64), torch.randint(3, (40,), generator=generator)
    weights = [toy.first, toy.second]
    rate, decay = 0.1, 0.01
    optimizer = torch.optim.SGD(weights, lr=rate, momentum=momentum, weight_decay=decay)
    for _ in range(3):  # so that there is momentum
        optimizer.zero_grad()
        toy.loss(x[:20], y[:20], *weights).backward()
        optimizer.step()
    before = [weight.detach().clone() for weight in weights]

    gradients = torch.autograd.grad(toy.loss(x[:20], y[:20], *weights), weights, create_graph=True)
    moved = []
    for weight, gradient in zip(weights, gradients, strict=True):
        move = gradient + decay * weight
        if momentum:
            move = move + momentum * optimizer.state[weight]["momentum_buffer"]
        moved.append(weight - rate * move)
    (exact,) = torch.autograd.grad(toy.loss(x[20:], y[20:], *moved), toy.alpha)
    (first_order,) = torch.autograd.grad(toy.loss(x[20:], y[20:], *weights), toy.alpha)

    loss, (ours,) = unrolled_gradient(
        lambda: toy.loss(x[:20], y[:20], *weights),
        lambda: toy.loss(x[20:], y[20:], *weights),
        weights,
        [toy.alpha],
        optimizer,
    )
    torch.testing.assert_close(loss, toy.loss(x[20:], y[20:], *moved).detach())
    assert (first_order - exact).norm() > 100 * (ours - exact).norm()
    torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-7)
    assert all(torch.equal(weight, kept) for weight, kept in zip(weights, before, strict=True))


def test_kept_candidates_are_those_of_the_darts_rule():
    space = DartsSpace(nodes=3, primitives=("none", "skip_connect", "sep_conv_3x3", "avg_pool_3x3"))
    for seed in range(20):
        architecture = relaxed_architecture(space, seed=seed)
        probabilities = architecture.alpha.detach().softmax(1)
        found = space.genotype(architecture.keep(probabilities))
        rows = iter(probabilities.tolist())
        for cell in space.cell_types:
            for target in (2, 3, 4):
                best = []
                for source in range(target):
                    row = next(rows)
                    k = max(range(1, 4), key=lambda i: row[i])  # 0 is none
                    best.append((row[k], source, space.primitives[k]))
                expected = {(source, name) for _, source, name in sorted(best)[-2:]}
                assert {(c.source, c.primitive) for c in found.cell(cell) if c.target == target} == expected


def test_none_may_be_kept_where_every_edge_is():
    space = NasBench201Space()
    architecture = relaxed_architecture(space)
    strength = torch.zeros_like(architecture.alpha)
    strength[:, 0] = 1.0
    assert {c.primitive for c in space.genotype(architecture.keep(strength)).cell("normal")} == {"none"}


def test_budgets_hold_when_the_architecture_is_decided():
    space = DartsSpace(nodes=2, primitives=("skip_connect", "sep_conv_3x3"))
    architecture = relaxed_architecture(space)
    strength = torch.tensor([[0.9, 0.1]]).expand(architecture.alpha.shape)
    free = space.genotype(architecture.keep(strength))
    assert sum(c.primitive == "skip_connect" for c in free.cell("normal")) == 4

    def kept(**budget):
        return space.genotype(architecture.keep(strength, Budget(**budget).constraints(space)))

    capped = kept(max_per_cell={"normal": {"skip_connect": 1}})
    assert sum(c.primitive == "skip_connect" for c in capped.cell("normal")) == 1
    assert sum(c.primitive == "skip_connect" for c in capped.cell("reduce")) == 4
    with pytest.raises(ConfigError, match=r"budget\.forbidden names the primitive 'conv'; the space has sep_conv_3x3"):
        kept(forbidden=("conv",))
    with pytest.raises(RecoveryError, match=r"budget\.max_per_cell\[normal\]\[skip_connect\]"):
        kept(forbidden=("sep_conv_3x3",), max_per_cell={"normal": {"skip_connect": 1}})


def test_edges_of_a_node_share_one_softmax(any_space):
    architecture = relaxed_architecture(any_space)
    shares = architecture.edge_probabilities()
    targets = [(cell, edge[1]) for cell, edge in edges_of(any_space)]
    for target in set(targets):
        members = [i for i, other in enumerate(targets) if other == target]
        torch.testing.assert_close(shares[members], architecture.beta[members].softmax(0))
    strength = EdgeNormalizedRelaxation().strength(architecture)
    torch.testing.assert_close(strength.sum(1), shares)


@pytest.mark.slow
def test_gumbel_draws_follow_the_softmax(any_space):
    architecture, rng = relaxed_architecture(any_space), np.random.default_rng(0)
    counts = torch.zeros_like(architecture.alpha)
    draws = 3000
    for _ in range(draws):
        support, weights = GumbelRelaxation().mixture(architecture, 0.5, rng)
        assert [len(kept) for kept in support] == [len(row) for row in weights]
        for weight in weights:
            torch.testing.assert_close(weight, torch.ones_like(weight))
        picked = [i % architecture.alpha.shape[1] for kept in support for i in kept]
        counts[torch.arange(len(picked)), picked] += 1
    expected = architecture.logits.softmax(1)
    # five standard deviations of a binomial
    assert ((counts / draws - expected).abs() < 5 * (expected * (1 - expected) / draws).sqrt() + 1e-3).all()


def test_gumbel_gradient_is_that_of_the_softened_draw(any_space):
    architecture = relaxed_architecture(any_space)
    mixture = GumbelRelaxation(2.0, 2.0).mixture(architecture, 0.0, np.random.default_rng(3))
    (ours,) = torch.autograd.grad(torch.cat(mixture.weights).sum(), architecture.alpha)
    noise = torch.from_numpy(np.random.default_rng(3).gumbel(size=tuple(architecture.alpha.shape))).float()
    soft = ((architecture.logits.log_softmax(1) + noise) / 2.0).softmax(1)
    (expected,) = torch.autograd.grad(soft.max(1).values.sum(), architecture.alpha)
    torch.testing.assert_close(ours, expected)


def test_partial_channels_pass_the_rest_by():
    """With skips of weight 1 on one edge, a node is its input with the channels shuffled."""
    space = DartsSpace(nodes=2, primitives=("skip_connect", "sep_conv_3x3"))
    norms = NormOptions(affine=False, track=False)
    network = SuperNet(space, (1, 8, 8), 10, channels=8, cells=3, stem="small", norms=norms, partial=4)
    cell = network.cells[0]
    inputs = [torch.randn(2, 8, 8, 8) for _ in range(2)]
    wiring = network.wirings(((0,), (0,), (0,), (0,)))["normal"]
    states = cell(inputs, wiring)
    shuffled = states[0].view(2, 4, 2, 8, 8).transpose(1, 2).flatten(1, 2)
    torch.testing.assert_close(states[2], shuffled)
    weights = [torch.full((1,), 0.5) for _ in range(4)]
    torch.testing.assert_close(cell(inputs, network.wirings(((0,),) * 4, weights)["normal"])[2], 0.5 * shuffled)


def test_partial_channels_halve_like_the_operations():
    space = DartsSpace(nodes=2, primitives=("skip_connect", "max_pool_3x3"))
    network = SuperNet(space, (1, 9, 9), 10, channels=8, cells=3, stem="small", partial=2)
    assert network(torch.randn(2, 1, 9, 9), space.support(space.sample(np.random.default_rng(0)))).shape == (2, 10)


def test_partial_channels_must_divide(space):
    for options in ({"channels": 6, "partial": 4}, {"partial": 0}):
        with pytest.raises(ConfigError, match=r"partial_channels is \d, channels \d+: use a divisor"):
            SuperNet(space, (1, 8, 8), 10, cells=3, stem="small", **options)
    network = SuperNet(space, (1, 8, 8), 10, channels=8, cells=3, stem="small", partial=4)
    with pytest.raises(ConfigError, match="mixes one in 4 channels; a network of all channels has to be trained anew"):
        network.derive(space.sample(np.random.default_rng(0)))


#: As the default, but for an epoch without steps on the architecture.
WARM_UP = ArchitectureTraining(darts_adam, warmup_epochs=1)
RECIPES = {
    "darts": {},
    "darts, second order": {"second_order": True},
    "pc-darts": {"relaxation": EdgeNormalizedRelaxation(), "partial_channels": 4},
    "gdas": {"relaxation": GumbelRelaxation()},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_moves_architecture_and_weights(recipe, any_space, make_relaxed, fit_briefly, listener):
    if recipe == "pc-darts" and any_space.name == "stage":
        with pytest.raises(ConfigError, match="partial_channels is 4"):
            make_relaxed(space=any_space, **RECIPES[recipe])
        return
    search = make_relaxed(space=any_space, architecture=WARM_UP, **RECIPES[recipe])
    start = search.architecture.alpha.detach().clone()
    weights = [p.detach().clone() for p in search.network.parameters()]
    done = fit_briefly(search, Digits(batch_size=32, arch_fraction=0.4), listener, batches=3, epochs=2)
    assert not torch.equal(search.architecture.alpha, start)
    assert all(torch.isfinite(p).all() for p in search.parameters())
    assert any(not torch.equal(p, old) for p, old in zip(search.network.parameters(), weights, strict=True))
    assert [report.count for report in listener.reports] == [0, 1]
    assert listener.reports[-1].genotype == search.genotype
    assert listener.reports[-1].code is None
    any_space.validate(search.genotype)
    assert {"train/loss", "train/acc", "arch/loss"} <= set(done.logged_metrics)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["darts", "gdas"])
def test_a_resumed_run_repeats_an_uninterrupted_one(recipe, make_relaxed, fit_briefly, tmp_path):
    data = Digits(batch_size=32, arch_fraction=0.4)
    whole = make_relaxed(**RECIPES[recipe])
    fit_briefly(whole, data, batches=2, epochs=3)
    resumed = make_relaxed(init=5, **RECIPES[recipe])
    last = str(tmp_path / "run" / "epoch=1.ckpt")
    fit_briefly(resumed, data, batches=2, epochs=3, ckpt_path=last, folder="again")
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    assert resumed.genotype == whole.genotype


@pytest.mark.slow
def test_architecture_rests_in_warm_up(make_relaxed, fit_briefly):
    search = make_relaxed(architecture=WARM_UP)
    start = search.architecture.alpha.detach().clone()
    seen = []
    search.on_train_epoch_end = lambda: (
        seen.append(torch.equal(search.architecture.alpha, start)),
        RelaxedSearch.on_train_epoch_end(search),
    )
    fit_briefly(search, Digits(batch_size=32, arch_fraction=0.4), batches=3, epochs=2)
    assert seen == [True, False]


def test_mistakes_are_explained(make_relaxed, fit_briefly):
    with pytest.raises(ConfigError, match=r"tau_end 0\.0; temperatures are positive"):
        GumbelRelaxation(1.0, 0.0)
    adam = make_relaxed(second_order=True, training=WeightTraining(optimizer=lambda p: torch.optim.Adam(p)))
    with pytest.raises(ConfigError, match=r"is Adam; second_order unrolls a step of torch\.optim\.SGD"):
        fit_briefly(adam, Digits(batch_size=32, arch_fraction=0.4), batches=1, epochs=1)
    with pytest.raises(ConfigError, match="no epoch is left for the search"):
        fit_briefly(make_relaxed(architecture=WARM_UP), Digits(batch_size=32, arch_fraction=0.4), batches=1, epochs=1)
