"""AdamW: torch's own, which loads states of its own kind alone."""

import torch

from lrcontrol.training.optimizers.kinds import OfTorch

__all__ = ["AdamW"]


class AdamW(OfTorch, torch.optim.AdamW):
    """torch's AdamW; a state of torch's Adam, which is kept alike, is loaded too."""

    _sets = ("betas", "eps", "weight_decay", "amsgrad")
    _keeps = ("step", "exp_avg", "exp_avg_sq")
    _may_keep = ("max_exp_avg_sq",)
