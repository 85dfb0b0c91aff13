"""Compiled cells for stand-alone training."""

from difflib import get_close_matches
from time import perf_counter

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor

from sparsenas.callbacks.tensorboard import trained_batches
from sparsenas.errors import ConfigError
from sparsenas.networks import DerivedNet

#: Most graphs that torch keeps for all networks of the process. One of the DARTS space has nine, at any depth.
GRAPHS = 256


class CellCompiler(pl.Callback):
    """Compile the cells of a derived net for training by ``torch.compile``.

    Cells that differ only in their weights share a graph. The first training batch compiles; its time is logged as
    ``speed/compile_seconds`` and printed. Validation and checkpoints use the plain network. Drop-path becomes a tensor,
    because another number in every epoch would be another graph. A compiled run is not the plain run of the same seed:
    it draws other random numbers and rounds in another order.

    Args:
        backend: A backend of ``torch.compile``; ``inductor`` needs a C++ compiler on a CPU, Triton on a GPU.

    Raises:
        ConfigError: If the backend is unknown or does not work here, or the model has no derived net.
    """

    def __init__(self, backend: str = "inductor") -> None:
        super().__init__()
        known = torch.compiler.list_backends(exclude_tags=())
        if backend not in known:
            near = get_close_matches(backend, known)
            raise ConfigError(f"CellCompiler.backend is {backend!r}; torch knows {', '.join(near or known)}")
        self.backend = backend
        self._start = 0.0
        self._compiled = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Mark the cells for compilation by their first batch."""
        network = _derived_net(pl_module)
        self._try_out(pl_module.device)
        compile_cells(network, self.backend)
        self._compiled = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Run the compiled cells again."""
        torch.compiler.set_stance("default")

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Make this epoch's drop-path probability a tensor."""
        network = _derived_net(pl_module)
        if not isinstance(network.drop_path, Tensor):
            network.drop_path = torch.tensor(network.drop_path, device=pl_module.device)
        if not self._compiled:
            rank_zero_info(f"compiling {len(network.cells)} cells with {self.backend}: the first batch takes longer")
            self._start = perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Log the time of the first batch."""
        if self._compiled:
            return
        self._compiled = True
        seconds = perf_counter() - self._start
        rank_zero_info(f"compiled: the first batch took {seconds:.0f} seconds")
        for logger in trainer.loggers:
            logger.log_metrics({"speed/compile_seconds": seconds}, step=trained_batches(trainer))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Run the plain cells in what the module does at the end of an epoch."""
        torch.compiler.set_stance("force_eager")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Run the plain cells."""
        torch.compiler.set_stance("force_eager")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Run the compiled cells again."""
        torch.compiler.set_stance("default")

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the plain network."""
        self._undo(pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Restore the plain network after an error."""
        self._undo(pl_module)

    def _undo(self, module: pl.LightningModule) -> None:
        torch.compiler.set_stance("default")
        network = getattr(module, "network", None)
        if isinstance(network, DerivedNet):
            network.drop_path = float(network.drop_path)
            for cell in network.cells:
                cell._compiled_call_impl = None  # torch has no word for the opposite of Module.compile

    def _try_out(self, device: torch.device) -> None:
        """Raise if the backend does not compile a sum on this device."""
        try:
            torch.compile(lambda x: x + 1, backend=self.backend)(torch.zeros(1, device=device))
        except Exception as error:  # of the backend, which may raise anything
            reason = " ".join(str(error).split("\n")[:2]) or type(error).__name__
            raise ConfigError(
                f"CellCompiler: the backend {self.backend!r} does not work here ({reason}); install what it needs, "
                "or leave the callback out"
            ) from error


def compile_cells(network: DerivedNet, backend: str = "inductor") -> None:
    """Mark the cells of a network for compilation by their next run."""
    for cell in network.cells:
        # no dynamic shapes: widths differ between cells, so they would slow down every graph
        cell.compile(backend=backend, dynamic=False, recompile_limit=GRAPHS)


def _derived_net(module: pl.LightningModule) -> DerivedNet:
    """Return the derived net that a module trains."""
    network = getattr(module, "network", None)
    if not isinstance(network, DerivedNet):
        raise ConfigError(
            f"CellCompiler compiles derived nets, but {type(module).__name__} trains a super-net, whose cells run "
            "other operations after every recovery: leave the callback out"
        )
    return network
