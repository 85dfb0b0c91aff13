"""The super-net: holds every candidate of a space, and runs only the supported ones."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain

import torch
from torch import Tensor, nn

from sparsenas.errors import ConfigError
from sparsenas.networks.cell import Wiring, candidate_key, wire
from sparsenas.networks.derived import DerivedNet
from sparsenas.networks.heads import StemName
from sparsenas.networks.mapping import WeightMapping, own_state
from sparsenas.networks.network import CellNetwork
from sparsenas.networks.normalisation import NormOptions
from sparsenas.networks.operations import Operation
from sparsenas.networks.skeletons import skeleton_of
from sparsenas.spaces import Candidate, Genotype, SearchSpace, Support


class SuperNet(CellNetwork):
    """Network that holds every candidate of a space and runs only the supported ones.

    Args:
        space: Search space.
        image_shape: As for :class:`CellNetwork`, like the arguments that follow.
        num_classes: Number of classes.
        channels: Width.
        cells: Number of cells.
        stem: Kind of stem.
        norms: The default learns no gamma and beta and uses batch statistics throughout.
        auxiliary: Build the auxiliary classifier.
        partial: Operations of the cells work on one in so many channels; then no network can be derived.
        mapping: Weights that a candidate runs with.

    Raises:
        ConfigError: If a size is impossible, or options do not fit the space.
    """

    def __init__(
        self,
        space: SearchSpace,
        image_shape: tuple[int, int, int],
        num_classes: int,
        channels: int = 16,
        cells: int | None = 8,
        stem: StemName = "cifar",
        norms: NormOptions = NormOptions(affine=False, track=False, append="pools_and_skips"),
        auxiliary: bool = False,
        partial: int = 1,
        mapping: WeightMapping = WeightMapping(),
    ) -> None:
        held = {
            cell: tuple(c for block in space.blocks if block.cell == cell for c in block.candidates)
            for cell in space.cell_types
        }
        skeleton = skeleton_of(space.name)
        mapping.check(skeleton, chain.from_iterable(held.values()), norms, partial)
        skeleton = skeleton.holding(held)
        super().__init__(skeleton, held, image_shape, num_classes, channels, cells, stem, auxiliary, norms, partial)
        self.space = space
        self.partial = partial
        self.mapping = mapping
        self.dropout = mapping.dropout
        self._held = held
        if not mapping.plain:
            for cell_type, cell in self.typed_cells():
                mapping.arrange(cell, held[cell_type], norms)

    def wirings(self, support: Support, weights: Tensor | Sequence[Tensor] | None = None) -> dict[str, Wiring]:
        """Make the wiring of every cell type.

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
        """Iterate over the operations that a candidate may run in every cell of a type."""
        keys = self.mapping.possible_keys(candidate, self._held[cell_type])
        for own_type, cell in self.typed_cells():
            if own_type == cell_type:
                yield from map(cell.named, keys)

    def active_parameters(self, support: Support) -> list[nn.Parameter]:
        """List the parameters of the supported operations in all cells, and of everything that always runs; each once.

        They include all batch-norms of an operation; those that did not run have no gradient.
        """
        active = list(self._always)
        for candidates, kept in zip(self._by_candidate, support, strict=True):
            for index in kept:
                active.extend(candidates[index])
        return active if self.mapping.plain else list(dict.fromkeys(active))

    @cached_property
    def _by_candidate(self) -> list[list[list[nn.Parameter]]]:
        """Parameters of every block's candidates, of all cells together."""

        def parameters(candidate: Candidate, cell_type: str) -> list[nn.Parameter]:
            operations = self.operations(candidate, cell_type)
            return list(dict.fromkeys(p for operation in operations for p in operation.parameters()))

        return [[parameters(candidate, block.cell) for candidate in block.candidates] for block in self.space.blocks]

    @cached_property
    def _always(self) -> list[nn.Parameter]:
        """Parameters outside the candidates' operations."""
        of_operations = {parameter for rows in self._by_candidate for row in rows for parameter in row}
        return [parameter for parameter in self.parameters() if parameter not in of_operations]

    def forward(self, images: Tensor, support: Support, weights: Tensor | Sequence[Tensor] | None = None) -> Tensor:
        """Compute logits ``(B, classes)`` of the sub-network given by ``support`` and ``weights``."""
        return self.run(images, self.wirings(support, weights))[0]

    def derive(self, genotype: Genotype) -> "DerivedNet":
        """Make the derived net of a genotype with a copy of this super-net's weights, on its device and in its mode.

        It has no auxiliary classifier and no architecture weights; :func:`~sparsenas.networks.fold` keeps the latter.
        No random number is drawn, so deriving does not change a run.

        Raises:
            GenotypeError: If the genotype is not of this super-net's space.
            ConfigError: If operations work on a part of the channels, or on nodes.
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
        """Make a network as :meth:`derive` does, but with new weights; the global generator stays as it is.

        Raises:
            ConfigError: If the primitives of the genotype are unknown.
            GenotypeError: If there is no network of the genotype.
        """
        with torch.random.fork_rng(devices=[]):
            return DerivedNet(genotype, norms=self.norms, **self.size).to(self.classifier.weight)

    def unshared(self) -> "SuperNet":
        """Return this super-net, or one with new weights if candidates do not have whole operations of their own."""
        if self.mapping.plain and self.partial == 1:
            return self
        with torch.random.fork_rng(devices=[]):
            return SuperNet(self.space, norms=self.norms, **self.size).to(self.classifier.weight)

    def _unmapped(self, genotype: Genotype) -> dict[str, Tensor]:
        """Return the state of the genotype's operations under the names that they have in a derived net."""
        state = {}
        for position, (cell_type, cell) in enumerate(self.typed_cells()):
            kept = genotype.cell(cell_type)
            for candidate, key in zip(kept, self.mapping.keys(kept), strict=True):
                for name, tensor in own_state(cell.named(key)).items():
                    state[f"cells.{position}.operations.{candidate_key(candidate)}.{name}"] = tensor
        return state
