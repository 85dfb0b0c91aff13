"""Neural architecture optimization: encodings of good networks climb a predictor, and are decoded to better ones."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparsenas.errors import PredictorError
from sparsenas.predictors.base import Floats, Info, Predictor
from sparsenas.predictors.fitting import Fitting, Inputs, fit_network, predict, seeded
from sparsenas.predictors.guided import PATIENCE, Feasible, unseen
from sparsenas.predictors.sequences import SequenceNetwork, reconstruction, regression_and_reconstruction
from sparsenas.spaces import DecisionSequence, Genotype

#: Options of the training, and of the one before, by which random networks are reconstructed.
FITTING = Fitting(epochs=300, batch_size=100, lr=1e-3, clip=5.0)
PRETRAINING = replace(FITTING, epochs=100)
#: Networks drawn for each fit, of which only the reconstruction is learned.
UNLABELLED = 1000
#: Lengths of the step uphill, tried one after the other.
ETAS = range(1, 51)
#: Number of best seeds that are mutated where decoding does not yield enough.
PARENTS = 5


@dataclass(frozen=True)
class Proposals:
    """Networks to train next, and where they come from.

    Attributes:
        genotypes: The networks: first those decoded, then mutations, then random ones.
        decoded: Number of those decoded from encodings moved uphill.
        mutated: Number of mutations of the best seeds.
        drawn: Number of random ones.
    """

    genotypes: tuple[Genotype, ...]
    decoded: int
    mutated: int
    drawn: int


class NeuralArchitectureOptimizer(Predictor):
    r"""An encoder of sequences, a predictor on the encoding, and a decoder; it improves networks by gradient ascent.

    With the states :math:`H` that the encoder gives a network, and the prediction :math:`f` of its code, the mean of
    the states, new networks are decoded from

    .. math:: H' = \operatorname{normalise}(H + \eta \, \partial f / \partial H)

    Before the first fit, the network learns to reconstruct random networks. A later fit goes on from its weights.

    Args:
        sequence: Sequences of the space.
        fitting: Options of the training.
        pretraining: Options of the training on random networks.
        seed: Seeds weights, orders, dropout and draws.

    Source: Luo et al., Neural Architecture Optimization (NeurIPS 2018); Luo et al., Understanding and Improving
        One-Shot Neural Architecture Optimization (2019), and its code.

    Differs: the network is that of the predictor ``nao``: each token is a step, and no sigmoid ends the predictor. So
        targets are standardised, not scaled to [0, 1], where errors are too small to be learned from. Batches of random
        networks are reconstructed too, before the fit and within. There are 300 epochs, not 1000. The order of kept
        candidates is drawn anew in each step, in place of ten copies of the data. All of this was chosen on 7,000 cells
        of NAS-Bench-201; only what comes before the first fit was added for DARTS, after a look at the other cells.
        With 100 networks alone, 38 % of the tokens of others were wrong.
    """

    least = 2

    def __init__(
        self,
        sequence: DecisionSequence,
        fitting: Fitting = FITTING,
        pretraining: Fitting = PRETRAINING,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.sequence, self.fitting, self.pretraining = sequence, fitting, pretraining
        self._generator = torch.Generator().manual_seed(seed)
        self._network: SequenceNetwork | None = None
        self._mean, self._scale = 0.0, 1.0

    def _fit(self, genotypes: Sequence[Genotype], targets: Floats, info: Info) -> None:
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=self._generator)))
        others = self._written([self.sequence.space.sample(rng) for _ in range(UNLABELLED)])

        def permuted(sequences: Tensor) -> Inputs:
            return (torch.from_numpy(self.sequence.permuted(sequences.numpy(), rng)),)

        def copying(network: SequenceNetwork, inputs: Inputs, aims: Tensor) -> Tensor:
            return reconstruction(network, permuted(inputs[0]), aims)

        def loss(network: SequenceNetwork, inputs: Inputs, aims: Tensor) -> Tensor:
            more = others[torch.from_numpy(rng.integers(len(others), size=self.fitting.batch_size))]
            return regression_and_reconstruction(network, permuted(torch.cat([*inputs, more])), aims)

        if self._network is None:
            with seeded(self._generator):
                self._network = SequenceNetwork(self.sequence.tokens)
            fit_network(self._network, (others,), others, self.pretraining, copying, self._generator)
        self._mean, self._scale = float(targets.mean()), float(targets.std())
        standard = torch.as_tensor((targets - self._mean) / self._scale, dtype=torch.float32)
        fit_network(self._network, (self._written(genotypes),), standard, self.fitting, loss, self._generator)
        self._network.eval()

    def _query(self, genotypes: Sequence[Genotype], info: Info) -> Floats:
        outputs = predict(self._learned(), (self._written(genotypes),)).double().numpy()
        return np.asarray(self._mean + self._scale * outputs)

    def improve(self, genotypes: Sequence[Genotype], eta: float) -> list[Genotype]:
        """Decode the encodings of networks after a step uphill; with ``eta`` 0, they are reconstructed.

        Args:
            genotypes: The networks, ``N`` of them.
            eta: Length of the step, in gradients of the standardised accuracy.

        Returns:
            A network for each; with a small step, many are the same as before.

        Raises:
            PredictorError: If it has not been fitted.
        """
        return [self.sequence.read(tokens) for tokens in self._decoded(self._written(genotypes), eta).numpy()]

    def reconstruction_error(self, genotypes: Sequence[Genotype]) -> float:
        """Compute the share of tokens that are not reconstructed, in [0, 1]: the normalised Hamming distance.

        Raises:
            PredictorError: If it has not been fitted.
        """
        written = self._written(genotypes)
        return float((self._decoded(written, 0.0) != written).double().mean())

    def propose(
        self,
        seeds: Sequence[Genotype],
        known: Iterable[Genotype],
        count: int,
        rng: np.random.Generator,
        fits: Callable[[Genotype], bool] = lambda genotype: True,
        same: Callable[[Genotype], Hashable] = lambda genotype: genotype,
    ) -> Proposals:
        """Find new networks: decoded with longer and longer steps, then by mutation of the best seeds, then random.

        Args:
            seeds: Networks to improve, the best first.
            known: Networks that are not new; seeds are none either.
            count: Number of networks.
            rng: Draws mutations and random networks.
            fits: Says if a network keeps a rule, such as a budget; others are left out.
            same: Gives the same for networks that compute the same, of which only one is taken.

        Returns:
            At most ``count`` networks; fewer only if no others are found.

        Raises:
            PredictorError: If it has not been fitted, or there are no seeds.
            BudgetError: If no random network keeps the rule.
        """
        if not seeds:
            raise PredictorError("propose: no seeds; give the best of the networks that were trained")
        space, taken = Feasible(self.sequence.space, fits), [*known, *seeds]
        climbed = (genotype for eta in ETAS for genotype in self.improve(seeds, eta) if space.fits(genotype))
        decoded = unseen(climbed, taken, count, same)
        best = seeds[:PARENTS]
        mutations = iter(lambda: space.mutate(best[int(rng.integers(len(best)))], rng), None)
        mutated = unseen(mutations, [*taken, *decoded], count - len(decoded), same, PATIENCE)
        draws, rest = iter(lambda: space.sample(rng), None), count - len(decoded) - len(mutated)
        drawn = unseen(draws, [*taken, *decoded, *mutated], rest, same, PATIENCE)
        return Proposals((*decoded, *mutated, *drawn), len(decoded), len(mutated), len(drawn))

    def state_dict(self) -> dict[str, Any]:
        """Collect what was learned, and the state of all draws, as plain values and tensors."""
        weights = None if self._network is None else self._network.state_dict()
        return {"weights": weights, "units": (self._mean, self._scale), "draws": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` of an optimizer of the same space gave."""
        network = None if state["weights"] is None else SequenceNetwork(self.sequence.tokens)
        if network is not None:
            network.load_state_dict(state["weights"])
            network.eval()
        self._network, (self._mean, self._scale) = network, state["units"]
        self._generator.set_state(state["draws"].cpu())

    def _written(self, genotypes: Sequence[Genotype]) -> Tensor:
        """Write networks as tokens, shape ``(N, L)``."""
        rows = [self.sequence.write(genotype) for genotype in genotypes]
        return torch.from_numpy(np.array(rows, dtype=np.int64).reshape(-1, self.sequence.length))

    def _decoded(self, written: Tensor, eta: float) -> Tensor:
        """Decode tokens ``(N, L)`` after a step uphill."""
        network = self._learned()
        with torch.no_grad():
            states, _ = network.encode(written)
        states.requires_grad_()
        (uphill,) = torch.autograd.grad(network.regress(network.code(states)).sum(), states)
        with torch.no_grad():
            moved = nn.functional.normalize(states + eta * uphill, dim=2)
            return network.generate(moved, network.code(moved), self.sequence.length, self.sequence.allowed)

    def _learned(self) -> SequenceNetwork:
        """Give the network, which has been fitted."""
        if self._network is None:
            raise PredictorError(f"{type(self).__name__}: has learned from no network yet; fit it first")
        return self._network
