"""The loop of a measured search: measure, recover a code, propose, until all is measured; then decide."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from tqdm.auto import tqdm

from sparsenas.complexity import candidate_costs
from sparsenas.errors import ConfigError
from sparsenas.networks import SuperNet
from sparsenas.search.measured.bench import Bench
from sparsenas.search.measured.result import MeasuredResult
from sparsenas.search.measured.score_file import ScoreFile, digest
from sparsenas.search.measured.survey import LEAST, Measured, Measuring, Survey, measure
from sparsenas.search.searcher import ImageBatch
from sparsenas.search.size_band import SizeBand
from sparsenas.spaces import Support
from sparsenas.sparse_coding import Constraints


class MeasuringLoop:
    """Measure architectures of a size band, under one set of constraints after another.

    Args:
        network: Super-net whose size the measured networks have; nothing of it runs.
        options: Options of the measuring.
        batches: Training images and labels to measure with.
        seed: Seed of all draws.
        file: File that keeps scores as they come; ``None`` for none.
        shared: Score of an architecture with shared weights; ``None`` where none are trained.
        known: Scores that are known already, which grow.

    Attributes:
        known: Everything that has been measured.
        cut: True if time ran out.

    Raises:
        ConfigError: If a batch is too small for a proxy.
    """

    def __init__(
        self,
        network: SuperNet,
        options: Measuring,
        batches: Sequence[ImageBatch],
        seed: int,
        file: Path | None = None,
        shared: Callable[[Support], float] | None = None,
        known: dict[Support, Measured] | None = None,
    ) -> None:
        if not batches:
            raise ConfigError("this search has no images to measure with; run it again")
        for proxy in options.measurements:
            proxy.check(len(batches[0][1]))
        self.network, self.options, self.seed = network, options, seed
        self.costs = candidate_costs(network)
        self.known: dict[Support, Measured] = {} if known is None else known
        self.cut = False
        derive = None if shared is None else lambda support: network.derive(network.space.genotype(support))
        self._bench = partial(
            Bench, network.space, network.size, network.norms, self.costs, batches, seed, shared, derive
        )
        self._file: ScoreFile | None = None
        if file is not None:
            self._file = ScoreFile(file, network.space, self._settings(batches))
            self.known |= self._file.known
        self._results: dict[Constraints, tuple[Survey, MeasuredResult]] = {}

    def run(
        self,
        rules: Constraints,
        seconds: float | None = None,
    ) -> MeasuredResult:
        """Measure what the constraints allow, and decide; once for each set of constraints.

        Args:
            rules: Constraints of what may be found.
            seconds: Longest time; what has been measured by then decides.

        Raises:
            ConfigError: If too little was measured to decide, or no proxy ranks anything.
            RecoveryError: If no architecture keeps the constraints.
        """
        if rules in self._results:
            return self._results[rules][1]
        band = SizeBand(
            self.network.space,
            rules,
            self.costs.parameters,
            self.costs.base_parameters,
            self.options.size_band,
            self.seed,
        )
        survey, start = Survey(band, self.options, self.seed), perf_counter()
        with tqdm(total=self.options.total, desc="measuring", unit="network", disable=None, leave=False) as bar:
            while (support := survey.next(self.known)) is not None:
                late = seconds is not None and perf_counter() - start > seconds
                if late and sum(planned in self.known for planned in survey.planned) >= LEAST:
                    self.cut = True
                    break
                self.known[support] = measured = measure(support, self._bench(), self.options, survey.trains(support))
                if self._file is not None:
                    self._file.append(support, measured)
                bar.update()
        result = survey.make_result(self.known)
        self._results[rules] = survey, result
        return result

    def scores(self, rules: Constraints) -> dict[Support, float]:
        """Score the architectures that were measured under the constraints; more is better."""
        survey, result = self._results[rules]
        return survey.scores(self.known, result)

    def _settings(self, batches: Sequence[ImageBatch]) -> dict[str, Any]:
        """Collect everything on which a score depends."""
        options, space = self.options, self.network.space
        return {
            "space": f"{space.name}: {' '.join(map(str, space.blocks))}",
            "network": dict(self.network.size) | {"norms": asdict(self.network.norms)},
            "proxies": [repr(proxy) for proxy in options.measurements],
            "repeats": options.repeats,
            "training": repr(options.training),
            "seed": self.seed,
            "images": digest(batches),
        }
