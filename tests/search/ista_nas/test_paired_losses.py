"""Recursive least squares on paired losses: against least squares, what it forgets, what it hands on, what it keeps."""

import numpy as np
import pytest
import torch

from sparsenas.data import Digits
from sparsenas.errors import ConfigError
from sparsenas.networks import NetworkConfig
from sparsenas.search import PairedLosses, SparseRecovery, TwoStageSearch
from sparsenas.spaces import DartsSpace


@pytest.fixture
def begin(make_architecture):
    return lambda **options: PairedLosses(**options).begin(make_architecture())


@pytest.fixture
def pairs(space):
    """Differences of drawn supports, what they gain, and what the candidates are worth."""

    def make(regression, count, worth=None, noise=0.0, seed=0):
        rng = np.random.default_rng(seed)
        drawn = ((space.sample_support(rng), space.sample_support(rng)) for _ in range(count))
        d = torch.stack([regression._vector(second) - regression._vector(first) for first, second in drawn])
        worth = torch.from_numpy(rng.normal(size=d.shape[1])) if worth is None else worth
        return d, d @ worth + noise * torch.from_numpy(rng.normal(size=count)), worth

    return make


def test_without_forgetting_it_is_ridge_regression(begin, pairs):
    """The estimate after K pairs minimises sum (y - d z)^2 + |z|^2 / prior."""
    regression = begin(memory=1.0, prior=2.0)
    d, y, _ = pairs(regression, 30, noise=0.3)
    for row, gain in zip(d, y, strict=True):
        regression.learn(row, gain)
    normal = d.T @ d + torch.eye(d.shape[1], dtype=torch.float64) / 2.0
    torch.testing.assert_close(regression.worth, torch.linalg.solve(normal, d.T @ y), atol=1e-9, rtol=1e-7)
    torch.testing.assert_close(regression.covariance, torch.linalg.inv(normal), atol=1e-9, rtol=1e-7)


def test_differences_are_found_up_to_what_no_pair_tells(begin, pairs):
    regression = begin(memory=1.0, prior=1e6)
    d, y, worth = pairs(regression, 400)
    for row, gain in zip(d, y, strict=True):
        regression.learn(row, gain)
    torch.testing.assert_close(d @ regression.worth, d @ worth, atol=1e-3, rtol=1e-3)


def test_what_is_old_fades_and_what_is_never_asked_stays_bounded(begin, pairs):
    regression = begin(memory=0.95, prior=1.0)
    d, y, worth = pairs(regression, 300)
    for row, gain in zip(d, -y, strict=True):
        regression.learn(row, gain)
    fresh, gains, _ = pairs(regression, 1500, worth, seed=1)
    for row, gain in zip(fresh, gains, strict=True):
        regression.learn(row, gain)
    assert np.corrcoef(d @ regression.worth, y)[0, 1] > 0.99
    assert regression.covariance.trace() <= len(regression.worth) * (1 + 1e-9)
    assert torch.linalg.eigvalsh(regression.covariance).min() > 0


@pytest.mark.parametrize("gain", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_left_out(begin, pairs, gain):
    regression = begin()
    d, y, _ = pairs(regression, 2)
    regression.learn(d[0], y[0])
    before = {name: tensor.clone() for name, tensor in regression.state_dict().items()}
    regression.learn(d[1], torch.tensor(gain, dtype=torch.float64))
    assert all(torch.equal(tensor, before[name]) for name, tensor in regression.state_dict().items())


def test_its_minimum_is_the_compressed_worth(begin, make_architecture, make_network, batch):
    """A step of rate 1 on b along the gradient reaches A z: norm 1 in every block, the worst candidate at 0."""
    architecture = make_architecture()
    regression = PairedLosses().begin(architecture)

    def criterion(logits):
        return torch.nn.functional.cross_entropy(logits, batch[1])

    rng = np.random.default_rng(0)
    for _ in range(3):
        gradient = regression.step(architecture, make_network(), batch[0], criterion, rng).gradient
    aim = architecture.b.detach() - gradient
    start = 0
    for index, block in enumerate(architecture.space.blocks):
        z = regression.worth[start : start + len(block)]
        start += len(block)
        z = (z - z.min()) / (z - z.min()).norm()
        expected = architecture.dictionary[index][:, : len(block)].double() @ z
        torch.testing.assert_close(aim[index].double(), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_a_resumed_search_goes_on_with_what_it_knows(fit_briefly, tmp_path):
    def make(init):
        torch.manual_seed(init)
        return TwoStageSearch(
            (1, 8, 8),
            10,
            DartsSpace(nodes=2),
            NetworkConfig(channels=4, cells=3),
            signal=PairedLosses(),
            recovery=SparseRecovery(every_n_steps=1),
        )

    search = make(0)
    trainer = fit_briefly(search, Digits(batch_size=32, arch_fraction=0.5), epochs=1)
    assert search.signal.worth.abs().sum() > 0
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    again = make(1)
    again.load_state_dict(torch.load(tmp_path / "end.ckpt", weights_only=True)["state_dict"])
    assert torch.equal(again.signal.worth, search.signal.worth)
    assert torch.equal(again.signal.covariance, search.signal.covariance)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "signal.every is 0"),
        ({"memory": 0.0}, r"signal\.memory is 0\.0, .*lies in \(0, 1\]"),
        ({"memory": 1.1}, r"signal\.memory is 1\.1"),
        ({"prior": 0.0}, r"signal\.prior is 0\.0; .*the second is positive"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ConfigError, match=message):
        PairedLosses(**options)
