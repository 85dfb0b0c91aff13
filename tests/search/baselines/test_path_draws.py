"""What samplings of paths draw, remember and report, in a run and over a resume."""

import numpy as np
import pytest
import torch
from pytorch_lightning.loggers import CSVLogger
from scipy.stats import chisquare

from sparsenas.complexity import CandidateCosts, count_parameters
from sparsenas.errors import ConfigError
from sparsenas.networks import SuperNet
from sparsenas.search import (
    FairPaths,
    NoveltyPaths,
    PoolPaths,
    SizeProportionalPaths,
    UniformPaths,
    UniquePaths,
)
from sparsenas.search.baselines.path_record import FIGURES, PathRecord
from sparsenas.spaces import DartsSpace, NasBench201Space, WeightSharing64Space

SPACE = NasBench201Space()
#: Archives so small that the oldest members leave them.
NOVELTY = {
    proposal: NoveltyPaths(archive=8, neighbours=3, proposal=proposal, candidates=4, novelty=novelty)
    for proposal, novelty in (("best_of", 0.5), ("evolution_strategy", 1.0), ("genetic", 0.5))
}
SAMPLINGS = {
    "uniform": UniformPaths(),
    "unique": UniquePaths(),
    "fair": FairPaths(),
    "pool": PoolPaths(size=5),
    "size": SizeProportionalPaths(size=5, exponent=-0.5),
    **NOVELTY,
}


@pytest.fixture
def network():
    return SuperNet(SPACE, (1, 8, 8), 10, channels=4, cells=3)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("name", ["uniform", "unique", "fair"])
def test_draws_without_a_memory_follow_from_the_generator(name, network, rng):
    draws, other = SAMPLINGS[name].begin(network, np.random.default_rng(5)), np.random.default_rng(0)
    for _ in range(5):
        assert draws.draw(rng) == SAMPLINGS[name].paths(SPACE, other)
        draws.heard([1.0])
    draws.load_state_dict(draws.state_dict())
    assert rng.bit_generator.state == other.bit_generator.state
    assert (draws.state_dict(), draws.hears) == ({}, False)


@pytest.mark.parametrize("name", ["pool", "size", *NOVELTY])
def test_untrained_primitives_are_in_no_path(name, network, rng):
    sampling = type(SAMPLINGS[name])(**vars(SAMPLINGS[name]) | {"untrained": ("none", "avg_pool_3x3")})
    draws = sampling.begin(network, rng)
    for _ in range(30):
        (path,) = draws.draw(rng)
        draws.heard([1.0])
        genotype = SPACE.genotype(path)
        assert SPACE.support(genotype) == path
        assert not {c.primitive for c in genotype.cell("normal")} & {"none", "avg_pool_3x3"}


class TestPool:
    def test_it_is_distinct_and_fixed(self, network, rng):
        draws = PoolPaths(size=300).begin(network, rng)
        before = draws.pool
        assert len({SPACE.isomorphism(SPACE.genotype(path)) for path in before}) == len(before) == 300
        drawn = [draws.draw(rng)[0] for _ in range(4000)]
        assert set(drawn) == set(before) == set(draws.pool)
        observed = [drawn.count(path) for path in before]
        assert chisquare(observed).pvalue > 1e-3
        assert PoolPaths(size=300).begin(network, np.random.default_rng(0)).pool == before

    @pytest.mark.parametrize("exponent", [-1.0, 0.0, 0.5, 1.0, 2.0])
    def test_probabilities_are_powers_of_the_size(self, exponent, network, rng):
        draws = SizeProportionalPaths(size=20, exponent=exponent).begin(network, rng)
        sizes = [float(count_parameters(network.derive(SPACE.genotype(path)))) for path in draws.pool]
        expected = np.power(sizes, exponent)
        np.testing.assert_allclose(draws.probabilities, expected / expected.sum(), rtol=1e-12)
        drawn = [draws.draw(rng)[0] for _ in range(5000)]
        observed = np.array([drawn.count(path) for path in draws.pool])
        assert chisquare(observed, 5000 * expected / expected.sum()).pvalue > 1e-3
        if exponent == 2.0:  # the test has the power to tell exponents apart
            wrong = np.array(sizes) / sum(sizes)
            assert chisquare(observed, 5000 * wrong).pvalue < 1e-6

    def test_sizes_are_those_of_both_cells(self, rng):
        space = DartsSpace(nodes=2)
        network = SuperNet(space, (1, 8, 8), 10, channels=4, cells=3, stem="small")
        draws = SizeProportionalPaths(size=6).begin(network, rng)
        sizes = [count_parameters(network.derive(space.genotype(path))) for path in draws.pool]
        np.testing.assert_allclose(draws.probabilities, np.array(sizes) / sum(sizes))

    def test_the_exponent_0_is_a_plain_pool(self, network):
        plain, other = (
            sampling.begin(network, np.random.default_rng(3))
            for sampling in (PoolPaths(size=9), SizeProportionalPaths(size=9, exponent=0.0))
        )
        for seed in range(20):
            assert plain.draw(np.random.default_rng(seed)) == other.draw(np.random.default_rng(seed))

    def test_another_pool_takes_its_place(self, network, rng):
        pool = [SPACE.sample_support(rng) for _ in range(7)]
        sampling = SizeProportionalPaths(size=5)
        draws = sampling.over(pool, network)
        assert draws.pool == tuple(pool)
        assert {draws.draw(rng)[0] for _ in range(300)} == set(pool)
        old = sampling.begin(network, rng)
        old.load_state_dict(draws.state_dict())
        assert old.pool == draws.pool
        assert np.array_equal(old.probabilities, draws.probabilities)

    def test_mistakes_are_explained(self, network, rng, monkeypatch):
        monkeypatch.setattr("sparsenas.search.baselines.pool_paths.PATIENCE", 1000)
        with pytest.raises(ConfigError, match=r"paths\.size is 0; a pool holds at least 1 architecture"):
            PoolPaths(size=0)
        with pytest.raises(ConfigError, match=r"paths\.exponent is nan; use a number"):
            SizeProportionalPaths(exponent=float("nan"))
        with pytest.raises(ConfigError, match="the pool of paths is empty"):
            PoolPaths().over([], network)
        small = SuperNet(WeightSharing64Space(), (1, 8, 8), 10, channels=4, cells=3)
        with pytest.raises(ConfigError, match="weight_sharing64 find no more than 64 distinct architectures"):
            PoolPaths(size=65).begin(small, rng)
        assert len(PoolPaths(size=64).begin(small, rng).pool) == 64
        with pytest.raises(ConfigError, match=r"paths\.untrained is .*; that leaves nothing to train"):
            PoolPaths(untrained=SPACE.primitives).begin(network, rng)
        for exponent in (-300.0, 300.0, 1e308):
            message = r"parameters, some would never be drawn; use an exponent nearer to 0"
            with pytest.raises(ConfigError, match=message):
                SizeProportionalPaths(size=50, exponent=exponent).begin(network, rng)
        free = CandidateCosts(((0,) * 30,), ((0,) * 30,), 0, 0)
        monkeypatch.setattr("sparsenas.search.baselines.pool_paths.candidate_costs", lambda network: free)
        for exponent, often in ((-1.0, "always"), (1.0, "never")):
            with pytest.raises(ConfigError, match=f"has no parameters, so that it would be drawn {often}; set it to 0"):
                SizeProportionalPaths(size=3, exponent=exponent).begin(network, rng)
        assert SizeProportionalPaths(size=4, exponent=0.0).begin(network, rng).probabilities.tolist() == [0.25] * 4


class TestFigures:
    def test_they_are_those_of_all_paths(self, rng):
        space = DartsSpace(nodes=2, primitives=("none", "skip_connect", "sep_conv_3x3"))
        record, paths = PathRecord(space, ("none",)), []
        assert record.figures() == dict.fromkeys(FIGURES, 0.0)
        for _ in range(40):
            step = UniformPaths(("none",)).paths(space, rng)
            step = paths[:1] if len(paths) % 4 == 3 else step
            record.note(step)
            paths.extend(step)
        counts = [
            sum(index in path[position] for path in paths)
            for position, block in enumerate(space.blocks)
            for index, candidate in enumerate(block.candidates)
            if candidate.primitive != "none"
        ]
        distinct = sorted(set(paths))
        apart = [sorted(share(first, second) for second in distinct if second != first) for first in distinct]
        assert record.figures() == pytest.approx(
            {
                "paths/coverage": len(distinct) / 40,
                "paths/updates_min": min(counts),
                "paths/updates_max": max(counts),
                "paths/updates_cv": np.std(counts) / np.mean(counts),
                "paths/knn": np.mean([row[:10] for row in apart]),
            }
        )

    def test_equivalent_cells_count_once(self):
        same = [SPACE.from_string(f"|none~0|+|{a}~0|none~1|+|{b}~0|skip_connect~1|none~2|") for a, b in TWICE]
        assert len({SPACE.isomorphism(genotype) for genotype in same}) == 1
        record = PathRecord(SPACE)
        record.note([SPACE.support(genotype) for genotype in same])
        assert record.figures()["paths/coverage"] == 1 / len(same)
        assert record.figures()["paths/knn"] == 0.0

    def test_only_the_last_distinct_ones_count_as_neighbours(self, rng, monkeypatch):
        monkeypatch.setattr("sparsenas.search.baselines.path_record.RECENT", 6)
        paths = [UniformPaths().paths(SPACE, rng)[0] for _ in range(30)]
        record, last = PathRecord(SPACE), PathRecord(SPACE)
        record.note([*paths, paths[0], paths[25]])
        last.note([*paths[26:], paths[0], paths[25]])
        assert record.figures()["paths/knn"] == last.figures()["paths/knn"]
        assert record.figures()["paths/coverage"] < 1


#: Primitives of edges that no path to the output crosses.
TWICE = [("none", "nor_conv_1x1"), ("nor_conv_3x3", "nor_conv_1x1"), ("avg_pool_3x3", "nor_conv_1x1")]


def share(first, second):
    """Share of the kept candidates of one that the other does not keep."""
    kept = [{(position, index) for position, row in enumerate(path) for index in row} for path in (first, second)]
    return len(kept[0] - kept[1]) / len(kept[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLINGS)
def test_every_sampling_trains_a_super_net(name, make_single_path, fit_single_path, tmp_path):
    search = make_single_path(space=SPACE, paths=SAMPLINGS[name])
    trainer = fit_single_path(search, batches=6, epochs=2, logger=CSVLogger(tmp_path), log_every_n_steps=1)
    assert search.measured[search.support] == max(search.measured.values())
    figures = {key: float(value) for key, value in trainer.callback_metrics.items() if key in FIGURES}
    assert set(figures) == set(FIGURES) <= set(search.logs(False))
    assert 0 < figures["paths/coverage"] <= 1
    if name == "pool":
        assert figures["paths/coverage"] <= 5 / 12


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pool", "size", *NOVELTY])
def test_a_resumed_run_draws_as_the_uninterrupted_one(name, make_single_path, fit_single_path, assert_same_run):
    def build(init=0):
        return make_single_path(init, space=SPACE, paths=SAMPLINGS[name])

    folder = fit_single_path(build(), epochs=3, batches=6, folder="whole").checkpoint_callback.dirpath
    torch.manual_seed(1234)
    fit_single_path(build(init=7), epochs=3, batches=6, folder="rest", ckpt_path=f"{folder}/epoch=1.ckpt")
    assert_same_run(f"{folder}/epoch=2.ckpt", f"{folder}/../rest/epoch=2.ckpt")


@pytest.mark.slow
def test_another_sampling_goes_on_from_a_checkpoint(make_single_path, fit_single_path, capsys):
    first = make_single_path(space=SPACE)
    kept = fit_single_path(first, epochs=1).checkpoint_callback.last_model_path
    other = make_single_path(space=SPACE, paths=PoolPaths(size=5))
    fit_single_path(other, epochs=2, folder="rest", ckpt_path=kept)
    assert "the checkpoint is of UniformPaths(untrained=()); PoolPaths(untrained=(), size=5) begin anew" in (
        capsys.readouterr().out
    )
    assert other._record.state_dict()["paths"] == 8


def test_checkpoints_of_earlier_versions_are_read(make_single_path, fit_single_path, tmp_path):
    fit_single_path(make_single_path(), epochs=1, batches=1)
    checkpoint = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    del checkpoint["search"]["paths"]
    search = make_single_path()
    search.on_load_checkpoint(checkpoint)
    assert search.batches == 1
    assert search._record.state_dict()["paths"] == 0
