"""The networks: cells between a stem and a classifier. Super-net and derived net share the whole forward pass."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsenas.errors import ConfigError
from sparsenas.networks.cell import Cell, Wiring, candidate_key, wire
from sparsenas.networks.heads import AuxiliaryHead, StemName
from sparsenas.networks.mapping import WeightMapping, own_state
from sparsenas.networks.normalisation import NormOptions
from sparsenas.networks.operations import Operation
from sparsenas.networks.skeletons import Skeleton, skeleton_of
from sparsenas.spaces import Candidate, Genotype, SearchSpace, Support


class CellNetwork(nn.Module):
    """Stem, cells, global average pooling, linear classifier.

    Args:
        skeleton: How the parts are built and joined.
        candidates: Candidates that every cell of a type holds, by cell type.
        image_shape: ``(C, H, W)`` of the images.
        num_classes: Number of classes.
        channels: Width; the skeleton says of what.
        cells: Number of cells; the skeleton says what may be.
        stem: Kind of stem, where the skeleton has several; else the default.
        auxiliary: Whether to build the auxiliary classifier after the second reduction, where the skeleton has one.
        norms: Batch-norm options of the cells. Stem and auxiliary head always learn and track.
        partial: Operations of the cells work on one in so many channels, see :class:`~sparsenas.networks.cell.Cell`.

    Attributes:
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
        cells: int,
        stem: StemName,
        auxiliary: bool,
        norms: NormOptions,
        partial: int = 1,
    ) -> None:
        super().__init__()
        image_channels, height, width = image_shape
        if channels < 2 or cells < 1 or num_classes < 2:
            raise ConfigError(
                f"channels={channels}, cells={cells}, num_classes={num_classes}: "
                "need at least 2 channels, 1 cell, 2 classes"
            )
        _check_parts(skeleton, stem, auxiliary)
        _check_partial(skeleton, channels, partial)
        self.skeleton = skeleton
        self.cell_types = skeleton.types(cells)
        self.stem = skeleton.stem(stem, image_channels, channels)
        _check_resolution(height, width, self.stem.downscale, skeleton.reductions(cells), stem)

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
            drop_path_probability: Applied to every operation but bare identities; one, or one per cell.
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
        """All cells in order, each with its type."""
        for cell_type, cell in zip(self.cell_types, self.cells, strict=True):
            assert isinstance(cell, Cell)  # for type checkers: a module list forgets it
            yield cell_type, cell

    def classify(self, features: Tensor) -> Tensor:
        """Logits of the last cell's output."""
        pooled = self._behind_neck(features).mean(dim=(2, 3))
        if self.dropout > 0.0:
            pooled = functional.dropout(pooled, self.dropout, self.training)
        logits: Tensor = self.classifier(pooled)
        return logits

    def _behind_neck(self, features: Tensor) -> Tensor:
        """What is pooled: the last cell's output behind the neck, if there is one."""
        if self.neck is not None:
            features = self.neck(features)
        return features


class NetworkSize(TypedDict):
    """Arguments that a super-net and its derived nets share."""

    image_shape: tuple[int, int, int]
    num_classes: int
    channels: int
    cells: int
    stem: StemName


class SuperNet(CellNetwork):
    """Holds every candidate of a space; runs only the supported ones.

    Args:
        space: Search space.
        image_shape: ``(C, H, W)`` of the images.
        num_classes: Number of classes.
        channels: Channels of the first cell's nodes.
        cells: Number of cells.
        stem: Kind of stem.
        norms: Batch-norm options; the default learns no gamma and beta and uses batch statistics throughout.
        auxiliary: Whether to build the auxiliary classifier.
        partial: Operations of the cells work on one in so many channels; no network can be derived then.
        mapping: Which weights a candidate runs with.

    Raises:
        ConfigError: If a size is impossible, or options do not fit the space.
    """

    def __init__(
        self,
        space: SearchSpace,
        image_shape: tuple[int, int, int],
        num_classes: int,
        channels: int = 16,
        cells: int = 8,
        stem: StemName = "cifar",
        norms: NormOptions = NormOptions(affine=False, track=False, append="pools_and_skips"),  # noqa: B008 - frozen
        auxiliary: bool = False,
        partial: int = 1,
        mapping: WeightMapping = WeightMapping(),  # noqa: B008 - frozen
    ) -> None:
        self.size = NetworkSize(
            image_shape=image_shape, num_classes=num_classes, channels=channels, cells=cells, stem=stem
        )
        held = {
            cell: tuple(c for block in space.blocks if block.cell == cell for c in block.candidates)
            for cell in space.cell_types
        }
        skeleton = skeleton_of(space.name)
        mapping.check(skeleton, chain.from_iterable(held.values()), norms, partial)
        super().__init__(skeleton, held, image_shape, num_classes, channels, cells, stem, auxiliary, norms, partial)
        self.space = space
        self.norms = norms
        self.partial = partial
        self.mapping = mapping
        self.dropout = mapping.dropout
        self._held = held
        if not mapping.plain:
            for cell_type, cell in self.typed_cells():
                mapping.arrange(cell, held[cell_type], norms)

    def wirings(self, support: Support, weights: Tensor | Sequence[Tensor] | None = None) -> dict[str, Wiring]:
        """Wiring per cell type.

        Args:
            support: Candidate indices per block: any number of them, not only those that a genotype keeps.
            weights: Architecture weights, one row per block in the order of ``support``; ``None`` for none.

        Raises:
            ConfigError: If there are weights, but operations are on nodes.
        """
        if weights is not None and self.mapping.operations == "node":
            raise ConfigError("architecture weights belong to edges: use mapping.operations edge")
        rows = None if weights is None else [row.unbind() for row in weights]
        wirings = {}
        for cell in self.space.cell_types:
            candidates: list[Candidate] = []
            scales: list[Tensor] = []
            for index, (block, kept) in enumerate(zip(self.space.blocks, support, strict=True)):
                if block.cell == cell:
                    candidates.extend(block.candidates[i] for i in kept)
                    scales.extend(() if rows is None else rows[index])
            keys = None if self.mapping.plain else self.mapping.keys(candidates)
            wirings[cell] = wire(candidates, None if rows is None else scales, keys)
        return wirings

    def operations(self, candidate: Candidate, cell_type: str) -> Iterator[Operation]:
        """The operations that a candidate may run in every cell of a type; one of each, unless they are mapped."""
        keys = self.mapping.possible_keys(candidate, self._held[cell_type])
        for own_type, cell in self.typed_cells():
            if own_type == cell_type:
                for key in keys:
                    operation = cell.operations[key]
                    assert isinstance(operation, Operation)  # for type checkers: a module dict forgets it
                    yield operation

    def active_parameters(self, support: Support) -> list[nn.Parameter]:
        """Parameters of the supported operations in all cells, and of all that runs whatever the support; each once.

        Of an operation with several batch-norms, all; those that did not run have no gradient.
        """
        active = list(self._always)
        for candidates, kept in zip(self._by_candidate, support, strict=True):
            for index in kept:
                active.extend(candidates[index])
        return active if self.mapping.plain else list(dict.fromkeys(active))

    @cached_property
    def _by_candidate(self) -> list[list[list[nn.Parameter]]]:
        """Parameters of every block's candidates, of all cells together."""
        return [
            [
                list(
                    dict.fromkeys(
                        p for operation in self.operations(candidate, block.cell) for p in operation.parameters()
                    )
                )
                for candidate in block.candidates
            ]
            for block in self.space.blocks
        ]

    @cached_property
    def _always(self) -> list[nn.Parameter]:
        """Parameters outside the candidates' operations."""
        of_operations = {parameter for rows in self._by_candidate for row in rows for parameter in row}
        return [parameter for parameter in self.parameters() if parameter not in of_operations]

    def forward(self, images: Tensor, support: Support, weights: Tensor | Sequence[Tensor] | None = None) -> Tensor:
        """Logits ``(B, classes)`` of the sub-network given by ``support`` and ``weights``."""
        return self.run(images, self.wirings(support, weights))[0]

    def derive(self, genotype: Genotype) -> "DerivedNet":
        """The derived net of a genotype with a copy of this super-net's weights, on its device and in its mode.

        It has no auxiliary classifier and no architecture weights; :func:`~sparsenas.networks.fold` keeps the latter.
        Draws no random numbers, so that deriving on the way does not change a run.

        Raises:
            GenotypeError: If the genotype is not of this super-net's space.
            ConfigError: If operations work on a part of the channels, as a derived net needs weights for all; or on
                nodes.
        """
        self.space.validate(genotype)
        if self.partial > 1:
            raise ConfigError(
                f"the super-net mixes one in {self.partial} channels; a network of all channels has to be trained anew"
            )
        if self.mapping.operations == "node":
            raise ConfigError(
                "the super-net applies operations to sums of sources, a derived net to each source; the network has to "
                "be trained anew, or searched with mapping.operations edge"
            )
        net = self.untrained(genotype)
        own = dict(self.state_dict())
        if not self.mapping.plain:
            own |= self._unmapped(genotype)
        net.load_state_dict({name: own[name] for name in net.state_dict()})
        return net.train(self.training)

    def untrained(self, genotype: Genotype) -> "DerivedNet":
        """A network of a genotype, as :meth:`derive` gives it, with new weights; draws no random numbers either.

        Raises:
            ConfigError: If the primitives of the genotype are unknown.
            GenotypeError: If there is no network of the genotype.
        """
        with torch.random.fork_rng(devices=[]):
            return DerivedNet(genotype, norms=self.norms, **self.size).to(self.classifier.weight)

    def unshared(self) -> "SuperNet":
        """This super-net if candidates have whole operations of their own, else one with new weights where they do."""
        if self.mapping.plain and self.partial == 1:
            return self
        with torch.random.fork_rng(devices=[]):
            return SuperNet(self.space, norms=self.norms, **self.size).to(self.classifier.weight)

    def _unmapped(self, genotype: Genotype) -> dict[str, Tensor]:
        """State of the genotype's operations under the names that they have in a derived net."""
        state = {}
        for position, (cell_type, cell) in enumerate(self.typed_cells()):
            kept = genotype.cell(cell_type)
            for candidate, key in zip(kept, self.mapping.keys(kept), strict=True):
                operation = cell.operations[key]
                assert isinstance(operation, Operation)
                for name, tensor in own_state(operation).items():
                    state[f"cells.{position}.operations.{candidate_key(candidate)}.{name}"] = tensor
        return state


class DerivedNet(CellNetwork):
    """Holds and runs one genotype.

    Args:
        genotype: Architecture; the name of its space decides how its network is built.
        image_shape: ``(C, H, W)`` of the images.
        num_classes: Number of classes.
        channels: Channels of the first cell's nodes.
        cells: Number of cells.
        stem: Kind of stem.
        auxiliary: Whether to build the auxiliary classifier.
        norms: Batch-norm options; the default is DARTS' evaluation network.

    Attributes:
        size: Arguments that a network of the same size shares.
        drop_path: Probability with which :meth:`forward` and :meth:`forward_auxiliary` drop paths in training mode; for
            compiled cells a 0-d tensor, as another number would compile them again.

    Raises:
        ConfigError: If a size is impossible, or a primitive is unknown.
        GenotypeError: If a cell is missing, a node has no input, or a candidate is not of the space.
    """

    def __init__(
        self,
        genotype: Genotype,
        image_shape: tuple[int, int, int],
        num_classes: int,
        channels: int = 36,
        cells: int = 20,
        stem: StemName = "cifar",
        auxiliary: bool = False,
        norms: NormOptions = NormOptions(),  # noqa: B008 - frozen
    ) -> None:
        skeleton = skeleton_of(genotype.space)
        skeleton.check(genotype)
        held = {cell: genotype.cell(cell) for cell in skeleton.cell_types}
        super().__init__(skeleton, held, image_shape, num_classes, channels, cells, stem, auxiliary, norms)
        self.genotype = genotype
        self.size = NetworkSize(
            image_shape=image_shape, num_classes=num_classes, channels=channels, cells=cells, stem=stem
        )
        self.norms = norms
        self.drop_path: float | Tensor = 0.0
        self._wirings = {cell: wire(candidates) for cell, candidates in held.items()}

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(B, classes)``."""
        return self.forward_auxiliary(images)[0]

    def features(self, images: Tensor) -> Tensor:
        """What is pooled before the classifier, shape ``(B, C, H, W)``; without drop-path."""
        states: list[list[Tensor]] = []
        self.run(images, self._wirings, trace=states)
        *_, (_, last) = self.typed_cells()
        return self._behind_neck(last.output(states[-1]))

    def blocks(self, images: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """What goes into every block, and what it makes of it, in order; without drop-path.

        Blocks are cells, seen from the cell before, and in a network that is a chain its layers but identities. Each
        has a graph of its own, from a leaf that requires a gradient to the output.

        Args:
            images: ``(B, C, H, W)``.
        """
        trail = tuple(state.detach() for state in self.stem(images))
        for cell_type, cell in self.typed_cells():
            wiring = self._wirings[cell_type]
            if not self.skeleton.single_path:
                source = trail[-1].requires_grad_()
                output = cell.output(cell(trail, wiring))
                yield source, output
                trail = (*trail[1:], output.detach())
                continue
            (state,) = trail
            for ((_, key, _),) in wiring:
                operation = cell.operations[key]
                assert isinstance(operation, Operation)  # for type checkers: a module dict forgets it
                if not operation.is_identity:
                    source = state.detach().requires_grad_()
                    state = operation(source)
                    yield source, state

    def forward_auxiliary(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits and, in training mode with an auxiliary head, its logits."""
        return self.run(images, self._wirings, self.drop_path if self.training else 0.0)


def _check_partial(skeleton: Skeleton, channels: int, partial: int) -> None:
    """Raise if the channels cannot be divided so."""
    if partial < 1 or channels % partial or (partial > 1 and not skeleton.has_partial):
        raise ConfigError(
            f"partial_channels is {partial}, channels {channels}: use a divisor of the channels, or 1 for all of them, "
            "which is the only choice outside the spaces darts and nasbench201"
        )


def _check_parts(skeleton: Skeleton, stem: str, auxiliary: bool) -> None:
    """Raise if a part is asked for that the skeleton has not."""
    if not skeleton.has_stems and stem != "cifar":
        raise ConfigError(
            f"stem is {stem!r}, but networks of this space have a stem of their own; leave it at its default, 'cifar'"
        )
    if auxiliary and not skeleton.has_auxiliary:
        raise ConfigError(
            "networks of this space have no auxiliary classifier: set auxiliary_weight 0 (in Python: auxiliary=False)"
        )


def _check_resolution(height: int, width: int, downscale: int, reductions: int, stem: str) -> None:
    """Raise unless the last cell still sees 2x2 pixels: 3x3 primitives on one pixel are 1x1 convolutions."""
    factor = downscale * 2**reductions
    if min(height, width) < 2 * factor:
        raise ConfigError(
            f"images are {height}x{width}, but the {stem} stem and {reductions} reductions divide by {factor} and the "
            f"last cell needs 2x2: use images of at least {2 * factor}x{2 * factor}"
            + (", or the stem 'small' or 'cifar'" if stem == "imagenet" else "")
        )
