"""Schedules as text and JSON: there and back, and what is refused."""

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrcontrol as lrc
from lrcontrol.errors import BadInput, BadText, DoesNotFit, UnknownName
from lrcontrol.schedules.profiles import Constant, Cosine, Exponential, Linear, Polynomial, Rex
from lrcontrol.schedules.recipes.catalogue import RECIPES
from lrcontrol.schedules.sampling import Sampling
from lrcontrol.schedules.schedule import Nested, Product, Schedule, Segment
from lrcontrol.schedules.text import LARGEST_DOCUMENT, from_json, number_text, schedule, to_json
from strategies import schedules, segments

law = settings(max_examples=40, derandomize=True, deadline=None)

# ---- there and back ----


@law
@given(schedules())
def test_text_is_the_identity_and_a_fixed_point(given: Schedule) -> None:
    again = schedule(str(given))
    assert again == given
    assert hash(again) == hash(given)
    assert str(again) == str(given)


@law
@given(schedules())
def test_json_is_the_identity_and_a_fixed_point(given: Schedule) -> None:
    again = from_json(to_json(given))
    assert again == given
    assert to_json(again) == to_json(given)
    assert from_json(to_json(given).encode()) == given
    assert from_json(json.dumps(json.loads(to_json(given)), indent=1)) == given


@law
@given(schedules(2), st.floats(0, 100), st.integers(1, 9))
def test_the_algebra_reads_back_too(given: Schedule, scale: float, times: int) -> None:
    built = [given * scale, given.over(), given.over(share=0.5), given.over(steps=times), given.repeat(times)]
    built += [given * lrc.rex(), lrc.rex() * given * lrc.cosine(), given.repeat(times, share=0.5).then(lrc.linear())]
    for made in built:
        assert schedule(str(made)) == made, str(made)
        assert from_json(to_json(made)) == made


@law
@given(segments(), st.text(alphabet=" \t\n", max_size=3))
def test_white_space_means_nothing(part: Segment, space: str) -> None:
    given = Schedule((part,))
    spaced = "".join(f"{space}{mark}{space}" if mark in "(),=+*" else mark for mark in str(given))
    assert schedule(space + spaced.replace("e" + space + "+" + space, "e+") + space) == given


@law
@given(st.floats(0, 1e9) | st.integers(0, 2**53))
def test_numbers_are_written_shortest_and_read_back(value: float) -> None:
    text = number_text(value)
    assert float(text) == value
    assert not text.endswith(".0")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("rex", "rex"),
        ("rex()", "rex"),
        ("rex(0.5)", "rex"),
        (" warmup( 0.05 ) + rex ( beta = 0.25 , ) ", "warmup(0.05)+rex(beta=0.25)"),
        ("warmup", "warmup(0.05)"),
        ("warmup(100, start=0.1)", "warmup(100, start=0.1)"),
        ("constant(1.0)", "constant"),
        ("constant(level=5e-1)", "constant(0.5)"),
        ("exponential", "exponential"),
        ("exponential(2, end=0)", "exponential(rate=2, end=0)"),
        ("step(0.1, (0.5, 0.75))", "step"),
        ("step(milestones=(0.3,))", "step(milestones=(0.3))"),
        ("linear(shares=(.25, 0.5), at=midpoint)", "linear(shares=(0.25, 0.5), at=midpoint)"),
        ("polynomial(2.0, steps=10)+linear", "polynomial(steps=10)+linear"),
        ("(linear)", "linear"),
        ("((linear+constant(0.1,share=0.5)))", "linear+constant(0.1, share=0.5)"),
        ("linear*0.5", "linear(start=0.5)"),
        ("0.5*linear*2", "linear"),
        ("linear*cosine*rex", "linear*cosine*rex"),
        ("linear*(cosine*rex)", "linear*cosine*rex"),
        ("(linear+constant(0.1,steps=2))*cosine", "(linear+constant(0.1, steps=2))*cosine"),
        ("repeat(cosine, 3)", "repeat(cosine, times=3)"),
        ("over(linear, share=0.5)", "linear(share=0.5)"),
        ("over(linear*cosine, steps=5)", "over(linear*cosine, steps=5)"),
        ("over(over(linear(share=0.5)+rex), share=0.5)", "over(linear(share=0.5)+rex, share=0.5)"),
        ("repeat(linear, times=1)", "repeat(linear, times=1)"),
    ],
)
def test_canonical_text(text: str, canonical: str) -> None:
    assert str(schedule(text)) == canonical
    assert str(schedule(canonical)) == canonical


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_its_name_in_text(name: str) -> None:
    assert schedule(name) == RECIPES[name]()
    assert schedule(str(RECIPES[name]())) == RECIPES[name]()


def test_what_only_data_can_say_reads_back_too() -> None:
    """Objects no recipe makes: extreme parameters, factors in factors, zero lengths, the deepest and the longest."""
    odd = [
        Schedule((Segment(Exponential(-700.0), 1.0, 0.5),)),
        Schedule((Segment(Exponential(3.0), 0.0),)),
        Schedule((Segment(Polynomial(5e-324), 5e-324, 1e9),)),
        Schedule((Segment(Rex(5e-324), 1e-7, 1e16 / 1e8),)),
        Schedule((Segment(Linear(), 0.0, 1.0, Sampling(at="right")),)),
        Schedule((Segment(Linear(), 0.0, 1.0, Sampling(at="right"), share=1.0),)),
        Schedule((Segment(Linear(), 1.0, 0.0, Sampling(at="right"), steps=0),)),
        Schedule((Product((Schedule((Product((lrc.linear(), lrc.cosine())),)), lrc.rex())),)),
        Schedule((Product((lrc.linear(), Schedule((Product((lrc.linear(), lrc.cosine()), share=0.5),)))),)),
        Schedule((Nested(Schedule((Nested(lrc.linear()),))),)),
        Schedule((Nested(lrc.schedule("constant(share=0.5)+constant(0.1)"), share=0.25),)),
        Schedule((Nested(lrc.schedule("constant(1e-300, share=0.5)+constant(1e9)")),)),
        Schedule((Nested(lrc.schedule("constant(0, share=0.5)+constant(0)")),)),
        Schedule(tuple(Segment(Constant(), 0.5, steps=index % 3) for index in range(2000))),
        lrc.step(1e-3, tuple(index / 1000 for index in range(1, 999))),
    ]
    deep = lrc.linear(share=0.5).then(lrc.rex())
    for _ in range(7):
        deep = Schedule((Product((deep, lrc.linear(share=0.1).then(lrc.cosine())), share=0.9),))
        odd.append(deep)
    for made in odd:
        assert schedule(str(made)) == made, str(made)[:200]
        assert str(schedule(str(made))) == str(made)
        assert from_json(to_json(made)) == made


def test_a_schedule_passes_through() -> None:
    given = lrc.rex()
    assert schedule(given) is given
    assert lrc.warmup(5).then("rex") == lrc.warmup(5).then(given)


def test_json_says_what_it_is() -> None:
    document = json.loads(to_json(lrc.linear()))
    assert (document["format"], document["version"]) == ("lrcontrol/schedule", 1)


def test_documents_of_version_1_stay_readable() -> None:
    """As written by the first release; never to be changed."""
    stored = (
        '{"format":"lrcontrol/schedule","version":1,"schedule":{"parts":['
        '{"part":"segment","profile":{"profile":"linear"},"start":0.0,"end":1.0,"sampling":{"every":1,"times":null,'
        '"shares":[],"at":"right"},"steps":null,"share":0.05},'
        '{"part":"nested","schedule":{"parts":[{"part":"product","factors":['
        '{"parts":[{"part":"segment","profile":{"profile":"rex","beta":0.5},"start":1.0,"end":0.0}]},'
        '{"parts":[{"part":"segment","profile":{"profile":"exponential","rate":2},"end":0.1,'
        '"sampling":{"times":3}}]}]}]},"times":2}]}}'
    )
    assert str(from_json(stored)) == "warmup(0.05)+repeat(rex*exponential(rate=2, end=0.1, times=3), times=2)"
    assert from_json(to_json(from_json(stored))) == from_json(stored)


# ---- what is refused ----


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("cosin", "did you mean 'cosine'"),
        ("warm_up(5)", "did you mean 'warmup'"),
        ("linear+expnential", "did you mean 'exponential'"),
        ("repat(linear, times=2)", "did you mean 'repeat'"),
        ("rex(beat=0.5)", "did you mean 'beta'"),
        ("linear(ends=0.5)", "did you mean 'end'"),
        ("linear(at=midpiont)", "did you mean 'midpoint'"),
        ("repeat(linear, time=3)", "did you mean 'times'"),
        ("over(linear, shares=0.5)", "did you mean 'share'"),
        ("zzz", "known: constant, cosine,"),
    ],
)
def test_unknown_names_name_the_near_miss(text: str, near: str) -> None:
    with pytest.raises(UnknownName, match=near):
        schedule(text)


BAD_TEXTS = [
    "",
    " ",
    "+",
    "linear+",
    "+linear",
    "linear++rex",
    "linear linear",
    "linear rex",
    "linear)",
    "(linear",
    "()",
    "linear(",
    "linear(,)",
    "linear(steps)",
    "linear(steps=)",
    "linear(=3)",
    "linear(steps=3 share=0.1)",
    "linear(steps=3,,)",
    "linear(steps=3, steps=4)",
    "linear(0.5)",
    "linear(start=0.5, 3)",
    "linear(steps=--3)",
    "linear(steps=3e)",
    "linear(steps=0x10)",
    "linear(steps=1_000)",
    "linear(shares=(0.1, 0.2)",
    "linear(shares=(a))",
    "linear(shares=((0.1)))",
    "linear(self=3)",
    "repeat(linear)",
    "repeat(linear times=2)",
    "repeat(, times=2)",
    "repeat",
    "over",
    "over()",
    "2",
    "2*3",
    "linear*",
    "*linear",
    "linear*-1",
    "linear-rex",
    "linear/2",
    "linear:rex",
    "linear;rex",
    "linear.rex",
    "[linear]",
    "{linear}",
    "'linear'",
    "linear\x00",
    "linear\u200b",
    "lin\u00e9ar",
    "linear(steps=\uff12)",
    "linear(steps=\u0663)",
    "\ud800",
    "__import__('os')",
    "linear(__class__=1)",
    "linear(at=__class__)",
    "linear(end=nan)",
    "linear(end=inf)",
    "linear(end=NaN)",
    "linear(end=1e999)",
    "linear(end=-1)",
    "linear(end=true)",
    "linear(end=none)",
    "linear(every=1.5)",
    "linear(every=true)",
    "linear(every=9e18)",
    "linear(share=1.5)",
    "linear(steps=3, share=0.5)",
    "linear(every=2, times=2)",
    "linear(shares=0.5)",
    "linear(shares=(0.5, 0.4))",
    "linear(profile=rex)",
    "rex(0)",
    "polynomial(power=0)",
    "exponential(0)",
    "exponential(rate=-700)",
    "step(10, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95))",
    "step(milestones=())",
    "warmup(1.0)",
    "linear+cosine",
    "linear*1e10",
    "linear*1e999",
    "linear*" + "9" * 400,
    "constant(1e9)*constant(1e9)",
    "linear(steps=" + "9" * 400 + ")",
    "linear(steps=" + "9" * 401 + ")",
    "linear(steps=" + "9" * 100_000 + ")",
    "repeat(linear, times=1000000000000)",
    "repeat(linear, times=0)",
    "repeat(linear, times=-1)",
    "repeat(" * 3 + "linear" + ", times=1000)" * 3,
    "repeat(" * 9 + "linear" + ", times=1)" * 9,
    "over(" * 200 + "linear" + ", share=0.5)" * 200,
    "(" * 200 + "linear" + ")" * 200,
    "(" * LARGEST_DOCUMENT,
    ")" * LARGEST_DOCUMENT,
    "-" * LARGEST_DOCUMENT,
    "1" * LARGEST_DOCUMENT,
    "a" * LARGEST_DOCUMENT,
    " " * LARGEST_DOCUMENT,
    "linear" + " " * (LARGEST_DOCUMENT - 10) + "!",
    "1*" * (LARGEST_DOCUMENT // 2),
    "linear*" * (LARGEST_DOCUMENT // 7),
    "linear+" * (LARGEST_DOCUMENT // 7),
    "warmup(1)+" * (LARGEST_DOCUMENT // 10),
    "linear(a=1)+" * 1000,
    "linear(" + "1," * 500_000,
    "linear(shares=(" + "0.1," * 200_000,
    "linear(" + ",".join(f"a{index}=1" for index in range(90_000)),
    "linear" + " " * LARGEST_DOCUMENT,
]


@pytest.mark.parametrize("text", BAD_TEXTS, ids=lambda text: repr(text[:30]).replace("\\", "/"))
def test_a_bad_text_is_bad_input_and_short(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        schedule(text)
    assert len(str(caught.value)) < 400
    assert not isinstance(caught.value, DoesNotFit)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("linear+", "expected a schedule, got 'the end' at position 7"),
        ("linear rex", "unexpected 'rex' at position 7"),
        ("linear(steps=3 share=0.1)", "expected ')', got 'share' at position 15"),
        ("linear/2", "unexpected '/' at position 6"),
        ("rex+hold", "hold stands around a schedule, as in hold(cosine) at position 4"),
        ("over*rex", "over stands around a schedule, as in over(cosine, share=0.5) at position 0"),
        ("repeat", "repeat stands around a schedule, as in repeat(cosine, times=3) at position 0"),
        ("max", "max stands around schedules and numbers, as in max(cosine, 0.1) at position 0"),
        ("  ?", "unexpected '[?]' at position 2"),
        ("rex+linear(0.5)", "linear: too many positional arguments.* at position 4"),
    ],
)
def test_the_place_is_told(text: str, place: str) -> None:
    with pytest.raises(BadText, match=re.sub(r"([()])", r"\\\1", place)):
        schedule(text)


@pytest.mark.parametrize("bad", [None, 1, 1.0, True, b"rex", ["rex"], Linear(), {"rex": 1}], ids=repr)
def test_what_is_no_text_is_refused(bad: Any) -> None:
    with pytest.raises(BadInput, match="a schedule must be a text or a Schedule"):
        schedule(bad)


def test_the_largest_text_that_is_allowed_is_read() -> None:
    text = "+".join(["linear(steps=1)"] * 9_999)
    assert len(schedule(text).parts) == 9_999
    assert schedule("linear" + " " * (LARGEST_DOCUMENT - 6)) == lrc.linear()
    with pytest.raises(BadInput, match=r"at most 10000 schedules and numbers, got 10001"):
        schedule("+".join(["linear(steps=1)"] * 10_001))
    with pytest.raises(BadText, match="more than 10000 schedules and numbers"):
        schedule(f"max({'1, ' * 10_000}1)")
    turns = Schedule(tuple(Nested(lrc.linear(steps=1)) for _ in range(9000)))
    assert schedule(str(turns)) == turns


SEGMENT = '{"part":"segment","profile":{"profile":"linear"}%s}'


def whole(parts: str, *, more: str = "", version: str = "1", form: str = '"lrcontrol/schedule"') -> str:
    return f'{{"format":{form},"version":{version}{more},"schedule":{{"parts":{parts}}}}}'


def one(fields: str) -> str:
    return whole("[" + SEGMENT % ("," + fields) + "]")


def chain(depth: int) -> str:
    inner = "[" + SEGMENT % "" + "]"
    for _ in range(depth):
        inner = f'[{{"part":"nested","schedule":{{"parts":{inner}}}}}]'
    return whole(inner)


GOOD = whole("[" + SEGMENT % "" + "]")

BAD_DOCUMENTS = {
    "nothing": "",
    "white": "   ",
    "not json": "linear",
    "single quotes": GOOD.replace('"', "'"),
    "comment": GOOD + "//",
    "two documents": GOOD + GOOD,
    "cut": GOOD[:-1],
    "trailing comma": GOOD[:-1] + ",}",
    "null": "null",
    "number": "1",
    "string": '"linear"',
    "list": f"[{GOOD}]",
    "empty object": "{}",
    "no format": GOOD.replace('"format":"lrcontrol/schedule",', ""),
    "other format": GOOD.replace("lrcontrol/schedule", "lrcontrol/method"),
    "format in a list": whole("[]", form='["lrcontrol/schedule"]'),
    "no version": GOOD.replace('"version":1,', ""),
    "version 0": GOOD.replace('"version":1', '"version":0'),
    "version 2": GOOD.replace('"version":1', '"version":2'),
    "version true": GOOD.replace('"version":1', '"version":true'),
    "version 1.0": GOOD.replace('"version":1', '"version":1.0'),
    "version text": GOOD.replace('"version":1', '"version":"1"'),
    "no schedule": '{"format":"lrcontrol/schedule","version":1}',
    "schedule null": '{"format":"lrcontrol/schedule","version":1,"schedule":null}',
    "schedule text": '{"format":"lrcontrol/schedule","version":1,"schedule":"linear"}',
    "extra key": whole("[" + SEGMENT % "" + "]", more=',"comment":"x"'),
    "extra key inside": one('"note":1'),
    "extra key in profile": GOOD.replace('{"profile":"linear"}', '{"profile":"linear","x":1}'),
    "parameter of another profile": GOOD.replace('{"profile":"linear"}', '{"profile":"linear","beta":0.5}'),
    "doubled key": GOOD[:-1] + ',"version":1}',
    "doubled key inside": one('"start":1.0,"start":1.0'),
    "doubled by escape": one('"start":1.0,"st\\u0061rt":1.0'),
    "no parts": whole("[]"),
    "parts null": whole("null"),
    "parts object": whole("{}"),
    "part null": whole("[null]"),
    "part without tag": whole('[{"profile":{"profile":"linear"}}]'),
    "unknown part": GOOD.replace('"segment"', '"lambda"'),
    "unknown profile": GOOD.replace('"linear"', '"cosin"'),
    "profile text": GOOD.replace('{"profile":"linear"}', '"linear"'),
    "profile null": GOOD.replace('{"profile":"linear"}', "null"),
    "tag is a number": GOOD.replace('"linear"', "1"),
    "lone surrogate tag": GOOD.replace('"linear"', '"\\ud800"'),
    "lone surrogate key": one('"\\ud800":1'),
    "lone surrogate top": GOOD[:-1] + ',"\\ud800":1}',
    "NaN": one('"start":NaN'),
    "Infinity": one('"start":Infinity'),
    "-Infinity": one('"end":-Infinity'),
    "1e999": one('"start":1e999'),
    "-1e999": one('"start":-1e999'),
    "text as number": one('"start":"1"'),
    "1e-4 as text": one('"start":"1e-4"'),
    "true as number": one('"start":true'),
    "null start": one('"start":null'),
    "negative": one('"end":-0.1'),
    "too large": one('"end":1e10'),
    "list as number": one('"end":[1]'),
    "steps float": one('"steps":1.5'),
    "steps text": one('"steps":"10"'),
    "steps true": one('"steps":true'),
    "steps 1e400": one('"steps":1e400'),
    "steps beyond 2**63": one('"steps":9223372036854775808'),
    "steps of 4000 digits": one('"steps":' + "9" * 4000),
    "steps of 5000 digits": one('"steps":' + "9" * 5000),
    "start of 4000 digits": one('"start":' + "9" * 4000),
    "both lengths": one('"steps":1,"share":0.5'),
    "share 2": one('"share":2'),
    "every 0": one('"sampling":{"every":0}'),
    "every true": one('"sampling":{"every":true}'),
    "times 1e12": one('"sampling":{"times":1000000000000}'),
    "shares down": one('"sampling":{"shares":[0.5,0.4]}'),
    "shares text": one('"sampling":{"shares":"0.5"}'),
    "too many shares": one('"sampling":{"shares":[' + ",".join(f"{i / 2000}" for i in range(1, 2000)) + "]}"),
    "unknown place": one('"sampling":{"at":"centre"}'),
    "surrogate place": one('"sampling":{"at":"\\ud800"}'),
    "huge place": one('"sampling":{"at":"' + "a" * 500_000 + '"}'),
    "two samplings": one('"sampling":{"every":2,"times":2}'),
    "beta 0": GOOD.replace('{"profile":"linear"}', '{"profile":"rex","beta":0}'),
    "repeat 1e12": whole('[{"part":"nested","schedule":{"parts":[' + SEGMENT % "" + ']},"times":1000000000000}]'),
    "repeat 10001": whole('[{"part":"nested","schedule":{"parts":[' + SEGMENT % "" + ']},"times":10001}]'),
    "one factor": whole('[{"part":"product","factors":[{"parts":[' + SEGMENT % "" + "]}]}]"),
    "two rests": whole("[" + SEGMENT % "" + "," + SEGMENT % "" + "]"),
    "20000 segments": whole("[" + ",".join([SEGMENT % ',"steps":0'] * 12_000) + "]"),
    "9 deep": chain(8),
    "100 deep": chain(100),
    "900 deep": chain(900),
    "2000 deep": chain(2000),
    "deep list": "[" * 900 + "]" * 900,
    "deeper list": "[" * 100_000 + "]" * 100_000,
    "deepest open list": "[" * LARGEST_DOCUMENT,
    "deep objects": '{"a":' * 900 + "1" + "}" * 900,
    "deep inside": whole("[" * 900 + "]" * 900),
    "yaml alias": "a: &a [x]\nb: [*a,*a]",
    "json alias-like": whole('["*a","&a","<<"]'),
    "merge key": GOOD[:-1] + ',"<<":{}}',
    "python tag": GOOD[:-1] + ',"py/object":"os.system"}',
    "wide": "[" + "0," * 500_000 + "0]",
    "wide object": "{" + ",".join(f'"{index}":0' for index in range(80_000)) + "}",
    "one byte too long": GOOD + " " * (LARGEST_DOCUMENT + 1 - len(GOOD)),
    "byte order mark": "\ufeff" + GOOD,
    "null byte": GOOD + "\x00",
}


@pytest.mark.parametrize("name", BAD_DOCUMENTS)
def test_a_bad_document_is_bad_text_and_short(name: str) -> None:
    with pytest.raises(BadText) as caught:
        from_json(BAD_DOCUMENTS[name])
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("bad", [b"\xff\xfe\x00", b"\x80abc", "\ud800".encode("utf-8", "surrogatepass")])
def test_bytes_that_are_no_text_are_bad_text(bad: bytes) -> None:
    with pytest.raises(BadText):
        from_json(bad)


@pytest.mark.parametrize("bad", [None, 1, True, {}, Linear()], ids=repr)
def test_what_is_no_document_is_refused(bad: Any) -> None:
    with pytest.raises(BadInput, match="`text`"):
        from_json(bad)


def test_the_good_documents_beside_the_bad_are_read() -> None:
    """The bad ones are bad for one reason each."""
    assert from_json(GOOD) == lrc.linear()
    assert from_json(one('"start":1e-4')) == lrc.linear(start=1e-4)
    assert from_json(one('"start":1,"end":0')) == lrc.linear()
    assert from_json(GOOD + " " * (LARGEST_DOCUMENT - len(GOOD))) == lrc.linear()
    assert from_json(chain(7)).multiplier(1, 4) == 0.75
    assert from_json("\n" + GOOD.replace(",", " ,\t")) == lrc.linear()


def test_the_place_in_a_document_is_told() -> None:
    with pytest.raises(BadText, match=r"`end`.*\$\.parts\[0\]"):
        from_json(one('"end":-1'))
    with pytest.raises(BadText, match="cosin"):
        from_json(GOOD.replace('"linear"', '"cosin"'))


def test_nothing_in_text_reaches_python() -> None:
    """Names come from closed lists; a profile's class, a dunder or a module is unknown."""
    for name in ("Linear", "Schedule", "os", "print", "__builtins__", "Segment", "then", "tidy"):
        with pytest.raises(UnknownName):
            schedule(name)


def test_cosine_is_what_was_asked() -> None:
    assert schedule("cosine(end=0.1)") == Schedule((Segment(Cosine(), 1.0, 0.1),))
    assert schedule("rex(0.1)") == Schedule((Segment(Rex(0.1)),))
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"parts": [{"part": "segment"}]}, Schedule)
