"""Methods and run specs: text and JSON there and back, identity of content, bad input."""

import json
import math
import os
import re
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrcontrol as lrc
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.controls.text import WRAPPERS
from lrcontrol.errors import BadInput, BadText, UnknownName
from lrcontrol.runs import optimizer_specs as specs
from lrcontrol.runs.method import OPTIMIZERS, SGD, AdamW, Method, method
from lrcontrol.runs.parts import PARTS
from lrcontrol.runs.spec import RunSpec, Start
from lrcontrol.schedules import other_names
from lrcontrol.schedules.text import schedule
from strategies import schedules

law = settings(max_examples=60, derandomize=True, deadline=None)
share = st.floats(0, 1, exclude_max=True)

optimizers = st.one_of(
    st.builds(SGD, share, st.floats(0, 10)),
    st.builds(SGD, st.floats(0.1, 0.99), st.floats(0, 10), st.booleans()),
    st.builds(AdamW, share, share, st.floats(0, 1), st.floats(0, 10)),
    st.builds(specs.ScheduleFreeAdamW, st.floats(0.1, 0.99), share, st.floats(0, 1), st.floats(0, 10)),
    st.builds(specs.Prodigy, share, share, st.none() | share, st.floats(1e-9, 1), st.floats(0, 10), st.booleans()),
    st.builds(specs.Mechanic, st.builds(SGD, share), st.floats(0, 1), num_betas=st.integers(1, 15)),
)


@law
@given(optimizers, schedules(3))
def test_text_and_json_are_the_identity_and_fixed_points(optimizer: Any, schedule: Any) -> None:
    made = Method(optimizer, Scheduled(schedule))
    again = method(str(made))
    assert again == made
    assert hash(again) == hash(made)
    assert str(again) == str(made)
    assert str(made).endswith(f":{made.control_text}")
    assert msgspec.json.decode(msgspec.json.encode(made), type=Method) == made


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("sgd:linear", "sgd:linear"),
        ("adamw : warmup(0.05) + rex", "adamw:warmup(0.05)+rex"),
        ("sgd(0.9):cosine", "sgd:cosine"),
        ("sgd(momentum=0.8, nesterov=true):rex", "sgd(momentum=0.8, nesterov=true):rex"),
        ("sgd(nesterov=False):rex", "sgd:rex"),
        ("sgd(momentum=0):constant", "sgd(momentum=0):constant"),
        ("adamw(eps=1e-6, weight_decay=0):linear*cosine", "adamw(eps=1e-06, weight_decay=0):linear*cosine"),
        ("adamw():(linear)", "adamw:linear"),
        ("mechanic:linear", "mechanic(adamw):linear"),
        ("mechanic( sgd(0.9) , num_betas=6 ):linear", "mechanic(sgd):linear"),
        ("mechanic(sgd(nesterov=true), 0):linear", "mechanic(sgd(nesterov=true), decay=0):linear"),
        ("mechanic(decay=0.1):linear", "mechanic(adamw, decay=0.1):linear"),
        ("prodigy(beta3=0.9, growth_rate=1.02):cosine", "prodigy(beta3=0.9, growth_rate=1.02):cosine"),
    ],
)
def test_canonical_text(text: str, canonical: str) -> None:
    assert str(method(text)) == canonical
    assert str(method(canonical)) == canonical
    assert method(method(text)) == method(canonical)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_has_its_name_in_text(name: str) -> None:
    made = method(f"{name}:linear")
    assert type(made.optimizer) is OPTIMIZERS[name]
    assert made.optimizer == OPTIMIZERS[name]()
    assert str(made) == f"{'mechanic(adamw)' if name == 'mechanic' else name}:linear"


MOVES = {"growth_rate": 1.02, "inner": SGD(momentum=0.5)}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_field_moves_the_text_and_the_id(name: str) -> None:
    default = OPTIMIZERS[name]()
    for field in msgspec.structs.fields(default):
        value = getattr(default, field.name)
        other = (not value) if isinstance(value, bool) else 3 if type(value) is int else 0.25
        if field.name in MOVES:
            other = MOVES[field.name]
        elif type(value) is float and value:
            other = value * 0.5
        moved = Method(msgspec.structs.replace(default, **{field.name: other}), Scheduled(lrc.linear()))
        plain = Method(default, Scheduled(lrc.linear()))
        assert moved != plain
        assert str(moved) != str(plain)
        assert spec(method=moved).id != spec(method=plain).id
        assert method(str(moved)) == moved


BAD = [True, math.nan, math.inf, -math.inf, "0.5", None, 10**5000, [1], -0.1]
BOUNDED = {"momentum", "beta1", "beta2", "beta3"}
POSITIVE = {"d0", "d_coef", "initial_distance", "initial_scale", "alpha", "num_betas", "mechanic_eps"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_bad_numbers_are_refused_by_name(name: str) -> None:
    default = OPTIMIZERS[name]()
    for field in msgspec.structs.fields(default):
        usual = getattr(default, field.name)
        flag = isinstance(usual, bool)
        extra = [1.0, 1.5] if field.name in BOUNDED else [1, 0, "true"] if flag else []
        extra += [0] if field.name in POSITIVE else [1.0] if field.name == "growth_rate" else []
        good = {None if usual is None else "none", True if flag else "none"}
        for bad in [*(value for value in BAD if isinstance(value, list) or value not in good), *extra]:
            with pytest.raises(BadInput, match=f"`{field.name}`"):
                OPTIMIZERS[name](**{field.name: bad})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("adam:linear", "unknown optimizer 'adam'; did you mean 'adamw'"),
        ("sgdd:linear", "did you mean 'sgd'"),
        ("sgd(momentun=0.9):linear", "did you mean 'momentum'"),
        ("adamw(beta=0.9):linear", "did you mean 'beta[12]'"),
        ("sgd:liner", "did you mean 'linear'"),
    ],
)
def test_unknown_names_name_the_near_miss(text: str, sentence: str) -> None:
    with pytest.raises(UnknownName, match=sentence):
        method(text)


BAD_TEXTS = [
    "",
    ":",
    "sgd",
    "sgd:",
    ":linear",
    "linear",
    "sgd linear",
    "sgd::linear",
    "sgd:linear:rex",
    "sgd;linear",
    "sgd(:linear",
    "sgd):linear",
    "sgd(momentum):linear",
    "sgd(momentum=):linear",
    "sgd(momentum=1):linear",
    "sgd(momentum=nan):linear",
    "sgd(momentum=1e999):linear",
    "sgd(momentum=(0.9)):linear",
    "sgd(momentum=0.9, momentum=0.9):linear",
    "sgd(0.9, 0, true, 3):linear",
    "sgd(nesterov=1):linear",
    "sgd(nesterov=maybe):linear",
    "sgd(momentum=0, nesterov=true):linear",
    "sgd(lr=0.1):linear",
    "sgd(__class__=1):linear",
    "os:linear",
    "(sgd):linear",
    "sgd:linear+",
    "sgd:linear)",
    "sgd(" + "9" * 500 + "):linear",
    "mechanic(prodigy):linear",
    "mechanic(mechanic(sgd)):linear",
    "mechanic(inner=sgd):linear",
    "mechanic(sgd:linear",
    "mechanic(sgd, adamw):linear",
    "mechanic(" * 1000 + "sgd" + ")" * 1000 + ":linear",
    "prodigy(growth_rate=1):linear",
    "prodigy(beta3=none):linear",
    "dog:one_cycle, momentum=one_cycle_momentum",
    "cocob:stop_on_divergence(one_cycle, momentum=one_cycle_momentum)",
    "(" * 2**20,
    "sgd(" + "1," * 500_000,
    "sgd:" + "linear*" * 140_000,
    "s" * (2**20 + 1),
]


@pytest.mark.parametrize("text", BAD_TEXTS, ids=lambda text: repr(text[:30]))
def test_a_bad_text_is_bad_input_and_short(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        method(text)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("bad", [None, 1, b"sgd:linear", ["sgd:linear"], SGD()], ids=repr)
def test_what_is_no_text_is_refused(bad: Any) -> None:
    with pytest.raises(BadInput, match="a method must be a text or a Method"):
        method(bad)


def test_the_place_is_told() -> None:
    with pytest.raises(BadText, match=r"expected ':'.*at position 4"):
        method("sgd linear")


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapper_without_what_it_wraps_says_what_it_stands_around(name: str) -> None:
    told = rf"{name} stands around a schedule or a control, as in {name}\(sgdr\) at position "
    for text in (name, f"{name}*rex", f"warmup(0.05)+{name}"):
        with pytest.raises(BadText, match=told):
            method(f"sgd:{text}")
    if name != "snapshots":  # which has cycles of its own
        with pytest.raises(BadText, match=told):
            method(f"sgd:{name}()")
    assert str(method(f"sgd:{name}(sgdr)")) == f"sgd:{name}(sgdr)"


@pytest.mark.parametrize(
    ("control", "shown"),
    [
        ("constant(steps=150)+constant(0.0384, steps=200)+constant(0.00333333)", r"3 levels, 1 to 0\.00333333, \w{6}"),
        ("constant(0.5, steps=150)+constant(1e-05, steps=200)+constant", r"3 levels, 0\.5 to 1, \w{6}"),
        (
            "constant(steps=3)+constant(0.5, steps=2)+constant",
            re.escape("constant(steps=3)+constant(0.5, steps=2)+constant"),
        ),
    ],
)
def test_many_levels_are_shown_by_their_number_and_kept_whole(control: str, shown: str) -> None:
    made = method(f"adamw:over({control})")
    assert str(made) == f"adamw:over({control})"
    assert re.fullmatch(rf"adamw:over\({shown}\)", made.label)
    other = method(f"adamw:over({control.replace('steps=', 'steps=1')})")
    assert other.label != made.label


def test_levels_beside_what_is_none_are_shown_as_they_are() -> None:
    text = "adamw:over(constant(0.5, steps=10)+constant(0.25, steps=100)+constant(0.125, steps=1000)*rex)"
    assert method(text).label == text


# ---- run specs ----


def spec(**changes: Any) -> RunSpec:
    given: dict[str, Any] = {"task": "digits-mlp", "method": "adamw:cosine", "base_lr": 0.001, "total_steps": 100}
    return RunSpec(**{**given, **changes})


SPEC_MOVES = {
    "norms": ("l2",),
    "task": "other",
    "method": "sgd:cosine",
    "base_lr": 0.002,
    "total_steps": 101,
    "seed": 1,
    "stop_step": 99,
    "save": True,
    "start": Start("0123456789abcdef0123", 5),
    "checkpoint": True,
}


def test_every_field_of_a_spec_moves_its_id() -> None:
    assert set(SPEC_MOVES) == {field.name for field in msgspec.structs.fields(RunSpec)}
    ids = {spec(**{name: value}).id for name, value in SPEC_MOVES.items()} | {spec().id}
    assert len(ids) == len(SPEC_MOVES) + 1


@law
@given(optimizers, schedules(2), st.floats(1e-9, 1e3), st.integers(1, 10**9), st.integers(0, 2**31 - 1), st.booleans())
def test_a_spec_reads_back_equal(
    optimizer: Any, schedule: Any, rate: float, total: int, seed: int, save: bool
) -> None:
    made = spec(method=Method(optimizer, Scheduled(schedule)), base_lr=rate, total_steps=total, seed=seed, save=save)
    again = RunSpec.from_json(made.to_json())
    assert again == made
    assert (again.id, hash(again)) == (made.id, hash(made))
    assert spec(**{**msgspec.structs.asdict(made), "method": str(made.method)}).id == made.id


def test_equal_specs_have_equal_ids_in_every_process() -> None:
    """Whatever the hash seed; and the number types given do not matter."""
    made = "RunSpec(task='t', method='sgd:warmup(5)+rex', base_lr=1, total_steps=9)"
    code = f"from lrcontrol.runs.spec import RunSpec; print({made}.id)"
    ids = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "1")
    }
    assert ids == {spec(task="t", method=" sgd : warmup( 5 ) + rex() ", base_lr=1.0, total_steps=9, stop_step=9).id}


def test_cut_and_whole_runs_differ() -> None:
    assert not spec().is_cut
    assert spec().stop_step == 100
    assert spec(stop_step=99).is_cut
    assert not spec(stop_step=100).is_cut
    assert spec(stop_step=100) == spec()
    assert spec(total_steps=1).stop_step == 1


SPEC_BAD: dict[str, list[Any]] = {
    "task": ["", None, 1, b"x", True],
    "base_lr": [0, -1, True, math.nan, math.inf, "1", None, 10**5000],
    "total_steps": [0, -1, 1.5, True, math.nan, "10", None, 10**5000],
    "seed": [-1, 2**31, 1.5, True, math.nan, "10", None, 10**5000],
    "norms": ["l2", None, 2, True],
    "stop_step": [-1, 101, 1.5, True, math.nan, "10", None, 10**5000],
}


@pytest.mark.parametrize("field", SPEC_BAD)
def test_bad_fields_of_a_spec_are_refused_by_name(field: str) -> None:
    for bad in SPEC_BAD[field]:
        with pytest.raises(BadInput, match=f"`{field}`"):
            spec(**{field: bad})


def test_a_spec_in_json_is_read_strictly() -> None:
    document = json.loads(spec().to_json())
    for change in ({"extra": 1}, {"base_lr": "1"}, {"total_steps": 1.5}, {"save": 1}, {"method": 5}):
        with pytest.raises(msgspec.ValidationError):
            RunSpec.from_json(json.dumps({**document, **change}))


def test_ids_of_published_specs_never_change():
    """A stored run is found again by its id: this one was written by format 1."""
    spec = RunSpec(task="digits-mlp", method="adamw:warmup(0.05)+rex(beta=0.1)", base_lr=1e-3, total_steps=100)
    assert spec.id == "4880a4e509822f7dde3a"
    assert msgspec.structs.replace(spec, norms=("l2",)).id != spec.id


def test_norms_are_a_set_of_names():
    """However they are given, the spec and its id are the same, and they are read back."""
    made = [spec(norms=given) for given in (("l1", "l2"), ["l2", "l1"], {"l2", "l1"}, ("l2", "l1", "l2"))]
    assert {each.id for each in made} == {made[0].id}
    assert made[-1].norms == ("l1", "l2")
    for unknown in ("l3", "L2", 2, None):
        with pytest.raises(UnknownName, match=r"unknown norm .*known: l1, l2"):
            spec(norms=("l2", unknown))
    assert RunSpec.from_json(made[0].to_json()) == made[0]


FORM = r"; write it as in sgd\(momentum=0\.9\):warmup\(0\.05\)\+cosine\(end=0\.1\)\.$"
RATE = "the learning rate is given beside it, as `base_lr`, --lr on the command line, at position "


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("adamw/cosine", "unexpected '/' at position 5 of 'adamw/cosine'" + FORM),
        ("adamw:", "expected a schedule, got 'the end' at position 6 of 'adamw:'" + FORM),
        ("", "expected an optimizer, got 'the end' at position 0 of ''" + FORM),
        ("adamw:cosine:rex", "unexpected ':' at position 12 .*" + FORM),
        ("sgd(momentum=0.9:cosine", r"expected '\)', got ':' at position 16 .*" + FORM),
        ("sgd(momentum 0.9):cosine", r"expected '\)', got '0.9' at position 13 .*" + FORM),
        ("sgd(momentum=0,9):cosine", "a value without a name after one with a name at position 15 .*" + FORM),
        ("adamw:warmup(0.05)cosine", "unexpected 'cosine' at position 18 .*" + FORM),
        ("adamw:warmup(0.05) then cosine", "unexpected 'then' at position 19 .*" + FORM),
        ("adamw:cosine(", "expected a number, got 'the end' at position 13 .*" + FORM),
        ("adamw:warmup(0.05),cosine", r"joined by '\+', as in warmup\(0\.05\)\+cosine, at position 19 of "),
        ("adamw:clip(1.0)", r"clip stands around a schedule or a control, as in clip\(sgdr\) at position 6 of "),
        ("adamw:momentum=linear", "the schedule of the rate comes first, without a name, as in one_cycle, momentum="),
        ("adamw:cosine at 0.001", RATE + "13 of "),
        ("adamw:cosine, lr=0.1", RATE + "14 of "),
        ("adamw:lr=cosine", RATE + "6 of "),
        ("sgd(lr=0.1):cosine", RATE + "0 of "),
        ("sgd:one_cycle(max_lr=0.1)", RATE + "4 of "),
        ("cosine", "cosine is a schedule; a method is optimizer:control, as in adamw:cosine, at position 0 of "),
        ("cosine:adamw", "cosine is a schedule; a method is optimizer:control, as in adamw:cosine, at position 0 of "),
        ("adamw.cosine", "cosine is a schedule; a method is optimizer:control, as in adamw:cosine, at position 0 of "),
        ("l4", r"l4 is a control; a method is optimizer:control, as in adamw:cosine\*l4, at position 0 of "),
        ("mechanic:adamw", "adamw is an optimizer; a method is optimizer:control, as in adamw:cosine, at position 9"),
    ],
)
def test_a_text_that_is_no_method_is_told_what_to_write(text: str, told: str) -> None:
    with pytest.raises(BadText, match=told):
        method(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ADAMW:COSINE", "unknown optimizer 'ADAMW'; did you mean 'adamw'"),
        ("torch.optim.AdamW:cosine", "unknown optimizer 'torch.optim.AdamW'; did you mean 'adamw'"),
        ("AdamWScheduleFree:constant", "did you mean 'schedulefree_adamw'"),
        ("SGDScheduleFree:constant", "did you mean 'schedulefree_sgd'"),
        ("DAdaptAdam:constant", "did you mean 'dadapt_adam'"),
        ("adamw:torch.optim.lr_scheduler.CosineAnnealingLR(T_max=9)", "did you mean 'cosine'"),
        ("adamw:warmup_cosine", r"did you mean 'warmup\+cosine'"),
        ("adamw:none", "did you mean 'constant'"),
        ("adamw:cosine(T_max=9)", "unknown parameter of cosine, 'T_max'; did you mean 'steps'"),
        ("adamw:step(step_size=9)", "unknown parameter of step, 'step_size'; did you mean 'every'"),
        ("adamw:cosine(gamma=9)", "unknown parameter of cosine, 'gamma'; known: "),
    ],
)
def test_names_of_other_libraries_lead_to_ours(text: str, told: str) -> None:
    with pytest.raises(UnknownName, match=told):
        method(text)


def test_a_schedule_is_told_that_rates_are_no_part_of_it() -> None:
    for text in ("cosine(lr=0.1)", "cosine at 0.1"):
        with pytest.raises(
            BadText, match="a schedule has multipliers, and the learning rate that they are of is the "
        ):
            schedule(text)


def test_names_of_optimizers_elsewhere_are_none_of_ours() -> None:
    for ours, theirs in other_names.OPTIMIZERS.items():
        assert PARTS[ours].kind == "optimizer"
        assert not {each.lower() for each in theirs} & set(PARTS)
