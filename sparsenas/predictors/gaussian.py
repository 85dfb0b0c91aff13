"""Gaussian processes over vectors of zeros and ones: exact, sparse, and variational."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from sparsenas.errors import PredictorError
from sparsenas.predictors.base import Floats, Info, Predictor, library
from sparsenas.spaces import Encoding, Genotype
from sparsenas.spaces.encodings import VectorEncoding

#: ``exact``: all networks. ``sparse``: inducing points and a bound on the likelihood (SGPR). ``variational``: a
#: distribution of the values at the inducing points (SVGP).
Inference = Literal["exact", "sparse", "variational"]
#: Values at which the search for the hyper-parameters begins, as in the study.
VARIANCE, LENGTHSCALE, NOISE = 5.0, 10.0, 1.0
#: Step of Adam in the logarithms of the hyper-parameters.
RATE = 0.1
#: Most networks whose covariance is factored exactly; more than all of a study.
EXACT = 10_000


class GaussianProcess(Predictor):
    r"""A Gaussian process with an RBF kernel over encoded genotypes.

    .. math:: k(x, x') = v \exp(-\|x - x'\|^2 / 2 \ell^2)

    Targets are standardised. The hyper-parameters ``v``, ``l`` and the noise maximise the likelihood (``exact``), a
    bound on it (``sparse``) or the evidence lower bound (``variational``), by Adam; ``v`` and ``l`` have priors
    LogNormal(0, 1).

    Args:
        encoding: Encoding of the space.
        inference: See :data:`Inference`.
        inducing: Number of inducing points; there are never more than networks.
        steps: Steps of Adam.
        kind: Which vector of the encoding.
        seed: Seeds the choice of the inducing points, and the values there at which the search begins.

    Raises:
        PredictorError: If an option is none, or GPyTorch is not installed.

    Source: Rasmussen and Williams (2006); Titsias (AISTATS 2009); Hensman et al. (UAI 2013); settings of White et al.
        (NeurIPS 2021) and its code.

    Differs: inducing points begin at k-means centres of the rows. The code of the study takes constant vectors 0, 0.5,
        ..., 4.5 for any encoding, far from all rows of zeros and ones. Steps of Adam are ten times as long, because
        200 short ones leave the lengthscale where it began.
    """

    least = 2

    def __init__(
        self,
        encoding: Encoding,
        inference: Inference = "exact",
        inducing: int = 10,
        steps: int = 200,
        kind: VectorEncoding = "one_hot",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if inference not in ("exact", "sparse", "variational") or inducing < 1 or steps < 0:
            raise PredictorError(
                f"Gaussian process: inference={inference!r}, inducing={inducing}, steps={steps}; use exact, sparse or "
                "variational, at least 1 inducing point, and 0 steps or more"
            )
        with warnings.catch_warnings():  # its import compiles functions in a way that torch deprecates
            warnings.simplefilter("ignore", FutureWarning)
            self._library = library("gpytorch", f"Gaussian process ({inference})")
        self.encoding, self.inference, self.inducing = encoding, inference, inducing
        self.steps, self.kind, self.seed = steps, kind, seed
        self._mean, self._scale = 0.0, 1.0
        self._model: Any = None

    @property
    def hyperparameters(self) -> tuple[float, float, float]:
        """Variance, lengthscale and variance of the noise after a fit, of standardised targets."""
        kernel = self._model.rbf
        values = (kernel.outputscale, kernel.base_kernel.lengthscale, self._model.likelihood.noise)
        variance, lengthscale, noise = (float(value.detach()) for value in values)
        return variance, lengthscale, noise

    def _fit(self, genotypes: Sequence[Genotype], targets: Floats, info: Info) -> None:
        self._mean, self._scale = float(targets.mean()), float(targets.std())
        rows = torch.from_numpy(self.encoding.vectors(genotypes, self.kind))
        goal = torch.from_numpy((targets - self._mean) / self._scale)
        # the values at inducing points begin at draws
        with torch.random.fork_rng(devices=[]), self._library.settings.max_cholesky_size(EXACT):
            torch.random.manual_seed(self.seed)
            if self.inference == "variational":
                self._model, objective = _variational(self._library, goal, self._places(rows))
            else:
                places = None if self.inference == "exact" else self._places(rows)
                self._model, objective = _exact(self._library, rows, goal, places)
            self._model.train()
            _maximise(self._model, lambda: objective(self._model(rows), goal), self.steps)
            self._model.eval()

    def _places(self, rows: Tensor) -> Tensor:
        """Choose inducing points: all rows where there are few, else centres of clusters."""
        if len(rows) <= self.inducing:
            return rows.clone()
        from sklearn.cluster import KMeans

        return torch.from_numpy(KMeans(self.inducing, n_init=1, random_state=self.seed).fit(rows).cluster_centers_)

    def _query(self, genotypes: Sequence[Genotype], info: Info) -> Floats:
        rows = torch.from_numpy(self.encoding.vectors(genotypes, self.kind))
        settings = self._library.settings
        # the library takes the rows of the fit, in their order, for a covariance with themselves: one more differs
        rows = torch.cat([rows, rows[:1]])
        with torch.no_grad(), settings.max_cholesky_size(EXACT):
            mean: Floats = self._model(rows).mean[:-1].numpy()
        return self._mean + self._scale * mean


def _maximise(model: Any, objective: Callable[[], Tensor], steps: int) -> None:
    """Maximise an objective over the parameters of a model by Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(-objective())
        optimizer.step()


def _parts(gpytorch: Any) -> tuple[Any, Any]:
    """Make kernel and likelihood, with their priors, where the search begins."""
    kernels, priors = gpytorch.kernels, gpytorch.priors
    kernel = kernels.ScaleKernel(
        kernels.RBFKernel(lengthscale_prior=priors.LogNormalPrior(0.0, 1.0)),
        outputscale_prior=priors.LogNormalPrior(0.0, 1.0),
    ).double()
    likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    kernel.outputscale, kernel.base_kernel.lengthscale, likelihood.noise = VARIANCE, LENGTHSCALE, NOISE
    return kernel, likelihood


def _exact(gpytorch: Any, rows: Tensor, goal: Tensor, places: Tensor | None) -> tuple[Any, Any]:
    """Make a process of all networks, or with inducing points; gives it and its objective."""
    kernel, noise = _parts(gpytorch)
    covariance = kernel
    if places is not None:
        covariance = gpytorch.kernels.InducingPointKernel(kernel, inducing_points=places, likelihood=noise)

    class Exact(gpytorch.models.ExactGP):  # type: ignore[misc]  # the library has no type hints
        def __init__(self) -> None:
            super().__init__(rows, goal, noise)
            self.rbf, self.covariance = kernel, covariance

        def forward(self, x: Tensor) -> Any:
            return gpytorch.distributions.MultivariateNormal(torch.zeros(len(x)).to(x), self.covariance(x))

    model = Exact()
    return model, gpytorch.mlls.ExactMarginalLogLikelihood(noise, model)


def _variational(gpytorch: Any, goal: Tensor, places: Tensor) -> tuple[Any, Any]:
    """Make a process with a whitened distribution of the values at the inducing points; gives it and its objective."""
    kernel, noise = _parts(gpytorch)

    class Variational(gpytorch.models.ApproximateGP):  # type: ignore[misc]  # the library has no type hints
        def __init__(self) -> None:
            values = gpytorch.variational.CholeskyVariationalDistribution(len(places))
            super().__init__(gpytorch.variational.VariationalStrategy(self, places, values))
            self.rbf, self.likelihood = kernel, noise

        def forward(self, x: Tensor) -> Any:
            return gpytorch.distributions.MultivariateNormal(torch.zeros(len(x)).to(x), self.rbf(x))

    model = Variational().double()
    return model, gpytorch.mlls.VariationalELBO(noise, model, num_data=len(goal))


def gaussian_process(encoding: Encoding, seed: int = 0) -> GaussianProcess:
    """Make a Gaussian process with the settings of the study; nothing is drawn."""
    return GaussianProcess(encoding)


def sparse_gaussian_process(encoding: Encoding, seed: int = 0) -> GaussianProcess:
    """Make a sparse Gaussian process with the settings of the study."""
    return GaussianProcess(encoding, "sparse", steps=100, seed=seed)


def variational_gaussian_process(encoding: Encoding, seed: int = 0) -> GaussianProcess:
    """Make a variational sparse Gaussian process with the settings of the study."""
    return GaussianProcess(encoding, "variational", seed=seed)
