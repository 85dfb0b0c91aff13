"""Settling rules against their definitions, and what a settled block may still do."""

import pytest
import torch

from sparsenas.errors import ConfigError
from sparsenas.search import AbsoluteChange, Budget, StableSupport
from sparsenas.sparse_coding import Certificate, Recovery


def recovery(codes, dense=None):
    code = torch.tensor(codes, dtype=torch.float64)
    support = code.abs().topk(2, dim=1).indices.sort(1).values
    nothing = torch.zeros(len(code))
    certificate = Certificate(nothing, nothing, "exact", nothing, nothing, nothing)
    return Recovery(code, support, certificate, code if dense is None else torch.tensor(dense, dtype=torch.float64))


def test_stable_support_asks_for_the_same_support_and_a_small_relative_change():
    before = recovery([[3.0, 4.0, 0.0]] * 4)
    after = recovery([[3.0, 4.0, 0.0], [3.0, 4.5, 0.0], [3.0, 4.6, 0.0], [3.0, 0.0, 4.0]])
    # relative changes 0, 0.1, 0.12, and another support
    assert StableSupport(tolerance=0.1).calm(before, after).tolist() == [True, True, False, False]


def test_absolute_change_reads_the_code_before_truncation():
    before = recovery([[1.0, 1.0, 0.0]] * 3, [[1.0, 1.0, 0.5]] * 3)
    after = recovery([[1.0, 1.0, 0.0]] * 3, [[1.0, 1.0, 0.5], [1.0, 1.0, 0.5009], [1.0, 1.0, 0.502]])
    assert AbsoluteChange(tolerance=1e-3).calm(before, after).tolist() == [True, True, False]


@pytest.mark.parametrize("rule", [StableSupport, AbsoluteChange])
@pytest.mark.parametrize("option", [{"patience": 0}, {"tolerance": -0.1}, {"tolerance": float("nan")}])
def test_numbers_out_of_range(rule, option):
    with pytest.raises(ConfigError, match=r"settling: patience=.*need patience >= 1, tolerance >= 0"):
        rule(**option)


class TestSettledBlocks:
    @pytest.mark.parametrize("budget", [Budget(), Budget(max_per_cell={"normal": {"skip_connect": 1}})])
    def test_keep_support_code_and_b(self, make_architecture, budget):
        architecture = make_architecture(budget=budget)
        first, code, b = architecture.support[0], architecture.code[0].clone(), architecture.b[0].clone()
        architecture.settle(torch.tensor([True, False, False, False]))
        optimizer = torch.optim.Adam([architecture.b], lr=0.5, weight_decay=0.1)
        generator, visited = torch.Generator().manual_seed(3), set()
        for _ in range(20):
            architecture.b.grad = torch.randn(architecture.b.shape, generator=generator)
            architecture.optimize(optimizer.step)
            architecture.recover()
            visited.add(architecture.support)
            assert architecture.support[0] == first
            assert torch.equal(architecture.code[0], code)
            assert torch.equal(architecture.b[0], b)
        assert len(visited) > 5

    def test_leave_their_share_of_a_cap_used(self, make_architecture):
        skip = 1  # candidates of the fixtures' space: pool, skip, separable, dilated
        architecture = make_architecture(budget=Budget(max_per_cell={"normal": {"skip_connect": 1}}))
        while not any(index % 4 == skip for index in architecture.support[0]):
            with torch.no_grad():
                architecture.b.normal_()
            architecture.recover()
        architecture.settle(torch.tensor([True, False, False, False]))
        for _ in range(30):
            with torch.no_grad():
                architecture.b[1:].normal_()
            architecture.recover()
            assert not any(index % 4 == skip for index in architecture.support[1])

    def test_survive_a_reload(self, make_architecture):
        architecture, other = make_architecture(seed=0), make_architecture(seed=1)
        architecture.settle(torch.tensor([False, True, False, True]))
        other.load_state_dict(architecture.state_dict())
        with torch.no_grad():
            other.b.normal_()
        other.recover()
        assert [other.support[i] == architecture.support[i] for i in (1, 3)] == [True, True]
        assert torch.equal(other.code[[1, 3]], architecture.code[[1, 3]])
