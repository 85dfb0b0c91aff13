"""Single-path search: what a batch trains, what is measured, and what is kept."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.nn import functional

from sparsenas.complexity import candidate_costs
from sparsenas.errors import ConfigError
from sparsenas.networks import NetworkConfig, NormOptions, SuperNet, WeightMapping
from sparsenas.search import (
    BestOf,
    Budget,
    FairPaths,
    RegularizedEvolution,
    SinglePathSearch,
    UniformPaths,
    UniquePaths,
)
from sparsenas.search.baselines.paths import union
from sparsenas.spaces import DartsSpace, NasBench201Space, NasBenchMacroSpace, StageSpace, WeightSharing64Space
from sparsenas.training import WeightTraining

SPACES = {
    "darts": DartsSpace(nodes=2, primitives=("avg_pool_3x3", "skip_connect", "sep_conv_3x3")),
    "nasbench201": NasBench201Space(),
    "stage": StageSpace(stages=2, layers=2, types=["conv_3x3", "residual_3x3"], growths=[1.5]),
}


@pytest.fixture(params=SPACES)
def any_space(request):
    return SPACES[request.param]


def members(space):
    return {(block.cell, c) for block in space.blocks for c in block.candidates}


@pytest.mark.parametrize("sampling", [UniformPaths(), FairPaths()])
def test_paths_belong_to_the_space(sampling, any_space):
    rng = np.random.default_rng(0)
    for _ in range(20):
        for path in sampling.paths(any_space, rng):
            assert any_space.support(any_space.genotype(path)) == path


def test_uniform_paths_are_uniform():
    space = WeightSharing64Space()
    rng = np.random.default_rng(0)
    counts = Counter(UniformPaths().paths(space, rng)[0] for _ in range(6400))
    assert len(counts) == 64
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 120  # chi-squared, 63 degrees of freedom


@pytest.mark.slow
def test_unique_paths_draw_every_network_alike():
    space = NasBench201Space()
    rng = np.random.default_rng(0)
    draws = 4000
    drawn = [UniquePaths().paths(space, rng)[0] for _ in range(draws)]
    classes = {space.isomorphism(space.genotype(path)) for path in drawn}
    assert len(set(drawn)) == len(classes)  # one encoding of each
    expected = 6466 * (1 - np.exp(-draws / 6466))  # distinct ones among uniform draws from 6,466
    assert len(classes) == pytest.approx(expected, rel=0.03)
    uniform = {space.isomorphism(space.genotype(UniformPaths().paths(space, rng)[0])) for _ in range(draws)}
    assert len(uniform) < 0.9 * expected  # encodings repeat networks


def test_unique_paths_need_a_space_that_knows_equivalence(make_single_path):
    with pytest.raises(ConfigError, match=r"UniquePaths needs a space that knows equivalent cells.*, not darts"):
        make_single_path(paths=UniquePaths())


def test_fair_paths_run_every_primitive_of_every_edge_once(any_space):
    paths = FairPaths().paths(any_space, np.random.default_rng(0))
    sizes = [block.primitives_per_edge for block in any_space.blocks]
    assert len(paths) == max(sizes)
    for position, size in enumerate(sizes):
        ran = Counter(i for path in paths for i in path[position])
        assert len(ran) == any_space.inputs_per_node * size
        assert max(ran.values()) - min(ran.values()) <= 1
        assert size < max(sizes) or set(ran.values()) == {1}


@pytest.mark.parametrize("name", ["darts", "nasbench201"])  # elsewhere some operations run in several paths
def test_fair_step_is_one_gradient_contribution_of_every_operation(name, make_single_path, batch):
    """The gradient of an operation in the summed step is that of the one path which holds it."""
    space = SPACES[name]
    search = make_single_path(space=space, paths=FairPaths())
    paths = search.paths.paths(space, np.random.default_rng(0))
    network: SuperNet = search.network
    for loss in search._losses(batch, paths):
        loss.backward()
    summed = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    alone = {}
    for path in paths:
        network.zero_grad()
        functional.cross_entropy(network(batch[0], path), batch[1]).backward()
        for name, p in network.named_parameters():
            if p.grad is not None and ".operations." in name:
                assert name not in alone
                alone[name] = p.grad.clone()
    operations = {name for name in summed if ".operations." in name}
    assert operations == alone.keys()
    for name in operations:
        torch.testing.assert_close(summed[name], alone[name], rtol=1e-4, atol=1e-6)
    held = {p for kept in [union(paths)] for p in network.active_parameters(kept)}
    assert {network.get_parameter(name) for name in summed} == held


def test_untrained_primitives_are_in_no_path_but_can_be_found():
    space = NasBench201Space()
    rng = np.random.default_rng(0)
    for kind in (UniformPaths, UniquePaths, FairPaths):
        for path in kind(untrained=("none",)).paths(space, rng):
            assert "none" not in {c.primitive for c in space.genotype(path).cell("normal")}
    drawn = BestOf(50).measure(space, lambda support: 0.0, rng)
    assert any("none" in {c.primitive for c in space.genotype(support).cell("normal")} for support in drawn)
    with pytest.raises(ConfigError, match=r"paths\.untrained is .*; that leaves nothing to train on an edge of"):
        UniformPaths(untrained=space.primitives).paths(space, rng)


def test_only_the_drawn_path_moves(make_single_path, fit_single_path):
    drawn = []

    class Remember(UniformPaths):
        def paths(self, space, rng):
            drawn.extend(super().paths(space, rng))
            return (drawn[-1],)

    search = make_single_path(paths=Remember())
    before = {name: p.detach().clone() for name, p in search.network.named_parameters()}
    fit_single_path(search, batches=1, epochs=1)
    active = set(search.network.active_parameters(drawn[-1]))
    for name, p in search.network.named_parameters():
        assert torch.equal(p, before[name]) == (p not in active), name


def test_a_run_keeps_the_best_measured(any_space, make_single_path, fit_single_path, listener):
    search = make_single_path(space=any_space)
    fit_single_path(search, listener, batches=3, epochs=2)
    assert len(search.measured) == 5
    assert search.measured[search.support] == max(search.measured.values())
    assert [report.count for report in listener.reports] == [1]
    assert listener.reports[-1].genotype == search.genotype
    search.network.eval()
    assert search.score(search.support) == pytest.approx(search.measured[search.support], abs=1e-6)


def test_measurements_survive_a_checkpoint(make_single_path, fit_single_path, tmp_path):
    search = make_single_path()
    fit_single_path(search, batches=3, epochs=1)
    restored = make_single_path(init=1)
    restored.on_load_checkpoint(torch.load(tmp_path / "run" / "last.ckpt", weights_only=True))
    assert restored.measured == search.measured
    assert restored.support == search.support


@pytest.mark.slow
def test_budgets_hold_for_what_is_kept(make_single_path):
    search = make_single_path()
    rng = np.random.default_rng(0)
    search.measured = {search.space.sample_support(rng): float(i) for i in range(40)}

    def skips(support):
        return sum(c.primitive == "skip_connect" for c in search.space.genotype(support).cell("normal"))

    costs = candidate_costs(search.network)

    def decide(**budget):
        return search.decide(Budget(**budget).constraints(search.space, costs))

    found = decide(max_per_cell={"normal": {"skip_connect": 1}})
    allowed = {support: score for support, score in search.measured.items() if skips(support) <= 1}
    assert 0 < len(allowed) < len(search.measured)
    assert found == max(allowed, key=allowed.__getitem__)
    sizes = {s: sum(p.numel() for p in search.network.derive(search.space.genotype(s)).parameters()) for s in allowed}
    limit = sorted(sizes.values())[len(sizes) // 2]
    found = decide(max_params=limit)
    small = [s for s in search.measured if count(search, s) <= limit]
    assert found == max(small, key=search.measured.__getitem__)
    with pytest.raises(ConfigError, match="none of the 40 measured architectures meets the rules"):
        decide(max_params=min(count(search, s) for s in search.measured) - 1)


def test_before_the_end_nothing_can_be_decided(make_single_path):
    with pytest.raises(ConfigError, match="nothing has been measured yet: let the search run to its end"):
        make_single_path().decide()


def count(search, support):
    return sum(p.numel() for p in search.network.derive(search.space.genotype(support)).parameters())


MAPPINGS = {
    "dropout": WeightMapping(dropout=0.3),
    "sets": WeightMapping(norm_sets="inputs"),
    "centre": WeightMapping(kernels="centre"),
    "matrix": WeightMapping(kernels="matrix"),
    "node": WeightMapping(operations="node"),
    "everything": WeightMapping("node", "matrix", "inputs", 0.3),
}


@pytest.mark.parametrize("sampling", [UniformPaths(), UniquePaths(), FairPaths()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("mapping", MAPPINGS.values(), ids=MAPPINGS)
def test_every_mapping_trains_with_every_sampling(mapping, sampling, make_single_path, batch):
    """What a summed step gives a gradient is what the optimizer sees, each once."""
    norms = NormOptions(append="pools_and_skips")
    search = make_single_path(space=NasBench201Space(), norms=norms, mapping=mapping, paths=sampling)
    paths = search.paths.paths(search.space, np.random.default_rng(0))
    for loss in search._losses(batch, paths):
        loss.backward()
    moved = {p for p in search.network.parameters() if p.grad is not None}
    active = search.network.active_parameters(union(paths))
    assert len(set(active)) == len(active)
    assert moved <= set(active)
    ran = {p for path in paths for p in search.network.active_parameters(path)}
    assert set(active) - moved <= ran  # batch-norms of other input configurations, which have no gradient
    assert mapping.norm_sets == "inputs" or moved == set(active)


def test_paths_drop_more_in_later_cells_and_batches(make_single_path, fit_single_path, monkeypatch):
    search, asked = make_single_path(space=NasBench201Space(), training=WeightTraining(drop_path=0.4)), []
    run = search.network.run

    def watched(images, wirings, drop_path_probability=0.0, trace=None):
        if search.network.training:
            asked.append(drop_path_probability)
        return run(images, wirings, drop_path_probability, trace)

    monkeypatch.setattr(search.network, "run", watched)
    fit_single_path(search, batches=3, epochs=2)
    assert len(asked) == 6
    for t, rates in enumerate(asked):
        assert rates == pytest.approx([0.4 * (depth + 1) / 3 * (t + 1) / 6 for depth in range(3)])
    other = make_single_path()
    assert other.drop_rates(1.0) == 0.0


@pytest.mark.slow
def test_what_is_dropped_survives_a_resume(make_single_path, fit_single_path, assert_same_run):
    def build(init=0):
        space, mapping = NasBench201Space(), WeightMapping("edge", "matrix", "inputs", dropout=0.3)
        norms = NormOptions(append="pools_and_skips")
        training = WeightTraining(drop_path=0.4)
        return make_single_path(init, space=space, mapping=mapping, norms=norms, training=training)

    folder = fit_single_path(build(), epochs=3, batches=3, folder="whole").checkpoint_callback.dirpath
    torch.manual_seed(1234)
    fit_single_path(build(init=7), epochs=3, batches=3, folder="rest", ckpt_path=f"{folder}/epoch=1.ckpt")
    assert_same_run(f"{folder}/epoch=2.ckpt", f"{folder}/../rest/epoch=2.ckpt")


def test_a_chain_cannot_drop_its_only_path(make_single_path):
    with pytest.raises(ConfigError, match=r"training\.drop_path is 0\.1, but every layer .* the only way through"):
        SinglePathSearch((1, 16, 16), 10, NasBenchMacroSpace(), NetworkConfig(6, 8), WeightTraining(drop_path=0.1))


def test_evolution_finds_the_optimum_of_an_additive_score():
    space = WeightSharing64Space()
    rng = np.random.default_rng(0)
    value = rng.normal(size=12)

    def score(support):
        return float(value[list(support[0])].sum())

    measured = RegularizedEvolution(evaluations=300, population=10, tournament=5).measure(space, score, rng)
    everything = BestOf(64).measure(space, score, rng)
    assert len(everything) == 64
    assert max(measured.values()) == max(everything.values())
    assert len(measured) <= 64


def test_evolution_keeps_its_population_young():
    """With a score that always falls, the parents are drawn from the newest members only."""
    space, clock = NasBench201Space(), iter(range(10_000))
    measured = RegularizedEvolution(60, 10, 10).measure(space, lambda s: float(next(clock)), np.random.default_rng(0))
    supports = list(measured)
    for child in supports[20:]:
        parents = [s for s in supports[: supports.index(child)] if len(set(s[0]) - set(child[0])) == 1]
        assert parents  # one edge differs


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BestOf(0), "selection.count is 0; measure at least 1"),
        (lambda: RegularizedEvolution(10, 20, 5), "need 1 <= tournament <= population <= evaluations"),
        (lambda: SinglePathSearch((1, 8, 8), 10, measure_batches=0), "measure_batches is 0"),
        (lambda: WeightTraining(drop_path=1.0), r"drop_path=1\.0; both lie in \[0, 1\)"),
        (
            lambda: SinglePathSearch((1, 8, 8), 10, training=WeightTraining(auxiliary_weight=0.4)),
            r"training\.auxiliary_weight is 0\.4, which SinglePathSearch does not use: set it to 0",
        ),
    ],
)
def test_mistakes_are_explained(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
