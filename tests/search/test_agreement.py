"""Processes that found different architectures do not go on."""

from types import SimpleNamespace

import pytest
import torch

from sparsenas.errors import RecoveryError
from sparsenas.search.agreement import check_agreement

FIRST, SECOND = ((0, 1), (2, 3)), ((0, 1), (2, 4))


def trainer_beside(*others):
    """A trainer of one of several processes; gives their sums as a strategy does."""

    def reduce(mine, reduce_op):
        assert reduce_op == "sum"
        seen = []
        for support in others:
            alone = SimpleNamespace(reduce=lambda x, reduce_op: seen.append(x) or x, root_device=torch.device("cpu"))
            with pytest.raises(RecoveryError):  # as a sum of one process, of two
                check_agreement(SimpleNamespace(world_size=2, strategy=alone), support)
        return mine + sum(seen)

    strategy = SimpleNamespace(reduce=reduce, root_device=torch.device("cpu"))
    return SimpleNamespace(world_size=1 + len(others), strategy=strategy)


def test_equal_supports_go_on():
    check_agreement(trainer_beside(FIRST), FIRST)
    check_agreement(trainer_beside(SECOND, SECOND), SECOND)
    check_agreement(SimpleNamespace(world_size=1), FIRST)  # asks nobody


@pytest.mark.parametrize(("mine", "others"), [(FIRST, [SECOND]), (SECOND, [FIRST]), (FIRST, [FIRST, SECOND])])
def test_different_supports_end_the_run(mine, others):
    with pytest.raises(RecoveryError, match="processes have found different architectures"):
        check_agreement(trainer_beside(*others), mine)
