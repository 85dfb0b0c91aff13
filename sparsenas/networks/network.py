"""Networks: cells between a stem and a classifier. Super-net and derived net share the whole forward pass."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

from torch import Tensor, nn
from torch.nn import functional

from sparsenas.errors import ConfigError
from sparsenas.networks.cell import Cell, Wiring
from sparsenas.networks.heads import AuxiliaryHead, StemName
from sparsenas.networks.normalisation import NormOptions
from sparsenas.networks.skeletons import Skeleton
from sparsenas.networks.skeletons.base import check_resolution
from sparsenas.spaces import Candidate


class NetworkSize(TypedDict):
    """Arguments that a super-net and its derived nets share."""

    image_shape: tuple[int, int, int]
    num_classes: int
    channels: int
    cells: int
    stem: StemName


class CellNetwork(nn.Module):
    """Stem, cells, global average pooling, linear classifier.

    Args:
        skeleton: Builder of the parts.
        candidates: Candidates that every cell of a type holds, by cell type.
        image_shape: ``(C, H, W)`` of the images.
        num_classes: Number of classes.
        channels: Width; the skeleton defines its unit.
        cells: Number of cells; ``None`` where the space has one of its own.
        stem: Kind of stem, where the skeleton has several; else the default.
        auxiliary: Build the auxiliary classifier after the second reduction.
        norms: Batch-norm options of the cells. Stem and auxiliary head always learn and track.
        partial: Operations of the cells work on one in so many channels, see :class:`~sparsenas.networks.cell.Cell`.

    Attributes:
        size: Arguments that a network of the same size shares.
        dropout: Probability with which training drops each pooled feature before the classifier.

    Raises:
        ConfigError: If a size is impossible; the message says what the sizes allow.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        candidates: Mapping[str, Sequence[Candidate]],
        image_shape: tuple[int, int, int],
        num_classes: int,
        channels: int,
        cells: int | None,
        stem: StemName,
        auxiliary: bool,
        norms: NormOptions,
        partial: int = 1,
    ) -> None:
        super().__init__()
        cells = skeleton.count(cells)
        self.size = NetworkSize(
            image_shape=image_shape, num_classes=num_classes, channels=channels, cells=cells, stem=stem
        )
        self.norms = norms
        image_channels, height, width = image_shape
        if channels < 2 or cells < 1 or num_classes < 2:
            raise ConfigError(
                f"channels={channels}, cells={cells}, num_classes={num_classes}: "
                "need at least 2 channels, 1 cell, 2 classes"
            )
        if image_shape[0] < 1:
            raise ConfigError(f"images have {image_shape[0]} channels; they need at least 1")
        _check_parts(skeleton, stem, auxiliary)
        _check_partial(skeleton, channels, partial)
        self.skeleton = skeleton
        self.cell_types = skeleton.types(cells)
        self.stem = skeleton.stem(stem, image_channels, channels)
        check_resolution(height, width, skeleton.reductions(cells), self.stem.downscale, stem)

        self.auxiliary_position = 2 * cells // 3
        self.auxiliary: AuxiliaryHead | None = None
        self.cells = nn.ModuleList()
        last = channels
        for position, cell in enumerate(skeleton.cells(candidates, cells, self.stem, channels, norms, partial)):
            self.cells.append(cell)
            last = cell.out_channels
            if auxiliary and position == self.auxiliary_position:
                self.auxiliary = AuxiliaryHead(last, num_classes)
        self.neck, last = skeleton.neck(last, channels, norms)
        self.classifier = nn.Linear(last, num_classes)
        self.dropout = 0.0

    def run(
        self,
        images: Tensor,
        wirings: Mapping[str, Wiring],
        drop_path_probability: float | Tensor | Sequence[float | Tensor] = 0.0,
        trace: list[list[Tensor]] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Run the wired operations only.

        Args:
            images: ``(B, C, H, W)``.
            wirings: Wiring per cell type.
            drop_path_probability: Probability for every operation but bare identities; one, or one per cell.
            trace: Receives the node states of every cell, in order.

        Returns:
            Logits ``(B, classes)`` and, in training with an auxiliary head, its logits.
        """
        trail: tuple[Tensor, ...] = self.stem(images)  # outputs of the cells before, as many as a cell has inputs
        auxiliary_logits = None
        rates = drop_path_probability
        if isinstance(rates, (int, float, Tensor)):
            rates = [rates] * len(self.cells)
        for position, (cell_type, cell) in enumerate(self.typed_cells()):
            states = cell(trail, wirings[cell_type], rates[position])
            trail = (*trail[1:], cell.output(states))
            if trace is not None:
                trace.append(states)
            if self.auxiliary is not None and self.training and position == self.auxiliary_position:
                auxiliary_logits = self.auxiliary(trail[-1])
        return self.classify(trail[-1]), auxiliary_logits

    def typed_cells(self) -> Iterator[tuple[str, Cell]]:
        """Iterate over the cells in order, each with its type."""
        for cell_type, cell in zip(self.cell_types, self.cells, strict=True):
            assert isinstance(cell, Cell)  # for type checkers: a module list forgets it
            yield cell_type, cell

    def classify(self, features: Tensor) -> Tensor:
        """Compute logits from the last cell's output."""
        pooled = self._behind_neck(features).mean(dim=(2, 3))
        if self.dropout > 0.0:
            pooled = functional.dropout(pooled, self.dropout, self.training)
        logits: Tensor = self.classifier(pooled)
        return logits

    def _behind_neck(self, features: Tensor) -> Tensor:
        """Apply the neck, if there is one, to the last cell's output."""
        if self.neck is not None:
            features = self.neck(features)
        return features


def _check_partial(skeleton: Skeleton, channels: int, partial: int) -> None:
    """Raise if the channels cannot be divided so."""
    if partial < 1 or channels % partial or (partial > 1 and not skeleton.has_partial):
        raise ConfigError(
            f"partial_channels is {partial}, channels {channels}: use a divisor of the channels, or 1 for all of them, "
            "which is the only choice outside the spaces darts and nasbench201"
        )


def _check_parts(skeleton: Skeleton, stem: str, auxiliary: bool) -> None:
    """Raise if the skeleton does not have a wanted part."""
    if not skeleton.has_stems and stem != "cifar":
        raise ConfigError(
            f"stem is {stem!r}, but networks of this space have a stem of their own; leave it at its default, 'cifar'"
        )
    if auxiliary and not skeleton.has_auxiliary:
        raise ConfigError(
            "networks of this space have no auxiliary classifier: set auxiliary_weight 0 (in Python: auxiliary=False)"
        )
