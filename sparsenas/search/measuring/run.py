"""The state of a search that measures: images, what is known, and one survey for every set of rules."""

from collections.abc import Callable, Sequence
from typing import Any

from pytorch_lightning import Trainer

from sparsenas.complexity import CandidateCosts
from sparsenas.errors import CheckpointError, ConfigError
from sparsenas.networks import SuperNet
from sparsenas.search.band import Band
from sparsenas.search.base import ImageBatch
from sparsenas.search.measuring.bench import Bench
from sparsenas.search.measuring.conclusion import Conclusion
from sparsenas.search.measuring.survey import Measured, Measuring, Survey, measure
from sparsenas.spaces import SearchSpace, Support
from sparsenas.sparse_coding import Constraints


class MeasuringRun:
    """Takes batches one by one: keeps the first ones as images, then measures one architecture for each.

    Args:
        space: Search space.
        network: Super-net whose size the measured networks have; nothing of it runs.
        costs: Of the candidates at that size.
        options: What is measured.
        rules: What may be found.
        seed: Of all draws.
        shared: How good an architecture is with shared weights; ``None`` where none are trained.

    Attributes:
        known: What has been measured.
        conclusion: What was found under the rules; ``None`` until the end.

    Raises:
        RecoveryError: If no architecture keeps the rules.
    """

    def __init__(
        self,
        space: SearchSpace,
        network: SuperNet,
        costs: CandidateCosts,
        options: Measuring,
        rules: Constraints,
        seed: int,
        shared: Callable[[Support], float] | None = None,
    ) -> None:
        self._shared = shared
        self._derive = None if shared is None else lambda support: network.derive(space.genotype(support))
        self.space, self.costs, self.options, self.rules, self.seed = space, costs, options, rules, seed
        self._size, self._norms = network.size, network.norms
        self.known: dict[Support, Measured] = {}
        self._batches: list[ImageBatch] = []
        self._surveys: dict[Constraints, Survey] = {}
        self._conclusions: dict[Constraints, Conclusion] = {}
        self._leader = self._survey(rules).band.largest

    @property
    def conclusion(self) -> Conclusion | None:
        """See the class."""
        return self._conclusions.get(self.rules)

    @property
    def support(self) -> Support:
        """The architecture found; before the end the best one so far, at the beginning the largest."""
        return self._leader if self.conclusion is None else self.conclusion.support

    def progress(self) -> dict[str, str | int | float]:
        """What a progress bar shows."""
        return {"measured": f"{len(self.known)}/{self.options.total}"}

    def check_processes(self, count: int) -> None:
        """Refuse several processes.

        Raises:
            ConfigError: If there are.
        """
        if count > 1:
            raise ConfigError(
                f"trainer.devices makes {count} processes, each of which would measure other images and find its own "
                "architecture; use 1"
            )

    def check_length(self, trainer: Trainer, epochs: int | None, option: str) -> None:
        """Refuse to begin what ends before all is measured; a dry run may.

        Args:
            trainer: Of the run, as it starts.
            epochs: In which to measure.
            option: What sets their number.

        Raises:
            ConfigError: If the epochs do not suffice.
        """
        per_epoch = int(trainer.num_training_batches)
        least = self.epochs(per_epoch)
        dry = getattr(trainer, "fast_dev_run", False)  # set on the trainer, but not declared there
        if least > (epochs or 0) and not dry:
            raise ConfigError(
                f"{option} is {epochs}, of {per_epoch} batches each; measuring takes "
                f"{self.kept(per_epoch) + self.options.total}: set it to at least {least}, as the search ends by itself"
            )

    def check_batch(self, batch: ImageBatch) -> None:
        """Check that such batches are large enough.

        Raises:
            ConfigError: If they are not.
        """
        for signal in self.options.measurements:
            signal.check(len(batch[1]))

    def kept(self, per_epoch: int) -> int:
        """Batches that are kept of so many in an epoch."""
        return min(self.options.batches, per_epoch)

    def epochs(self, per_epoch: int) -> int:
        """Epochs of so many batches until the end, at most."""
        return -(-(self.kept(per_epoch) + self.options.total) // per_epoch)

    def take(self, batch: ImageBatch, per_epoch: int) -> bool:
        """Keep a batch, or measure the next architecture; says whether that was the last one.

        Args:
            batch: Images and labels.
            per_epoch: Batches of an epoch.
        """
        survey = self._survey(self.rules)
        if len(self._batches) < self.kept(per_epoch):
            self._batches.append(batch)
        elif (support := survey.next(self.known)) is not None:
            self._conclusions.pop(self.rules, None)  # of a run that was cut short, and goes on
            self._measure(survey, support)
            self._leader = survey.leader(self.known)
        return len(self._batches) == self.kept(per_epoch) and survey.next(self.known) is None

    def conclude(self, rules: Constraints | None = None) -> Conclusion:
        """What was found under the rules so far; or under others, for which their band is measured now.

        Raises:
            ConfigError: If too little was measured, no signal ranks anything, or rules are new and the images are not
                there, as before the first measurement and in a search that was read from a checkpoint.
        """
        rules = self.rules if rules is None else rules
        if rules in self._conclusions:
            return self._conclusions[rules]
        survey = self._survey(rules)
        if rules == self.rules:
            return survey.conclude(self.known)  # not kept: more may come
        if not self._batches or not self.known:
            raise ConfigError("this search has no images to measure under other rules; run it again")
        self._complete(survey)
        return self._conclusions.setdefault(rules, survey.conclude(self.known))

    def measure_all(self, batches: Sequence[ImageBatch]) -> Conclusion:
        """Measure everything at once, and conclude.

        Args:
            batches: Images and labels.
        """
        self._batches = list(batches)
        self._complete(self._survey(self.rules))
        return self.finish()

    def finish(self) -> Conclusion:
        """Make what follows from the measurements the :attr:`conclusion`."""
        return self._conclusions.setdefault(self.rules, self.conclude())

    def scores(self, rules: Constraints | None = None) -> dict[Support, float]:
        """How the architectures compare that were measured under the rules; more is better."""
        return self._survey(self.rules if rules is None else rules).scores(self.known, self.conclude(rules))

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: the measurements and, until they are complete, the images they are made with."""
        return {
            "known": [(support, measured.values, measured.trained) for support, measured in self.known.items()],
            "images": [] if self.known and self._survey(self.rules).next(self.known) is None else self._batches,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state` gave; what follows from it is concluded anew.

        Raises:
            CheckpointError: If other signals were measured.
        """
        self.known = {support: Measured(values, trained) for support, values, trained in state["known"]}
        self._batches = list(state["images"])
        self._surveys, self._conclusions = {}, {}
        shape = (len(self.options.measurements), self.options.repeats)
        for measured in self.known.values():
            if (len(measured.values), len(measured.values[0])) != shape:
                raise CheckpointError(
                    f"the checkpoint has {len(measured.values)} signals with {len(measured.values[0])} repeats, this "
                    f"search {shape[0]} with {shape[1]}; resume with the settings it was made with"
                )
        survey = self._survey(self.rules)
        self._leader = survey.band.largest
        if any(support in self.known for support in survey.planned):
            self._leader = survey.leader(self.known)
            if survey.next(self.known) is None:
                self.finish()

    def _complete(self, survey: Survey) -> None:
        while (support := survey.next(self.known)) is not None:
            self._measure(survey, support)

    def _measure(self, survey: Survey, support: Support) -> None:
        bench = Bench(
            self.space, self._size, self._norms, self.costs, self._batches, self.seed, self._shared, self._derive
        )
        self.known[support] = measure(support, bench, self.options, survey.trains(support))

    def _survey(self, rules: Constraints) -> Survey:
        if rules not in self._surveys:
            band = Band(
                self.space, rules, self.costs.parameters, self.costs.base_parameters, self.options.band, self.seed
            )
            self._surveys[rules] = Survey(band, self.options, self.seed)
        return self._surveys[rules]
