"""What other libraries make of a range test: smoothing, stopping and rule of each, on the raw losses of one ramp.

Written from how they behave, but for Lightning's rule, which is its own where it is installed. Every rule takes rates
and losses, shape (points,), of a whole ramp, and returns a rate or None.
"""

import numpy as np

BETA = 0.98  # of the running averages of Lightning and fastai
SHARE = 0.05  # of a new loss in that of torch-lr-finder


def lightning_losses(losses):
    """Averages of Lightning 2.6, up to the first above four times the best; what it divides by is a step late."""
    kept, average, best = [], 0.0, np.inf
    for step, loss in enumerate(losses, 1):
        average = BETA * average + (1 - BETA) * loss
        smooth = average / (1 - BETA ** (step + 1))
        kept.append(smooth)
        if step > 1 and smooth > 4 * best:
            break
        best = smooth if step == 1 else min(best, smooth)
    return np.array(kept)


def lightning(lrs, losses):
    """Lightning 2.6.6: the steepest fall over the rate itself."""
    smooth = lightning_losses(losses)
    try:
        from lightning.pytorch.tuner.lr_finder import _LRFinder
    except ImportError:
        inner, rates = smooth[10:-1], np.asarray(lrs)[10 : smooth.size - 1]
        known = np.isfinite(inner)
        if known.sum() < 2:
            return None
        return float(rates[known][np.gradient(inner[known], rates[known]).argmin()])
    finder = _LRFinder("exponential", lrs[0], lrs[-1], len(lrs))
    finder.results = {"lr": list(map(float, lrs[: smooth.size])), "loss": smooth.tolist()}
    return finder.suggestion()


def torch_lr_finder(lrs, losses):
    """torch-lr-finder 0.2.2: the steepest fall from point to point, without the first ten and the last five."""
    kept, best = [], np.inf
    for loss in losses:
        smooth = SHARE * loss + (1 - SHARE) * kept[-1] if kept else loss
        kept.append(smooth)
        best = min(best, smooth)
        if smooth > 5 * best:
            break
    inner = np.array(kept[10:-5])
    if inner.size < 2:
        return None
    return float(lrs[10 + int(np.gradient(inner).argmin())])


def fastai_curve(lrs, losses):
    """What fastai's rules look at: averages up to four times the best, without the first tenth and the last five."""
    kept, average, best = [], 0.0, np.inf
    for step, loss in enumerate(losses, 1):
        average = BETA * average + (1 - BETA) * loss
        smooth = average / (1 - BETA**step)
        kept.append(smooth)
        best = min(best, smooth)
        if smooth > 4 * best:
            break
    inner = np.array(kept[len(lrs) // 10 : -5])
    unknown = np.isnan(inner)
    inner = inner[: int(unknown.argmax())] if unknown.any() else inner
    return np.asarray(lrs)[len(lrs) // 10 :][: inner.size], inner


def fastai_valley(lrs, losses):
    """fastai: half of the way between a third and two thirds through the longest run of falling losses."""
    rates, curve = fastai_curve(lrs, losses)
    if curve.size < 2:
        return None
    length = np.ones(curve.size, dtype=int)  # of the longest falling subsequence that ends here
    for at in range(1, curve.size):
        above = curve[:at] > curve[at]
        if above.any():
            length[at] = 1 + length[:at][above].max()
    end = int(length.argmax())
    begin = end - int(length[end]) if length[end] > 1 else 0
    third = (end - begin) / 3
    return float(rates[begin + int(third) + int(third / 2)])


def fastai_steep(lrs, losses):
    """fastai: the steepest fall over the logarithm of the rate."""
    rates, curve = fastai_curve(lrs, losses)
    return float(rates[(np.diff(curve) / np.diff(np.log(rates))).argmin()]) if curve.size > 1 else None


def fastai_minimum(lrs, losses):
    """fastai: a tenth of the rate with the lowest loss."""
    rates, curve = fastai_curve(lrs, losses)
    return float(rates[curve.argmin()]) / 10 if curve.size else None


RULES = {
    "Lightning 2.6.6": lightning,
    "torch-lr-finder 0.2.2": torch_lr_finder,
    "fastai valley": fastai_valley,
    "fastai steep": fastai_steep,
    "fastai minimum": fastai_minimum,
}
