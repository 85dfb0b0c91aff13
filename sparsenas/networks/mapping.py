"""Weight mappings of a super-net: which weights a candidate runs with."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsenas.errors import ConfigError
from sparsenas.networks.cell import Cell, candidate_key
from sparsenas.networks.normalisation import NormOptions
from sparsenas.networks.operations import Operation
from sparsenas.networks.skeletons import Skeleton
from sparsenas.spaces import NONE, Candidate

#: Primitives of one edge that differ in the size of the kernel only: the smaller, its size, and the larger.
JOINED = ("nor_conv_1x1", 1, "nor_conv_3x3")


@dataclass(frozen=True)
class WeightMapping:
    """Mapping ``f_ws`` of candidates to shared weights. By default each candidate has an operation of its own.

    Attributes:
        operations: ``"node"`` sums the sources from which a node takes the same primitive, then applies one operation.
            Its weights do not depend on the source. A derived net cannot compute that.
        kernels: ``"centre"`` runs a 1x1 convolution with the centre of the 3x3 kernel of its edge. ``"matrix"``
            multiplies the centre by a learned matrix, see :class:`CentreKernel`.
        norm_sets: ``"inputs"`` gives an operation one batch-norm per input configuration (WSBN): per set of nodes that
            feed what it reads. An operation on an edge reads a node, fed by the sources of all primitives but ``none``.
            Nothing feeds a cell's input, so an operation on it has one. An operation on a node reads the sources that
            it sums. With ``track``, running statistics are kept per set too ("full").
        dropout: Probability with which training drops each pooled feature before the classifier.

    Raises:
        ConfigError: If ``dropout`` is not a probability below 1.

    Source: Yu et al., How to Train Your Super-Net (2020). ``kernels``: Cai et al., Once-for-All (ICLR 2020).
    ``norm_sets``: Luo et al., NAO (NeurIPS 2018), whose code has one set per source.

    Differs: in NAS-Bench-201, code of Yu et al. applies the operation of a node to every source, then sums, and keeps
    that of the cell's input apart. It has one batch-norm per operation on an edge, as its source never changes. A node
    that nothing feeds counts as a configuration here. Batch-norms inside an operation are one for all sets.
    """

    operations: Literal["edge", "node"] = "edge"
    kernels: Literal["own", "centre", "matrix"] = "own"
    norm_sets: Literal["one", "inputs"] = "one"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check the number."""
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"mapping.dropout is {self.dropout}; a probability below 1 is needed")

    @property
    def plain(self) -> bool:
        """True if every candidate has an operation of its own."""
        return (self.operations, self.kernels, self.norm_sets) == ("edge", "own", "one")

    def check(self, skeleton: Skeleton, held: Iterable[Candidate], norms: NormOptions, partial: int) -> None:
        """Check that the mapping fits a super-net.

        Args:
            skeleton: Skeleton of the networks.
            held: Candidates of all cell types.
            norms: Batch-norm options of the cells.
            partial: Operations work on one in so many channels.

        Raises:
            ConfigError: Naming the option at fault.
        """
        if partial > 1 and not self.plain:
            raise ConfigError(f"partial_channels is {partial}; use 1, or the default mapping")
        if self.operations == "node" and not skeleton.has_node_operations:
            raise ConfigError(
                "mapping.operations is node, but that needs cells of several nodes whose operations all have stride 1, "
                "as in the spaces nasbench201 and weight_sharing64; use edge"
            )
        if self.kernels != "own" and not {JOINED[0], JOINED[2]} <= {candidate.primitive for candidate in held}:
            raise ConfigError(
                f"mapping.kernels is {self.kernels}, which joins {JOINED[0]} to {JOINED[2]}, but the space has not "
                "both; use own"
            )
        if self.norm_sets == "inputs" and skeleton.single_path:
            raise ConfigError(
                "mapping.norm_sets is inputs, but every layer of this space has one input configuration; use one"
            )
        if self.norm_sets == "inputs" and not (norms.affine or norms.track):
            raise ConfigError(
                "mapping.norm_sets is inputs, but batch-norms that neither learn nor track have nothing to keep apart; "
                "set norms.affine or norms.track, or use one"
            )

    def arrange(self, cell: Cell, held: Sequence[Candidate], norms: NormOptions) -> None:
        """Share the weights of a cell that holds an operation per candidate of ``held``; change it in place."""
        first: dict[str, Candidate] = {}
        for candidate in held:
            first.setdefault(self._name(candidate), candidate)
        operations = {name: cell.operation(candidate) for name, candidate in first.items()}
        if self.kernels != "own":
            for name, candidate in first.items():
                if candidate.primitive == JOINED[0]:
                    larger = operations[self._name(candidate._replace(primitive=JOINED[2]))]
                    _join(operations[name], larger, self.kernels == "matrix")
        if self.norm_sets == "inputs":
            operations = {
                key: _with_own_norm(operations[name], norms)
                for name, candidate in first.items()
                for key in self._keys_of_name(candidate, held)
            }
        cell.operations = nn.ModuleDict(operations)
        cell.sums_inputs = self.operations == "node"

    def keys(self, candidates: Sequence[Candidate]) -> list[str]:
        """Return the name of the operation that each candidate runs in a cell that runs exactly ``candidates``."""
        names = [self._name(candidate) for candidate in candidates]
        if self.norm_sets == "one":
            return names
        sets: defaultdict[int | str, int] = defaultdict(int)  # bit-mask of the nodes that feed a node or an operation
        if self.operations == "node":
            for name, candidate in zip(names, candidates, strict=True):
                sets[name] |= 1 << candidate.source
            return [f"{name}@{sets[name]}" for name in names]
        for candidate in candidates:
            if candidate.primitive != NONE:
                sets[candidate.target] |= 1 << candidate.source
        return [f"{name}@{sets[candidate.source]}" for name, candidate in zip(names, candidates, strict=True)]

    def possible_keys(self, candidate: Candidate, held: Sequence[Candidate]) -> list[str]:
        """Return the names of all operations that a candidate may run, in a cell that holds ``held``."""
        keys = self._keys_of_name(candidate, held)
        if self.norm_sets == "one" or self.operations == "edge":
            return keys
        return [key for key in keys if int(key.rpartition("@")[2]) >> candidate.source & 1]

    def _name(self, candidate: Candidate) -> str:
        """Return the name of the operation, without the number of its batch-norm."""
        if self.operations == "node":
            return f"{candidate.target}_{candidate.primitive.replace('.', '-')}"
        return candidate_key(candidate)

    def _keys_of_name(self, candidate: Candidate, held: Sequence[Candidate]) -> list[str]:
        """Return the names that begin with that of a candidate: one per set of nodes that may feed what it reads."""
        name = self._name(candidate)
        if self.norm_sets == "one":
            return [name]
        if self.operations == "node":
            feeding = {c.source for c in held if self._name(c) == name}
            unfed = False
        else:
            feeding = {c.source for c in held if c.target == candidate.source and c.primitive != NONE}
            unfed = not feeding or any(c.primitive == NONE for c in held)
        everything = sum(1 << node for node in feeding)
        return [
            f"{name}@{mask}" for mask in range(0 if unfed else 1, everything + 1) if mask | everything == everything
        ]


class CentreKernel(nn.Module):
    r"""A convolution with the centre of a larger kernel.

    .. math:: W'_{oi} = M\, \mathrm{vec}(\mathrm{centre}_k(W_{oi}))

    for every pair of channels. ``M``, of shape ``(k^2, k^2)``, is the identity at first.

    Args:
        larger: Convolution of stride 1 whose kernel is shared.
        size: ``k``, odd like the larger size.
        matrix: Learn ``M``; without it, this is the usual super-kernel.

    Source: Cai et al., Once-for-All (ICLR 2020), section 3.2.
    """

    def __init__(self, larger: nn.Conv2d, size: int, matrix: bool) -> None:
        super().__init__()
        self.larger = larger
        self.size = size
        self.matrix = nn.Parameter(torch.eye(size**2)) if matrix else None

    @property
    def weight(self) -> Tensor:
        """The kernel, shape ``(out, in, k, k)``."""
        start = (self.larger.kernel_size[0] - self.size) // 2
        centre = slice(start, start + self.size)
        weight = self.larger.weight[:, :, centre, centre]
        if self.matrix is not None:
            weight = functional.linear(weight.flatten(2), self.matrix).view_as(weight)
        return weight

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, out, H, W)``."""
        return functional.conv2d(x, self.weight, padding=self.size // 2)


def own_state(operation: Operation) -> dict[str, Tensor]:
    """Return the state of an operation, together with the state that it would have if it shared nothing."""
    state = dict(operation.state_dict())
    for name, module in operation.named_modules():
        if isinstance(module, CentreKernel):
            state[f"{name}.weight"] = module.weight.detach()
    return state


def _join(smaller: Operation, larger: Operation, matrix: bool) -> None:
    """Let a convolution run with the centre of a larger one's kernel."""
    assert isinstance(smaller.body, nn.Sequential)
    assert isinstance(larger.body, nn.Sequential)
    convolution = larger.body[-1]
    assert isinstance(convolution, nn.Conv2d)
    smaller.body[-1] = CentreKernel(convolution, JOINED[1], matrix)


def _with_own_norm(operation: Operation, norms: NormOptions) -> Operation:
    """Put the same body in front of a new batch-norm, if there is one."""
    return Operation(operation.body, None if operation.norm is None else norms.layer(operation.norm.num_features))
