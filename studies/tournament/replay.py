"""Choices among the networks of the short trainings, replayed with a right, a reversed and no prior."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sparsenas.search.measured.history import Entrant, Measurement, scores
from sparsenas.search.measured.plan import Tournament
from sparsenas.search.measured.prior import read_prior
from sparsenas.search.measured.proposals import Proposer
from sparsenas.spaces import REFERENCES, StageSpace
from sparsenas.sparse_coding import GroupRegression
from studies.common import Row
from studies.text import Floats, groups
from studies.tournament.prior import SIDES

HERE = Path(__file__).parent
#: Others that could enter, of which three do; draws of them.
OTHERS, ENTER, DRAWS = 8, 3, 100
#: What is made of a prior.
SIGNS = {"learned on the other data sets": 1, "none": 0, "reversed": -1}


def choices(rows: Sequence[Row]) -> Iterator[tuple[str, str, float]]:
    """Prior, data set, and mean validation accuracy in percent at the end of the network that was chosen.

    References enter, and three of at most eight others that the prior names, or chance. Losses after a 24th of the
    seconds, MACs and what the prior expects choose, as at the second rung of a tournament.

    Args:
        rows: The short trainings.
    """
    rng = np.random.default_rng(0)
    for data, of in groups(rows, "data").items():
        prior = read_prior(str(HERE / "priors" / f"{data}.json"), StageSpace.name)
        proposer = Proposer(StageSpace(), SIDES[data], lambda genotype: True, prior, GroupRegression(), 0)
        expected = np.array([item.mean for item in proposer.expect([], [row["genotype"] for row in of])])
        references = [number for number, row in enumerate(of) if row["arm"] in REFERENCES]
        others = [number for number in range(len(of)) if number not in references]
        drawn = [rng.permutation(others)[:OTHERS].tolist() for _ in range(DRAWS)]
        for name, sign in SIGNS.items():
            found = []
            for numbers in drawn:
                named = sorted(numbers, key=lambda number: -sign * expected[number])[:ENTER]
                found.append(_chosen(of, [*references, *named], sign * expected))
            yield name, data, 100 * float(np.mean(found))


def _chosen(rows: Sequence[Row], entrants: Sequence[int], expected: Floats) -> float:
    """Validation accuracy at the end of the entrant that is chosen early."""
    options, measured = Tournament(), []
    for place, number in enumerate(entrants):
        row = rows[number]
        beyond = options.beyond(1, int(float(row["macs"])), float(expected[number]))
        entrant = Entrant(place, row["genotype"], row["arm"])
        measured.append(Measurement(entrant, 1, (float(row["loss 0.042"]),), 0.0, 1.0, 1.0, *beyond))
    return float(rows[entrants[int(scores(measured).argmax())]]["accuracy 1.000"])
