"""Folding of architecture weights into batch-norm: a super-net at one support becomes a plain network."""

import torch
from torch import Tensor

from sparsenas.errors import ConfigError
from sparsenas.networks.derived import DerivedNet
from sparsenas.networks.normalisation import ScaledBatchNorm
from sparsenas.networks.operations import Operation
from sparsenas.networks.supernet import SuperNet
from sparsenas.spaces import Candidate, Support


@torch.no_grad()
def fold(network: SuperNet, support: Support, weights: Tensor) -> DerivedNet:
    r"""Make the derived net that computes what the super-net computes at a support, without architecture weights.

    An operation ends in a batch-norm, :math:`y = \gamma \hat x + \beta`, and enters its node as :math:`w y`. So
    :math:`\gamma' = w \gamma` and :math:`\beta' = w \beta` on that last batch-norm give the same node, in evaluation
    and in training mode. Statistics and epsilon stay as they are.

    Args:
        network: Super-net whose operations all end in a batch-norm that learns gamma and beta.
        support: Kept candidate indices per block.
        weights: Architecture weights, shape ``(blocks, s)``, in the order of ``support``; of either sign.

    Returns:
        A network with copies of the super-net's tensors, on its device and in its mode; no auxiliary classifier.

    Raises:
        ConfigError: If an operation of the support cannot take up a weight; those of the staged space take 1 only.

    Source: Yang et al., ISTA-NAS (NeurIPS 2020), one-stage; the official code does not carry it out.
    """
    derived = network.derive(network.space.genotype(support))
    for cell_type, cell in derived.typed_cells():
        for block, kept, row in zip(network.space.blocks, support, weights, strict=True):
            if block.cell == cell_type:
                for index, weight in zip(kept, row, strict=True):
                    candidate = block.candidates[index]
                    operation = cell.operation(candidate)
                    if operation.weight_is_one and weight != 1:
                        raise ConfigError(f"{candidate} has the weight {float(weight):g}, but can be folded at 1 only")
                    norm = _carrier(operation, candidate)
                    if norm is not None:
                        norm.weight.mul_(weight)
                        norm.bias.mul_(weight)
    return derived


def check_foldable(network: SuperNet) -> None:
    """Raise a ``ConfigError`` unless every operation can take up its architecture weight."""
    for block in network.space.blocks:
        for candidate in block.candidates:
            for operation in network.operations(candidate, block.cell):
                _carrier(operation, candidate)


def _carrier(operation: Operation, candidate: Candidate) -> ScaledBatchNorm | None:
    """Return the batch-norm that takes up the weight of an operation; ``None`` where there is nothing to multiply."""
    if operation.is_zero or operation.weight_is_one:
        return None
    if operation.norm is None or not operation.norm.affine:
        raise ConfigError(
            f"{candidate} does not end in a batch-norm with gamma and beta, which could take up its architecture "
            "weight; use norms with affine: true and append: pools_and_skips, and end operations of your own in one"
        )
    return operation.norm
