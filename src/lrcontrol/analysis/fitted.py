"""A smooth curve through noisy points, with its slope, and curves that could as well be the true one.

The curve is a Gaussian process on a fixed basis: how smooth it is and how large the noise follow from the points, and
what they leave open shows in the draws. Nothing lags, and the points need not be evenly spaced.
"""

import math

import msgspec
import numpy as np

from lrcontrol.analysis.readings import Numbers

__all__ = ["Fitted", "fitted"]

GRID = 301  # places at which the curve is told
_BASIS = 64  # functions; enough for the shortest of the lengths below
_BEYOND = 1.3  # the basis ends so many times as far from the middle as the points do
_LENGTHS = np.geomspace(0.06, 0.8, 14)  # of half the points' extent: how far apart the curve forgets itself
_RATIOS = np.geomspace(0.03, 3e3, 18) ** 2  # of the curve's variance to that of the noise
_ROUNDS = 3  # of giving points far off less weight
_FAR = 3.0  # times the usual distance from the curve


class Fitted(msgspec.Struct, frozen=True, eq=False):
    """A curve, and what is in doubt of it.

    Args:
        places: shape (301,), increasing, evenly from the first point to the last.
        values: shape (301,); the curve.
        slopes: shape (301,); its derivative, and
        slope_doubts: shape (301,); the standard deviation of that.
        drawn_values: shape (draws, 301); curves that fit the points as well, each as likely as the next.
        drawn_slopes: shape (draws, 301); their derivatives.
        noise: >= 0; standard deviation of a point about the curve.
        gain: log of how many times likelier the points are under the curve than under a level with noise.
        weights: shape (points,), in (0, 1]; below 1 for points far off the curve.
    """

    places: Numbers
    values: Numbers
    slopes: Numbers
    slope_doubts: Numbers
    drawn_values: Numbers
    drawn_slopes: Numbers
    noise: float
    gain: float
    weights: Numbers


def fitted(x: Numbers, y: Numbers, *, draws: int = 400, seed: int = 0) -> Fitted:
    """The curve through the points (x, y).

    Every smoothness is weighed by how likely it makes the points, so that there is no width to choose; points that are
    far off, beyond what the noise of the others would do, have less weight.

    Args:
        x: shape (points,), finite, not all equal; in any order, some may be equal.
        y: shape (points,), finite; of any size.
        draws: >= 1; how many curves are drawn.
        seed: of the draws.
    Source:
        Rasmussen, Williams 2006, "Gaussian Processes for Machine Learning", chapter 5 (evidence); Solin, Särkkä 2020,
        Statistics and Computing 30, "Hilbert space methods for reduced-rank Gaussian process regression" (the basis).
        Deviates: squared-exponential kernel with lengths and variances on a grid, averaged over by their evidence; the
        weights of points are those of Student's t, found in three rounds.
    Example:
        >>> x = np.linspace(-1, 1, 40)
        >>> curve = fitted(x, np.sin(3 * x))
        >>> bool(np.abs(curve.slopes - 3 * np.cos(3 * curve.places)).max() < 0.05)
        True
    """
    middle, half = (x.max() + x.min()) / 2, (x.max() - x.min()) / 2
    centre, scale = float(np.median(y)), float(np.std(y)) or 1.0
    level = (y - centre) / scale
    basis = _basis((x - middle) / half)[0]
    weights = np.ones(x.size)
    for left in reversed(range(_ROUNDS)):
        posterior = _Posterior(basis, level, weights)
        if left:
            off = level - basis @ posterior.mean()
            usual = float(np.median(np.abs(off))) / 0.6745
            if usual <= 1e-9:
                break
            weights = 1 / (1 + np.maximum(np.abs(off) / usual - _FAR, 0.0) ** 2)
    places = np.linspace(-1.0, 1.0, GRID)
    on_grid, sloped = _basis(places)
    mean, drawn = posterior.mean(), posterior.draws(draws, np.random.default_rng(seed))
    return Fitted(
        places=middle + half * places,
        values=centre + scale * (on_grid @ mean),
        slopes=scale / half * (sloped @ mean),
        slope_doubts=scale / half * posterior.doubts(sloped),
        drawn_values=centre + scale * (drawn @ on_grid.T),
        drawn_slopes=scale / half * (drawn @ sloped.T),
        noise=scale * math.sqrt(posterior.noise),
        gain=posterior.gain,
        weights=weights,
    )


def _basis(u: Numbers) -> tuple[Numbers, Numbers]:
    """A level and sines that end beyond the points; the functions and their derivatives, each (points, 1 + basis)."""
    at = _frequencies() * (u[:, None] + _BEYOND)
    size = 1 / math.sqrt(_BEYOND)
    ones = np.ones((u.size, 1))
    return np.hstack([ones, size * np.sin(at)]), np.hstack([0 * ones, size * _frequencies() * np.cos(at)])


def _frequencies() -> Numbers:
    result: Numbers = np.arange(1, _BASIS + 1, dtype=np.float64) * (math.pi / (2 * _BEYOND))
    return result


class _Posterior:
    """What the points say of the basis' coefficients, for every length and ratio; noise has variance 1 in it."""

    def __init__(self, basis: Numbers, level: Numbers, weights: Numbers) -> None:
        weighed = basis * weights[:, None]
        gram, moment = basis.T @ weighed, level @ weighed
        whole, count = float(level @ (weights * level)), level.size
        spectra = np.sqrt(2 * math.pi) * _LENGTHS[:, None] * np.exp(-0.5 * (_LENGTHS[:, None] * _frequencies()) ** 2)
        self.roots = np.sqrt(np.hstack([np.ones((_LENGTHS.size, 1)), spectra]))  # (lengths, coefficients)
        values, self.vectors = np.linalg.eigh(self.roots[:, :, None] * gram * self.roots[:, None, :])
        self.values = np.maximum(values, 0.0)
        self.moments = np.einsum("lij,li->lj", self.vectors, self.roots * moment)
        scaled = 1 + _RATIOS[None, :, None] * self.values[:, None, :]  # (lengths, ratios, coefficients)
        shrunk = _RATIOS[None, :, None] / scaled
        left = np.maximum(whole - (shrunk * self.moments[:, None, :] ** 2).sum(-1), 1e-14 * count)
        evidence = -0.5 * np.log(scaled).sum(-1) - 0.5 * count * np.log(left)
        flat = max(whole - moment[0] ** 2 / gram[0, 0], 1e-14 * count)
        alone = -0.5 * math.log1p(gram[0, 0]) - 0.5 * count * math.log(flat)
        likely = np.exp(evidence - evidence.max())
        self.chances: Numbers = np.divide(likely, likely.sum(), dtype=np.float64)
        self.left, self.count = left, count
        self.gain = float(evidence.max() - alone)
        self.noise = float((self.chances * left).sum() / count)

    def mean(self) -> Numbers:
        """The coefficients, averaged over all lengths and ratios."""
        result: Numbers = np.sum([self._mean(length, row) for length, row in enumerate(self.chances)], axis=0)
        return result

    def doubts(self, functions: Numbers) -> Numbers:
        """The standard deviation of a function of the coefficients at every place: shape (places, coefficients)."""
        within, squares = np.zeros(len(functions)), np.zeros(len(functions))
        mean = functions @ self.mean()
        for length, row in enumerate(self.chances):
            if row.sum() < 1e-6:
                continue
            noises = row * self.left[length] / self.count
            spread = (noises[:, None] * _RATIOS[:, None] / (1 + _RATIOS[:, None] * self.values[length])).sum(0)
            within += ((functions * self.roots[length]) @ self.vectors[length]) ** 2 @ spread
            squares += row.sum() * (functions @ (self._mean(length, row) / row.sum()) - mean) ** 2
        return np.sqrt(within + squares)

    def _mean(self, length: int, chances: Numbers) -> Numbers:
        """The coefficients at one length, summed over ratios by their chances."""
        shrunk = (chances[:, None] * _RATIOS[:, None] / (1 + _RATIOS[:, None] * self.values[length])).sum(0)
        result: Numbers = self.roots[length] * (self.vectors[length] @ (shrunk * self.moments[length]))
        return result

    def draws(self, count: int, chance: np.random.Generator) -> Numbers:
        """Coefficients, shape (count, coefficients), each drawn with a length, a ratio and a noise of its own."""
        which = chance.choice(self.chances.size, count, p=self.chances.ravel())
        noises = np.sqrt(self.left.ravel()[which] / chance.chisquare(self.count, count))
        normal = chance.standard_normal((count, self.roots.shape[1]))
        result = np.empty_like(normal)
        for length in np.unique(which // _RATIOS.size):
            mine = which // _RATIOS.size == length
            ratios = _RATIOS[which[mine] % _RATIOS.size][:, None]
            scaled = 1 + ratios * self.values[length]
            centred = ratios / scaled * self.moments[length]
            turned = normal[mine] @ self.vectors[length]  # back by the same below: no sign of a vector matters
            around = noises[mine][:, None] * np.sqrt(ratios / scaled) * turned
            result[mine] = (centred + around) @ self.vectors[length].T * self.roots[length]
        return result
