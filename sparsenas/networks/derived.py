"""The derived net: holds and runs one genotype."""

from collections.abc import Iterator

from torch import Tensor

from sparsenas.networks.cell import wire
from sparsenas.networks.heads import StemName
from sparsenas.networks.network import CellNetwork
from sparsenas.networks.normalisation import NormOptions
from sparsenas.networks.skeletons import skeleton_of
from sparsenas.spaces import Genotype


class DerivedNet(CellNetwork):
    """Network that holds and runs one genotype.

    Args:
        genotype: Architecture; the name of its space decides how its network is built.
        image_shape: As for :class:`CellNetwork`, like the arguments that follow.
        num_classes: Number of classes.
        channels: Width.
        cells: Number of cells.
        stem: Kind of stem.
        auxiliary: Build the auxiliary classifier.
        norms: The default is DARTS' evaluation network.

    Attributes:
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
        cells: int | None = 20,
        stem: StemName = "cifar",
        auxiliary: bool = False,
        norms: NormOptions = NormOptions(),
    ) -> None:
        skeleton = skeleton_of(genotype.space)
        skeleton.check(genotype)
        held = {cell: genotype.cell(cell) for cell in skeleton.cell_types or genotype.cell_types}
        super().__init__(
            skeleton.holding(held), held, image_shape, num_classes, channels, cells, stem, auxiliary, norms
        )
        self.genotype = genotype
        self.drop_path: float | Tensor = 0.0
        self._wirings = {cell: wire(candidates) for cell, candidates in held.items()}

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits ``(B, classes)``."""
        return self.forward_auxiliary(images)[0]

    def features(self, images: Tensor) -> Tensor:
        """Compute the features before the last pooling, shape ``(B, C, H, W)``; without drop-path."""
        states: list[list[Tensor]] = []
        self.run(images, self._wirings, trace=states)
        *_, (_, last) = self.typed_cells()
        return self._behind_neck(last.output(states[-1]))

    def blocks(self, images: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over the inputs and outputs of the blocks, in order; without drop-path.

        Blocks are cells, seen from the cell before; in a network that is a chain they are its layers but identities.
        Each has a graph of its own, from a leaf that requires a gradient to the output.
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
                operation = cell.named(key)
                if not operation.is_identity:
                    source = state.detach().requires_grad_()
                    state = operation(source)
                    yield source, state
            trail = (state.detach(),)

    def forward_auxiliary(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute logits and, in training mode with an auxiliary head, its logits."""
        return self.run(images, self._wirings, self.drop_path if self.training else 0.0)
