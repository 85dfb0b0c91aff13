"""Searches over the spaces of benchmarks: a cell as one block, a chain of blocks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning.loggers import CSVLogger

from sparsenas.callbacks import CellFigures, GenotypeFile, SupportMonitor
from sparsenas.complexity import candidate_costs, count_parameters
from sparsenas.errors import ConfigError, RecoveryError
from sparsenas.networks import NetworkConfig, fold
from sparsenas.search import (
    Budget,
    CompressedArchitecture,
    FullGradient,
    OneStageSearch,
    PairedLosses,
    Phases,
    SparseRecovery,
    SupportGradient,
    TwoStageSearch,
)
from sparsenas.spaces import (
    Genotype,
    NasBench201Space,
    NasBenchMacroSpace,
    ProxylessSpace,
    StageSpace,
    WeightSharing64Space,
)
from sparsenas.sparse_coding import ExactSolver
from sparsenas.training import WeightTraining

NB201, WS64, MACRO = NasBench201Space(), WeightSharing64Space(), NasBenchMacroSpace()
#: Space, a tiny network, compressed size.
ROWS = {
    "nasbench201": (NB201, NetworkConfig(channels=4, cells=2), 12),
    "weight_sharing64": (WS64, NetworkConfig(channels=4, cells=2), 6),
    "nasbench_macro": (MACRO, NetworkConfig(channels=6, cells=8), 3),
    "stage": (StageSpace(stages=2, layers=2, growths=[1.5]), NetworkConfig(channels=4, cells=None), 8),
    "proxyless": (ProxylessSpace(), NetworkConfig(channels=2, cells=None), 3),
}


def two_stage(space, network, m, side=8, **options):
    torch.manual_seed(0)
    in_a_row = isinstance(space, StageSpace | ProxylessSpace | NasBenchMacroSpace)
    recovery = SparseRecovery(compressed_size=m, every_n_steps=2, unit_weights=in_a_row)
    return TwoStageSearch((1, side, side), 10, space, network, recovery=recovery, **options)


SIGNALS = FullGradient(every=1), PairedLosses(), SupportGradient()


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", ["nasbench201", "weight_sharing64", "stage"])
def test_two_stage(name, signal, fit, listener, tmp_path):
    space, network, m = ROWS[name]
    search = two_stage(space, network, m, signal=signal)
    start = search.architecture.b.detach().clone()
    callbacks = (listener, GenotypeFile(), CellFigures(every_n_epochs=1), SupportMonitor())
    trainer = fit(search, *callbacks, batches=4, epochs=1, logger=CSVLogger(str(tmp_path)), log_every_n_steps=1)
    assert len(listener.reports) == 3
    assert not torch.equal(start, search.architecture.b)
    space.validate(search.genotype)
    assert Genotype.load(Path(trainer.log_dir, "genotype.json")) == search.genotype
    assert f"residual/{space.cell_types[0]}" in Path(trainer.log_dir, "metrics.csv").read_text()
    derived = search.network.derive(search.genotype)
    assert derived(torch.randn(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(("name", "side"), [("nasbench_macro", 16), ("proxyless", 64)])
def test_a_chain_is_searched_on_its_smallest_images(name, side):
    space, network, m = ROWS[name]
    with pytest.raises(ConfigError, match=f"images of at least {side}x{side}"):
        two_stage(space, network, m)
    search = two_stage(space, network, m, side=side)
    images, labels = torch.randn(4, 1, side, side), torch.tensor([0, 1, 2, 3])
    for signal in SIGNALS:
        step = signal.step(
            search.architecture,
            search.network,
            images,
            lambda logits: torch.nn.functional.cross_entropy(logits, labels),
            np.random.default_rng(0),
        )
        assert step.gradient.shape == search.architecture.b.shape == (len(space.blocks), m)
        assert torch.isfinite(step.gradient).all()
        assert step.gradient.abs().sum() > 0
    space.validate(search.genotype)


@pytest.mark.parametrize("name", ["nasbench201", "stage"])
def test_weights_that_are_scaled_are_so_at_any_support(name):
    """Gradients are taken there: in a chain, products of weights made them, and ``b``, grow without bound."""
    space, _, m = ROWS[name]
    recovery = SparseRecovery(compressed_size=m, unit_weights=True)
    architecture = CompressedArchitecture(space, recovery, torch.Generator().manual_seed(0))
    with torch.no_grad():
        architecture.b.mul_(100)
    architecture.recover()
    rng = np.random.default_rng(0)
    for support in (architecture.support, *(space.sample_support(rng) for _ in range(5))):
        weights = architecture.weights_at(support)
        torch.testing.assert_close(weights.norm(dim=1), torch.ones(len(space.blocks)))
        if support == architecture.support:
            torch.testing.assert_close(weights, architecture.weights().detach())
    if name == "stage":
        assert (weights == 1).all()


@pytest.mark.parametrize("name", ROWS)
def test_every_edge_keeps_one_candidate_whatever_b(name):
    space, _, m = ROWS[name]
    architecture = CompressedArchitecture(space, SparseRecovery(compressed_size=m), torch.Generator().manual_seed(0))
    for seed in range(5):
        with torch.no_grad():
            architecture.b.copy_(torch.randn(architecture.b.shape, generator=torch.Generator().manual_seed(seed)))
        architecture.recover()
        genotype = space.genotype(architecture.support)
        space.validate(genotype)
        assert space.support(genotype) == architecture.support


def test_the_compressed_size_must_tell_codes_apart():
    with pytest.raises(RecoveryError, match="codes with 6 non-zeros cannot be told apart below 12"):
        two_stage(NB201, ROWS["nasbench201"][1], 8)


def test_forbidden_primitives_and_budgets_of_a_whole_cell():
    space, network, m = ROWS["nasbench201"]
    free = two_stage(space, network, m)
    costs = candidate_costs(free.network)
    limit = costs.base_parameters + 2 * max(costs.parameters[0])
    budget = Budget(forbidden=("none",), max_per_cell={"normal": {"skip_connect": 1}}, max_params=float(limit))
    search = two_stage(space, network, m, budget=budget)
    primitives = [c.primitive for c in search.genotype.cell("normal")]
    assert "none" not in primitives
    assert primitives.count("skip_connect") <= 1
    assert count_parameters(search.network.derive(search.genotype)) <= limit
    rng = np.random.default_rng(0)
    drawn = [space.genotype(search.architecture.draw(rng)) for _ in range(50)]
    assert not any(c.primitive == "none" for genotype in drawn for c in genotype.cell("normal"))


@pytest.mark.parametrize("name", ["nasbench201", "weight_sharing64", "stage"])
def test_one_stage(name, fit_one_stage):
    space, network, m = ROWS[name]
    torch.manual_seed(0)
    recovery = SparseRecovery(
        ExactSolver(nonnegative=True), compressed_size=m, every_n_steps=2, unit_weights=name == "stage"
    )
    search = OneStageSearch((1, 8, 8), 10, space, network, WeightTraining(), recovery=recovery, phases=Phases(1))
    fit_one_stage(search, epochs=2)
    found = search.deployable()
    images = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(found(images), search.eval()(images), rtol=1e-4, atol=1e-4)
    assert found.genotype == search.genotype


def test_one_stage_folds_edges_that_are_nothing():
    space, network, m = ROWS["nasbench201"]
    recovery = SparseRecovery(compressed_size=m)
    search = OneStageSearch((1, 8, 8), 10, space, network, WeightTraining(), recovery=recovery, phases=Phases(1))
    text = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|skip_connect~2|"
    support, weights = space.support(space.from_string(text)), torch.randn(1, 6)
    images = torch.randn(2, 1, 8, 8)
    supernet = search.network.eval()
    torch.testing.assert_close(fold(supernet, support, weights)(images), supernet(images, support, weights))


def test_layers_of_stages_take_no_weights_but_one():
    space, network, m = ROWS["stage"]
    recovery = SparseRecovery(compressed_size=m)
    for searcher in (OneStageSearch, TwoStageSearch):
        with pytest.raises(ConfigError, match=r"recovery.unit_weights is false, but .* of 1 only: set it to true"):
            searcher((1, 8, 8), 10, space, network, WeightTraining(drop_path=0.0), recovery=recovery)


def test_a_chain_has_nothing_to_fold_into():
    with pytest.raises(ConfigError, match="mb3_k3 on edge 1->2 does not end in a batch-norm"):
        OneStageSearch(
            (1, 16, 16),
            10,
            MACRO,
            NetworkConfig(channels=6, cells=8),
            WeightTraining(),
            recovery=SparseRecovery(compressed_size=3),
        )
