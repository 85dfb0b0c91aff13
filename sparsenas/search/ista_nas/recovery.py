"""How, and how often, the compressed parameter is turned back into a sparse code."""

from dataclasses import dataclass, field

import torch

from sparsenas.errors import ConfigError, RecoveryError
from sparsenas.networks import SuperNet
from sparsenas.spaces import SearchSpace
from sparsenas.sparse_coding import Constraints, DictionaryKind, ExactSolver, RecoveryProblem, Solver, make_dictionary

#: Longest ``b`` of a block; codes with more candidates than this are far from any space.
LONGEST = 1024


@dataclass(frozen=True)
class SparseRecovery:
    """Turn ``b`` back into a sparse code: solver, dictionary, and how often.

    Attributes:
        solver: Solver of the recovery problem.
        dictionary: Kind of dictionary ``A``. ``uniform`` is the official code's.
        compressed_size: Length ``m`` of ``b`` per block; at least twice the support size.
        initial_std: Standard deviation of the initial ``b``. ``None`` gives codes of norm about 1 (``m ** -0.5``).
        unit_weights: Scale the architecture weights of every block to norm 1, the norm of drawn supports. Else nodes
            would change their size from batch to batch, and with the length of ``b``. The gradient stays the same.
        every_n_steps: Recover after so many training steps; ``None`` recovers at the end of every epoch.
        reject_params: Discard a recovery whose network has so many parameters or more, and keep the code before it.
            One-stage only; the official code's substitute for a budget.

    Raises:
        ConfigError: If a number is not positive.
    """

    solver: Solver = field(default_factory=ExactSolver)
    dictionary: DictionaryKind = "low_coherence"
    compressed_size: int = 8
    initial_std: float | None = None
    unit_weights: bool = False
    every_n_steps: int | None = 8
    reject_params: float | None = None

    def __post_init__(self) -> None:
        """Check the numbers that no later check sees."""
        if self.every_n_steps is not None and self.every_n_steps < 1:
            raise ConfigError(
                f"recovery.every_n_steps is {self.every_n_steps}; use at least 1, or null for every epoch"
            )
        if self.initial_std is not None and not self.initial_std > 0:
            raise ConfigError(f"recovery.initial_std is {self.initial_std}; use a positive number, or null")

    def check_weights(self, network: SuperNet) -> None:
        """Check that architecture weights are scaled where layers lie in a row.

        Raises:
            ConfigError: If they are not: they would multiply, and grow without bound; and a batch-norm takes up 1 only.
        """
        if network.skeleton.single_path and not self.unit_weights:
            raise ConfigError(
                "recovery.unit_weights is false, but weights of layers in a row multiply, and can be folded at weights "
                "of 1 only: set it to true"
            )

    def problem(self, space: SearchSpace, generator: torch.Generator, constraints: Constraints) -> RecoveryProblem:
        """Pose the recovery problem of a space with a dictionary drawn from ``generator``.

        Args:
            space: Search space.
            generator: Draws the dictionary.
            constraints: Rules of what may be recovered.

        Raises:
            RecoveryError: If ``compressed_size`` is too small, or no support satisfies the constraints; the message
                names the option and the smallest value that it could have.
        """
        sizes = tuple(len(block) for block in space.blocks)
        if self.compressed_size > LONGEST:
            raise RecoveryError(f"recovery.compressed_size is {self.compressed_size}; use at most {LONGEST}")
        least = max(min(2 * space.inputs_per_node, size) for size in sizes)
        if self.compressed_size < least:
            raise RecoveryError(
                f"recovery.compressed_size is {self.compressed_size}; codes with {space.inputs_per_node} non-zeros "
                f"cannot be told apart below {least}"
            )
        dictionary = make_dictionary(self.dictionary, sizes, self.compressed_size, generator)
        return RecoveryProblem(dictionary, sizes, space.inputs_per_node, constraints)
