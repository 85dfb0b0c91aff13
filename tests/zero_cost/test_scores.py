"""Training-free scores: what each must do, and each against another way to compute it."""

import copy
import csv
import gzip
import math
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from torch import nn

from sparsenas import zero_cost
from sparsenas.errors import ConfigError
from sparsenas.networks import DerivedNet, NormOptions
from sparsenas.spaces import DartsSpace, NasBench201Space, NasBenchMacroSpace
from sparsenas.zero_cost import (
    Fisher,
    GradNorm,
    Grasp,
    JacobianCovariance,
    Naswot,
    Snip,
    SynFlow,
    Trainability,
    Zen,
    ZeroCostScore,
)
from sparsenas.zero_cost.jacobian import correlation_score
from sparsenas.zero_cost.trainability import block_gain

BY_LOSS = [Fisher(), GradNorm(), Grasp(), Snip()]
SCORES = [
    *(JacobianCovariance(), JacobianCovariance(norms="batch"), JacobianCovariance(norms="auto")),
    *(Naswot(), SynFlow(), Trainability(), Zen(repeats=2)),
    *BY_LOSS,
]
every_score = pytest.mark.parametrize("score", SCORES, ids=str)
SPACE = NasBench201Space()
CONNECTED = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|avg_pool_3x3~1|nor_conv_1x1~2|"
#: Cut off at the input, and at the output: there, rectifiers see the image, and no logit does.
CUT_OFF = (
    "|none~0|+|none~0|nor_conv_3x3~1|+|none~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|none~2|",
)


def network_of(text=CONNECTED, cells=3, channels=4, norms=NormOptions(track=False), seed=0):
    torch.manual_seed(seed)
    return DerivedNet(SPACE.from_string(text), (3, 8, 8), 10, channels, cells, norms=norms)


@pytest.fixture
def images():
    return torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def labels():
    return torch.tensor([3, 1, 4, 1, 5, 9])


def test_every_score_has_a_row():
    public = (getattr(zero_cost, name) for name in zero_cost.__all__)
    classes = {thing for thing in public if isinstance(thing, type) and issubclass(thing, ZeroCostScore)}
    assert {type(score) for score in SCORES} == classes - {ZeroCostScore}


@every_score
@pytest.mark.parametrize("track", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_it_is_repeatable_and_changes_nothing(score, images, labels, track, training):
    network = network_of(norms=NormOptions(track=track)).train(training)
    before, random = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    found = score(network, images, labels)
    assert math.isfinite(found)
    assert score(network, images, labels) == found
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert {module.training for module in network.modules()} == {training}
    assert torch.equal(torch.get_rng_state(), random)
    assert not images.requires_grad
    assert not any(module._forward_hooks for module in network.modules())


@every_score
@pytest.mark.parametrize("text", CUT_OFF)
def test_a_network_that_is_cut_off_is_the_worst(score, images, labels, text):
    assert score(network_of(text), images, labels) == -math.inf


@pytest.mark.parametrize("score", [score for score in SCORES if getattr(score, "norms", "") != "batch"], ids=str)
def test_it_runs_in_the_darts_space(score, images, labels):
    torch.manual_seed(0)
    genotype = DartsSpace().sample(np.random.default_rng(0))
    network = DerivedNet(genotype, (3, 8, 8), 10, channels=4, cells=3, stem="small", auxiliary=True)
    assert math.isfinite(score(network, images, labels))


@pytest.mark.parametrize("score", [JacobianCovariance(), Naswot(), *BY_LOSS], ids=lambda score: type(score).__name__)
def test_the_order_of_the_images_does_not_matter(score, images, labels):
    network = network_of()
    assert score(network, images.flip(0), labels.flip(0)) == pytest.approx(score(network, images, labels), rel=1e-3)


@pytest.mark.parametrize("score", [SynFlow(), Zen(repeats=2)], ids=lambda score: type(score).__name__)
def test_of_the_images_only_the_shape_is_read(score, images):
    assert score(network_of(), images) == score(network_of(), images**3)


class TestJacobianCovariance:
    def test_uncorrelated_rows_are_the_best(self):
        k, n = 1e-5, 6
        rows = torch.linalg.qr(torch.eye(8) - 1 / 8)[0].T[:n]  # orthonormal, each of mean zero
        best = -n * (math.log(1 + k) + 1 / (1 + k))
        assert correlation_score(rows, k) == pytest.approx(best, rel=1e-6)
        assert correlation_score(3 * rows + 0.5, k) == pytest.approx(best, rel=1e-6)  # correlations know no scale
        mixed = rows + 0.3 * rows.roll(1, 0)
        assert correlation_score(mixed, k) < best

    def test_against_numpy(self, images):
        """New batch-norms with running statistics do nothing in evaluation mode, but for their eps."""
        network, leaf = network_of(norms=NormOptions(track=True)).eval(), images.clone().requires_grad_()
        network(leaf).sum().backward()
        values = np.linalg.eigvals(np.corrcoef(leaf.grad.flatten(1).double().numpy())).real
        expected = -np.sum(np.log(values + 1e-5) + 1 / (values + 1e-5))
        assert JacobianCovariance()(network, images) == pytest.approx(expected, rel=1e-3)

    def test_it_is_no_rounding_where_batch_norms_end_every_path(self, images):
        """Of skips and separable convolutions in the DARTS space, whose gradient vanishes with batch statistics."""
        space = DartsSpace(primitives=("skip_connect", "sep_conv_3x3"))
        torch.manual_seed(0)
        network = DerivedNet(space.sample(np.random.default_rng(1)), (3, 8, 8), 10, channels=4, cells=3, stem="small")
        single, double = JacobianCovariance()(network, images), JacobianCovariance()(network.double(), images.double())
        assert single == pytest.approx(double, rel=1e-3)

    def test_with_batch_statistics_against_autograd(self, images):
        network, leaf = network_of(), images.clone().requires_grad_()  # in training mode
        network(leaf).sum().backward()
        expected = correlation_score(leaf.grad.flatten(1), 1e-5)
        assert JacobianCovariance(norms="batch")(network, images) == pytest.approx(expected, rel=1e-4)

    def test_batch_statistics_that_end_every_path_are_refused(self, images):
        genotype = DartsSpace().sample(np.random.default_rng(0))
        network = DerivedNet(genotype, (3, 8, 8), 10, channels=4, cells=3, stem="small")
        with pytest.raises(ConfigError, match=r"batch-norms end all paths of this network, .*: use 'none'"):
            JacobianCovariance(norms="batch")(network, images)

    def test_auto_uses_batch_statistics_where_the_gradient_does_not_vanish(self, images):
        scores = {norms: JacobianCovariance(norms=norms) for norms in ("none", "batch", "auto")}
        network = network_of()
        assert scores["auto"](network, images) == scores["batch"](network, images) != scores["none"](network, images)
        genotype = DartsSpace().sample(np.random.default_rng(0))
        network = DerivedNet(genotype, (3, 8, 8), 10, channels=4, cells=3, stem="small")
        assert scores["auto"](network, images) == scores["none"](network, images)

    @pytest.mark.slow
    @pytest.mark.skipif("SPARSENAS_DATA" not in os.environ, reason="SPARSENAS_DATA is not set: no published scores")
    def test_it_ranks_as_the_published_scores_do(self):
        """The column ``naswot_c10`` of the table is this score; accuracies are not read."""
        folder = Path(os.environ["SPARSENAS_DATA"])
        with gzip.open(folder / "nasbench201.csv.gz", "rt") as file:
            rows = [row for row in csv.DictReader(file) if row["naswot_c10"]]
        chosen = np.random.default_rng(0).choice(len(rows), 40, replace=False)
        with np.load(folder / "cifar10_12k_16px.npz") as arrays:
            batch = torch.tensor(arrays["x_train"][:64])
        batch = batch.permute(0, 3, 1, 2).float() / 255
        batch = (batch - batch.mean((0, 2, 3), keepdim=True)) / batch.std((0, 2, 3), keepdim=True)
        found = [JacobianCovariance(norms="batch")(network_of(rows[i]["arch"], 15, 16), batch) for i in chosen]
        assert kendalltau(found, [float(rows[i]["naswot_c10"]) for i in chosen]).statistic > 0.6


class TestNaswot:
    def test_against_counting(self, images):
        network, inputs = network_of(), []
        for module in network.modules():
            if isinstance(module, nn.ReLU):
                module.register_forward_hook(lambda _, args, output: inputs.append(args[0].detach()))
        network(images)
        codes = np.concatenate([(x > 0).flatten(1).numpy() for x in inputs], axis=1)
        kernel = (codes[:, None] == codes[None]).sum(2).astype(float)
        assert Naswot()(network, images) == pytest.approx(np.linalg.slogdet(kernel)[1], rel=1e-6)

    def test_two_equal_images_have_no_region_between_them(self, images):
        assert Naswot()(network_of(), images[[0, 0, 1, 2]]) == -math.inf


class Chain(nn.Module):
    """Linear layers without bias."""

    auxiliary = None

    def __init__(self, *widths):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 1, bias=False) for a, b in pairwise(widths))

    def features(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

    def forward(self, x):
        return self.features(x).mean((2, 3))


class TestSynFlow:
    def test_every_layer_of_a_chain_passes_all_that_flows(self):
        network = Chain(3, 5, 4, 2)
        flow = torch.ones(3, dtype=torch.float64)
        for layer in network.layers:
            flow = layer.weight.detach().double().abs()[:, :, 0, 0] @ flow
        found = SynFlow()(network, torch.zeros(1, 3, 4, 4))
        assert found == pytest.approx(math.log(3 * float(flow.sum())), rel=1e-9)

    def test_batch_norms_and_signs_do_nothing(self, images):
        network = network_of()
        found = SynFlow()(network, images)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if "norm" not in name:
                    parameter.neg_()
        assert SynFlow()(network, images) == pytest.approx(found)


def signs_like(x, seed=0):
    return torch.randint(0, 2, x.shape, generator=torch.Generator().manual_seed(seed)).to(x) * 2 - 1


class TestTrainability:
    def test_rotations_keep_gradients_and_factors_scale_them(self):
        """The mean of outer products of signs is nearly the identity, whose largest singular value is 1."""
        source = torch.randn(64, 8, 8, 8, requires_grad=True)
        rotation = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))[0]
        output = torch.einsum("oc,bchw->bohw", rotation, source)
        gain = block_gain(source, output, signs_like(output))
        assert gain == pytest.approx(1.0, abs=0.1)
        output = torch.einsum("oc,bchw->bohw", 3 * rotation, source)
        assert block_gain(source, output, signs_like(output)) == pytest.approx(3 * gain, rel=1e-4)

    @pytest.mark.parametrize(("size", "stride"), [(8, 1), (8, 2), (9, 2)])
    def test_against_outer_products_position_by_position(self, size, stride):
        layer = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 5, 3, stride, 1))
        source = torch.randn(4, 3, size, size, requires_grad=True)
        output = layer(source)
        signs = signs_like(output)
        (gradient,) = torch.autograd.grad(layer(source), source, signs)
        total = np.zeros((3 * stride**2, 5))
        for image, row, column in np.ndindex(len(signs), *signs.shape[2:]):
            window = np.zeros((3, stride, stride))
            found = gradient[image, :, stride * row : stride * (row + 1), stride * column : stride * (column + 1)]
            window[:, : found.shape[1], : found.shape[2]] = found
            total += np.outer(window, signs[image, :, row, column])
        mean = total / (len(signs) * signs.shape[2] * signs.shape[3])
        assert block_gain(source, output, signs) == pytest.approx(np.linalg.norm(mean, 2), rel=1e-4)

    def test_the_score_is_zero_at_most_and_falls_with_every_factor(self, images):
        network = network_of()
        assert Trainability()(network, images) < 0
        worse = copy.deepcopy(network)
        with torch.no_grad():
            for module in worse.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.weight.mul_(30.0)
        assert Trainability()(worse, images) < Trainability()(network, images)

    def test_a_cell_that_keeps_its_input_is_the_worst(self, images):
        text = "|skip_connect~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"
        assert Trainability()(network_of(text), images) == -math.inf

    def test_identities_in_a_chain_are_no_layers(self, images):
        space = NasBenchMacroSpace()
        layers = [block.candidates for block in space.blocks]
        identities = tuple((next((i for i, c in enumerate(row) if c.primitive == "identity"), 0),) for row in layers)
        network = DerivedNet(space.genotype(identities), (3, 16, 16), 10, 4, 8, norms=NormOptions(track=False))
        blocks = list(network.blocks(torch.randn(4, 3, 16, 16)))
        strided = sum(output.shape[2] < source.shape[2] for source, output in blocks)
        assert len(blocks) == strided == 3
        assert math.isfinite(Trainability()(network, torch.randn(4, 3, 16, 16)))

    def test_blocks_make_the_features(self, images):
        network = network_of()
        with torch.no_grad():
            *_, (_, last) = network.blocks(images)
            assert torch.equal(network.neck(last), network.features(images))

    def test_impossible_seed(self):
        with pytest.raises(ConfigError, match="seed is -1; use a number not below 0"):
            Trainability(seed=-1)


class TestZen:
    def test_of_one_linear_layer(self):
        """Without batch-norms, the features move by the layer's response to the change, by hand."""
        score, shape = Zen(gamma=0.1, repeats=1, seed=3), (4, 3, 5, 5)
        generator = torch.Generator().manual_seed(3)
        weight = torch.randn(2, 3, 1, 1, generator=generator)
        torch.randn(shape, generator=generator)
        moved = 0.1 * torch.einsum("oc,bchw->bohw", weight[:, :, 0, 0], torch.randn(shape, generator=generator))
        expected = math.log(moved.abs().sum((1, 2, 3)).mean())
        assert score(Chain(3, 2), torch.zeros(shape)) == pytest.approx(expected, rel=1e-4)

    def test_it_depends_on_the_architecture_not_on_the_weights(self, images):
        assert Zen(repeats=1)(network_of(seed=0), images) == Zen(repeats=1)(network_of(seed=5), images)

    def test_batch_norm_gives_back_what_it_took(self, images):
        """Weights that are drawn ten times as large before a batch-norm move the score by log 10."""

        class Normed(Chain):
            def __init__(self, times):
                super().__init__(3, 4)
                self.times, self.norm = times, nn.BatchNorm2d(4, eps=1e-12)

            def features(self, x):
                return self.norm(self.times * super().features(x))

        small, large = (Zen(repeats=1)(Normed(times), images) for times in (1.0, 10.0))
        assert large - small == pytest.approx(math.log(10), rel=1e-4)

    @pytest.mark.slow
    @pytest.mark.parametrize("wrong", [{"gamma": 0.0}, {"repeats": 0}, {"seed": -1}])
    def test_impossible_numbers(self, wrong):
        with pytest.raises(ConfigError, match="the first is positive, the second at least 1, the third not below 0"):
            Zen(**wrong)
