"""Rules that exclude each other: what the message says, against trying every selection and every set of rules."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from sparsenas.errors import RecoveryError
from sparsenas.sparse_coding import Cap, Constraints, CostLimit, RecoveryProblem, make_dictionary

ALONE = re.compile(
    r"^(?P<name>rule \d) is (?P<limit>\S+), but the smallest value that can be reached is (?P<least>\S+)$"
)
TOGETHER = re.compile(
    r"^(?P<name>rule \d) is (?P<limit>\S+), which cannot be met together with (?P<others>.+): "
    r"with (?P<scope>all other rules|these) kept, the smallest value that can be reached is (?P<least>[^\s;]+)"
    r"(?P<more>; other rules exclude each other as well)?$"
)


class RandomRules:
    """Two to five tight rules over two blocks, and what every joint selection uses of them."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.s, self.sizes = int(rng.integers(1, 3)), (4, 5)
        self.rules = [self.rule(rng, f"rule {i}") for i in range(rng.integers(2, 6))]
        pairs = itertools.product(*(itertools.combinations(range(n), self.s) for n in self.sizes))
        self.use = np.array([[self.value(rule, pair) for rule in self.rules] for pair in pairs])

    def rule(self, rng, name):
        blocks = ((0,), (1,), (0, 1))[rng.integers(3)]
        if rng.random() < 0.4:
            members = tuple(tuple(i for i in range(n) if rng.random() < 0.6) for n in self.sizes)
            return Cap(members, int(rng.integers(0, 2)), blocks, name)
        draw = rng.integers(0, 9, size=9) if rng.random() < 0.5 else rng.uniform(-1, 8, size=9)
        costs = tuple(map(float, draw))
        fixed = float(rng.integers(0, 2) * 1_000_000)
        return CostLimit((costs[:4], costs[4:]), fixed + float(rng.integers(0, 7)) * len(blocks), blocks, name, fixed)

    def value(self, rule, pair):
        kept = [(block, index) for block in rule.blocks for index in pair[block]]
        if isinstance(rule, Cap):
            return sum(index in rule.members[block] for block, index in kept)
        return sum(rule.costs[block][index] for block, index in kept) + rule.fixed

    def problem(self, rules):
        dictionary = make_dictionary("gaussian", self.sizes, 4, torch.Generator().manual_seed(0))
        caps = tuple(rule for rule in rules if isinstance(rule, Cap))
        limits = tuple(rule for rule in rules if isinstance(rule, CostLimit))
        return RecoveryProblem(dictionary, self.sizes, self.s, Constraints(caps=caps, limits=limits))

    def meeting(self, indices):
        """Uses of all selections that meet some of the rules."""
        limits = np.array(
            [rule.at_most + 1e-9 * abs(rule.at_most) * isinstance(rule, CostLimit) for rule in self.rules]
        )
        kept = list(indices)
        return self.use[(self.use[:, kept] <= limits[kept]).all(1)]

    def feasible(self, indices):
        return len(self.meeting(indices)) > 0

    def room(self, index):
        at_most = self.rules[index].at_most
        return (at_most - self.use[:, index].min()) / (abs(at_most) or 1.0)


@pytest.mark.slow
def test_messages_name_the_tightest_rule_and_the_value_it_needs():
    kinds = {"met": 0, "alone": 0, "all other rules": 0, "these": 0}
    for seed in range(600):
        case = RandomRules(seed)
        everything = set(range(len(case.rules)))
        if case.feasible(everything):
            case.problem(case.rules)
            kinds["met"] += 1
            continue
        with pytest.raises(RecoveryError) as caught:
            case.problem(case.rules)
        kinds[check_message(case, everything, str(caught.value))] += 1
    assert min(kinds.values()) >= 5, kinds


def check_message(case, everything, text):
    """Compare a message with brute force; returns its kind."""
    found = ALONE.match(text) or TOGETHER.match(text)
    assert found, text
    index = int(found["name"][-1])
    assert float(found["limit"]) == pytest.approx(case.rules[index].at_most, rel=1e-9)
    unreachable = {i for i in everything if not case.feasible([i])}
    if found.re is ALONE:
        assert index in unreachable
        assert float(found["least"]) == pytest.approx(case.use[:, index].min(), rel=1e-9)
        return "alone"
    assert not unreachable
    conflict = {index} | {int(i) for i in re.findall(r"rule (\d) \(", found["others"])}
    assert not case.feasible(conflict)
    assert all(case.feasible(conflict - {i}) for i in conflict)
    sufficient = {i for i in everything if case.feasible(everything - {i})}
    assert (found["scope"] == "all other rules") == bool(sufficient) == (not found["more"])
    assert case.room(index) == min(case.room(i) for i in sufficient or conflict)
    others = (everything if sufficient else conflict) - {index}
    assert float(found["least"]) == pytest.approx(case.meeting(others)[:, index].min(), rel=1e-9)
    if sufficient:  # the value in the message works
        loosened = [
            replace(rule, at_most=float(found["least"])) if i == index else rule for i, rule in enumerate(case.rules)
        ]
        case.problem(loosened)
    return found["scope"]


def test_wording():
    """Left and right candidates of a block exclude each other."""
    left, right = Cap(((0, 1),), 0, (0,), "left"), CostLimit(((0.0, 0.0, 5.0, 6.0),), 103.0, (0,), "right", 100.0)
    dictionary = make_dictionary("gaussian", (4,), 2, torch.Generator().manual_seed(0))
    with pytest.raises(RecoveryError) as caught:
        RecoveryProblem(dictionary, (4,), 1, Constraints(caps=(left,), limits=(right,)))
    assert str(caught.value) == (
        "left is 0, which cannot be met together with right (103): with all other rules kept, the smallest value that "
        "can be reached is 1"
    )
