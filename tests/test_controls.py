"""Controls: the contract, and what each promises besides."""

import math
import random
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import given, settings

import lrcontrol as lrc
from contracts.control import ControlContract, driven
from lrcontrol.controls.composed import AtLeast, AtMost, Then, Times
from lrcontrol.controls.control import Decision, Observation
from lrcontrol.controls.plateau import Plateau
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.controls.text import AnyControl, control, control_text
from lrcontrol.errors import BadInput, BadText, DoesNotFit, OutOfSchedule, UnknownName
from lrcontrol.schedules.schedule import Schedule
from strategies import laid

CONTROLS = {
    "linear": Scheduled(lrc.linear()),
    "raise": Scheduled(lrc.cosine(), beyond="raise"),
    "nested": Scheduled(lrc.schedule("warmup(0.2)+repeat(rex*linear(end=0.5), times=2)")),
    "beside": Scheduled(lrc.one_cycle(), momentum=lrc.one_cycle_momentum(), weight_decay=lrc.cosine()),
    "plateau": Plateau(factor=0.5, patience=1),
    "times": Times(lrc.cosine(), Plateau(patience=0)),
    "floor": AtLeast(lrc.constant(0.3), Times(lrc.cosine(), Plateau(patience=0))),
    "ceiling": AtMost(lrc.linear(), Plateau(0.7, patience=0)),
}


@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
class TestControls(ControlContract):
    """Every control keeps the contract."""


class TestThen(ControlContract):
    """A control after a schedule keeps it too, wherever the schedule leaves it a step."""

    @pytest.fixture(
        params=[
            "warmup(0.25)+rex*plateau(patience=0)",
            "linear*(warmup(0.25)+plateau(patience=0))",
            "warmup(0.25)+max(rex*plateau(patience=0), 0.1)",
            "min(warmup(0.25)+(warmup(0.25)+plateau(patience=0)), cosine)",
        ]
    )
    def control(self, request: Any) -> AnyControl:
        return control(request.param)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(laid())
def test_scheduled_follows_its_schedule_and_holds_its_end(case: tuple[Schedule, int]) -> None:
    """A run under `Scheduled` sees the schedule's multipliers bit for bit, and its end from then on."""
    schedule, total = case
    control = Scheduled(schedule)
    assert [decision.multiplier for decision in driven(control, total)] == schedule.multipliers(total).tolist()
    state = {"step": total - 1, "total_steps": total}
    assert control.next(state, Observation(step=total - 1))[0].multiplier == schedule.last(total)
    assert control.next(state, Observation(step=100 * total))[0].multiplier == schedule.last(total)


def test_raise_refuses_the_first_step_past_the_end_and_not_the_last() -> None:
    control = Scheduled(lrc.linear(), beyond="raise")
    _, state = control.start(3)
    decision, state = control.next(state, Observation(step=1))
    assert decision == Decision(lrc.linear().multiplier(2, 3))
    with pytest.raises(OutOfSchedule, match="below total_steps=3, got 3"):
        control.next(state, Observation(step=2))


def test_hold_is_what_raise_is_not() -> None:
    """`beyond` moves what happens past the end, and nothing before it."""
    hold, strict = Scheduled(lrc.rex()), Scheduled(lrc.rex(), beyond="raise")
    assert hold != strict
    assert driven(hold, 5) == driven(strict, 5)
    assert hold.next(hold.start(1)[1], Observation(step=0))[0].multiplier == 0.0
    with pytest.raises(OutOfSchedule):
        strict.next(strict.start(1)[1], Observation(step=0))


@pytest.mark.parametrize("bad", ["rex", None, 1, True, math.nan, [], 10**5000], ids=lambda bad: type(bad).__name__)
def test_what_is_no_schedule_is_refused(bad: Any) -> None:
    with pytest.raises(BadInput, match="`schedule`"):
        Scheduled(bad)


@pytest.mark.parametrize("bad", ["holds", "", None, True, 10**5000], ids=lambda bad: type(bad).__name__)
def test_an_unknown_rule_past_the_end_is_refused(bad: Any) -> None:
    with pytest.raises(BadInput, match="rule past the end"):
        Scheduled(lrc.linear(), beyond=bad)


def test_a_near_miss_is_named() -> None:
    with pytest.raises(BadInput, match="did you mean 'hold'"):
        Scheduled(lrc.linear(), beyond="holds")  # type: ignore[arg-type]


# ---- schedules of momentum and weight decay ----


def test_momentum_and_weight_decay_follow_their_own_schedules() -> None:
    given = Scheduled(
        lrc.linear(), momentum=lrc.constant(0.5).then("constant(0.9, share=0.5)"), weight_decay=lrc.rex()
    )
    decisions = driven(given, 4)
    assert [decision.momentum for decision in decisions] == [0.5, 0.5, 0.9, 0.9]
    assert [decision.weight_decay for decision in decisions] == lrc.rex().multipliers(4).tolist()
    momentum, decay = given.beside(4)
    assert momentum is not None
    assert decay is not None
    assert [momentum.tolist(), decay.tolist()] == [
        [decision.momentum for decision in decisions],
        [decision.weight_decay for decision in decisions],
    ]


def test_a_momentum_that_reaches_1_is_refused() -> None:
    with pytest.raises(BadInput, match="must stay below 1, got linear, which goes to 1"):
        Scheduled(lrc.linear(), momentum=lrc.linear())


# ---- plateau ----


def after_metrics(given: AnyControl, metrics: list[float]) -> list[float]:
    """The multiplier after each of the metrics."""
    _, state = given.start(len(metrics) + 1)
    found = []
    for step, metric in enumerate(metrics):
        decision, state = given.next(state, Observation(step, metric=metric))
        found.append(decision.multiplier)
    return found


@pytest.mark.parametrize("seed", range(40))
def test_plateau_is_torchs_on_metrics_without_a_trend(seed: int) -> None:
    """Finite metrics that never fall steadily after a spike: the same rates as ReduceLROnPlateau's."""
    chance = random.Random(seed)
    patience, cooldown, factor = chance.randrange(2), chance.randrange(4), chance.choice([0.1, 0.5])
    metrics = [chance.uniform(0.5, 1.0) for _ in range(60)]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=factor, patience=patience, threshold=0.01, cooldown=cooldown, min_lr=1e-3, eps=0.0
    )
    wanted = []
    for metric in metrics:
        theirs.step(metric)
        wanted.append(optimizer.param_groups[0]["lr"])
    ours = Plateau(factor, patience, threshold=0.01, cooldown=cooldown, floor=1e-3)
    assert after_metrics(ours, metrics) == wanted


def test_a_recovery_after_a_spike_is_no_plateau() -> None:
    """pytorch 30873: torch lowers the rate though the metric has been falling for twenty measurements."""
    metrics = [1.0, *(5.0 - 0.15 * index for index in range(25))]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=10)
    for metric in metrics:
        theirs.step(metric)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    assert after_metrics(Plateau(patience=10), metrics)[-1] == 1.0
    assert after_metrics(Plateau(patience=10), [*metrics, *([1.3, 1.31] * 12)])[-1] < 1.0  # and where it stays, it is


@pytest.mark.parametrize("patience", range(5))
def test_a_recovery_is_told_from_chance_by_four_measurements(patience: int) -> None:
    """With a patience below 3 there are too few to tell, and the rates are torch's: lowered while the metric falls."""
    metrics = [1.0, *(100 - 6.0 * index for index in range(13))]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=patience, eps=0.0)
    wanted = []
    for metric in metrics:
        theirs.step(metric)
        wanted.append(optimizer.param_groups[0]["lr"])
    assert wanted[-1] < 1
    assert after_metrics(Plateau(0.5, patience), metrics) == (wanted if patience < 3 else [1.0] * len(metrics))


def test_metrics_that_are_not_finite_are_passed_over() -> None:
    """Three NaN are no trend; torch counts each as a bad one."""
    nan, inf = math.nan, math.inf
    with_gaps = after_metrics(Plateau(0.5, patience=2), [1.0, nan, nan, nan, inf, 1.0, -inf, 1.0, 1.0])
    assert with_gaps == [1.0] * 8 + [0.5]
    assert after_metrics(Plateau(0.5, patience=2), [nan] * 20) == [1.0] * 20


def test_every_parameter_of_plateau_moves_something() -> None:
    chance = random.Random(7)
    metrics = [1 + 0.5 * chance.random() for _ in range(80)]
    usual = Plateau(0.5, 3, threshold=0.01, cooldown=2, floor=0.01)
    others = {"factor": 0.4, "patience": 2, "threshold": 0.3, "cooldown": 0, "floor": 0.3}
    for name, value in others.items():
        other = msgspec.structs.replace(usual, **{name: value})
        assert after_metrics(other, metrics) != after_metrics(usual, metrics), name
        for bad in (True, -1, math.nan, "1", None, 1.5 if name in ("patience", "cooldown") else 10**400):
            with pytest.raises(BadInput, match=f"`{name}`"):
                Plateau(**{name: bad})


def test_plateau_after_a_warmup_counts_from_the_warmups_end() -> None:
    found = after_metrics(Then(lrc.warmup(4), Plateau(0.5, patience=1)), [1.0] * 8)
    assert found == [0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5]


def test_plateau_times_a_schedule_is_the_product_of_both() -> None:
    found = after_metrics(Times(lrc.linear(), Plateau(0.5, patience=0)), [1.0, 1.0, 1.0])
    assert found == [0.75, 0.25, 0.0625]


FALLING = [1.0] * 12  # metrics that do not improve


def test_a_floor_and_a_ceiling_hold_and_the_control_goes_on_beneath() -> None:
    """The larger and the smaller of both at every step; the floor's control is lowered as if it were alone."""
    alone = after_metrics(control("cosine*plateau(factor=0.5, patience=1)"), FALLING)
    bound = lrc.linear(start=0.4, end=0.1).multipliers(13)[1:].tolist()
    floor = after_metrics(control("max(linear(start=0.4, end=0.1), cosine*plateau(factor=0.5, patience=1))"), FALLING)
    ceiling = after_metrics(
        control("min(cosine*plateau(factor=0.5, patience=1), linear(start=0.4, end=0.1))"), FALLING
    )
    assert floor == [max(pair) for pair in zip(alone, bound, strict=True)]
    assert ceiling == [min(pair) for pair in zip(alone, bound, strict=True)]
    assert alone not in (floor, ceiling)
    assert after_metrics(control("max(plateau(patience=0), 0.2, 0.3)"), FALLING)[-1] == 0.3


def test_a_product_around_a_warmup_and_a_control_is_over_all_steps() -> None:
    inner = after_metrics(control("warmup(4)+plateau(factor=0.5, patience=1)"), FALLING)
    around = after_metrics(control("(warmup(4)+plateau(factor=0.5, patience=1))*linear"), FALLING)
    linear = lrc.linear().multipliers(13)[1:].tolist()
    assert around == [one * other for one, other in zip(inner, linear, strict=True)]


def test_a_cooldown_after_a_control_is_a_factor() -> None:
    """From where the control is to 0, over the last part: what the refusal of plateau+linear says to write."""
    found = after_metrics(control("plateau(factor=0.5, patience=5)*(constant+linear(steps=4))"), FALLING[:11])
    assert found == [1.0] * 6 + [0.5, 0.5, 0.5 * 0.75, 0.25, 0.125]


def test_what_is_before_a_control_must_have_a_length_and_leave_it_one() -> None:
    with pytest.raises(BadInput, match=r"must have a length of its own, got rex"):
        Then(lrc.rex(), Plateau())
    with pytest.raises(DoesNotFit, match="takes 10 of 10"):
        Then(lrc.warmup(10), Plateau()).start(10)


# ---- text ----


@pytest.mark.parametrize(
    "text",
    [
        "rex",
        "one_cycle, momentum=one_cycle_momentum",
        "rex, momentum=constant(0.9), weight_decay=warmup(0.1)+cosine",
        "plateau",
        "plateau(factor=0.5, patience=3)",
        "warmup(0.05)+plateau",
        "warmup(10)+cosine*plateau(floor=0.1)",
        "(warmup(0.1)+linear)*plateau",
        "constant(0.5)*plateau",
        "max(plateau, 0.1)",
        "warmup(0.05)+max(cosine*plateau(patience=3), 0.1)",
        "min(warmup(0.1)+plateau, linear)",
        "cosine*(warmup(0.1)+plateau)",
        "(constant+linear(share=0.2))*(warmup(0.1)+plateau)",
        "warmup(0.1)+(warmup(0.1)+plateau)",
        "linear*(rex*plateau)",
        "max(min(linear*(rex*plateau), 0.5), constant(0.2, share=0.5)+linear)",
    ],
)
def test_text_reads_back(text: str) -> None:
    assert control_text(control(text)) == text
    assert control(control_text(control(text))) == control(text)
    assert control(control(text)) == control(text)


def test_bad_texts_are_told() -> None:
    for text, error, match in [
        ("platau", UnknownName, "did you mean 'plateau'"),
        ("plateau+rex", BadText, "nothing can follow it"),
        ("plateau+linear(share=0.2)", BadText, "as in plateau.*constant.linear.share=0.2"),
        ("(plateau+linear(share=0.2))*rex", BadText, "nothing can follow it"),
        ("plateau*rex*plateau", BadText, "a product holds one control"),
        ("max(plateau, plateau)", BadText, "max holds one control and at least one schedule or number"),
        ("max(plateau)", BadText, "max holds one control and at least one schedule or number"),
        ("(plateau", BadText, "expected '\\)'"),
        ("repeat(plateau, times=2)", BadText, "plateau is a control"),
        ("linear*over(plateau, share=0.5)", BadText, "plateau is a control"),
        ("(" * 40 + "plateau" + ")" * 40, BadText, "brackets deeper than 16"),
        ("plateau(factr=1)", UnknownName, "factr"),
        ("rex, mom=linear", BadText, "expected momentum"),
        ("rex, momentum=constant(0.9), momentum=constant(0.9)", BadText, "given twice"),
        ("warmup(5ep)+plateau", BadText, "need `steps_per_epoch`"),
        ("", BadText, "expected a schedule, got 'the end'"),
    ]:
        with pytest.raises(error, match=match):
            control(text)
    with pytest.raises(BadInput, match="got 3"):
        control(3)  # type: ignore[arg-type]
    assert control("warmup(2ep)+plateau", steps_per_epoch=10) == control("warmup(20)+plateau")


def test_controls_nest_as_deep_as_schedules() -> None:
    deepest = control("linear*(" * 8 + "plateau" + ")" * 8)
    assert control(control_text(deepest)) == deepest
    with pytest.raises(BadInput, match="controls must nest at most 8 deep, got 9"):
        Times(lrc.rex(), deepest)  # type: ignore[arg-type]
    for bad in ("plateau", None, Scheduled(lrc.rex())):
        with pytest.raises(BadInput, match="`inner` must be a control such as"):
            AtLeast(lrc.rex(), bad)  # type: ignore[arg-type]
