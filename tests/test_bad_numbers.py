"""Bad numbers are refused when an object is made, by name: every parameter of every recipe, part and method."""

import decimal
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

import lrcontrol as lrc
from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.schedules.profiles import Linear
from lrcontrol.schedules.recipes.catalogue import RECIPES
from lrcontrol.schedules.recipes.single import Layout
from lrcontrol.schedules.sampling import EVERY_STEP, Sampling
from lrcontrol.schedules.schedule import Cycled, Held, Maximum, Minimum, Nested, Product, Schedule, Segment, Sum

NOT_NUMBERS = [True, "10", None, [1], {}, decimal.Decimal(1), 1j, b"1", object(), np.array([1.0])]
NOT_FINITE = [math.nan, math.inf, -math.inf, 10**5000, -(10**5000), np.float64("nan")]
NOT_WHOLE = [1.5, 1.0, np.float32(2), np.bool_(True)]
LISTS = [True, "10", None, 0.5, {}, (), (math.nan,), (None,), (True,), ("1",), (10**5000,), 1j]
STEPS = [-1, 2**53 + 1, 10**5000, True, "10", [1], *NOT_WHOLE]  # None means "not given"
SHARE = [-0.1, 1.0000001, math.nan, math.inf, 10**5000, True, "10", [1]]
COUNT = [0, -1, 10_001, *NOT_WHOLE, *NOT_NUMBERS, *NOT_FINITE]
LEVEL = [-1, -1e-300, 2e9, *NOT_NUMBERS, *NOT_FINITE]
PART = [-0.1, 1.0000001, *NOT_NUMBERS, *NOT_FINITE]
INSIDE = [0, 1.0, *PART]
BOUND = [-1, 1e10, *NOT_NUMBERS, *NOT_FINITE]
LENGTH = [-1, -0.1, 1.0, 1.5, 2**60, *NOT_NUMBERS, *NOT_FINITE]
WORD = ["", "centre", "LEFT", 1, None, True, ["left"], "l\u00e9ft"]
FLAG = [1, 0, "true", None, [True], np.bool_(True)]
EDGES = [(0,), (1.0,), (0.5, 0.5), (0.5, 0.1), (0.5, 2), tuple(range(1, 1001)), *LISTS]

PARAMETERS: dict[str, list[Any]] = {
    **dict.fromkeys(("start", "end", "level"), LEVEL),
    **dict.fromkeys(("steps", "period"), STEPS),
    "share": SHARE,
    "every": [0, -1, 2**60, *NOT_WHOLE, True, "10", [1], math.nan, 10**5000],
    "times": [0, -1, 1001, *NOT_WHOLE, True, "10", [1], math.nan, 10**5000],
    "shares": [(0,), (1,), (0.5, 0.5), (0.5, 0.4), [0.1] * 1000, *(bad for bad in LISTS if bad != ())],
    **dict.fromkeys(("at", "shape"), WORD),
    **dict.fromkeys(("reverse", "hold", "both"), FLAG),
    "power": [0, -1, 1001, *NOT_NUMBERS, *NOT_FINITE],
    "rate": [0, 1e-10, 701, -701, *NOT_NUMBERS, *NOT_FINITE],
    "gamma": [0, 1, -0.5, 1.5, *NOT_NUMBERS, *NOT_FINITE],
    "exponent": [0, -1, 11, *NOT_NUMBERS, *NOT_FINITE],
    "timescale": [0, -1, 0.0, 1e-200, 1001.0, 2**60, *NOT_NUMBERS, *NOT_FINITE],
    "knee": [0, -1, 0.0, *LENGTH],
    "beta": [0, -0.5, 1.01, *NOT_NUMBERS, *NOT_FINITE],
    "values": [(0.5,), (-1, 0), (2e9, 0, 1), [0.5] * 10_001, *LISTS],
    "factor": [-0.1, 2e9, 1e8, *NOT_NUMBERS, *NOT_FINITE],
    **dict.fromkeys(("milestones", "edges"), EDGES),
    **dict.fromkeys(("length", "warmup", "cooldown"), LENGTH),
    **dict.fromkeys(("rise", "fall"), INSIDE),
    **dict.fromkeys(("low", "high"), BOUND),
    "cycles": COUNT,
    "nodes": [3, 12, 2048, *COUNT],
    "growth": [0, -1, 1001, *NOT_NUMBERS, *NOT_FINITE],
    "shrink": PART,
}
"""Bad values by the name of the parameter."""


def held(bad: Any) -> Held:
    return Held(schedule=bad, sampling=Sampling(times=2))


FIELDS: list[tuple[str, Callable[[Any], Any], list[Any]]] = [
    ("total_steps", lrc.linear().multipliers, [0, -1, *STEPS]),
    ("total_steps", lambda bad: lrc.linear().multiplier(0, bad), [0, -1, *STEPS]),
    ("total_steps", lrc.linear().last, [-2, *STEPS]),
    ("total_steps", lrc.linear().pieces, [0, -1, *STEPS]),
    ("step", lambda bad: lrc.linear().multiplier(bad, 10), [1.0, True, math.nan, "1", None, [1], 10**5000, 1j]),
    ("times", lambda bad: lrc.linear().repeat(bad), [0, -1, 10_001, *NOT_WHOLE, "2", [1], math.inf]),
    *(
        (name, lambda bad, name=name: lrc.linear().repeat(2, **{name: bad}), PARAMETERS[name])
        for name in ("growth", "shrink", "steps", "share")
    ),
    ("period", lambda bad: lrc.linear().repeat(period=bad), [0, *STEPS]),
    ("growth", lambda bad: lrc.linear().repeat(period=3, growth=bad), [0.5, *PARAMETERS["growth"]]),
    *(
        (name, lambda bad, name=name: lrc.linear().over(**{name: bad}), PARAMETERS[name])
        for name in ("steps", "share")
    ),
    ("scale", lambda bad: lrc.linear() * bad, [-1.0, 2e9, *NOT_FINITE]),
    *(
        ("level", getattr(lrc.linear(), name), [-1, 2e9, math.nan, None, [1], True, 10**5000])
        for name in ("plus", "at_least", "at_most")
    ),
    ("profile", lambda bad: Segment(bad), ["linear", Linear, 1.0, None]),
    ("sampling", lambda bad: Segment(Linear(), sampling=bad), ["left", 2, None]),
    ("reverse", lambda bad: Segment(Linear(), reverse=bad), FLAG),
    *(
        ("schedule", kind, ["linear", Linear(), 1.0, None, (lrc.linear(),)])
        for kind in (Nested, lambda bad: Cycled(bad, 3), held)
    ),
    *(
        (name, kind, ["linear", (), (lrc.linear(),), ("linear", "linear"), 1.0, None, lrc.linear()])
        for name, kind in (("factors", Product), ("terms", Sum), ("terms", Maximum), ("terms", Minimum))
    ),
    ("sampling", lambda bad: Held(schedule=lrc.linear(), sampling=bad), ["left", 2, None, EVERY_STEP.read]),
    ("every", lrc.linear().held, [0, -1, 2**60, *NOT_WHOLE, True, "10", [1], None]),
    ("shares", lambda bad: lrc.linear().held(shares=bad), [(0,), (1,), (0.5, 0.4), 0.5, None]),
    ("parts", Schedule, ["linear", (), ("linear",), 1.0, None, lrc.linear()]),
]
"""What recipes have no parameter for: the sentence must name the first, of what the second makes of the third."""

OPTIONAL = {"end", "steps", "share", "every", "times", "period", "fall"}  # None means "not given", or nearly so


def bad_calls() -> list[tuple[str, Callable[[Any], Any], Any]]:
    """Every bad value of every parameter of every recipe, and the others."""
    rows = [(name, make, bad) for name, make, found in FIELDS for bad in found]
    for recipe in RECIPES.values():
        parameters = inspect.signature(recipe).parameters
        names = [name for name in parameters if name != "layout"]
        for name in [*names, *(Layout.__annotations__ if "layout" in parameters else ())]:
            given = [bad for bad in PARAMETERS[name] if not (bad is None and name in OPTIONAL)]
            rows += [(name, lambda bad, recipe=recipe, name=name: recipe(**{name: bad}), bad) for bad in given]
    return rows


def test_n6_bad_numbers_are_refused_by_name(capsys: Any) -> None:
    """Each is a ValueError of one sentence that names the field and shows what was got."""
    rows, wrong = bad_calls(), []
    for name, make, bad in rows:
        try:
            made = make(bad)
        except BadInput as error:
            sentence = str(error)
            named = {"at": "sampling place", "shape": "shape"}.get(name, f"`{name}`") in sentence
            told = "got" in sentence or "unknown" in sentence
            if not (named and told and len(sentence) <= 400 and "\n" not in sentence):
                wrong.append((name, checks.shown(bad), sentence))
        except Exception as error:
            wrong.append((name, checks.shown(bad), repr(error)[:200]))
        else:
            wrong.append((name, checks.shown(bad), f"accepted as {made!r}"[:200]))
    with capsys.disabled():
        print(f"\nN6 inputs={len(rows)} wrong={len(wrong)}", end="")
    assert len(rows) >= 400
    assert wrong == []


def test_none_means_not_given() -> None:
    assert lrc.linear(end=None, steps=None, share=None, times=None) == lrc.linear()
    assert lrc.exponential(end=None) == lrc.exponential()
