"""Size and cost of a network at an input size."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sparsenas.networks import SuperNet, skeleton_of
from sparsenas.networks.heads import AuxiliaryHead
from sparsenas.spaces import NONE, Candidate, SearchSpace, Support


@dataclass(frozen=True)
class Complexity:
    """What a network costs.

    Attributes:
        parameters: Number of parameters, without the auxiliary head.
        multiply_adds: Multiply-adds of one image; the field's tables call them FLOPs.
        image_shape: ``(C, H, W)`` of that image.
    """

    parameters: int
    multiply_adds: int
    image_shape: tuple[int, int, int]

    def __str__(self) -> str:
        """Text for people, e.g. ``"3.32 M parameters, 0.52 G multiply-adds"``."""
        return f"{_rounded(self.parameters)} parameters, {_rounded(self.multiply_adds)} multiply-adds"


@dataclass(frozen=True)
class CandidateCosts:
    """What every candidate of a super-net costs; the cost of a derived net is the base plus the sum of the kept ones.

    Attributes:
        parameters: Per block, the parameters of each candidate, summed over all cells of the block's type.
        multiply_adds: Likewise the multiply-adds of one image.
        base_parameters: Parameters of everything else: stem, inputs of the cells, classifier; no auxiliary head.
        base_multiply_adds: Likewise the multiply-adds.
    """

    parameters: tuple[tuple[int, ...], ...]
    multiply_adds: tuple[tuple[int, ...], ...]
    base_parameters: int
    base_multiply_adds: int


def count_parameters(network: nn.Module, auxiliary: bool = False) -> int:
    """Number of parameters; shared ones count once.

    Args:
        network: Any network.
        auxiliary: Whether to count auxiliary heads. Published counts leave them out, as they only help training.
    """
    heads = [module for module in network.modules() if isinstance(module, AuxiliaryHead)]
    left_out = set() if auxiliary else {parameter for head in heads for parameter in head.parameters()}
    return sum(parameter.numel() for parameter in network.parameters() if parameter not in left_out)


def count_multiply_adds(network: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Multiply-adds of convolutions and matrix products for one image.

    The network runs once in evaluation mode on a blank image; its modes are restored, so nothing about it changes.

    Args:
        network: Any network; called as ``network(images)``.
        image_shape: ``(C, H, W)``.

    Differs: published counts often add two per element of a batch-norm and one per element into a ReLU or a pool, about
    3 % on ImageNet: ISTA-NAS gives 638 M for its ImageNet network, which has 621 M in convolutions and classifier.
    """
    return _multiply_adds(network, network, image_shape)


def describe(network: nn.Module, image_shape: tuple[int, int, int]) -> Complexity:
    """Count parameters and multiply-adds.

    Args:
        network: Any network; called as ``network(images)``.
        image_shape: ``(C, H, W)``.
    """
    return Complexity(count_parameters(network), count_multiply_adds(network, image_shape), image_shape)


def candidate_costs(network: SuperNet) -> CandidateCosts:
    """Cost of every candidate at the super-net's image size.

    The network runs once with one support; operations of one kind and size are counted once. Nothing about the network
    changes. Candidates that share weights cost what they would cost alone, in a network of their own.

    Args:
        network: Super-net.
    """
    network = network.unshared()
    blocks = network.space.blocks
    support = network.space.sample_support(np.random.default_rng(0))  # any: the base is the same with each
    wirings = network.wirings(support)
    states: list[list[Tensor]] = []
    total = _multiply_adds(
        network, lambda images: network.run(images, wirings, trace=states), network.size["image_shape"]
    )
    cells = _cell_costs(network, states)
    costs = [
        [[cell[candidate] for cell_type, cell in cells if cell_type == block.cell] for candidate in block.candidates]
        for block in blocks
    ]
    parameters = tuple(tuple(sum(cost.parameters for cost in row) for row in block) for block in costs)
    multiply_adds = tuple(tuple(sum(cost.multiply_adds for cost in row) for row in block) for block in costs)
    kept = sum(row[index] for row, indices in zip(multiply_adds, support, strict=True) for index in indices)
    return CandidateCosts(
        parameters=parameters,
        multiply_adds=multiply_adds,
        base_parameters=count_parameters(network) - sum(map(sum, parameters)),
        base_multiply_adds=total - kept,
    )


def live_support(space: SearchSpace, support: Support) -> Support:
    """The part of a support that lies on a path from an input of its cell to the cell's output.

    The rest computes what nobody reads, or computes it from nothing but zeros: its parameters count for nothing.

    Args:
        space: Search space.
        support: Kept candidates per block.
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


def _cell_costs(network: SuperNet, states: list[list[Tensor]]) -> list[tuple[str, dict[Candidate, Complexity]]]:
    """Type of each cell, and what its candidates cost.

    Args:
        network: Super-net.
        states: Node states of every cell; only shapes are read.
    """
    known: dict[tuple[str, torch.Size, torch.Size], Complexity] = {}
    cells = []
    for (cell_type, cell), nodes in zip(network.typed_cells(), states, strict=True):
        costs: dict[Candidate, Complexity] = {}
        for candidate in (c for block in network.space.blocks if block.cell == cell_type for c in block.candidates):
            source = nodes[candidate.source].shape
            kind = (candidate.primitive, source, nodes[candidate.target].shape)
            if kind not in known:
                known[kind] = describe(cell.operation(candidate), (source[1], source[2], source[3]))
            costs[candidate] = known[kind]
        cells.append((cell_type, costs))
    return cells


def _multiply_adds(network: nn.Module, run: Callable[[Tensor], object], image_shape: tuple[int, int, int]) -> int:
    """Multiply-adds of ``run`` on a blank image while ``network``, whose modes are restored, is in evaluation mode."""
    modes = [(module, module.training) for module in network.modules()]
    tensors = chain(network.parameters(), network.buffers())
    like = next((tensor for tensor in tensors if tensor.is_floating_point()), torch.empty(0))
    images = torch.zeros(1, *image_shape, dtype=like.dtype, device=like.device)
    network.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            run(images)
    finally:
        for module, mode in modes:
            module.training = mode
    return int(counter.get_total_flops()) // 2  # the counter has two operations per multiply-add


def _rounded(count: int) -> str:
    """Two decimals and the largest unit of which there is at least a tenth."""
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= unit / 10:
            return f"{count / unit:.2f} {name}"
    return str(count)
