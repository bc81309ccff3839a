"""What schedules are called elsewhere, for the sentence about an unknown name."""

__all__ = ["OTHER_NAMES", "PARAMETERS", "ours"]

OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "constant": ("ConstantLR", "constant_schedule", "flat", "fixed", "none"),
    "cosine": (
        "CosineAnnealingLR",
        "CosineAnnealing",
        "CosineDecay",
        "cosine_decay_schedule",
        "CosineLRScheduler",
        "cosine_with_min_lr",
    ),
    "exponential": ("ExponentialDecay", "exp"),
    "fractal": ("chebyshev",),
    "geometric": ("ExponentialLR",),
    "inverse_power": ("InverseTimeDecay", "power_law"),
    "inverse_sqrt": ("rsqrt", "inv_sqrt"),
    "linear": ("LinearLR", "linear_schedule", "d2z", "budgeted"),
    "one_cycle": ("1cycle", "OneCycleLR", "OneCycle", "fit_one_cycle", "super_convergence"),
    "one_minus_sqrt": ("sqrt",),
    "piecewise": ("PiecewiseConstantDecay", "piecewise_constant_schedule", "piecewise_interpolate_schedule"),
    "plateau": ("ReduceLROnPlateau", "reduce_lr_on_plateau"),
    "polynomial": ("PolynomialLR", "PolynomialDecay", "polynomial_schedule", "PolyLR", "poly"),
    "sgdr": (
        "CosineAnnealingWarmRestarts",
        "CosineDecayRestarts",
        "cosine_with_restarts",
        "cosine_annealing_warm_restarts",
        "sgdr_schedule",
        "warm_restarts",
        "restarts",
    ),
    "step": ("StepLR", "MultiStepLR", "StepDecay", "MultiStep"),
    "triangular": ("CyclicLR", "cyclic", "cyclical", "clr"),
    "warmup+constant": ("constant_with_warmup",),
    "warmup+cosine": (
        "warmup_cosine_decay_schedule",
        "cosine_with_warmup",
        "cosine_warmup",
        "warmup_cosine",
        "WarmupCosineLR",
        "LinearWarmupCosine",
    ),
    "warmup+inverse_sqrt": ("noam", "NoamLR", "vaswani"),
    "warmup+linear": ("linear_with_warmup", "slanted_triangular", "stlr", "WarmupLinear", "WarmupDecayLR"),
    "wsd": ("trapezoid", "trapezoidal", "warmup_stable_decay"),
}
"""Our text, and the names by which people ask for it; capitals and underscores do not matter."""

OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "adamw": ("Adam",),
    "dadapt_adam": ("DAdaptation",),
    "mechanic": ("mechanize",),
    "schedulefree_adamw": ("AdamWScheduleFree", "RAdamScheduleFree", "schedulefree"),
    "schedulefree_sgd": ("SGDScheduleFree",),
    "sgd": ("momentum", "heavy_ball", "nesterov"),
}
"""The same for optimizers."""

PARAMETERS = {
    "T_max": "steps",
    "betas": "beta1",
    "gamma": "factor",
    "max_norm": "norm",
    "pct_start": "rise",
    "step_size": "every",
    "warmup_steps": "warmup",
    "wd": "weight_decay",
}
"""What parameters are called elsewhere, and ours where a part has that."""

_OURS = {
    theirs.lower().replace("_", ""): text
    for text, names in (*OTHER_NAMES.items(), *OPTIMIZERS.items())
    for theirs in names
}


def ours(name: str) -> str | None:
    """Our text for a name of other libraries or papers.

    Example:
        >>> ours("one-cycle"), ours("torch.optim.lr_scheduler.CosineAnnealingLR"), ours("rex")
        ('one_cycle', 'cosine', None)
    """
    return _OURS.get(name.rpartition(".")[2][:60].lower().replace("_", "").replace("-", ""))
