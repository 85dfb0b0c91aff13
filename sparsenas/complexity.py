"""Size and cost of a network at an input size."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sparsenas.networks import DerivedNet, NetworkConfig, NormOptions, SuperNet, skeleton_of, stage_cost
from sparsenas.networks.heads import AuxiliaryHead
from sparsenas.spaces import NONE, Candidate, Genotype, SearchSpace, StageSpace, Support


@dataclass(frozen=True)
class Complexity:
    """Cost of a network.

    Attributes:
        parameters: Number of parameters, without the auxiliary head.
        macs: MACs of one image; the field's tables call them FLOPs.
    """

    parameters: int
    macs: int

    def __str__(self) -> str:
        """Return text such as ``"3.32 M parameters, 0.52 G MACs"``."""
        return f"{_rounded(self.parameters)} parameters, {_rounded(self.macs)} MACs"


@dataclass(frozen=True)
class CandidateCosts:
    """Cost of every candidate of a super-net; a derived net costs the base plus the sum of the kept ones.

    Attributes:
        parameters: Per block, the parameters of each candidate, summed over all cells of the block's type.
        macs: MACs of one image, likewise.
        base_parameters: Parameters of everything else: stem, inputs of the cells, classifier; no auxiliary head.
        base_macs: MACs of everything else.
    """

    parameters: tuple[tuple[int, ...], ...]
    macs: tuple[tuple[int, ...], ...]
    base_parameters: int
    base_macs: int


#: Primitive, and shapes of input and output; operations of one kind cost the same.
Kind = tuple[str, torch.Size, torch.Size]


class Place(NamedTuple):
    """A candidate in one cell of a super-net: its operation, and the states of the nodes that it links."""

    primitive: str
    operation: nn.Module
    source: Tensor
    target: Tensor

    @property
    def kind(self) -> Kind:
        """Primitive and shapes."""
        return self.primitive, self.source.shape, self.target.shape


def count_parameters(network: nn.Module) -> int:
    """Count parameters, shared ones once.

    Auxiliary heads are left out, as in published counts: they only help training.
    """
    heads = [module for module in network.modules() if isinstance(module, AuxiliaryHead)]
    left_out = {parameter for head in heads for parameter in head.parameters()}
    return sum(parameter.numel() for parameter in network.parameters() if parameter not in left_out)


def count_macs(network: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Count MACs of convolutions and matrix products for one image of shape ``(C, H, W)``.

    The network runs once in evaluation mode on a blank image; nothing about it changes.

    Differs: published counts often add two per element of a batch-norm and one per element of a ReLU or a pool, about
    3 % on ImageNet: ISTA-NAS gives 638 M for its ImageNet network, which has 621 M in convolutions and classifier.
    """
    return _macs(network, network, image_shape)


def describe(network: nn.Module, image_shape: tuple[int, int, int]) -> Complexity:
    """Count parameters and MACs for one image of shape ``(C, H, W)``."""
    return Complexity(count_parameters(network), count_macs(network, image_shape))


def network_cost(
    genotype: Genotype, image_shape: tuple[int, int, int], num_classes: int, channels: int, config: NetworkConfig
) -> Complexity:
    """Count the cost of the network of a genotype at a width: by formula in the staged space, else by building it.

    Raises:
        ConfigError: If there is no such network.
    """
    if genotype.space == StageSpace.name:
        return Complexity(*stage_cost(genotype, image_shape, num_classes, channels))
    with torch.random.fork_rng(devices=[]):
        sizes = replace(config, channels=channels).arguments(NormOptions())
        return describe(DerivedNet(genotype, image_shape, num_classes, **sizes), image_shape)


def candidate_costs(network: SuperNet) -> CandidateCosts:
    """Count the cost of every candidate at the super-net's image size.

    The network runs once with one support; operations of one kind and size are counted once. Nothing about the network
    changes. Candidates that share weights cost what they would cost alone.
    """
    network = network.unshared()
    support = network.space.sample_support(np.random.default_rng(0))  # any one gives the same base
    wirings = network.wirings(support)
    states: list[list[Tensor]] = []
    total = _macs(network, lambda images: network.run(images, wirings, trace=states), network.size["image_shape"])
    places = candidate_places(network, states)
    known: dict[Kind, Complexity] = {}
    for place in (place for block in places for row in block for place in row):
        if place.kind not in known:
            _, channels, height, width = place.source.shape
            known[place.kind] = describe(place.operation, (channels, height, width))
    parameters = tuple(tuple(sum(known[p.kind].parameters for p in row) for row in block) for block in places)
    macs = tuple(tuple(sum(known[p.kind].macs for p in row) for row in block) for block in places)
    kept = sum(row[index] for row, indices in zip(macs, support, strict=True) for index in indices)
    return CandidateCosts(
        parameters=parameters,
        macs=macs,
        base_parameters=count_parameters(network) - sum(map(sum, parameters)),
        base_macs=total - kept,
    )


def candidate_places(network: SuperNet, states: list[list[Tensor]]) -> list[list[list[Place]]]:
    """List the places of every candidate of every block, one in each cell of the block's type.

    The super-net shares no weights; ``states`` are the node states of every cell, as its ``run`` traces them.
    """
    cells = list(zip(network.typed_cells(), states, strict=True))
    return [
        [
            [
                Place(candidate.primitive, cell.operation(candidate), nodes[candidate.source], nodes[candidate.target])
                for (cell_type, cell), nodes in cells
                if cell_type == block.cell
            ]
            for candidate in block.candidates
        ]
        for block in network.space.blocks
    ]


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and restore the modes of its modules at the end."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def effective_support(space: SearchSpace, support: Support) -> Support:
    """Return the part of a support that lies on a path from an input of its cell to the cell's output.

    The rest computes what nobody reads, or computes it from zeros.
    """
    concatenates = skeleton_of(space.name).concatenates
    live: set[tuple[str, Candidate]] = set()
    for cell in space.cell_types:
        own = zip(space.blocks, support, strict=True)
        kept = [block.candidates[i] for block, indices in own if block.cell == cell for i in indices]
        edges = sorted((c for c in kept if c.primitive != NONE), key=lambda c: c.target)
        fed = set(range(space.num_inputs))
        for candidate in edges:
            if candidate.source in fed:
                fed.add(candidate.target)
        targets = {c.target for block in space.blocks if block.cell == cell for c in block.candidates}
        read = set(targets) if concatenates else {max(targets)}
        for candidate in reversed(edges):
            if candidate.target in read:
                read.add(candidate.source)
        live |= {(cell, c) for c in edges if c.source in fed and c.target in read}
    return tuple(
        tuple(i for i in indices if (block.cell, block.candidates[i]) in live)
        for block, indices in zip(space.blocks, support, strict=True)
    )


def _macs(network: nn.Module, run: Callable[[Tensor], object], image_shape: tuple[int, int, int]) -> int:
    """Count MACs of ``run`` on a blank image with ``network`` in evaluation mode; its modes are restored."""
    tensors = chain(network.parameters(), network.buffers())
    like = next((tensor for tensor in tensors if tensor.is_floating_point()), torch.empty(0))
    images = torch.zeros(1, *image_shape, dtype=like.dtype, device=like.device)
    with evaluating(network), torch.no_grad(), FlopCounterMode(display=False) as counter:
        run(images)
    return int(counter.get_total_flops()) // 2  # the counter has two operations per MAC


def _rounded(count: int) -> str:
    """Format with two decimals and the largest unit that gives at least a tenth."""
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= unit / 10:
            return f"{count / unit:.2f} {name}"
    return str(count)
