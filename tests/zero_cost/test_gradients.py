"""Scores by the gradient of the loss, each against another way to compute it."""

import copy
import csv
import gzip
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from sparsenas.errors import ConfigError
from sparsenas.networks import DerivedNet, NormOptions
from sparsenas.spaces import NasBench201Space
from sparsenas.zero_cost import Fisher, GradNorm, Grasp, Snip

SCORES = [Fisher(), GradNorm(), Grasp(), Snip()]
every_score = pytest.mark.parametrize("score", SCORES, ids=lambda score: type(score).__name__)
SPACE = NasBench201Space()
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|avg_pool_3x3~1|nor_conv_1x1~2|"


class Linear(nn.Module):
    """Linear layers without bias, on pixels."""

    def __init__(self, *widths):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairwise(widths))

    def forward(self, x):
        x = x.flatten(1)
        for layer in self.layers:
            x = layer(x)
        return x


def network_of(text=CELL, cells=3, channels=4):
    """Batch-norms without running statistics: they use those of the batch in training and evaluation."""
    torch.manual_seed(0)
    norms = NormOptions(track=False)
    return DerivedNet(SPACE.from_string(text), (3, 8, 8), 10, channels, cells, norms=norms).double()


def weights_of(network):
    """Weights of convolutions and linear layers, by name: those that are not vectors."""
    return {name: parameter for name, parameter in network.named_parameters() if parameter.ndim > 1}


@pytest.fixture
def images():
    return torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def labels():
    return torch.tensor([3, 1, 4, 1, 5, 9])


@pytest.fixture
def tiny():
    """A network of ten weights, its images and labels."""
    torch.manual_seed(2)
    return Linear(3, 2, 2).double(), torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 1])


def test_grad_norm_is_the_sum_of_the_norms_of_the_layers(images, labels):
    network = network_of()
    functional.cross_entropy(network(images), labels).backward()
    expected = sum(float(weight.grad.norm()) for weight in weights_of(network).values())
    network.zero_grad()
    assert GradNorm()(network, images, labels) == pytest.approx(expected, rel=1e-9)


def test_snip_is_the_gradient_of_masks(images, labels):
    network = network_of()
    weights = weights_of(network)
    masks = {name: torch.ones_like(weight, requires_grad=True) for name, weight in weights.items()}
    masked = {name: weights[name].detach() * mask for name, mask in masks.items()}
    functional.cross_entropy(functional_call(network, masked, images), labels).backward()
    expected = sum(float(mask.grad.abs().sum()) for mask in masks.values())
    assert Snip()(network, images, labels) == pytest.approx(expected, rel=1e-9)


def test_grasp_of_ten_weights_by_their_whole_hessian(tiny):
    network, pixels, labels = tiny
    shapes = [layer.weight.shape for layer in network.layers]
    flat = torch.cat([layer.weight.detach().flatten() for layer in network.layers])

    def loss(vector):
        first, second = (part.view(shape) for part, shape in zip(vector.split([6, 4]), shapes, strict=True))
        return functional.cross_entropy(pixels @ first.T @ second.T, labels)

    gradient = torch.autograd.functional.jacobian(loss, flat)
    hessian = torch.autograd.functional.hessian(loss, flat)
    expected = -float(flat @ hessian @ gradient)
    assert expected != 0
    assert Grasp()(network, pixels, labels) == pytest.approx(expected, rel=1e-9)


def test_grasp_is_the_change_of_the_squared_gradient_where_weights_shrink(images, labels):
    """By finite differences: scaling all weights by 1 - t moves half the squared norm of the gradient."""
    network = network_of()

    def flow(scale):
        scaled = copy.deepcopy(network)
        weights = list(weights_of(scaled).values())
        with torch.no_grad():
            for weight in weights:
                weight.mul_(scale)
        gradients = torch.autograd.grad(functional.cross_entropy(scaled(images), labels), weights)
        return sum(float(gradient.square().sum()) for gradient in gradients) / 2

    step = 1e-5
    expected = (flow(1 - step) - flow(1 + step)) / (2 * step)
    assert Grasp()(network, images, labels) == pytest.approx(expected, rel=1e-5)


def test_fisher_by_loops_over_layers_images_and_channels(images, labels):
    network, seen = network_of(), {}
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(lambda layer, _, output: seen.update({layer: output}))
    loss = functional.cross_entropy(network(images), labels)
    expected = 0.0
    for layer, output in seen.items():
        (gradient,) = torch.autograd.grad(loss, output, retain_graph=True)
        products = output.detach() * gradient
        for channel in range(output.shape[1]):
            terms = [float(products[image, channel].sum()) ** 2 / 2 for image in range(len(images))]
            expected += layer.weight[channel].numel() * sum(terms) / len(images)
        layer._forward_hooks.clear()
    assert expected > 0
    assert Fisher()(network, images, labels) == pytest.approx(expected, rel=1e-9)


def test_a_factor_before_a_batch_norm_changes_no_product_of_weight_and_gradient(images, labels):
    network = network_of()
    before = {score: score(network, images, labels) for score in SCORES}
    convolutions = []
    for module in network.modules():
        for first, second in pairwise(module.children()):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                second.eps = 1e-12
                convolutions.append(first)
    assert convolutions
    with torch.no_grad():
        for convolution in convolutions:
            convolution.weight.mul_(3)
    for score in (Snip(), Fisher()):
        assert score(network, images, labels) == pytest.approx(before[score], rel=1e-3)
    for score in (GradNorm(), Grasp()):
        assert abs(score(network, images, labels)) < 0.9 * abs(before[score])


def test_snip_and_fisher_of_a_function_written_with_other_weights(tiny):
    network, pixels, labels = tiny
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.layers[0].weight.mul_(5)
        other.layers[1].weight.div_(5)
    assert torch.allclose(network(pixels), other(pixels))
    for score, same in ((Snip(), True), (Fisher(), True), (GradNorm(), False)):
        equal = score(other, pixels, labels) == pytest.approx(score(network, pixels, labels), rel=1e-9)
        assert equal == same, score


@every_score
def test_what_writes_in_place_changes_nothing(score, tiny):
    """A rectifier may overwrite the output of a layer, which is needed."""

    class Rectified(Linear):
        def __init__(self, inplace):
            super().__init__(3, 4, 2)
            self.relu = nn.ReLU(inplace)

        def forward(self, x):
            return self.layers[1](self.relu(self.layers[0](x)))

    _, pixels, labels = tiny
    scores = []
    for inplace in (False, True):
        torch.manual_seed(0)
        scores.append(score(Rectified(inplace).double(), pixels, labels))
    assert scores[0] == scores[1]


def test_images_with_several_labels_have_the_sum_of_their_losses(tiny):
    network, pixels, _ = tiny
    labels = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    losses = functional.binary_cross_entropy_with_logits(network(pixels), labels, reduction="sum") / len(pixels)
    gradients = torch.autograd.grad(losses, list(network.parameters()))
    expected = sum(float(gradient.norm()) for gradient in gradients)
    assert GradNorm()(network, pixels, labels) == pytest.approx(expected, rel=1e-9)


@every_score
def test_without_labels_it_says_so(score, images):
    with pytest.raises(ConfigError, match=f"{type(score).__name__} needs the labels of the images"):
        score(network_of(), images)


@pytest.mark.slow
@pytest.mark.skipif("SPARSENAS_DATA" not in os.environ, reason="SPARSENAS_DATA is not set: no published scores")
def test_they_rank_as_the_published_scores_do():
    folder = Path(os.environ["SPARSENAS_DATA"])
    with gzip.open(folder / "zero_cost_proxies.csv.gz", "rt") as file:
        rows = [row for row in csv.DictReader(file) if (row["space"], row["dataset"]) == ("nb201", "cifar10")]
    with gzip.open(folder / "nasbench201.csv.gz", "rt") as file:
        texts = [row["arch"] for row in csv.DictReader(file)]
    with np.load(folder / "cifar10_12k_16px.npz") as arrays:
        batch, labels = torch.tensor(arrays["x_train"][:32]), torch.tensor(arrays["y_train"][:32]).long()
    batch = batch.permute(0, 3, 1, 2).double() / 255
    batch = (batch - batch.mean((0, 2, 3), keepdim=True)) / batch.std((0, 2, 3), keepdim=True)
    chosen = [rows[i] for i in np.random.default_rng(0).choice(len(rows), 24, replace=False)]
    networks = [network_of(texts[int(row["nb201_index"])], 6, 8).float() for row in chosen]
    # the Hessian of networks as small as these tells less of large ones
    for score, column, least in (
        *((GradNorm(), "grad_norm", 0.8), (Snip(), "snip", 0.8)),
        *((Fisher(), "fisher", 0.7), (Grasp(), "grasp", 0.5)),
    ):
        found = [score(network, batch.float(), labels) for network in networks]
        assert spearmanr(found, [float(row[column]) for row in chosen]).statistic > least, column
