"""The training of neural predictors, and the parts of which they are made."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from sparsenas.predictors.acenas import GraphEncoder
from sparsenas.predictors.bayesian import AdaptiveSGHMC, SampledRegression
from sparsenas.predictors.feedforward import bananas
from sparsenas.predictors.fitting import Fitting, fit_network, seeded, squared_error
from sparsenas.predictors.graphs import DirectedGraphNetwork, GlobalNodeNetwork, graph_tensors
from sparsenas.predictors.omni_sequences import OmniSequenceRegression, thresholds
from sparsenas.predictors.sequences import SequenceNetwork, SequenceRegression
from sparsenas.spaces import DartsSpace, DecisionSequence, NasBench201Space, draw_distinct, encoding_of

SPACE = NasBench201Space()
ENCODING = encoding_of(SPACE)


def networks(count, space=SPACE):
    return draw_distinct(space, count, np.random.default_rng(0))


class Line(nn.Module):
    """A linear function with dropout, which notes the sizes of batches."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.layer, self.dropout, self.sizes = nn.Linear(3, 1), nn.Dropout(dropout), []

    def forward(self, rows):
        self.sizes.append(len(rows))
        return self.layer(self.dropout(rows))[:, 0]


def fitted(options, seed=0, dropout=0.0, count=50):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, 3, generator=torch.Generator().manual_seed(9))
    with seeded(generator):
        line = Line(dropout)
    fit_network(line, (rows,), rows @ torch.tensor([1.0, -2.0, 3.0]), options, squared_error, generator)
    return line


def test_a_fit_finds_the_function():
    line = fitted(Fitting(epochs=60, batch_size=10, lr=0.1, cosine=True))
    assert line.layer.weight[0].tolist() == pytest.approx([1, -2, 3], abs=0.01)


@pytest.mark.parametrize(
    ("drop_last", "count", "sizes"), [(False, 25, [10, 10, 5]), (True, 25, [10, 10]), (True, 7, [7]), (False, 7, [7])]
)
def test_batches_of_an_epoch(drop_last, count, sizes):
    options = Fitting(epochs=2, batch_size=10, drop_last=drop_last)
    assert fitted(options, count=count).sizes == sizes * 2
    assert options.steps(count) == len(sizes)


def test_the_seed_decides_and_the_global_random_state_stays():
    options = Fitting(epochs=3, batch_size=10)
    before = torch.get_rng_state()
    first, second, other = (fitted(options, seed, dropout=0.5).layer.weight.tolist() for seed in (1, 1, 2))
    assert first == second != other
    assert torch.get_rng_state().equal(before)


def test_gradients_are_clipped():
    moved = []
    for clip in (None, 1e-3):
        network, rows = nn.Linear(1, 1), torch.ones(4, 1)
        start = network.weight.item()
        options = Fitting(epochs=1, batch_size=4, clip=clip)
        generator = torch.Generator().manual_seed(0)
        descent = torch.optim.SGD(network.parameters(), lr=1.0)
        fit_network(network, (rows,), torch.full((4, 1), 9.0), options, squared_error, generator, descent)
        moved.append(abs(network.weight.item() - start))
    assert moved[1] <= 1e-3 < moved[0]


@pytest.mark.parametrize("make", [DirectedGraphNetwork, GlobalNodeNetwork, GraphEncoder])
def test_graph_networks_ignore_vertices_that_are_none(make):
    with seeded(torch.Generator().manual_seed(0)):
        network = make(len(ENCODING.operations)).eval()
    inputs = graph_tensors(ENCODING, networks(5))
    larger = SimpleNamespace(operations=ENCODING.operations, graph=ENCODING.graph, vertices=ENCODING.vertices + 3)
    padded = graph_tensors(larger, networks(5))
    assert padded[0].shape[1] == inputs[0].shape[1] + 3
    assert torch.allclose(network(*padded), network(*inputs), atol=1e-5)


@pytest.mark.parametrize("make", [DirectedGraphNetwork, GlobalNodeNetwork, GraphEncoder])
def test_graph_networks_do_not_depend_on_the_order_of_vertices(make):
    with seeded(torch.Generator().manual_seed(0)):
        network = make(len(ENCODING.operations)).eval()
    features, adjacency, vertices = graph_tensors(ENCODING, networks(5))
    order = torch.randperm(ENCODING.vertices, generator=torch.Generator().manual_seed(0))
    shuffled = network(features[:, order], adjacency[:, order][:, :, order], vertices)
    assert torch.allclose(shuffled, network(features, adjacency, vertices), atol=1e-5)


def test_graphs_of_cells_with_two_inputs_are_pooled_each_by_itself():
    space = DartsSpace()
    encoding, genotypes = encoding_of(space), networks(3, space)
    with seeded(torch.Generator().manual_seed(0)):
        network = GraphEncoder(len(encoding.operations), encoding.parts)
    assert encoding.parts == 2
    assert network(*graph_tensors(encoding, genotypes)).shape == (3, 128)


def test_bananas_reads_paths_unless_there_are_too_many():
    paths = bananas(ENCODING)
    assert paths.encode(ENCODING, networks(2))[0].shape == (2, 155)
    space = encoding_of(DartsSpace(nodes=5))
    assert bananas(space).encode(space, networks(2, DartsSpace(nodes=5)))[0].shape[1] < 1000
    assert paths.ensemble == 3


def test_a_decoder_sees_no_token_that_it_is_to_write():
    with seeded(torch.Generator().manual_seed(0)):
        network = SequenceNetwork(ENCODING.tokens).eval()
    sequences = torch.from_numpy(np.array([ENCODING.sequence(genotype) for genotype in networks(2)]))
    states, codes = network.encode(sequences)
    changed = sequences.clone()
    changed[:, 20:] = 1
    logits, other = network.decode(sequences, states, codes), network.decode(changed, states, codes)
    assert torch.equal(logits[:, :21], other[:, :21])
    assert not torch.allclose(logits[:, 21:], other[:, 21:])


@pytest.mark.parametrize("masked", [False, True])
def test_a_sequence_written_token_by_token_is_the_likeliest_given_what_is_before(masked):
    sequence = DecisionSequence(DartsSpace(nodes=2))
    with seeded(torch.Generator().manual_seed(0)):
        network = SequenceNetwork(sequence.tokens).eval()
    everything = np.ones((8, sequence.tokens), dtype=bool)
    allowed = sequence.allowed if masked else lambda tokens: everything
    written = torch.from_numpy(np.array([sequence.write(g) for g in networks(8, sequence.space)]))
    with torch.no_grad():
        states, codes = network.encode(written)
        found = network.generate(states, codes, sequence.length, allowed)
        logits = network.decode(found, states, codes)
    for place in range(sequence.length):
        mask = torch.from_numpy(allowed(found[:, :place].numpy()))
        assert torch.equal(logits[:, place].masked_fill(~mask, -torch.inf).argmax(1), found[:, place])


@pytest.mark.parametrize("unlabelled", [0, 1])
def test_pseudo_labels_are_learned_from_only_where_there_are_any(unlabelled, monkeypatch):
    predictor, seen = SequenceRegression(ENCODING, unlabelled), []
    for name in ("neural", "sequences"):
        monkeypatch.setattr(f"sparsenas.predictors.{name}.fit_network", lambda *args: seen.append(len(args[2])))
    predictor.fit(networks(6), np.arange(6.0), {})
    assert seen == [6, 66][: 1 + unlabelled]


@pytest.mark.parametrize(("count", "expected"), [(5, 1), (10, 1), (11, 2), (40, 3), (80, 5), (81, 9), (1000, 9)])
def test_thresholds_of_the_study(count, expected):
    assert thresholds(count) == expected


@pytest.mark.parametrize("curve", [False, True])
def test_omni_sequences_mark_one_bin_of_each_thing_known(curve, monkeypatch):
    predictor, seen = OmniSequenceRegression(ENCODING, curve), []
    for name in ("neural", "sequences"):
        monkeypatch.setattr(f"sparsenas.predictors.{name}.fit_network", lambda *args: seen.append(args[1][0]))
    scores = np.arange(20.0)[:, None]
    info = {"jacobian_covariance": scores, "train_loss": -scores} if curve else {"jacobian_covariance": scores}
    predictor.fit(networks(20), np.arange(20.0), info)
    assert len(seen) == (1 if curve else 2)
    tokens = ENCODING.tokens
    for sequences in seen:
        marks = sequences[:, ENCODING.length :]
        assert marks.shape[1] == 3 + (5 if curve else 0)
        assert set(marks[:, :3].unique().tolist()) == {tokens, tokens + 1}
        assert ((marks[:, :3] == tokens + 1).sum(1) == 1).all()
    assert (seen[0][:, ENCODING.length :] == tokens + 1).sum(0)[:3].tolist() == [7, 6, 7]


@pytest.mark.slow
def test_samples_of_the_chain_have_the_mean_and_deviation_of_a_normal_distribution():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights, items = nn.Parameter(torch.zeros(2000)), 10
        optimizer, drawn = AdaptiveSGHMC([weights], items, lr=0.1, burn_in=50), []
        for step in range(1000):
            optimizer.zero_grad()
            # minus the log-density of a normal distribution of mean 2 and deviation 0.5, for each of 10 items
            torch.autograd.backward((((weights - 2) / 0.5) ** 2 / 2).sum() / items)
            optimizer.step()
            if step >= 600:
                drawn.append(weights.detach().clone())
    samples = torch.stack(drawn)
    assert samples.mean().item() == pytest.approx(2, abs=0.03)
    assert samples.std().item() == pytest.approx(0.5, rel=0.1)


def test_a_chain_keeps_networks_after_the_burn_in():
    predictor = SampledRegression(ENCODING, steps=30, burn_in=10, every=5)
    predictor.fit(networks(25), np.arange(25.0), {})
    kept = predictor._networks
    assert len(kept) == 4
    assert len({network.head.bias.item() for network in kept}) == 4
