"""Learning-rate-free optimizers: what a rate and the arguments must be, and runs whose rate is far too large."""

import math
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from lrcontrol.errors import BadInput
from lrcontrol.runs.optimizer_specs import Prodigy
from lrcontrol.training.optimizers import make_optimizer
from test_lr_free import LR_FREE

HUGE = (
    *LR_FREE,
    "mechanic(sgd)",
    "mechanic(sgd(weight_decay=0.1))",
    "schedulefree_sgd(weight_decay=0.1)",
    "schedulefree_sgd(average_power=2)",
    "prodigy(weight_decay=0.1, decoupled=false)",
    "prodigy(safeguard_warmup=true)",
    "dog(weight_decay=0.1)",
)


def line(dtype: torch.dtype) -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    """A model, inputs and targets."""
    torch.manual_seed(0)
    inputs = torch.randn(16, 4)
    return nn.Linear(4, 1).to(dtype), inputs.to(dtype), inputs.sum(1, keepdim=True).to(dtype)


@pytest.mark.parametrize("name", HUGE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("rate", [1e39, 1e300, 1.7e308])
def test_a_huge_rate_diverges_and_raises_nothing(name: str, dtype: torch.dtype, rate: float) -> None:
    """Where the type holds less than the rate no loss is finite in the end."""
    model, inputs, targets = line(dtype)
    optimizer = make_optimizer(name, model.parameters(), rate)
    for _ in range(30):
        optimizer.zero_grad()
        loss = (model(inputs) - targets).square().mean()
        loss.backward()
        optimizer.step()
    assert dtype is torch.float64 or not math.isfinite(loss.item())


@pytest.mark.parametrize("name", ["sgd", "adamw", *LR_FREE])
@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf, "0.1", True, torch.tensor(0.1), 10**400])
def test_a_rate_must_be_a_positive_number(name: str, bad: Any) -> None:
    with pytest.raises(BadInput, match="`base_lr` must be a number > 0, got base_lr="):
        make_optimizer(name, [nn.Parameter(torch.ones(2))], bad)


def test_a_whole_number_is_a_rate() -> None:
    assert make_optimizer("dog", [nn.Parameter(torch.ones(2))], base_lr=2).param_groups[0]["lr"] == 2.0


def test_a_low_rate_where_it_is_found_is_told_and_where_it_is_not_is_usual() -> None:
    weights = [nn.Parameter(torch.ones(2))]
    sentence = r"^prodigy finds its rate itself, and what it finds is multiplied by 0\.001; 1 is usual\.$"
    with pytest.warns(UserWarning, match=sentence) as told:
        optimizer = make_optimizer("prodigy(d_coef=2)", weights, base_lr=1e-3)
    assert (len(told), told[0].filename) == (1, __file__)
    assert optimizer.param_groups[0]["lr"] == 1e-3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for text, rate in (("prodigy", None), ("prodigy", 0.5), ("adamw", 1e-3), ("schedulefree_sgd", 1e-3)):
            make_optimizer(text, weights, rate)
        make_optimizer(Prodigy(), weights, 1e-3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "prodigy:cosine",
            r"takes an optimizer alone, got 'prodigy:cosine'; make it as 'prodigy', and give .* to as_to",
        ),
        (
            "mechanic(dog)",
            r"^an optimizer cannot be read: a mechanic must be around sgd or adamw, got dog at position 9",
        ),
        ("own", r"^unknown optimizer 'own'; known: adamw, cocob, .*, mechanic, prodigy, "),
    ],
)
def test_what_cannot_be_made_is_told(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        make_optimizer(text, [nn.Parameter(torch.ones(2))])


def test_a_model_and_keywords_of_torch_are_told_what_is_meant() -> None:
    model = nn.Linear(2, 1)
    with pytest.raises(
        BadInput, match=r"must be tensors or groups, got a module; give model.parameters\(\), and `base_lr`"
    ):
        make_optimizer("dog", model)  # type: ignore[arg-type]
    for name in ("lr", "weight_decay"):
        with pytest.raises(BadInput, match=rf"and `base_lr` \(the learning rate\), got `{name}`;"):
            make_optimizer("dog", model.parameters(), **{name: 0.1})
