"""Judging one predictor with one seed: fit on some known networks, rank others."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import numpy as np

from sparsenas.comparison.predictors.known_networks import CURVES, Floats, KnownNetworks, Look, Split
from sparsenas.errors import PredictorError, RankingError
from sparsenas.predictors import Predictor
from sparsenas.ranking import kendall_tau, ndcg, relevance, sparse_kendall_tau, spearman, top_mean, top_rank

#: Width of the bins of the sparse tau, in percent.
BIN = 0.1
#: Number of networks that a search would train.
TOP = 10


@dataclass(frozen=True)
class Point:
    """A predictor at one size and one look.

    Attributes:
        size: Networks that it has learned from; 0 for one that learns nothing.
        epoch: Epoch up to which learning curves were known; 0 for one that needs none.
        trained: Epochs of training of all networks that it has learned from.
        spent: Epochs of training of each network that it has scored.
        figures: Figures of its ranking by name, see :func:`figures_of`; none if there is no ranking.
        fit_seconds: Processor seconds of the fit.
        query_seconds: Processor seconds for each network scored.
        problem: Why there is no ranking.
    """

    size: int
    epoch: int
    trained: int
    spent: int
    figures: dict[str, float]
    fit_seconds: float = 0.0
    query_seconds: float = 0.0
    problem: str = ""


def figures_of(scores: Floats, truth: Floats) -> dict[str, float]:
    """Compute all figures of a ranking of networks.

    Args:
        scores: Shape ``(N,)``, more is better.
        truth: Accuracies in percent, shape ``(N,)``.

    Returns:
        ``tau``, ``spearman``, ``sparse_tau`` (differences of truth below :data:`BIN` count for nothing), ``ndcg_10``,
        ``regret_1`` and ``regret_10`` (points that the best of the first one, or ten, lacks to the best of all),
        ``top_10`` (their mean), ``rank_10`` (best true rank among them).

    Raises:
        RankingError: If the scores rank nothing, for instance as all are equal.
    """
    top = min(TOP, len(scores))
    best_of_top = [top_rank(scores, truth, n) for n in (1, top)]
    ordered = np.sort(truth)[::-1]
    regrets = [float(ordered[0] - np.interp(rank - 1, np.arange(len(ordered)), ordered)) for rank in best_of_top]
    return {
        "tau": kendall_tau(scores, truth),
        "spearman": spearman(scores, truth),
        "sparse_tau": sparse_kendall_tau(scores, truth, BIN),
        "ndcg_10": ndcg(scores, relevance(truth), top),
        "regret_1": regrets[0],
        "regret_10": regrets[1],
        "top_10": top_mean(scores, truth, top),
        "rank_10": best_of_top[1],
    }


def judge(
    make: Callable[[], Predictor],
    networks: KnownNetworks,
    sizes: Sequence[int],
    test: int,
    seed: int,
    limit: float,
) -> list[Point]:
    """Judge a predictor at all sizes and looks that mean something to it.

    Args:
        make: Makes the predictor, anew for each point.
        networks: Networks whose accuracies are known.
        sizes: Networks to learn from, ascending.
        test: Networks to rank.
        seed: Seed of the draw of networks.
        limit: Most seconds of a point. Sizes above one that took longer are not tried.

    Raises:
        ConfigError: If there are not so many networks.
    """
    split, probe = networks.split(max(sizes), test, seed), make()
    looks = networks.looks if probe.requires & set(CURVES) else (None,)
    asked = [size for size in sizes if size >= probe.least] if probe.least else [0]
    points, late = [], 0.0
    for size in asked:
        for look in looks:
            if late:
                points.append(_point(networks, size, look, problem=f"{late:g} s were over at a smaller size"))
                continue
            try:
                with time_limit(limit):
                    points.append(_judge(make(), networks, split, size, look))
            except TimeoutError:
                late = limit
                points.append(_point(networks, size, look, problem=f"took more than {limit:g} s"))
            except (PredictorError, RankingError) as error:
                points.append(_point(networks, size, look, problem=str(error)))
    return points


def _judge(predictor: Predictor, networks: KnownNetworks, split: Split, size: int, look: Look | None) -> Point:
    learn = split.learn[:size]
    of_learn, of_test = (networks.info(predictor.requires, rows, look) for rows in (learn, split.test))
    predictor.fit([networks.genotypes[row] for row in learn], networks.targets[learn], of_learn)
    scores = predictor.query([networks.genotypes[row] for row in split.test], of_test)
    seconds = predictor.fit_seconds, predictor.query_seconds / len(split.test)
    return _point(networks, size, look, figures_of(scores, networks.targets[split.test]), seconds)


def _point(
    networks: KnownNetworks,
    size: int,
    look: Look | None,
    figures: dict[str, float] | None = None,
    seconds: tuple[float, float] = (0.0, 0.0),
    problem: str = "",
) -> Point:
    epoch, spent, apart = (0, 0, 0) if look is None else (look.epoch, look.spent, look.apart)
    return Point(size, epoch, size * (networks.epochs + apart), spent, figures or {}, *seconds, problem)


class _Late(BaseException):
    """Time is over; no ``Exception``, which libraries catch to go on, such as a search for hyper-parameters."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise a ``TimeoutError`` within, after so many seconds; as soon as a library returns to Python.

    There is no limit in threads, and on Windows, which has no such signal.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise _Late

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _Late:
        raise TimeoutError from None
    finally:
        signal.signal(signal.SIGALRM, before)
