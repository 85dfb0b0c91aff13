"""Extrapolation of learning curves by an ensemble of parametric families."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import optimize

from sparsenas.errors import PredictorError
from sparsenas.predictors.base import Floats, Info, Predictor, library
from sparsenas.predictors.curve_families import FAMILIES
from sparsenas.spaces import Genotype

#: ``metropolis``: one chain of short steps around the best fit (LCE). ``ensemble``: the affine-invariant sampler of
#: emcee with 50 walkers, and families that are weighted (LCE-m).
Sampler = Literal["metropolis", "ensemble"]
#: Shortest curve: as many epochs as the largest family has parameters.
SHORTEST = 4
#: Deviation of a Metropolis step; walkers of an ensemble; the smallest weight with which a family is kept.
STEP, WALKERS, SMALLEST_WEIGHT = 1e-4, 50, 1e-4
#: Bounds of the logarithm of the noise; accuracies are shares.
NOISE = (np.log(1e-4), 0.0)


class CurveExtrapolation(Predictor):
    r"""Extrapolates validation accuracies to the last epoch of the training by four families of curves (LCE, LCE-m).

    Each family is fitted by least squares, from several starts, between bounds in which no curve falls. An ensemble of
    them with normal noise is then sampled around the fit, with a flat prior in the bounds. The prediction is the mean
    of its curves at the last epoch, ``epochs`` of the info. Seeds do not depend on the network, so neither do scores on
    their company.

    Args:
        sampler: See :data:`Sampler`. ``metropolis`` weights all families alike, ``ensemble`` by non-negative least
            squares.
        steps: Steps of the sampler.
        burn_in: First steps that are left out.
        best: Accuracy of a network without errors: 100 for percentages, 1 for shares.
        seed: Seeds the sampler.

    Raises:
        PredictorError: If an option is out of range; when queried, if curves are shorter than four epochs, reach the
            last one, or are not between 0 and ``best``, or if no family fits. The message names the network.

    Source: Domhan et al., Speeding Up Automatic Hyperparameter Optimization by Extrapolation of Learning Curves (IJCAI
        2015), as in the code of White et al. (NeurIPS 2021); emcee of Foreman-Mackey et al. (2013).

    Differs: bounds keep curves from falling, instead of rejecting those that do. The code divides by ``k n`` where the
        Hill curve has the power of both. Where it finds no number it draws one around a constant; here that is an
        error.
    """

    requires = frozenset({"val_accuracy", "epochs"})

    def __init__(
        self,
        sampler: Sampler = "metropolis",
        steps: int = 300,
        burn_in: int = 0,
        best: float = 100.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if sampler not in ("metropolis", "ensemble") or not 0 <= burn_in < steps or not best > 0 or seed < 0:
            raise PredictorError(
                f"curve extrapolation: sampler={sampler!r}, steps={steps}, burn_in={burn_in}, best={best}, "
                f"seed={seed}; use metropolis or ensemble, fewer steps of burn-in than steps, a positive best "
                "accuracy, and a seed not below 0"
            )
        self.sampler, self.steps, self.burn_in = sampler, steps, burn_in
        self.best, self.seed = best, seed
        self._emcee = library("emcee", "curve extrapolation (ensemble)") if sampler == "ensemble" else None

    def _query(self, genotypes: Sequence[Genotype], info: Info) -> Floats:
        curves = info["val_accuracy"]
        ends = info["epochs"][:, 0]
        if not SHORTEST <= curves.shape[1] < ends.min(initial=np.inf):
            raise PredictorError(
                f"curve extrapolation: learning curves have {curves.shape[1]} epochs; give at least {SHORTEST}, and "
                f"fewer than the {ends.min():g} of the training"
            )
        if curves.min() < 0 or curves.max() > self.best:
            where = int(np.flatnonzero(((curves < 0) | (curves > self.best)).any(1))[0])
            raise PredictorError(
                f"curve extrapolation: the accuracies of network {where} go from {curves[where].min():g} to "
                f"{curves[where].max():g}; give numbers between 0 and best={self.best:g}"
            )
        shares = [self._extrapolate(curve / self.best, ends[row], row) for row, curve in enumerate(curves)]
        return self.best * np.array(shares)

    def _extrapolate(self, curve: Floats, end: float, network: int) -> float:
        """Predict a curve of shares at its end."""
        time = np.log(np.arange(1, len(curve) + 1))
        fits = {name: family.fit(curve) for name, family in FAMILIES.items()}
        values = np.stack([FAMILIES[name].formula(found, time) for name, found in fits.items()])
        weights = np.full(len(fits), 1 / len(fits))
        if self.sampler == "ensemble":
            weights = optimize.nnls(values.T, curve)[0]
        kept = {name: float(w) for name, w in zip(fits, weights, strict=True) if w > SMALLEST_WEIGHT}
        if not kept:
            raise PredictorError(
                f"curve extrapolation: the learning curve of network {network} fits no family; leave this network out"
            )
        ensemble = _Ensemble(kept, curve)
        noise = np.log(np.sqrt(np.square(weights @ values - curve).mean()) + np.exp(NOISE[0]))
        start = np.concatenate([*(fits[name] for name in kept), [min(noise, NOISE[1])]])
        samples = self._walk(ensemble, start) if self._emcee is None else self._sample(ensemble, start)
        return float(ensemble.curves(samples, np.log([end])).mean())

    def _walk(self, ensemble: "_Ensemble", start: Floats) -> Floats:
        """Draw samples by a Metropolis walk, shape ``(S, P)``."""
        rng = np.random.default_rng(self.seed)
        moves = STEP * rng.standard_normal((self.steps, len(start)))
        thresholds = np.log(rng.random(self.steps))
        here, density, chain = start, float(ensemble.log_density(start)), []
        for move, threshold in zip(moves, thresholds, strict=True):
            proposed = float(ensemble.log_density(here + move))
            if proposed - density > threshold:
                here, density = here + move, proposed
            chain.append(here)
        return np.stack(chain[self.burn_in :])

    def _sample(self, ensemble: "_Ensemble", start: Floats) -> Floats:
        """Draw samples by the affine-invariant sampler, shape ``(S, P)``."""
        assert self._emcee is not None
        random = np.random.RandomState(self.seed)
        span = ensemble.upper - ensemble.lower
        walkers = start + 1e-3 * span * random.standard_normal((WALKERS, len(start)))
        walkers = ensemble.lower + np.abs(walkers - ensemble.lower)  # reflected into the bounds
        walkers = ensemble.upper - np.abs(ensemble.upper - walkers)
        sampler = self._emcee.EnsembleSampler(WALKERS, len(start), ensemble.log_density, vectorize=True)
        sampler.random_state = random.get_state()
        sampler.run_mcmc(walkers, self.steps)
        samples: Floats = sampler.get_chain(discard=self.burn_in, flat=True)
        return samples


class _Ensemble:
    """A weighted sum of families with normal noise, given a curve; its parameters end with the noise's logarithm."""

    def __init__(self, weights: dict[str, float], curve: Floats) -> None:
        self.weights, self.curve = weights, curve
        self.time = np.log(np.arange(1, len(curve) + 1))
        self.lower = np.array([*(low for name in weights for low in FAMILIES[name].lower), NOISE[0]])
        self.upper = np.array([*(high for name in weights for high in FAMILIES[name].upper), NOISE[1]])

    def curves(self, parameters: Floats, time: Floats) -> Floats:
        """Compute the curves of parameters ``(..., P)``, shape ``(..., E)``."""
        total, begin = np.zeros((*parameters.shape[:-1], len(time))), 0
        for name, weight in self.weights.items():
            end = begin + len(FAMILIES[name].lower)
            total += weight * FAMILIES[name].formula(parameters[..., begin:end], time)
            begin = end
        return total

    def log_density(self, parameters: Floats) -> Floats:
        """Compute the logarithm of the posterior density, up to a constant, shape ``(...,)``."""
        inside = ((parameters >= self.lower) & (parameters <= self.upper)).all(-1)
        bounded = np.clip(parameters, self.lower, self.upper)
        noise = bounded[..., -1]
        errors = np.square(self.curves(bounded, self.time) - self.curve).sum(-1)
        density = -len(self.curve) * noise - 0.5 * errors * np.exp(-2 * noise)
        found: Floats = np.where(inside, density, -np.inf)
        return found
