"""The table of docs/peers.md, run; and what our algebra has no words for."""

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.optim import lr_scheduler

import lrcontrol as lrc
from lrcontrol.errors import BadInput
from lrcontrol.interop import describe
from peers.cases import ANGLE, EPSILON, Case, as_text, optimizer_at, ours, read, stepped

PAGE = (Path(__file__).parents[1] / "docs" / "peers.md").read_text()
STEPS, BASE = 100, 0.1


def rows(section: str) -> list[tuple[str, str]]:
    """The calls and texts of the table under a heading that begins so."""
    table = PAGE.partition(section)[2].partition("\n\n")[0]
    return re.findall(r"^\| `(.+)` \| `(.+)` \|$", table, flags=re.MULTILINE)


TORCH = rows("| torch.optim.lr_scheduler | ours |")
MOMENTUM = rows("| torch.optim.lr_scheduler | ours, as the momentum |")
TRANSFORMERS = rows("| transformers.optimization | ours |")


def made(call: str, optimizer: Any) -> Any:
    """What a call of theirs returns."""
    names = vars(lr_scheduler)
    if call.startswith("get_"):
        names = vars(pytest.importorskip("transformers.optimization"))
    return eval(call, {**names, "optimizer": optimizer})


@pytest.mark.parametrize(("call", "text"), TORCH + TRANSFORMERS)
def test_a_row_of_the_table_is_one_function(call: str, text: str) -> None:
    """Also after it was read back, where `describe` can."""
    case = Case(lambda optimizer: made(call, optimizer), text, STEPS, STEPS, lambda t: None, BASE)
    mine, (live, _) = np.array(ours(case)), stepped(case)
    np.testing.assert_allclose(live, mine, rtol=0, atol=ANGLE * BASE)
    optimizer = optimizer_at(BASE)
    try:
        found = describe(made(call, optimizer), STEPS)
    except BadInput:
        assert "lambda t" in call  # a function cannot be read
        return
    np.testing.assert_allclose(
        found.base_lrs[0] * found.schedule.multiplier(np.arange(STEPS), found.total_steps), mine, rtol=8 * EPSILON
    )


@pytest.mark.parametrize(("call", "text"), MOMENTUM)
def test_a_row_of_the_momentum_is_one_function(call: str, text: str) -> None:
    case = Case(lambda optimizer: made(call, optimizer), text, STEPS, STEPS, lambda t: None, 1.0, "momentum")
    np.testing.assert_allclose(stepped(case)[0], ours(case), rtol=ANGLE)


def test_every_schedule_of_theirs_has_a_row() -> None:
    """Those that look at the run are none; the page names the others that it leaves out."""
    torchs = {name for name in lr_scheduler.__all__ if name not in ("LRScheduler", "ReduceLROnPlateau")}
    assert torchs == {call.partition("(")[0] for call, _ in TORCH}
    theirs = pytest.importorskip("transformers.optimization").TYPE_TO_SCHEDULER_FUNCTION.values()
    looking = {"get_greedy_schedule", "get_reduce_on_plateau_schedule"}
    assert {function.__name__ for function in theirs} - looking == {call.partition("(")[0] for call, _ in TRANSFORMERS}


def one_cycle_between(rng: random.Random, shape: str) -> tuple[Any, float, int]:
    """OneCycleLR whose peak lies between two steps, its `pct_start`, and its steps."""
    total = rng.randint(10, 60)
    share = (rng.randint(3, total - 3) + rng.uniform(0.1, 0.9)) / total
    strategy = {"cosine": "cos", "linear": "linear"}[shape]
    return (
        lambda o: lr_scheduler.OneCycleLR(o, BASE, total, pct_start=share, anneal_strategy=strategy),
        share,
        total,
    )


def test_a_peak_between_two_steps_is_the_lower_of_two_lines() -> None:
    rng = random.Random(3)
    for _ in range(200):
        make, share, total = one_cycle_between(rng, "linear")
        start, end, peak, last = 0.04, 4e-6, share * total - 1, total - 1
        rise = f"linear(start={start!r}, end={start + (1 - start) * last / peak!r}, at=closed)"
        fall = f"linear(start={1 + (1 - end) * peak / (last - peak)!r}, end={end!r}, at=closed)"
        case = Case(make, f"min({rise}, {fall})", total, total, lambda t: None, BASE)
        np.testing.assert_allclose(stepped(case)[0], ours(case), rtol=1e-12, atol=4 * EPSILON * BASE)


@pytest.mark.parametrize("shape", ["cosine", "linear"])
def test_a_peak_between_two_steps_is_a_table_and_nearly_one_cycle(shape: str, capsys: Any) -> None:
    """The table is exact; the recipe is off by what half a step changes."""
    rng, most = random.Random(4), 0.0
    for _ in range(200):
        make, share, total = one_cycle_between(rng, shape)
        near = Case(make, f"one_cycle({share!r}, shape={shape})", total, total, lambda t: None, BASE)
        live = stepped(near)[0]
        table = f"table({as_text([*(rate / BASE for rate in live), 0.0])})"
        exact = Case(make, table, total, total, lambda t: None, BASE)
        np.testing.assert_allclose(ours(exact), live, rtol=4 * EPSILON)
        away = np.abs(np.array(ours(near)) - live).max() / np.abs(np.diff([*live, 0.0])).max()
        most = max(most, float(away))
    with capsys.disabled():
        print(f"\nPEERS peak between steps, {shape}: the recipe is off by at most {most:.2f} steps' change", end="")
    assert most <= 0.51


def test_what_shrinks_away_from_its_level_is_a_table() -> None:
    """The momentum of CyclicLR's exp_range is 1 minus what we can say; a table says it over 9,999 steps."""
    total = 9_999

    def make(optimizer: Any) -> Any:
        return lr_scheduler.CyclicLR(optimizer, 0.01, 0.1, 500, mode="exp_range", gamma=0.999)

    case = Case(make, "constant", total, total, lambda t: None, 1.0, "momentum")
    live = stepped(case)[0]
    table = lrc.table((*live, 0.9))
    np.testing.assert_allclose(table.multipliers(total), live, rtol=4 * EPSILON)


def test_a_cosine_with_a_floor_in_a_chain_is_no_product() -> None:
    """torch's recursion pulls the rate to `eta_min` from wherever the others took it, even upwards."""
    optimizer = optimizer_at(BASE)
    halved = lr_scheduler.ConstantLR(optimizer, 0.01, 100)
    chain = lr_scheduler.ChainedScheduler([halved, lr_scheduler.CosineAnnealingLR(optimizer, 10, 0.05)])
    optimizer.step()
    rates = []
    for _ in range(11):
        rates.append(read(optimizer, "lr"))
        chain.step()
    assert rates[0] == pytest.approx(0.001)
    assert rates[10] == pytest.approx(0.05)
    with pytest.raises(BadInput, match="multiplies only with eta_min=0"):
        describe(chain, 10)
