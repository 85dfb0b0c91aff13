"""The super-net is, at every support, the derived net; what is not supported is not touched."""

from itertools import chain

import numpy as np
import pytest
import torch
from torch.nn import functional

from sparsenas.errors import GenotypeError
from sparsenas.networks import NormOptions, SuperNet
from sparsenas.networks.cell import candidate_key, wire
from sparsenas.networks.gradients import candidate_gradients
from sparsenas.spaces import PUBLISHED, DartsSpace

TRACKING = NormOptions(append="pools_and_skips")
SEARCH = NormOptions(affine=False, track=False, append="pools_and_skips")
PARITY = NormOptions(affine=False, track=False, append="pools")


@pytest.mark.parametrize(
    ("image_shape", "stem", "norms", "distinct"),
    [
        ((1, 8, 8), "small", SEARCH, True),
        ((1, 8, 8), "small", PARITY, False),
        ((1, 8, 8), "small", TRACKING, True),
        ((1, 9, 9), "cifar", NormOptions(), True),
        ((1, 9, 9), "cifar", TRACKING, False),
        ((3, 15, 15), "small", SEARCH, False),
        ((3, 15, 15), "small", PARITY, True),
        ((1, 28, 28), "cifar", SEARCH, True),
        ((3, 32, 32), "cifar", TRACKING, True),
        ((3, 64, 65), "imagenet", SEARCH, True),
        ((3, 64, 65), "imagenet", NormOptions(), False),
    ],
)
def test_restriction_is_the_derived_net(image_shape, stem, norms, distinct):
    space = DartsSpace(nodes=3, distinct_edges=distinct, inputs_per_node=2 if distinct else 3)
    network = SuperNet(space, image_shape, 5, channels=4, cells=4, stem=stem, norms=norms)
    rng = np.random.default_rng(sum(image_shape))
    for _ in range(2):
        support = space.sample_support(rng)
        derived = network.derive(space.genotype(support))
        for training in (True, True, False):
            images = torch.randn(4, *image_shape)
            network.train(training)
            derived.train(training)
            assert torch.equal(network(images, support), derived(images))
        state = network.state_dict()
        assert all(torch.equal(tensor, state[name]) for name, tensor in derived.state_dict().items())


def test_unit_weights_change_nothing(small_space, rng):
    network = SuperNet(small_space, (1, 9, 8), 5, channels=4, cells=4, stem="small").double()
    images = torch.randn(4, 1, 9, 8, dtype=torch.float64)
    support = small_space.sample_support(rng)
    ones = torch.ones(len(small_space.blocks), 2, dtype=torch.float64)
    torch.testing.assert_close(network(images, support, ones), network(images, support))


def test_weights_belong_to_the_candidates_in_the_order_of_the_support():
    # one computed node, no norm on identities: the cell is z_0 * x_0 + z_1 * x_1
    space = DartsSpace(nodes=1, primitives=("skip_connect",))
    network = SuperNet(space, (1, 8, 8), 5, channels=4, cells=3, stem="small", norms=PARITY)
    cell = network.cells[0]
    older, newer = torch.randn(2, 3, 4, 8, 8)
    wiring = network.wirings(((0, 1), (0, 1)), torch.tensor([[2.0, -3.0], [5.0, 7.0]]))["normal"]
    first, second, node = cell((older, newer), wiring)
    torch.testing.assert_close(node, 2 * first - 3 * second)


def test_scales_follow_their_candidates_through_sorting():
    candidates = DartsSpace(nodes=2).blocks[1].candidates[:3]
    scales = torch.tensor([1.0, 2.0, 3.0]).unbind()
    (terms,) = wire(candidates, scales)
    assert {term.key: float(term.scale) for term in terms} == {
        candidate_key(candidate): float(scale) for candidate, scale in zip(candidates, scales, strict=True)
    }
    assert wire(reversed(candidates)) == wire(candidates)


def operation_tensors(network, space, support):
    """Names of the tensors of all supported, and of all other operations."""
    kept = {
        (block.cell, candidate_key(block.candidates[i]))
        for block, indices in zip(space.blocks, support, strict=True)
        for i in indices
    }
    active, inactive = set(), set()
    for name in network.state_dict():
        if ".operations." in name:
            _, position, _, key, _ = name.split(".", 4)
            (active if (network.cell_types[int(position)], key) in kept else inactive).add(name)
    return active, inactive


def test_inactive_operations_are_not_touched(small_space, rng):
    network = SuperNet(small_space, (1, 8, 8), 5, channels=4, cells=4, stem="small", norms=TRACKING)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=1e-3)
    parameters = dict(network.named_parameters())
    ever = set()
    for _ in range(4):
        support = small_space.sample_support(rng)
        active, inactive = operation_tensors(network, small_space, support)
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        momentum = {
            p: optimizer.state[p]["momentum_buffer"].clone() for p in parameters.values() if p in optimizer.state
        }
        optimizer.zero_grad()
        functional.cross_entropy(network(torch.randn(4, 1, 8, 8), support), torch.tensor([0, 1, 2, 3])).backward()
        optimizer.step()
        state = network.state_dict()
        ever |= active
        assert active
        assert all(torch.equal(state[name], before[name]) for name in inactive)
        assert not any(torch.equal(state[name], before[name]) for name in active if not name.endswith("bias"))
        for name in inactive & set(parameters):
            parameter = parameters[name]
            assert parameter.grad is None
            assert (parameter in optimizer.state) == (name in ever)
            if name in ever:
                assert torch.equal(optimizer.state[parameter]["momentum_buffer"], momentum[parameter])
    assert inactive & ever  # an operation that had run before was left alone


def finite_difference_network(space, norms=SEARCH, cells=3):
    torch.manual_seed(0)
    network = SuperNet(space, (1, 8, 8), 3, channels=2, cells=cells, stem="small", norms=norms).double()
    return network, torch.randn(3, 1, 8, 8, dtype=torch.float64)


@pytest.mark.parametrize("norms", [SEARCH, PARITY], ids=["search", "parity"])
def test_gradient_of_the_architecture_weights_equals_finite_differences(small_space, rng, norms):
    network, images = finite_difference_network(small_space, norms)
    support = small_space.sample_support(rng)
    weights = torch.tensor(rng.normal(size=(4, 2)), requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: network(images, support, w), weights, eps=1e-6, atol=1e-5)


def plain_logits(network, images, support, weights):
    """Every output times its weight, node by node; nothing rides on a batch-norm."""
    scaled = {
        (block.cell, block.candidates[index]): weight
        for block, kept, row in zip(network.space.blocks, support, weights, strict=True)
        for index, weight in zip(kept, row, strict=True)
    }
    trail = network.stem(images)
    for cell_type, cell in network.typed_cells():
        states = [getattr(cell, f"preprocess{i}")(x) for i, x in enumerate(trail)]
        nodes = sorted({c.target for of, c in scaled if of == cell_type})
        for node in nodes:
            terms = [(c, w) for (of, c), w in scaled.items() if of == cell_type and c.target == node]
            states.append(sum(w * cell.operation(c)(states[c.source], None) for c, w in terms))
        trail = (trail[1], cell.output(states))
    return network.classify(trail[-1])


@pytest.mark.parametrize("norms", [SEARCH, PARITY, TRACKING], ids=["search", "parity", "track"])
def test_float32_gradients_equal_a_plain_reference(rng, norms):
    """Of the architecture weights and of every network weight, to 1e-5 in norm, or 1e-7 of all of them together."""
    torch.manual_seed(0)
    space, images = DartsSpace(nodes=3), torch.randn(8, 3, 16, 16)
    network = SuperNet(space, (3, 16, 16), 10, channels=8, cells=4, stem="small", norms=norms)
    network.to(memory_format=torch.channels_last)
    support = space.sample_support(rng)
    weights = torch.tensor(rng.normal(size=(len(space.blocks), 2)), dtype=torch.float32, requires_grad=True)
    leaves = [weights, *network.active_parameters(support)]

    def gradients(logits):
        loss = functional.cross_entropy(logits, torch.arange(8))
        return [g for g in torch.autograd.grad(loss, leaves, allow_unused=True) if g is not None]

    ours = gradients(network(images, support, weights))
    expected = gradients(plain_logits(network, images, support, weights))
    everything = torch.cat([g.flatten() for g in expected]).norm()
    for one, other in zip(ours, expected, strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm() + 1e-7 * everything


@pytest.mark.parametrize("inputs", [1, 2])
@pytest.mark.parametrize("with_weights", [True, False])
@pytest.mark.parametrize("norms", [SEARCH, PARITY, TRACKING], ids=["search", "parity", "track"])
def test_candidate_gradients_equal_those_of_the_dense_network(rng, norms, with_weights, inputs):
    space = DartsSpace(nodes=2, primitives=("skip_connect", "sep_conv_3x3", "max_pool_3x3"), inputs_per_node=inputs)
    network, images = finite_difference_network(space, norms, cells=4)
    criterion = lambda logits: functional.cross_entropy(logits, torch.tensor([0, 1, 2]))  # noqa: E731 - one use
    # the hardest point: a node that is nothing but a skip
    support = tuple((0,) for _ in space.blocks) if inputs == 1 else space.sample_support(rng)
    weights = torch.tensor(rng.normal(size=(len(space.blocks), inputs))) if with_weights else None
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    loss, gradients = candidate_gradients(network, images, criterion, support, weights)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())

    codes = [torch.zeros(len(block), dtype=torch.float64) for block in space.blocks]
    for index, (code, kept) in enumerate(zip(codes, support, strict=True)):
        code[list(kept)] = torch.ones(inputs, dtype=torch.float64) if weights is None else weights[index]
        code.requires_grad_()
    wirings = {}
    for cell in space.cell_types:
        rows = [(block, code) for block, code in zip(space.blocks, codes, strict=True) if block.cell == cell]
        scales = list(chain.from_iterable(code.unbind() for _, code in rows))
        wirings[cell] = wire(chain.from_iterable(block.candidates for block, _ in rows), scales)
    dense_loss = criterion(network.run(images, wirings)[0])
    torch.testing.assert_close(loss, dense_loss.detach())
    for gradient, expected in zip(gradients, torch.autograd.grad(dense_loss, codes), strict=True):
        torch.testing.assert_close(gradient.double(), expected, rtol=1e-4, atol=1e-6)


def test_deriving_copies_and_draws_nothing(small_space, rng):
    network = SuperNet(small_space, (1, 8, 8), 5, channels=4, cells=4, stem="small").double().eval()
    before = torch.get_rng_state()
    derived = network.derive(small_space.sample(rng))
    assert torch.equal(torch.get_rng_state(), before)
    assert not derived.training
    assert {parameter.dtype for parameter in derived.parameters()} == {torch.float64}
    shared = {parameter.data_ptr() for parameter in network.parameters()}
    assert not shared & {parameter.data_ptr() for parameter in derived.parameters()}


def test_deriving_what_is_not_in_the_space(small_space):
    network = SuperNet(small_space, (1, 8, 8), 5, channels=4, cells=4, stem="small")
    with pytest.raises(GenotypeError, match="is not in the space"):
        network.derive(PUBLISHED["darts_v2"])
