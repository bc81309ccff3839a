"""The stop where a run diverges: the rule on losses, the control around others, its text, and runs that it ends."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrcontrol as lrc
from contracts.control import ControlContract
from lrcontrol.controls.composed import AnyControl, StopOnDivergence
from lrcontrol.controls.control import Observation
from lrcontrol.controls.divergence import Divergence
from lrcontrol.controls.plateau import Plateau
from lrcontrol.controls.scheduled import Scheduled
from lrcontrol.controls.text import WRAPPERS, control, control_text
from lrcontrol.errors import BadInput, BadText, UnknownName
from lrcontrol.runs.record import Outcome
from lrcontrol.runs.spec import RunSpec
from lrcontrol.training.batched import train_batched
from lrcontrol.training.loop import train

KINDS = {
    "around a schedule": "stop_on_divergence(cosine)",
    "with momentum": "stop_on_divergence(one_cycle, momentum=one_cycle_momentum, factor=2)",
    "around a control": "stop_on_divergence(cosine*plateau(patience=0))",
    "beside a schedule": "linear*stop_on_divergence(plateau(patience=0))",
    "with a floor": "max(stop_on_divergence(rex, factor=3), 0.1)",
}


@pytest.mark.parametrize("control", [control(text) for text in KINDS.values()], ids=KINDS)
class TestStopOnDivergence(ControlContract):
    """The control keeps the contract, wherever it stands."""


def stopped(losses: Sequence[float], rule: Divergence | None = None) -> int | None:
    """The first update after which the rule says stop, or None."""
    rule = rule or Divergence()
    state = rule.start()
    for step, loss in enumerate(losses):
        reason, state = rule.next(state, step, loss)
        if reason is not None:
            return step
    return None


def noisy(seed: int, count: int, trend: Callable[[int], float], spread: float = 0.05) -> list[float]:
    """Losses of a trend, with normal noise."""
    chance = random.Random(seed)
    return [trend(step) + chance.gauss(0, spread) for step in range(count)]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=str)
def test_a_loss_that_is_not_finite_ends_at_once_at_any_update(bad: float) -> None:
    for step in range(61):
        losses = [*noisy(step, step, lambda at: 2.3 * 0.98**at), bad, 1.0]
        assert stopped(losses) == step
    assert stopped([bad] * 5) == 0


@pytest.mark.parametrize("growth", [3.0, 10.0, 1e4])
def test_an_explosion_is_believed_with_the_second_high_loss(growth: float) -> None:
    """From update 3 on, one update after the first high loss; before that, within ten updates."""
    for seed, step in enumerate(range(61)):
        for trend in (lambda at: 2.3, lambda at: 2.3 * 0.97**at, lambda at: 2.3 + 0.01 * at):
            before = noisy(seed, step, trend)
            losses = [*before, *(30.0 * growth**more for more in range(12))]
            at = stopped(losses)
            assert at is not None
            assert at == step + 1 if step >= 3 else at <= step + 10


def test_a_slow_rise_is_seen_too() -> None:
    for percent in (1, 3, 10, 30):  # an update
        losses = [1.0 + 0.01 * (step % 2) + math.exp(math.log1p(percent / 100) * step) * 1e-3 for step in range(2000)]
        at = stopped(losses)
        assert at is not None
        assert losses[at] < 40.0


def test_one_spike_ends_nothing_and_a_second_in_a_row_does() -> None:
    for step in range(6, 60):
        losses = noisy(step, 100, lambda at: 2.3 * 0.98**at)
        losses[step] = 1e6
        assert stopped(losses) is None
        losses[step + 1] = 1e6
        assert stopped(losses) == step + 1


SCATTERS: dict[str, Callable[[random.Random], float]] = {
    "normal": lambda chance: chance.gauss(0, 1),
    "skewed": lambda chance: chance.lognormvariate(0, 1),
    "heavy": lambda chance: chance.gauss(0, 1) / math.sqrt(chance.gammavariate(1.5, 2) / 3),  # Student's t, 3
    "two levels": lambda chance: 5.0 * (chance.random() < 0.3) + chance.gauss(0, 0.5),
}


@pytest.mark.parametrize("scatter", SCATTERS.values(), ids=SCATTERS)
def test_noise_ends_nothing(scatter: Callable[[random.Random], float]) -> None:
    """Twenty runs of a thousand losses around a level, and twenty around a falling one."""
    for seed in range(20):
        chance = random.Random(seed)
        flat = [scatter(chance) for _ in range(1000)]
        assert stopped(flat) is None
        assert stopped([loss + 20 * 0.99**step for step, loss in enumerate(flat)]) is None


def test_losses_that_say_nothing_end_nothing() -> None:
    """Constant, falling, wavy as under a cyclical rate, rounded, and none at all."""
    assert stopped([2.3] * 500) is None
    assert stopped([2.3 + 1e-7 * (step % 3) for step in range(500)]) is None
    assert stopped([2.3 * 0.9**step for step in range(500)]) is None
    assert stopped([1.3 + math.cos(step / 10) for step in range(500)]) is None
    assert stopped([-5.0 - 0.1 * step for step in range(500)]) is None
    rule = Divergence()
    assert rule.next(rule.start(), 0, None) == (None, rule.start())


def test_losses_that_rise_from_the_start_end_it() -> None:
    """Where nothing was won, it is noise that says how far is too far."""
    for seed in range(20):
        at = stopped(noisy(seed, 200, lambda step: 2.3 + 1e-3 * 1.1**step))
        assert at is not None
        assert 50 < at < 110


whole = st.integers(-50, 50).map(float)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    st.lists(whole, min_size=6, max_size=80),
    st.sampled_from([2.0**-20, 0.5, 8.0, 2.0**30]),
    st.sampled_from([-3.0, 0.0, 1024.0]),
)
def test_scale_and_offset_of_the_losses_change_nothing(losses: list[float], scale: float, offset: float) -> None:
    """The same losses in other units, and with a number added, end at the same update."""
    for tail in ([], [5e3, 5e4, 5e5], [-math.inf]):
        series = [*losses, *tail]
        assert stopped([scale * (loss + offset) for loss in series]) == stopped(series)


def test_every_constant_of_the_rule_moves_something() -> None:
    losses = [3.0, 2.0, 2.0, 1.0, 1.0, 1.1, 0.9, *(1 + 0.5 * step for step in range(90))]
    found = [stopped(losses, Divergence(factor)) for factor in (0.5, 1.0, 4.0, 8.0)]
    assert None not in found
    assert found == sorted(set(found))  # type: ignore[type-var]
    for bad in (0, -1, math.nan, math.inf, "4", None, True, 10**400):
        for kind in (Divergence, lambda factor: StopOnDivergence(lrc.rex(), factor)):
            with pytest.raises(BadInput, match="`factor`"):
                kind(bad)  # type: ignore[arg-type]


def test_the_control_inside_is_left_as_it_is() -> None:
    """Multipliers, momentum and state are those of the control alone, and it hears all that it needs."""
    inner = control("one_cycle, momentum=one_cycle_momentum")
    ours, theirs = StopOnDivergence(inner).start(20), inner.start(20)
    for step in range(19):
        assert ours[0] == theirs[0]
        ours = StopOnDivergence(inner).next(ours[1], Observation(step, loss=1.0))
        theirs = inner.next(theirs[1], Observation(step, loss=1.0))
    looking = StopOnDivergence(Plateau(0.5, patience=0))
    assert looking.needs == {"loss", "metric"}
    _, state = looking.start(9)
    for step in range(2):
        decision, state = looking.next(state, Observation(step, loss=1.0, metric=1.0))
    assert (decision.multiplier, decision.stop) == (0.5, None)
    assert StopOnDivergence(lrc.rex()) == StopOnDivergence(Scheduled(lrc.rex()))


@pytest.mark.parametrize(
    "text",
    [
        *KINDS.values(),
        "stop_on_divergence(exponential(-18.4, start=1e-08, at=closed))",
        "stop_on_divergence(warmup(0.05)+cosine, factor=4.5)",
        "warmup(0.05)+stop_on_divergence(plateau)",
        "stop_on_divergence(warmup(0.05)+plateau)",
        "stop_on_divergence(max(plateau, 0.1))",
        "stop_on_divergence(max(linear, 0.1), factor=2)",
        "stop_on_divergence(stop_on_divergence(rex, factor=2), factor=9)",
        "min(linear, cosine)*stop_on_divergence(max(linear*stop_on_divergence(rex), 0.5))",
        "stop_on_divergence(rex, momentum=constant(0.9), weight_decay=warmup(0.1)+cosine)",
        "max(min(stop_on_divergence(sgdr(3)), 0.5), constant(0.2, share=0.5)+linear)",
    ],
)
def test_text_reads_back(text: str) -> None:
    made = control(text)
    assert control(control_text(made)) == made
    assert msgspec.json.decode(msgspec.json.encode(made), type=AnyControl) == made
    assert lrc.method(f"sgd:{text}") == lrc.method(str(lrc.method(f"sgd:{text}")))


def test_what_is_as_usual_is_not_written() -> None:
    assert control_text(control("stop_on_divergence( cosine , factor = 4.0,)")) == "stop_on_divergence(cosine)"
    assert control_text(control("stop_on_divergence(cosine, 5)")) == "stop_on_divergence(cosine, factor=5)"


def test_bad_texts_are_told() -> None:
    for text, error, match in [
        ("stop_on_divergence", BadText, "stands around a schedule or a control"),
        ("stop_on_divergence()", BadText, r"as in stop_on_divergence\(sgdr\) at position 0"),
        ("stop_on_divergence(rex", BadText, r"expected '\)'"),
        ("stop_on_divergence(rex, 4, 5)", BadText, "it takes inner, factor"),
        ("stop_on_divergence(rex, factr=4)", UnknownName, "did you mean 'factor'"),
        ("stop_on_divergence(rex, factor=0)", BadInput, "`factor` must be a number > 0"),
        ("stop_on_divergence(rex)+linear", BadText, "nothing can follow it"),
        ("stop_on_divergence(rex)*plateau", BadText, "a product holds one control"),
        ("stop_on_divergences(rex)", UnknownName, "did you mean 'stop_on_divergence'"),
        ("repeat(stop_on_divergence(rex), times=2)", BadText, "is a control around a schedule"),
        ("stop_on_divergence(" * 17 + "rex" + ")" * 17, BadText, "brackets deeper than 16"),
        ("stop_on_divergence(" * 9 + "rex" + ")" * 9, BadInput, "controls must nest at most 8 deep"),
    ]:
        with pytest.raises(error, match=match):
            control(text)
    with pytest.raises(BadText, match="is a control around a schedule"):
        lrc.schedule("stop_on_divergence(rex)")
    for bad in ("rex", None, 3):
        with pytest.raises(BadInput, match="`inner` must be a schedule or a control"):
            StopOnDivergence(bad)  # type: ignore[arg-type]


def test_every_wrapper_is_listed_and_cited() -> None:
    for name in WRAPPERS:
        (found,) = lrc.cite(name + "(constant)")[-1:]
        assert (found.kind, found.name) == ("control", name)
        assert found.papers


def spec(method: str, base_lr: float = 0.1, **more: Any) -> RunSpec:
    return RunSpec(task="digits-mlp", method=method, base_lr=base_lr, total_steps=60, **more)


def test_a_run_that_explodes_is_stopped_and_one_that_does_not_is_the_run_itself() -> None:
    ramp = "exponential(-18.4, start=1e-8, at=closed)"
    ended = train(spec(f"sgd:stop_on_divergence({ramp})", 300.0))
    assert ended.outcome in (Outcome.STOPPED, Outcome.DIVERGED)
    assert ended.cost.steps < 60
    assert ended.message is not None
    plain, around = train(spec("sgd:cosine")), train(spec("sgd:stop_on_divergence(cosine)"))
    assert around.outcome is Outcome.FINISHED
    assert around.evals == plain.evals
    assert [around.column(name).tolist() for name in ("loss", "lr")] == [
        plain.column(name).tolist() for name in ("loss", "lr")
    ]


def test_runs_trained_at_once_are_stopped_where_they_are_alone() -> None:
    ramp = "exponential(-18.4, start=1e-8, at=closed)"
    specs = [spec(f"sgd:stop_on_divergence({ramp})", base_lr) for base_lr in (1e3, 300.0, 1e-3)]
    at_once = {record.id: record for record in train_batched(specs)}
    for each in specs:
        alone, other = train(each), at_once[each.id]
        assert (alone.outcome, alone.cost.steps) == (other.outcome, other.cost.steps)
    assert {record.outcome for record in at_once.values()} > {Outcome.FINISHED}


def test_a_run_goes_on_where_it_was_interrupted(tmp_path: Any) -> None:
    """The rule remembers what it saw: a run in two parts ends where the whole one does."""
    method = "sgd:stop_on_divergence(exponential(-18.4, start=1e-8, at=closed))"
    whole = train(spec(method, 300.0))
    first = spec(method, 300.0, stop_step=whole.cost.steps - 3, checkpoint=True)
    assert train(first, weights=tmp_path).outcome is Outcome.FINISHED
    start = {"run": first.id, "step": first.stop_step}
    second = msgspec.convert(msgspec.to_builtins(spec(method, 300.0)) | {"start": start}, RunSpec)
    rest = train(second, weights=tmp_path)
    assert (rest.outcome, rest.message) == (whole.outcome, whole.message)
    assert rest.cost.steps == 3
