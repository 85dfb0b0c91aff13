"""A comparison on images in a folder."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from sparsenas.comparison.images.clock import Clock
from sparsenas.comparison.images.common import Common
from sparsenas.comparison.images.competitors import Decision, Given, RandomDraw, Reference
from sparsenas.comparison.images.contest import ImagePlan
from sparsenas.comparison.images.finished import ImageRecord, image_record
from sparsenas.comparison.images.halving import Asha
from sparsenas.comparison.images.holding import Held
from sparsenas.comparison.images.making import parse_run
from sparsenas.comparison.images.outcomes import ImageReport, make_image_report
from sparsenas.comparison.images.picture import draw_images
from sparsenas.comparison.images.searching import Search
from sparsenas.comparison.images.timm_network import TimmNetwork
from sparsenas.comparison.plan import PlannedRun
from sparsenas.comparison.session import Session, write_pages
from sparsenas.errors import BudgetError, ConfigError
from sparsenas.training.adversarial import pixel_scale

#: Seconds in which a run imports what it needs.
STARTING = 4


class ImageSession(Session[ImageRecord]):
    """Runs of all competitors on the user's images.

    Args:
        plan: The plan.
        out: Folder to write.
    """

    def __init__(self, plan: ImagePlan, out: Path) -> None:
        super().__init__(plan.runs, out, "sparsenas.comparison.images")
        self.plan = plan

    def chosen(self, only: Sequence[str] | None = None) -> list[PlannedRun]:
        """See :meth:`Session.chosen`; what needs a missing package is left out, and told, unless it is named."""
        runs = super().chosen(only)
        needing = {name for name, entry in self.plan.entries.items() if isinstance(entry.make(name), Asha)}
        if only or not needing or find_spec("optuna") is not None:
            return runs
        print(f"left out: {', '.join(sorted(needing))}, which needs Optuna: pip install 'sparsenas[compare]'")
        return [run for run in runs if run.searcher not in needing]

    def seconds(self, runs: Sequence[PlannedRun]) -> float:
        """See :meth:`Session.seconds`."""
        return len(runs) * (self.plan.seconds + STARTING)

    def check(self, runs: Sequence[PlannedRun] | None = None) -> None:
        """See :meth:`Session.check`: images, recipe, and the options of every searcher."""
        made = parse_run(self.plan.shared, self.plan.first_seed)()
        data = made.data
        for part, option in (("val", "val_fraction"), ("test", "test_fraction")):
            if not data.has(part):
                raise ConfigError(f"data: {data.source.name} has no {part} images; set {option} above 0")
        if self.plan.attacks is not None:
            if data.multilabel:
                raise ConfigError("attacks: the images have several labels each; leave attacks out")
            pixel_scale(data)
        data.setup("fit")
        plan = self.plan
        common = Common(data, made.space, plan.limits, made.training, Clock(plan.seconds), plan.first_seed, self.out)
        names = dict.fromkeys(run.searcher for run in (self.runs if runs is None else runs))
        for name, entry in ((name, self.plan.entries[name]) for name in names):
            where = f"competitors.{name}"
            competitor = entry.make(where)
            competitor.load()
            if isinstance(competitor, (Reference, Given, RandomDraw, TimmNetwork)):
                _check_recipe(partial(competitor.decide, common), common, where)
            elif isinstance(competitor, Held):
                held: dict[str, Any] = {"tournament": competitor.options}
                common.tournament = parse_run({**self.plan.shared, **held}, self.plan.first_seed)().tournament
                competitor.make(common)
            elif isinstance(competitor, Search):
                own = {"model": entry.options["model"], "arch_fraction": competitor.arch_fraction}
                model = competitor.check(parse_run({**self.plan.shared, **own}, self.plan.first_seed)().model)
                drawn = model.space.sample(np.random.default_rng(0))
                _check_recipe(partial(Decision, drawn, network=competitor.network), common, where)

    def parse(self, fields: dict[str, Any]) -> ImageRecord:
        """See :meth:`Session.parse`."""
        return image_record(fields)

    def outcome(self, record: ImageRecord) -> str:
        """See :meth:`Session.outcome`."""
        if record.impossible:
            return f"impossible: {record.impossible}"
        return f"{record.accuracy:.2f} % in {record.seconds:.1f} s"

    def report(self, records: Sequence[ImageRecord]) -> ImageReport:
        """Make the report."""
        return make_image_report(self.plan, records)

    def write_report(self, records: Sequence[ImageRecord]) -> str:
        """See :meth:`Session.write_report`."""
        report = self.report(records)
        content = {
            "seconds": self.plan.seconds,
            "budget": asdict(self.plan.limits),
            "best_reference": report.best_reference,
            "rows": list(map(asdict, report.rows)),
            "tests": list(map(asdict, report.tests)),
        }
        return write_pages(self.out, report.text, content, draw_images(report), len(records))


def _check_recipe(decide: Callable[[], Decision], common: Common, where: str) -> None:
    """Build a network once; that there is none within the budget is a result, and no mistake.

    Raises:
        ConfigError: If the recipe, or an option of the competitor, does not suit it.
    """
    try:
        decide().training(common)
    except BudgetError:
        pass
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
