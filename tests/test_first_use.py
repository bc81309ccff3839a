"""What a user meets first: how schedules are shown, asked, drawn and put together."""

import inspect
import pydoc
from typing import Any

import pytest
import torch

import lrcontrol as lrc
from lrcontrol.errors import BadInput, BadText, OutOfSchedule, UnknownName
from lrcontrol.interop.lightning import as_lightning_config
from lrcontrol.interop.options import Options
from lrcontrol.interop.transformers import as_transformers_trainer
from lrcontrol.report.theme import Chart
from lrcontrol.schedules.other_names import OTHER_NAMES
from lrcontrol.schedules.recipes import single
from lrcontrol.schedules.recipes.catalogue import RECIPES

TEXTS = [
    "rex",
    "warmup(0.05)+rex",
    "hold(sgdr, every=100)",
    "max(cosine*fractal, 0.1)",
    "step(factor=0.5, milestones=(3, 6))",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_schedule_shows_itself_as_what_makes_it(text: str) -> None:
    made = lrc.schedule(text)
    assert repr(made) == f"schedule({text!r})"
    assert eval(repr(made), {"schedule": lrc.schedule}) == made
    assert f"schedule={made!r}" in repr(lrc.control(text))


def test_a_schedule_goes_to_json_and_back_by_public_names() -> None:
    assert lrc.from_json(lrc.to_json(lrc.rex())) == lrc.rex()


def title_of(chart: Chart) -> str:
    title: str = chart.to_dict()["title"]["text"]
    return title


def test_the_total_steps_of_a_plot_may_come_first() -> None:
    rex, cosine = lrc.rex(), lrc.cosine()
    assert title_of(rex.plot()).endswith("over 1,000 steps")
    assert title_of(rex.plot(500)).endswith("over 500 steps")
    assert rex.plot(500, "cosine", cosine).to_dict() == rex.plot(cosine, "cosine", total_steps=500).to_dict()
    assert {row["run"] for rows in rex.plot(500).to_dict()["datasets"].values() for row in rows} == {"rex"}
    with pytest.raises(BadInput, match="give the total steps once, got 500 and total_steps=300"):
        rex.plot(500, total_steps=300)
    bad: Any
    for bad in ((0.5,), ("cosine", 500), (500, 500)):
        with pytest.raises(BadInput, match="must be schedules or their texts after the total steps"):
            rex.plot(*bad)
    with pytest.raises(BadInput, match="`total_steps` must be an integer >= 1"):
        rex.plot(0)


def test_texts_stand_on_either_side_of_a_schedule() -> None:
    assert lrc.rex() * "cosine" == lrc.schedule("rex*cosine")
    assert "rex" * lrc.cosine() == lrc.schedule("rex*cosine")
    assert "warmup(0.05)" + lrc.rex() == lrc.warmup(0.05) + "rex" == lrc.schedule("warmup(0.05)+rex")
    assert 2 * lrc.rex() == lrc.rex() * 2
    bad: Any
    for bad in (None, [1], True):
        with pytest.raises(TypeError):
            lrc.rex() * bad
        with pytest.raises(TypeError):
            bad * lrc.rex()


def test_a_length_may_be_given_by_its_place() -> None:
    assert lrc.linear().over(0.5) == lrc.linear().over(share=0.5) == lrc.schedule("over(linear, 0.5)")
    assert lrc.linear().over(5) == lrc.linear().over(steps=5) == lrc.schedule("over(linear, 5)")
    with pytest.raises(BadInput, match=r"give one length, got 0\.5, steps=3"):
        lrc.linear().over(0.5, steps=3)
    with pytest.raises(BadInput, match="`length` must be"):
        lrc.linear().over(1.5)


@pytest.mark.parametrize("step", [1.5, "a", [0, 1], True, None])
def test_what_is_no_step_is_told_the_rule(step: Any) -> None:
    with pytest.raises(BadInput, match=r"^`step` must be an integer >= 0"):
        lrc.rex().multiplier(step, 10)


@pytest.mark.parametrize("step", [-1, -(10**30)])
def test_a_step_below_0_is_out_of_the_schedule(step: int) -> None:
    with pytest.raises(OutOfSchedule, match=f"a step must be >= 0, got {step}"):
        lrc.rex().multiplier(step, 10)


def explained(function: Any, keys: Any) -> list[str]:
    """The names of `keys` that help gives a line each, indented as arguments are."""
    shown = pydoc.plain(pydoc.render_doc(function)).splitlines()
    return [key for key in keys if any(line.strip().startswith(f"{key}: ") for line in shown)]


@pytest.mark.parametrize("name", RECIPES)
def test_help_of_a_recipe_explains_every_parameter(name: str) -> None:
    parameters = inspect.signature(RECIPES[name]).parameters
    assert explained(RECIPES[name], parameters) == list(parameters)
    assert "Layout" not in (RECIPES[name].__doc__ or "")


def test_help_keeps_what_follows_the_parameters() -> None:
    text = inspect.getdoc(single.exponential) or ""
    headings = [line for line in text.splitlines() if line in ("Args:", "Source:", "Example:")]
    assert headings == ["Args:", "Source:", "Example:"]
    assert text.index("rate: ") < text.index("start: ") < text.index("reverse: ") < text.index("Source:")


@pytest.mark.parametrize("client", [as_lightning_config, as_transformers_trainer])
def test_help_of_a_client_explains_every_option(client: Any) -> None:
    assert explained(client, Options.__annotations__) == list(Options.__annotations__)


@pytest.mark.parametrize("text", OTHER_NAMES)
def test_names_of_others_lead_to_ours(text: str) -> None:
    lrc.control(text)
    for theirs in OTHER_NAMES[text]:
        for asked in (theirs, f"warmup(0.05)+{theirs}(3)"):
            with pytest.raises(UnknownName, match=f"did you mean '{text}'".replace("+", r"\+")):
                lrc.schedule(asked)


def test_names_of_others_are_none_of_ours_and_lead_to_one() -> None:
    names = [theirs.lower() for several in OTHER_NAMES.values() for theirs in several]
    assert len(set(names)) == len(names)
    assert not set(names) & {*RECIPES, "repeat", "hold", "over", "max", "min", "sum", "plateau"}


@pytest.mark.parametrize("name", ["onecycle", "ONE_CYCLE_LR", "1Cycle", "adamw:OneCycleLR"])
def test_names_of_others_may_be_spelled_as_one_likes(name: str) -> None:
    with pytest.raises(UnknownName, match="did you mean 'one_cycle'"):
        (lrc.method if ":" in name else lrc.schedule)(name)


def test_a_percentage_is_told_how_a_share_is_written() -> None:
    with pytest.raises(BadText, match=r"unexpected '%'; a share is a number, 0\.05 for 5 %, at position 8"):
        lrc.schedule("warmup(5%)+rex")


def test_a_method_in_place_of_a_schedule_is_told_everywhere() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    for read in (lrc.schedule, lrc.control, lambda text: lrc.as_torch_scheduler(optimizer, text, 100)):
        with pytest.raises(BadText, match="this is a method, optimizer:schedule; a schedule is what stands after the"):
            read("sgd:rex")


def test_what_is_no_schedule_of_theirs_is_told() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(BadInput, match="`theirs` must be a schedule of torch, Transformers, optax or Keras, got SGD"):
        lrc.describe(optimizer)
