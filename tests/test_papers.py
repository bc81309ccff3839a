"""The papers behind a method, and the gallery that names them."""

import json
import sys
from pathlib import Path

import pytest

import lrcontrol as lrc
from lrcontrol.citing import OTHER_NAMES
from lrcontrol.cli import app
from lrcontrol.controls.text import CONTROLS, WRAPPERS
from lrcontrol.errors import BadInput, BadText, UnknownName
from lrcontrol.runs.method import OPTIMIZERS
from lrcontrol.runs.papers import papers_of
from lrcontrol.runs.parts import PARTS
from lrcontrol.schedules.recipes.catalogue import RECIPES
from lrcontrol.searching import STRATEGIES

NO_PAPER = {"constant", "own", "polynomial", "piecewise", "table"}


def test_a_method_is_cited_part_by_part_in_the_order_of_its_text():
    found = lrc.cite("adamw:warmup(0.05)+sgdr")
    assert [(each.kind, each.name) for each in found] == [
        ("optimizer", "adamw"),
        ("schedule", "warmup"),
        ("schedule", "sgdr"),
    ]
    assert found[2].papers == ("Loshchilov, Hutter 2017, arXiv:1608.03983, equation 5 and section 4",)
    assert found[2].links == ("https://arxiv.org/abs/1608.03983",)


def test_every_part_is_in_the_table_under_a_name_of_its_own() -> None:
    kinds = {"optimizer": OPTIMIZERS, "schedule": RECIPES, "control": {**CONTROLS, **WRAPPERS}}
    assert len(PARTS) == sum(map(len, kinds.values()))
    for kind, known in kinds.items():
        for name, thing in known.items():
            assert (PARTS[name].kind, PARTS[name].name, PARTS[name].thing) == (kind, name, thing)


@pytest.mark.parametrize("name", PARTS)
def test_every_name_can_be_cited_and_all_but_the_commonplace_have_a_source(name):
    (found,) = lrc.cite(name)
    assert found.name == name
    assert bool(found.papers) == (name not in NO_PAPER)
    assert all(paper and paper == paper.strip() for paper in found.papers)


@pytest.mark.parametrize(
    ("name", "kind", "links"),
    [
        ("autolrs", "strategy", ["2105.10762"]),
        ("grid", "strategy", []),
        ("halving", "strategy", ["1502.07943"]),
        ("random", "strategy", []),
        ("refinement", "strategy", ["2310.07831"]),
        ("advise", "analysis", ["2310.07831", "2501.18965"]),
        ("range", "analysis", ["1506.01186"]),
        ("refine", "analysis", ["2310.07831"]),
    ],
)
def test_strategies_and_analyses_are_cited_without_what_deviates(name: str, kind: str, links: list[str]) -> None:
    (found,) = lrc.cite(f" {name} ")
    assert (found.kind, found.name) == (kind, name)
    assert list(found.links) == [f"https://arxiv.org/abs/{link}" for link in links]
    assert bool(found.papers) == (name != "grid")
    assert "eviates" not in str(found.papers)


def test_other_names_of_strategies_and_analyses_are_known() -> None:
    for name, meant in OTHER_NAMES.items():
        assert lrc.cite(name) == lrc.cite(meant)
    assert lrc.cite("LR-Finder") == lrc.cite("range")
    assert [each.name for each in lrc.cite("select")] == ["halving"]


def test_every_strategy_of_search_can_be_cited() -> None:
    assert {lrc.cite(name)[0].kind for name in STRATEGIES} == {"strategy"}


def test_parts_named_twice_are_cited_once():
    assert [each.name for each in lrc.cite("repeat(rex, times=2)*rex")] == ["rex"]


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("polynomial(power=2)", ["polynomial"]),
        ("wsd(warmup=0.1, shape=linear)", ["wsd"]),
        (
            "sgd(momentum=0.8):one_cycle(shape=cosine), momentum=one_cycle_momentum",
            ["sgd", "one_cycle", "one_cycle_momentum"],
        ),
        (
            "warmup(2ep) + over(power * wsd, share=0.5) + cosine * plateau",
            ["warmup", "power", "wsd", "cosine", "plateau"],
        ),
        (" adamw ", ["adamw"]),
    ],
)
def test_what_is_made_is_cited_and_parameters_are_not(text: str, made: list[str]) -> None:
    assert [each.name for each in lrc.cite(text)] == made


def test_what_is_not_a_method_is_refused():
    with pytest.raises(UnknownName, match="did you mean 'sgdr'"):
        lrc.cite("sgdrr")
    with pytest.raises(
        UnknownName, match=r"'autolrs'\? known: adamw, .*; strategies: autolrs, .*; analyses: advise, "
    ):
        lrc.cite("AutoLR")
    for name, meant in {"hyperbands": "halving", "LR-Findr": "range", "refin": "refine", "noam": "warmup"}.items():
        with pytest.raises(UnknownName, match=f"unknown method '{name}'; did you mean '{meant}"):
            lrc.cite(name)
    with pytest.raises(UnknownName, match="unknown optimizer 'adam'"):
        lrc.cite("adam:rex")
    with pytest.raises(BadText, match="cannot be read"):
        lrc.cite("rex+")
    with pytest.raises(BadInput, match="got 3"):
        lrc.cite(3)


def test_the_command_prints_them(capsys):
    for_machines, for_people = ["cite", "sgd:rex", "--json"], ["cite", "sgd:rex"]
    app(for_machines, result_action="return_value")
    listed = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in listed] == ["sgd", "rex"]
    app(for_people, result_action="return_value")
    assert "https://arxiv.org/abs/2107.04197" in capsys.readouterr().out


def test_a_docstring_without_a_source_has_no_papers():
    assert papers_of(object()) == papers_of(lambda: None) == ()


def test_the_gallery_shows_every_recipe(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "docs"))
    monkeypatch.delitem(sys.modules, "gallery", raising=False)
    import gallery

    assert set(gallery.SHOWN) == set(RECIPES)
    monkeypatch.setattr(gallery, "SHOWN", {"rex": gallery.SHOWN["rex"]})
    gallery.write(tmp_path)
    assert (tmp_path / "rex.svg").stat().st_size > 10_000
    assert "![rex](_gallery/rex.svg)" in (tmp_path / "recipes.md").read_text()
