"""An encoder and a decoder of architectures written as sequences of tokens."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsenas.predictors.fitting import Fitting, Inputs, fit_network, predict
from sparsenas.predictors.neural import NetworkRegression
from sparsenas.spaces import Encoding, Genotype
from sparsenas.spaces.encodings import PADDING

#: Weight of the squared error in the loss; that of the reconstruction is the rest.
TRADE_OFF = 0.8
#: Options of the study.
OPTIONS = Fitting(epochs=50, batch_size=100, lr=1e-3, weight_decay=1e-4, clip=5.0)
#: Marks the tokens that may follow sequences ``(N, l)``, shape ``(N, tokens)``.
Allowed = Callable[[NDArray[np.int64]], NDArray[np.bool_]]
#: State of an LSTM.
Memory = tuple[Tensor, Tensor]
#: How often a labelled network is learned from for each one with a pseudo-label.
UP_SAMPLING = 10
#: Epochs of the second fit, on labelled and pseudo-labelled networks.
AGAIN = 15


def sequence_tensors(encoding: Encoding, genotypes: Sequence[Genotype]) -> Inputs:
    """Encode genotypes as tokens, shape ``(N, length)``."""
    return (torch.from_numpy(np.array([encoding.sequence(genotype) for genotype in genotypes])),)


class SequenceNetwork(nn.Module):
    """An LSTM that encodes a sequence, a regression on its code, and an LSTM that writes the sequence from the code.

    Args:
        tokens: Size of the vocabulary.
        width: Width of embeddings, codes and LSTMs.
        bottleneck: Width inside the regression.
        dropout: Share of values that are dropped in training.

    Source: Luo et al., Neural Architecture Optimization (NeurIPS 2018); sizes of White et al. (NeurIPS 2021).
    """

    def __init__(self, tokens: int, width: int = 64, bottleneck: int = 16, dropout: float = 0.1) -> None:
        super().__init__()
        self.embedding, self.dropout = nn.Embedding(tokens, width), nn.Dropout(dropout)
        self.reader = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.projection = nn.Linear(2 * width, width)
        self.regression = nn.Sequential(
            nn.Linear(width, bottleneck), nn.ReLU(), nn.Dropout(dropout), nn.Linear(bottleneck, width), nn.ReLU()
        )
        self.head = nn.Linear(width, 1)
        self.written = nn.Embedding(tokens, width)
        self.writer = nn.LSTM(width, width, batch_first=True)
        self.attended = nn.Linear(2 * width, width)
        self.output = nn.Linear(width, tokens)

    def encode(self, sequences: Tensor) -> tuple[Tensor, Tensor]:
        """Encode sequences ``(N, L)`` as states of length 1, ``(N, L, D)``, and codes of length 1, ``(N, D)``."""
        embedded = self.dropout(self.embedding(sequences))
        states = self.dropout(self.projection(self.reader(embedded)[0])) + embedded
        states = nn.functional.normalize(states, dim=2)
        return states, self.code(states)

    def code(self, states: Tensor) -> Tensor:
        """Compute codes ``(N, D)`` of states."""
        return nn.functional.normalize(states.mean(1), dim=1)

    def regress(self, codes: Tensor) -> Tensor:
        """Predict from codes ``(N, D)``, shape ``(N,)``."""
        predicted: Tensor = self.head((codes + self.regression(codes)) * 0.5**0.5)[:, 0]
        return predicted

    def decode(self, sequences: Tensor, states: Tensor, codes: Tensor) -> Tensor:
        """Compute logits ``(N, L, tokens)`` of each token from the code, the states, and the tokens before."""
        before = nn.functional.pad(sequences[:, :-1], (1, 0), value=PADDING)
        return self._write(before, states, (codes[None], codes[None]))[0]

    def generate(self, states: Tensor, codes: Tensor, length: int, allowed: Allowed) -> Tensor:
        """Write the sequence ``(N, length)`` token by token: each is the likeliest one of those that are allowed."""
        memory = codes[None], codes[None]
        before = codes.new_full((len(codes), 1), PADDING, dtype=torch.int64)
        sequences = before[:, :0]
        for _ in range(length):
            logits, memory = self._write(before, states, memory)
            forbidden = ~torch.from_numpy(allowed(sequences.numpy()))
            before = logits[:, 0].masked_fill(forbidden, -torch.inf).argmax(1, keepdim=True)
            sequences = torch.cat([sequences, before], 1)
        return sequences

    def _write(self, before: Tensor, states: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Compute logits of the tokens that follow those before ``(N, l)``, and the memory of the LSTM."""
        written, memory = self.writer(self.dropout(self.written(before)), memory)
        mixed = torch.softmax(written @ states.mT, dim=2) @ states
        return self.output(torch.tanh(self.attended(torch.cat([mixed, written], 2)))), memory

    def forward(self, sequences: Tensor) -> Tensor:
        """Predict from sequences ``(N, L)``, shape ``(N,)``."""
        return self.regress(self.encode(sequences)[1])


def reconstruction(network: SequenceNetwork, inputs: Inputs, targets: Tensor) -> Tensor:
    """Compute the negative log-likelihood of the input of a :class:`SequenceNetwork`; targets are not looked at."""
    (sequences,) = inputs
    return _likelihood(network, sequences, *network.encode(sequences))


def regression_and_reconstruction(network: SequenceNetwork, inputs: Inputs, targets: Tensor) -> Tensor:
    """Compute the squared error of a :class:`SequenceNetwork`, and the negative log-likelihood of its input.

    Sequences behind those that have a target are reconstructed only.
    """
    (sequences,) = inputs
    states, codes = network.encode(sequences)
    # all are regressed: a slice of the codes would add up their gradients in another order
    error = nn.functional.mse_loss(network.regress(codes)[: len(targets)], targets)
    return TRADE_OFF * error + (1 - TRADE_OFF) * _likelihood(network, sequences, states, codes)


def _likelihood(network: SequenceNetwork, sequences: Tensor, states: Tensor, codes: Tensor) -> Tensor:
    """Compute the mean negative log-likelihood of tokens."""
    logits = network.decode(sequences, states, codes)
    return nn.functional.cross_entropy(logits.flatten(0, 1), sequences.flatten())


class SequenceRegression(NetworkRegression):
    """NAO's network on sequences; SemiNAS, if it also learns from its own predictions of unlabelled networks.

    Args:
        encoding: Encoding of the space.
        unlabelled: Number of networks to draw and label for each labelled one; 0 for none.
        seed: Seeds weights, orders, dropout and draws.
    """

    def __init__(self, encoding: Encoding, unlabelled: int = 0, seed: int = 0) -> None:
        super().__init__(
            encoding,
            sequence_tensors,
            lambda inputs: SequenceNetwork(self._tokens),
            OPTIONS,
            regression_and_reconstruction,
            seed=seed,
        )
        self.unlabelled = unlabelled

    @property
    def _tokens(self) -> int:
        """Size of the vocabulary."""
        return self.encoding.tokens

    def _learn(self, inputs: Inputs, targets: Tensor, generator: torch.Generator) -> list[nn.Module]:
        networks = super()._learn(inputs, targets, generator)
        if not self.unlabelled:
            return networks
        drawn = self._draw(self.unlabelled * len(targets), generator)
        labels = predict(networks[0], drawn).clone()
        (labelled,), (others,) = inputs, drawn
        fit_network(
            networks[0],
            (torch.cat([labelled.repeat(UP_SAMPLING, 1), others]),),
            torch.cat([targets.repeat(UP_SAMPLING), labels]),
            replace(self.options, epochs=AGAIN),
            self.loss,
            generator,
        )
        return networks

    def _draw(self, count: int, generator: torch.Generator) -> Inputs:
        """Draw networks without a label, and encode them."""
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        return self.encode(self.encoding, [self.encoding.sample(rng) for _ in range(count)])


def nao(encoding: Encoding, seed: int = 0) -> SequenceRegression:
    """Make NAO's predictor with the settings of the study.

    Source: Luo et al., Neural Architecture Optimization (NeurIPS 2018); White et al. (NeurIPS 2021).
    """
    return SequenceRegression(encoding, seed=seed)


def seminas(encoding: Encoding, seed: int = 0) -> SequenceRegression:
    """Make SemiNAS' predictor with the settings of the study.

    Source: Luo et al., Semi-Supervised Neural Architecture Search (NeurIPS 2020); White et al. (NeurIPS 2021).

    Differs: the second fit has 15 epochs, not 50: it sees eleven times as many sequences in each.
    """
    return SequenceRegression(encoding, unlabelled=1, seed=seed)
