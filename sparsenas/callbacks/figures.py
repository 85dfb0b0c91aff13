"""Pictures of the search in TensorBoard."""

from typing import Any

import pytorch_lightning as pl
import torch

from sparsenas.callbacks.tensorboard import summary_writers, trained_batches
from sparsenas.complexity import describe
from sparsenas.drawing import draw_genotype, draw_support_history, picture_size
from sparsenas.errors import ConfigError
from sparsenas.networks import CellNetwork
from sparsenas.search import RecoveryListener, RecoveryReport, Searcher, SearchModule
from sparsenas.spaces import Genotype, StageSpace, Support
from sparsenas.spaces.stage import read_chain


class CellFigures(RecoveryListener):
    """Show the cells or stages, the genotype as text, and the support over time in TensorBoard.

    The picture (``genotype/cells``, ``genotype/json``) is drawn at ends of epochs, if it changed, and of the fit. The
    support over time (``genotype/support_history``) grows with the search, so it is drawn more rarely. It is kept in
    the checkpoint.

    Args:
        every_n_epochs: Epochs between pictures of the cells, of half a second each; 0 for the end of the fit only.
        history_every_n_epochs: Epochs between pictures of the support over time; 0 for the end of the fit only.

    Raises:
        ConfigError: If a number is below 0.
    """

    def __init__(self, every_n_epochs: int = 5, history_every_n_epochs: int = 10) -> None:
        super().__init__()
        options = {"every_n_epochs": every_n_epochs, "history_every_n_epochs": history_every_n_epochs}
        for name, value in options.items():
            if value < 0:
                raise ConfigError(f"CellFigures.{name} is {value}; use 0 for never, or a positive number")
        self.every_n_epochs = every_n_epochs
        self.history_every_n_epochs = history_every_n_epochs
        self._recoveries: list[tuple[int, int, Support]] = []  # count, epoch, support
        self._drawn: Genotype | None = None

    def on_recovery(self, trainer: pl.Trainer, search: SearchModule, report: RecoveryReport) -> None:
        """Remember the support."""
        # a resumed search repeats what came after its checkpoint, and reports its last recovery again
        while self._recoveries and self._recoveries[-1][0] > report.count:
            self._recoveries.pop()
        if not self._recoveries or self._recoveries[-1][0] < report.count:
            self._recoveries.append((report.count, report.epoch, report.support))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw if due."""
        done = trainer.current_epoch + 1
        if isinstance(pl_module, Searcher):
            if self.every_n_epochs and done % self.every_n_epochs == 0:
                self._draw_cells(trainer, pl_module)
            if self.history_every_n_epochs and done % self.history_every_n_epochs == 0:
                self._draw_history(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the result."""
        if isinstance(pl_module, Searcher):
            self._draw_cells(trainer, pl_module)
            self._draw_history(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Return the history as integer tensors, which are read back without running code."""
        return {
            "counts": torch.tensor([count for count, _, _ in self._recoveries], dtype=torch.int64),
            "epochs": torch.tensor([epoch for _, epoch, _ in self._recoveries], dtype=torch.int32),
            "supports": torch.tensor([support for _, _, support in self._recoveries], dtype=torch.int16),
            "drawn": self._drawn.to_json() if self._drawn else None,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        counts, epochs = state_dict["counts"].tolist(), state_dict["epochs"].tolist()
        supports = [tuple(tuple(kept) for kept in support) for support in state_dict["supports"].tolist()]
        self._recoveries = list(zip(counts, epochs, supports, strict=True))
        self._drawn = Genotype.from_json(state_dict["drawn"]) if state_dict["drawn"] else None

    def _draw_cells(self, trainer: pl.Trainer, search: Searcher) -> None:
        genotype, writers = search.genotype, summary_writers(trainer)
        if genotype == self._drawn or not writers:
            return
        self._drawn = genotype
        batches = trained_batches(trainer)
        size = picture_size(getattr(search, "network", None))
        figure = draw_genotype(genotype, title=_title(trainer, search, batches), **size)
        for writer in writers:
            writer.add_figure("genotype/cells", figure, global_step=batches, close=False)
            # the indentation makes it a code block where TensorBoard reads Markdown
            text = "\n".join(f"    {line}" for line in genotype.to_json().splitlines())
            writer.add_text("genotype/json", text, global_step=batches)

    def _draw_history(self, trainer: pl.Trainer, search: Searcher) -> None:
        writers = summary_writers(trainer)
        if not writers or not self._recoveries:
            return
        supports = [support for _, _, support in self._recoveries]
        figure = draw_support_history(search.space.blocks, supports, [epoch for _, epoch, _ in self._recoveries])
        for writer in writers:
            batches = trained_batches(trainer)
            writer.add_figure("genotype/support_history", figure, global_step=batches, close=False)


def _depth(genotype: Genotype, network: CellNetwork) -> str:
    """Say how deep a network is; of a staged one, the stem is no layer."""
    if genotype.space == StageSpace.name:
        stages = read_chain(genotype).stages
        layers = sum(layer.repeats for stage in stages for layer in stage.layers)
        return f"{layers} layers in {len(stages)} stages"
    return f"{network.size['cells']} {'cells' if network.skeleton.layers is None else 'layers'}"


def _title(trainer: pl.Trainer, search: Searcher, batches: int) -> str:
    """Say when a picture was drawn, and what is known of the network: its depth, its cost and its accuracy."""
    parts = [f"after {batches} training batches"]
    network: Any = getattr(search, "network", None)
    if isinstance(search, SearchModule):
        network = search.network.untrained(search.genotype)
    hparams: Any = getattr(search, "hparams", {})
    if isinstance(network, CellNetwork):
        parts.append(_depth(search.genotype, network))
    if isinstance(network, torch.nn.Module) and "image_shape" in hparams:
        parts.append(str(describe(network, tuple(hparams["image_shape"]))))
    if "val/acc" in trainer.callback_metrics:
        parts.append(f"val/acc {float(trainer.callback_metrics['val/acc']):.4f}")
    return ", ".join(parts)
