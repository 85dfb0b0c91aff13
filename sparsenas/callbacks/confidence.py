"""How sure a search is, as files and in TensorBoard."""

import json
from contextlib import suppress
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from sparsenas.callbacks.tensorboard import summary_writers, trained_batches
from sparsenas.drawing import draw_choice_shares, figure_bytes
from sparsenas.files import write_atomically
from sparsenas.search.base import SearchModule
from sparsenas.search.measuring import NO_BETTER, Conclusion, Evidence
from sparsenas.spaces import SearchSpace, Support


class ConfidenceReport(pl.Callback):
    """Write down what a search concluded, how sure that is, and which signals it rests on.

    When the fit ends, a search that has a ``conclusion``, as :class:`~sparsenas.search.MeasuredSearch` does, gets

    * ``<run>/confidence.json``: the :class:`~sparsenas.search.measuring.Conclusion`, with architectures as genotypes;
      what is no finite number is ``null``. The run's folder is the logger's, or the trainer's ``default_root_dir``
      where there is no logger;
    * ``<run>/confidence.png`` and, in TensorBoard, ``confidence/chosen``: how often each candidate was in the best
      architecture of a bootstrap, beside those that were found;
    * ``confidence/verdict`` in TensorBoard: the verdict, and a table of what speaks for each signal.

    Every file appears whole or not at all. Other models, searches that came to no conclusion, and a ``fast_dev_run``
    write nothing.
    """

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write; not when the training ends, as a search that was cut short concludes after its callbacks heard that.

        Raises:
            ConfigError: If a file cannot be written.
        """
        folder = Path(trainer.log_dir or trainer.default_root_dir)  # on every rank: Lightning broadcasts the answer
        dry = getattr(trainer, "fast_dev_run", False)  # set on the trainer, but not declared there
        conclusion = getattr(pl_module, "conclusion", None)  # a property of some searches only
        if not isinstance(pl_module, SearchModule) or not isinstance(conclusion, Conclusion):
            return
        if dry or not trainer.is_global_zero:
            return
        with suppress(OSError):  # the message of the first file says more
            folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_finite(_plain(pl_module.space, conclusion)), indent=1, allow_nan=False)
        write_atomically(folder / "confidence.json", f"{text}\n".encode())
        compared = f"{conclusion.considered} compared" if conclusion.considered else NO_BETTER
        title = f"{conclusion.measured} architectures measured, {compared}"
        figure = draw_choice_shares(pl_module.space.blocks, conclusion.chosen, conclusion.support, title)
        write_atomically(folder / "confidence.png", figure_bytes(figure))
        batches = trained_batches(trainer)
        for writer in summary_writers(trainer):
            writer.add_figure("confidence/chosen", figure, global_step=batches, close=False)
            writer.add_text("confidence/verdict", _markdown(conclusion), global_step=batches)


def _plain(space: SearchSpace, conclusion: Conclusion) -> dict[str, Any]:
    """A conclusion as what JSON knows."""

    def genotype(support: Support) -> Any:
        return json.loads(space.genotype(support).to_json())

    chosen: dict[str, dict[str, dict[str, float]]] = {}
    for block, shares in zip(space.blocks, conclusion.chosen, strict=True):
        for candidate, share in zip(block.candidates, shares, strict=True):
            edge = f"edge {candidate.source}->{candidate.target}"
            chosen.setdefault(block.cell, {}).setdefault(edge, {})[candidate.primitive] = share
    return {
        "verdict": conclusion.verdict,
        "found": genotype(conclusion.support),
        "score": conclusion.score,
        "best": genotype(conclusion.best),
        "runner_up": {"genotype": genotype(conclusion.runner_up), "gap": conclusion.gap},
        "largest": {"genotype": genotype(conclusion.largest), "score": conclusion.largest_score},
        "beats_largest": conclusion.beats_largest,
        "explained": conclusion.explained,
        "measured": conclusion.measured,
        "considered": conclusion.considered,
        "evidence": [asdict(item) for item in conclusion.evidence],
        "chosen": chosen,
    }


def _finite(value: Any) -> Any:
    """The same with ``None`` for every number that is not finite."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _markdown(conclusion: Conclusion) -> str:
    """The verdict and the evidence, as TensorBoard shows text."""
    head = ("signal", "stability", "agreement with the others", "agreement with trainings", "used")
    rows = [head, ("---",) * len(head), *map(_row, conclusion.evidence)]
    return f"{conclusion.verdict}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(item: Evidence) -> tuple[str, ...]:
    training = _number(item.training) + ("" if item.training is None else f" ({item.trained} trained)")
    used = "yes" if item.trusted else f"no: {item.why}"
    return item.signal, _number(item.stability), _number(item.consensus), training, used


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
