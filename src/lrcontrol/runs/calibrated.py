"""What did better than the defaults of papers where we tried it; the defaults stay those of the papers."""

__all__ = ["CALIBRATED"]

CALIBRATED: dict[str, str] = {
    "dog": "dog(initial_distance=1e-4):constant",
    "mechanic": "mechanic(adamw):warmup(0.05)+cosine",
    "prodigy": "prodigy(bias_correction=true, safeguard_warmup=true):warmup(0.05)+cosine",
}
"""By the name of an optimizer: a method that gained more than noise in the median over four tasks with two seeds each.

Hints, as docs/lr_free.md says, which has the figures; `python benchmarks/lr_free.py calibration` makes them again.
"""
