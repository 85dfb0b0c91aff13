"""Conflicts between caps and limits: the tightest rule, and the smallest value that it would have to allow."""

from collections.abc import Sequence

import numpy as np

from sparsenas.errors import RecoveryError
from sparsenas.sparse_coding.constraints import Cap, CostLimit
from sparsenas.sparse_coding.selection import JointRules, JointSelector


def check_joint(rules: JointRules, named: Sequence[Cap | CostLimit]) -> None:
    """Raise a ``RecoveryError`` unless each cap and limit alone, and all of them together, can be met.

    If they exclude each other, the error names the tightest rule: the one without which all others can be met. Of
    several such it is the one with the least room above its own smallest value, relative to ``at_most``. The message
    lists a minimal conflict and the smallest value that the rule could have. If leaving out one rule is never enough,
    it speaks of a minimal conflict alone. ``named`` are the rules in the order of ``rules``.
    """
    smallest = sum(use.min(0) for use in rules.use)
    for index, rule in enumerate(named):
        if smallest[index] > rules.allowance[index] + rules.slack[index]:
            raise RecoveryError(
                f"{rule.name} is {_number(rule.at_most)}, but the smallest value that can be reached is "
                + _counted(rule, smallest[index])
                + _advice(rule)
            )
    everything = range(len(named))
    if _feasible(rules, everything):
        return
    conflict = _minimal_conflict(rules, everything)
    sufficient = [index for index in conflict if _feasible(rules, _without(everything, index))]
    room = (rules.allowance - smallest) / np.array([abs(rule.at_most) or 1.0 for rule in named])
    tightest = min(sufficient or conflict, key=lambda index: float(room[index]))
    least = _least(rules, tightest, _without(everything if sufficient else conflict, tightest))
    rule, others = named[tightest], [named[index] for index in _without(conflict, tightest)]
    raise RecoveryError(
        f"{rule.name} is {_number(rule.at_most)}, which cannot be met together with "
        + ", ".join(f"{other.name} ({_number(other.at_most)})" for other in others)
        + f": with {'all other rules' if sufficient else 'these'} kept, the smallest value that can be reached is "
        + _counted(rule, least)
        + ("" if sufficient else "; other rules exclude each other as well")
        + _advice(rule)
    )


def _feasible(rules: JointRules, kept: Sequence[int]) -> bool:
    return JointSelector(rules.only(kept)).feasible()


def _without(indices: Sequence[int], left_out: int) -> list[int]:
    return [index for index in indices if index != left_out]


def _minimal_conflict(rules: JointRules, indices: Sequence[int]) -> list[int]:
    """Return rules that exclude each other, while any one of them can be left out to meet the rest."""
    conflict = list(indices)
    for index in indices:
        rest = _without(conflict, index)
        if not _feasible(rules, rest):
            conflict = rest
    return conflict


def _least(rules: JointRules, index: int, others: Sequence[int]) -> float:
    """Compute the smallest use of one rule among the selections that meet the others."""
    chosen = JointSelector(rules.only(others)).best([-use[:, index] for use in rules.use])
    assert chosen is not None, "the others can be met"
    return float(sum(use[row, index] for use, row in zip(rules.use, chosen, strict=True)))


def _counted(rule: Cap | CostLimit, use: float) -> str:
    """Format a use as the user counts it."""
    return _number(float(use) + (rule.fixed if isinstance(rule, CostLimit) else 0.0))


def _advice(rule: Cap | CostLimit) -> str:
    return f"; {rule.advice}" if isinstance(rule, CostLimit) and rule.advice else ""


def _number(value: float) -> str:
    """Format without exponent, with so many digits that the number read back is within the slack of limits."""
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.10g}"
