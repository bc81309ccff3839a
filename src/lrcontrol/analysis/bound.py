"""The last-iterate bound of a schedule: what convex theory promises of a shape under given gradient norms.

It takes a run's multipliers and gradient norms as plain arrays; shapes are compared at their own best base rate.
"""

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrcontrol import checks
from lrcontrol.errors import BadInput

__all__ = ["Bound", "best_multipliers", "last_iterate_bound"]


class Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The three terms of the bound at base rate 1; `t1` falls with the base rate, `t2` and `t3` grow with it.

    Args:
        t1: > 0; how far there is to go, over how far the steps reach.
        t2: > 0; what the gradients of all steps cost on average.
        t3: >= 0; what it costs that the last iterate is taken, not an average.
    """

    t1: float
    t2: float
    t3: float

    @property
    def base_lr(self) -> float:
        """The base rate at which the bound is lowest, `sqrt(t1 / (t2 + t3))`."""
        return math.sqrt(self.t1) / math.sqrt(self.t2 + self.t3)

    @property
    def value(self) -> float:
        """The bound at that rate, `2 sqrt(t1 (t2 + t3))`."""
        return 2 * math.sqrt(self.t1) * math.sqrt(self.t2 + self.t3)

    def at(self, base_lr: float) -> float:
        """The bound at another base rate, > 0: `t1 / base_lr + (t2 + t3) base_lr`.

        Example:
            >>> Bound(1.0, 0.5, 0.5).at(2.0)
            2.5
        """
        rate = checks.number("base_lr", base_lr, low=0, open_low=True)
        return self.t1 / rate + (self.t2 + self.t3) * rate


def last_iterate_bound(multipliers: ArrayLike, grad_norm: ArrayLike = 1.0, distance: float = 1.0) -> Bound:
    """How far from the optimum the last iterate of a convex problem can be in expectation, under this schedule.

    With η the multipliers, G the gradient norms, D the distance and S_k = η_k + ... + η_T, at base rate 1:

        t1 = D² / (2 S_1)        t2 = Σ_t η_t² G_t² / (2 S_1)
        t3 = ½ Σ_{k<T} η_k / (S_{k+1} S_k) Σ_{t≥k} η_t² G_t²

    The iterate meant is the one at which the last gradient is taken. Steps of multiplier 0 after the last one that
    is not 0 change nothing and are left out with their gradient norms (the formula itself would divide by 0). A last
    multiplier that is not 0 but vanishes beside those before it makes the bound large: it is the formula's, not
    the schedule's, weakness.

    Args:
        multipliers: shape (steps,), finite, >= 0, not all 0; as `Schedule.multipliers` gives them.
        grad_norm: shape (steps,) or one number, finite, >= 0, not 0 at every step that moves; the norm of the batch
            gradient at each step.
        distance: > 0; from the first iterate to the optimum (D in the paper).
    Raises:
        BadInput: a number out of range, or lengths that differ.
    Source:
        Defazio, Cutkosky, Mehta, Mishchenko 2023, arXiv:2310.07831, theorem 10; at its best base rate as in
        Schaipp, Hägele, Taylor, Simsekli, Bach 2025, arXiv:2501.18965.
        Deviates: trailing zeros are left out.
    Example:
        >>> import lrcontrol as lrc
        >>> bound = last_iterate_bound(lrc.linear().multipliers(100))
        >>> round(bound.base_lr, 5), round(bound.value, 6)
        (0.09726, 0.203608)
    """
    shape = _numbers("multipliers", multipliers)
    norms = _numbers("grad_norm", grad_norm, like=shape)
    reach = checks.number("distance", distance, low=0, open_low=True)
    moving = np.flatnonzero(shape)
    if not moving.size:
        raise BadInput("`multipliers` must not all be 0, got only zeros.")
    shape, norms = shape[: moving[-1] + 1], norms[: moving[-1] + 1]
    largest, loudest = float(shape.max()), float(norms[shape > 0].max())
    if loudest == 0:
        raise BadInput("`grad_norm` must not be 0 at every step whose multiplier is not 0, got only zeros there.")
    # in units of the largest multiplier and norm, so that squares of small or large numbers keep their digits
    shape, norms = shape / largest, np.where(shape > 0, norms, 0) / loudest
    left = np.cumsum(shape[::-1])[::-1]
    noise = np.cumsum((shape * norms)[::-1] ** 2)[::-1]
    with np.errstate(over="ignore", under="ignore"):
        t3 = 0.5 * float(np.sum((shape[:-1] / left[:-1]) * (noise[:-1] / left[1:])))
    unit = largest * loudest * loudest
    terms = (
        reach * reach / (2 * float(left[0])) / largest,
        float(noise[0]) / (2 * float(left[0])) * unit,
        t3 * unit,
    )
    if not (all(map(math.isfinite, terms)) and terms[0] > 0 and terms[1] > 0):
        raise BadInput(
            "the bound must be a number a float can hold, "
            f"got terms {', '.join(f'{term:g}' for term in terms)}; rescale the multipliers, norms or distance."
        )
    return Bound(*terms)


def best_multipliers(grad_norm: ArrayLike) -> NDArray[np.float64]:
    """The schedule with the lowest bound of all under these gradient norms, at its own best base rate.

    Summed by parts, the bound of rates η is

        D² / (2 S_1) + ½ (Σ_{t<T} η_t² G_t² / S_{t+1} + η_T G_T²),   S_t = η_t + ... + η_T

    which is convex (squares over sums), so that where all its derivatives are 0 it is lowest. They are where, for the
    A_t that run backwards from A_T = G_T² by A_{t+1} = A_t + A_t² / (4 G_t²),

        η_t = S_{t+1} A_t / (2 G_t²)

    So the minimum that others look for by descent is computed in one pass. Constant norms ask for nearly a straight
    line, 1 + (T - t) / 4 up to a factor, but for the last few steps.

    Args:
        grad_norm: shape (steps,), finite, > 0.
    Returns:
        Shape (steps,), > 0, the largest 1.
    Raises:
        BadInput: a norm out of range.
    Source:
        The bound: Defazio, Cutkosky, Mehta, Mishchenko 2023, arXiv:2310.07831, theorem 10; the recursion follows from
        it as shown above.
    Example:
        >>> norms = np.ones(100)
        >>> best = best_multipliers(norms)
        >>> best[[0, 50, 99]].round(3).tolist()
        [1.0, 0.501, 0.099]
        >>> last_iterate_bound(best, norms).value < last_iterate_bound(1 - np.arange(100) / 100, norms).value
        True
    """
    norms = _numbers("grad_norm", grad_norm)
    if not norms.all():
        raise BadInput(f"`grad_norm` must be > 0 at every step, got 0 at step {int(np.argmin(norms))}.")
    squares = (norms / norms.max()) ** 2
    if squares.min() < np.finfo(np.float64).tiny:
        raise BadInput("`grad_norm` must lie within 150 orders of magnitude; smooth it, or leave such readings out.")
    over = np.empty(norms.size)  # η_t / S_{t+1}
    ahead = float(squares[-1])
    for step in range(norms.size - 2, -1, -1):
        square = float(squares[step])
        ahead = 2 * ahead / (1 + math.sqrt(1 + ahead / square))
        over[step] = ahead / (2 * square)
    # in logarithms: what is left of a long run spans more than a float does
    left = np.append(np.cumsum(np.log1p(over[-2::-1]))[::-1], 0.0)  # log of S_t / η_T
    rates = np.append(np.log(over[:-1]) + left[1:], 0.0)
    result: NDArray[np.float64] = np.exp(rates - rates.max())
    return result


def _numbers(name: str, given: ArrayLike, like: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """`given` as a float64 vector of finite numbers >= 0, as long as `like`, or BadInput naming the first bad one."""
    try:
        values = np.asarray(given)
    except (ValueError, OverflowError):
        values = np.empty(0, dtype=object)
    if values.dtype.kind not in "fiu":
        raise BadInput(f"`{name}` must hold numbers, got {name}={checks.shown(given)}.")
    if like is not None and values.ndim == 0:
        values = np.full(like.shape, values)
    if values.ndim != 1 or not values.size:
        raise BadInput(f"`{name}` must have shape (steps,), got shape {values.shape}.")
    if like is not None and len(values) != len(like):
        raise BadInput(f"`{name}` must have one value per multiplier, {len(like)}, got {len(values)}.")
    good = np.isfinite(values) & (values >= 0)
    if not good.all():
        step = int(np.argmin(good))
        raise BadInput(f"`{name}` must be finite numbers >= 0, got {values[step]} at step {step}.")
    return values.astype(np.float64)
