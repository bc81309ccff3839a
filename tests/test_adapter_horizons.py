"""Horizons in steps, epochs, samples, tokens and time, as text and on a user's optimizer."""

import copy
import itertools
import math
import time
from pathlib import Path
from typing import Any

import pytest

import lrcontrol as lrc
from adapter_kit import FAMILIES, as_torch, rates, sgd, simulated, through_json, ticking
from lrcontrol.errors import BadInput, BadText, DoesNotFit, OutOfSchedule
from lrcontrol.schedules.horizon import Horizon, horizon, length_in_steps
from lrcontrol.training.plan import GRID
from ranks_kit import two_ranks

# Text

pytestmark = pytest.mark.filterwarnings("ignore:an update was made after the end")  # as many here are, on purpose


@pytest.mark.parametrize(
    ("text", "amount", "unit", "printed"),
    [
        ("1000", 1000, "steps", "1000st"),
        ("1000st", 1000, "steps", "1000st"),
        (" 1e3 st ", 1000, "steps", "1000st"),
        ("10ep", 10, "epochs", "10ep"),
        ("2.5ep", 2.5, "epochs", "2.5ep"),
        ("1e6sp", 10**6, "samples", "1000000sp"),
        ("5e9tok", 5 * 10**9, "tokens", "5000000000tok"),
        ("90s", 90, "seconds", "90s"),
        ("0.5s", 0.5, "seconds", "0.5s"),
        (".5min", 30, "seconds", "30s"),
        ("30min", 1800, "seconds", "30min"),
        ("1.5h", 5400, "seconds", "90min"),
        ("2h", 7200, "seconds", "2h"),
        ("9007199254740992tok", 2**53, "tokens", "9007199254740992tok"),
    ],
)
def test_a_text_is_read_and_printed(text: str, amount: float, unit: Any, printed: str) -> None:
    read = horizon(text)
    assert read == Horizon(amount, unit)
    assert type(read.amount) is type(amount)
    assert str(read) == printed
    assert horizon(printed) == read


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "such as"),
        ("ten", "such as"),
        ("10 ep och", "such as"),
        ("1_000", "such as"),
        ("nan", "such as"),
        ("1e400", "at most|above 0"),
        ("1e9999", "such as"),
        ("1" * 100, "such as"),
        ("0", "above 0"),
        ("-5ep", "above 0"),
        ("0s", "above 0"),
        ("1.5", "whole"),
        ("0.5tok", "whole"),
        ("1e54st", "above 0 and at most"),
        ("1e10s", "at most"),
        ("5epochs", "did you mean 'ep'"),
        ("5steps", "did you mean 'st'"),
        ("5ba", "did you mean 'st'"),
        ("90sec", "did you mean 's'"),
        ("30m", "did you mean 'min'"),
        ("30MIN", "did you mean 'min'"),
        ("2hours", "did you mean 'h'"),
        ("5tokens", "did you mean 'tok'"),
        ("5samples", "did you mean 'sp'"),
        ("5parsec", "known: ep, h, min, s, sp, st, tok"),
    ],
)
def test_a_bad_text_is_one_sentence(text: str, match: str) -> None:
    with pytest.raises(BadText, match=match) as caught:
        horizon(text)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, None, math.nan, 2**60, [3], b"3"])
def test_a_bad_number_is_refused(bad: Any) -> None:
    with pytest.raises(BadInput):
        horizon(bad)


@pytest.mark.parametrize("unit", ["steps", "epochs", "samples", "tokens", "seconds"])
@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf, True, "3", None, 2**60])
def test_a_bad_amount_is_refused(unit: Any, bad: Any) -> None:
    with pytest.raises(BadInput, match="`amount`"):
        Horizon(bad, unit)


def test_amounts_of_one_size_are_whole_steps_rounded_up() -> None:
    assert horizon("10ep").resolved(steps_per_epoch=7) == Horizon(70)
    assert horizon("0.1ep").resolved(steps_per_epoch=7) == Horizon(1)
    assert horizon("1000tok").resolved(per_step=1000) == Horizon(1)
    assert horizon("1001sp").resolved(per_step=1000) == Horizon(2)
    assert horizon("1001sp").resolved() == horizon("1001sp")
    for bad in ({"per_step": 3}, {"steps_per_epoch": 0}, {"steps_per_epoch": 1, "per_step": 3}):
        with pytest.raises(BadInput):
            horizon("10ep").resolved(**bad)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("rex", None),
        ("warmup(0.1)+rex", None),
        ("warmup(0)+rex", None),
        ("repeat(linear, times=3)", None),
        ("linear(times=4)", None),
        ("warmup(10)+rex", "steps=10"),
        ("rex(every=2)", "every=2"),
        ("linear*(warmup(0.1)+cosine(steps=7))", "steps=7"),
        ("over(repeat(cosine(every=3), times=2), share=0.5)", "every=3"),
    ],
)
def test_lengths_in_steps_are_found(text: str, found: str | None) -> None:
    assert length_in_steps(lrc.schedule(text)) == found


@pytest.mark.parametrize("name", ["sgdr", "geometric", "inverse_sqrt", "exp_range"])
def test_what_goes_by_the_step_cannot_go_by_the_clock(name: str) -> None:
    """Whatever has the same values over 1,000 as over 2,000 steps is refused on a grid."""
    recipe = getattr(lrc, name, None)
    if recipe is None:
        pytest.skip(f"no {name}")
    made = {"sgdr": lambda: recipe(period=10), "inverse_sqrt": lambda: recipe(4000)}.get(name, recipe)()
    assert length_in_steps(made) is not None


# Tokens and samples


def test_tokens_are_told_and_the_grid_is_read_exactly() -> None:
    """Random amounts: the multiplier is that of floor(10,000 x told / all)."""
    optimizer = sgd(0.5, 2.0)
    scheduler = as_torch(optimizer, "warmup(0.1)+cosine", "1000000tok")
    told = 0
    for amount in [*range(1, 50_000, 997), 0, 10**7]:
        optimizer.step()
        scheduler.step(amount=amount)
        told += amount
        multiplier = lrc.schedule("warmup(0.1)+cosine").multiplier(min(told * GRID // 10**6, GRID), GRID)
        assert rates(optimizer) == [0.5 * multiplier, 2.0 * multiplier]
    assert rates(optimizer) == [0.0, 0.0]


def test_what_is_told_between_updates_is_counted() -> None:
    """Micro-batches tell their tokens one by one."""
    optimizer = sgd(1.0)
    scheduler = as_torch(optimizer, "linear", "100tok")
    for _ in range(4):
        scheduler.step(amount=5)
    assert rates(optimizer) == [1.0]
    optimizer.step()
    scheduler.step(amount=5)
    assert rates(optimizer) == [0.75]
    scheduler.step(amount=5)
    twin = sgd(1.0)
    resumed = as_torch(twin, "linear", "100tok")
    resumed.load_state_dict(through_json(scheduler.state_dict()))
    assert rates(twin) == [0.75]
    twin.step()
    resumed.step(amount=0)
    assert rates(twin) == [0.7]


def test_amounts_and_jumps_that_cannot_be_are_refused_and_change_nothing() -> None:
    optimizer = sgd(1.0)
    scheduler = as_torch(optimizer, "linear", "100sp")
    optimizer.step()
    for bad, match in (
        ({}, r"step\(amount=...\)"),
        ({"amount": -1}, "`amount`"),
        ({"amount": 1.5}, "`amount`"),
        ({"amount": True}, "`amount`"),
        ({"epoch": 3, "amount": 3}, "jumped"),
    ):
        with pytest.raises(BadInput, match=match):
            scheduler.step(**bad)
    assert (scheduler.last_epoch, scheduler.state_dict()["told"]) == (0, 0)
    scheduler.step(amount=50)
    assert rates(optimizer) == [0.5]
    scheduler.step(scheduler.last_epoch)
    for total in (100, "1h"):
        with pytest.raises(BadInput, match="takes no `amount`"):
            simulated(sgd(1.0), "linear", total).step(amount=3)
    with pytest.raises(BadInput, match="value of step"):
        simulated(sgd(1.0), "linear", 3).step(tokens=3)  # type: ignore[call-arg]


def test_a_strict_end_in_tokens() -> None:
    optimizer = sgd(1.0)
    scheduler = simulated(optimizer, "linear", "100tok", beyond="raise")
    scheduler.step(amount=99)
    scheduler.step(amount=7)
    assert rates(optimizer) == [0.0]
    with pytest.raises(OutOfSchedule, match="100tok"):
        scheduler.step(amount=1)


# Time


@pytest.mark.parametrize("text", [text for text in FAMILIES if length_in_steps(lrc.schedule(text)) is None])
def test_time_is_read_on_a_fixed_grid(text: str) -> None:
    optimizer = sgd(1.0)
    scheduler = simulated(optimizer, text, "100s", clock=ticking(then=0.7))
    for step in range(1, 160):
        scheduler.step()
        place = min(int(step * 700_000_000) * GRID // 10**11, GRID)
        wanted = lrc.schedule(text).multiplier(place, GRID)
        near = lrc.schedule(text).multiplier(max(place - 1, 0), GRID)  # seconds are floats, and may fall a hair short
        assert rates(optimizer)[0] in (wanted, near), step
    assert rates(optimizer) == [lrc.schedule(text).multiplier(GRID, GRID)]


def test_s14_a_clock_that_jumps_back_changes_nothing() -> None:
    """Progress never goes back, and goes on with what passes after the jump."""
    optimizer = sgd(1.0)
    readings = [5.0, 15.0, 25.0, -1e6, -1e6 + 10, math.nan, -1e6 + 10, 4.0]
    scheduler = simulated(optimizer, "linear", "100s", clock=ticking(*readings))
    trail = [(scheduler.step(), rates(optimizer)[0])[1] for _ in range(6)]
    assert trail[:3] == [0.9, 0.8, 0.8]
    assert trail == sorted(trail, reverse=True)
    assert trail[3] == 0.7


def test_a_resumed_run_goes_on_from_the_time_that_had_passed() -> None:
    """What it was stopped for does not count."""
    optimizer, twin = sgd(1.0), sgd(1.0)
    scheduler = simulated(optimizer, "linear", "100s", clock=ticking(0.0, 10.0, 30.0))
    scheduler.step()
    scheduler.step()
    state = through_json(scheduler.state_dict())
    assert rates(optimizer) == [0.7]
    resumed = simulated(twin, "linear", "100s", clock=ticking(1e6, 2e6, 2e6 + 5, 2e6 + 20))
    resumed.load_state_dict(state)
    assert rates(twin) == [0.7]
    trail = [(resumed.step(), rates(twin)[0])[1] for _ in range(2)]
    assert trail == [0.65, 0.5]
    copied, copies = copy.deepcopy((twin, resumed))
    assert rates(copied) == [0.5]
    assert copies.last_epoch == 4


def test_the_horizon_in_time_can_change() -> None:
    optimizer = sgd(1.0)
    scheduler = simulated(optimizer, "linear", "100s", clock=ticking(then=10.0))
    for _ in range(5):
        scheduler.step()
    scheduler.extend("150s")
    assert rates(optimizer) == [0.5]
    scheduler.step()
    assert rates(optimizer) == [0.45]
    scheduler.shorten("2min", "keep")
    trail = [(scheduler.step(), rates(optimizer)[0])[1] for _ in range(9)]
    assert trail == pytest.approx([0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.15, 0.15, 0.15], abs=1e-12)
    with pytest.raises(DoesNotFit, match="give shares"):
        simulated(sgd(1.0), "warmup(10)+linear", "30min")


def test_the_real_clock_drives_it() -> None:
    optimizer = sgd(1.0)
    scheduler = as_torch(optimizer, "linear", "0.2s")
    began, trail = time.monotonic(), [1.0]
    while time.monotonic() - began < 0.25:
        optimizer.step()
        scheduler.step()
        trail.append(rates(optimizer)[0])
    assert trail == sorted(trail, reverse=True)
    assert trail[-1] == 0.0
    assert len(set(trail)) > 50


# Several processes


def test_two_processes_have_the_same_rates(tmp_path: Path) -> None:
    """Two gloo processes whose clocks differ in start and speed: rates agree bit for bit, in steps and in time."""
    both = two_ranks("adapter_ranks.py", tmp_path)
    for kind in ("ddp", "fsdp2"):
        first, second = (seen[kind] for seen in both)
        assert first["steps"] == second["steps"] == [lrc.rex().multiplier(step, 40) for step in range(40)]
        assert first["time"] == second["time"]
        trail = first["time"]
        assert trail == sorted(trail, reverse=True)
        assert (trail[0], trail[-1]) == (1.0, 0.0)
        assert first["own"] != second["own"], "the clocks differ"
        assert first["resumed"] == second["resumed"]
        assert first["broadcasts"] == second["broadcasts"] < len(trail) / 4
        off = [abs(rate - (1 - min(passed / 300, 1))) for rate, passed in zip(trail, first["own"], strict=True)]
        print(
            f"{kind}: 2 ranks, {len(trail)} updates, 0 rates differ, {first['broadcasts']} agreements, "
            f"off {max(off):.4f}"
        )
        assert max(off) < 0.01


def test_units_are_all_that_there_are() -> None:
    made = {f"{1}{suffix}" for suffix in ("st", "ep", "sp", "tok", "s", "min", "h")}
    assert len({str(horizon(text)) for text in made}) == 7
    for one, other in itertools.combinations(sorted(made), 2):
        assert horizon(one) != horizon(other)
