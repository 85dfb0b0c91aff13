"""Tables of several rankings of the same items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from sparsenas.errors import RankingError
from sparsenas.ranking.correlation import kendall_tau, percentile, sparse_kendall_tau, spearman
from sparsenas.ranking.intervals import Interval, bootstrap_interval
from sparsenas.ranking.top import surpass_random, top_mean, top_rank
from sparsenas.ranking.vectors import vector


@dataclass(frozen=True)
class Row:
    """Figures of one ranking.

    Attributes:
        name: Name of the ranking.
        tau: Kendall's tau-b with truth.
        tau_interval: Its bootstrap interval over items, 95 %; None without resamples.
        sparse_tau: See :func:`sparse_kendall_tau`.
        spearman: Spearman's correlation with truth.
        chosen: Truth of the item of highest score; the mean, where several have it.
        percentile: Percentile of that item in the population; the mean, where several have the highest score.
        top_mean: Mean truth of the ``n`` best.
        top_rank: Best true rank among the ``n`` best.
        surpass_random: Chance that none of ``n`` uniform draws is better than the best of them.
    """

    name: str
    tau: float
    tau_interval: Interval | None
    sparse_tau: float
    spearman: float
    chosen: float
    percentile: float
    top_mean: float
    top_rank: float
    surpass_random: float


def comparison(
    scores: Mapping[str, ArrayLike],
    truth: ArrayLike,
    width: float,
    n: int = 10,
    population: ArrayLike | None = None,
    resamples: int = 1000,
) -> tuple[Row, ...]:
    """Compute the figures of several rankings of the same items, one row each, in the order given.

    Under a cap, give the feasible items only. Then the row ``parameters`` chooses a random cell of most parameters.

    Args:
        scores: Scores of shape ``(R,)`` by name, higher is better; add :func:`trivial_scores`.
        truth: Shape ``(R,)``.
        width: Width of the bins of :func:`sparse_kendall_tau`, in the unit of truth.
        n: Number of items that a search keeps.
        population: Truth of all feasible items, if ``scores`` are of a part only; ranks and percentiles are among them.
        resamples: Draws of the bootstrap; 0 for no intervals.

    Raises:
        RankingError: Naming the row that cannot be computed, and why.
    """
    exact = vector(truth, "truth", at_least=2)
    everything = exact if population is None else vector(population, "population")
    percentiles = percentile(exact, everything)
    rows = []
    for name, values in scores.items():
        try:
            interval = bootstrap_interval(kendall_tau, values, exact, resamples=resamples) if resamples else None
            rows.append(
                Row(
                    name,
                    kendall_tau(values, exact),
                    interval,
                    sparse_kendall_tau(values, exact, width),
                    spearman(values, exact),
                    top_mean(values, exact),
                    top_mean(values, percentiles),
                    top_mean(values, exact, n),
                    top_rank(values, exact, n, everything),
                    surpass_random(values, exact, n, everything),
                )
            )
        except RankingError as error:
            raise RankingError(f"ranking {name!r}: {error}") from error
    return tuple(rows)


def markdown(rows: Sequence[Row]) -> str:
    """Format rows as a Markdown table."""
    lines = [
        "| ranking | tau | 95 % | sparse tau | Spearman | chosen | percentile | top mean | top rank | P(surpass) |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        interval = "" if row.tau_interval is None else f"{row.tau_interval.low:.3f} to {row.tau_interval.high:.3f}"
        lines.append(
            f"| {row.name} | {row.tau:.3f} | {interval} | {row.sparse_tau:.3f} | {row.spearman:.3f} | {row.chosen:.2f} "
            f"| {row.percentile:.1f} | {row.top_mean:.2f} | {row.top_rank:.1f} | {row.surpass_random:.3f} |"
        )
    return "\n".join(lines)
