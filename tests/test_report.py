"""The page: whatever a text holds is shown, never run; nothing is loaded; the same page gives the same bytes."""

import base64
import hashlib
import json
import math
import re
import shutil
import subprocess
import zlib
from html.parser import HTMLParser
from pathlib import Path

import altair as alt
import msgspec
import pytest

from lrcontrol.errors import BadInput
from lrcontrol.report import charts, libraries
from lrcontrol.report.page import Page, Section, Table, render, write
from lrcontrol.report.words import clean
from lrcontrol.runs.record import Cost, Evaluation, Objective, Outcome, Record
from lrcontrol.runs.spec import RunSpec

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</ScRiPt ><img src=x>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "' onmouseover='alert(1)",
    '" onfocus="alert(1)" autofocus="',
    "{{7*7}}",
    "{% raw %}{{ self }}{% endraw %}",
    "${7*7}",
    "<!--",
    "-->",
    "<!--<script>",
    "]]>",
    "<![CDATA[",
    "</style><style>*{display:none}</style>",
    "</title><h1>x</h1>",
    "</figure></main></body></html>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content=0>",
    "<iframe srcdoc='<b>x</b>'>",
    "&lt;script&gt;&#x3c;b&#x3e;",
    "javascript:alert(1)",
    "line\u2028separator\u2029paragraph",
    "nul\x00byte \x1b[31m\x08\x7f",
    "\ud800 lone surrogate \udfff",
    "\u202eright to left",
    "\\u003cb\\u003e \\",
    "\r\n\t",
    "`${alert(1)}`",
    "datum.constructor('alert(1)')()",
    "",
]


STUB = """
const { createHash } = require("crypto");
const blocks = require("./blocks.json");
const added = [], drawn = {}, texts = {};
const place = (name) => ({ dataset: { spec: name }, clientWidth: 900, set textContent(text) { texts[name] = text; } });
global.window = globalThis;
window.vegaEmbed = async (at, spec) => { drawn[at.dataset.spec] = spec; };
global.document = {
  querySelectorAll: () => Object.keys(blocks).filter((name) => name !== "libraries").map(place),
  getElementById: (id) => ({ textContent: blocks[id] }),
  createElement: () => ({}),
  head: { append: (script) => added.push(createHash("sha256").update(script.textContent).digest("hex")) },
};
process.on("exit", () => console.log(JSON.stringify({ added, drawn, texts })));
require("vm").runInThisContext(require("fs").readFileSync("page.js", "utf8"));
"""
"""As much of a browser as the script of a page asks for."""


class Elements(HTMLParser):
    """The elements of a page with the names of their attributes, the charts, the scripts, and the texts.

    Charts and one of the scripts are packed.
    """

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.values: list[tuple[str, str, str]] = []
        self.blocks: list[object] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self.inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(sorted(name for name, _ in attrs))))
        self.values += [(tag, name, value or "") for name, value in attrs]
        self.inside = tag
        if tag == "script":
            given = dict(attrs)
            kind = {None: "script", "application/zlib": "chart"}[given.get("type")]
            self.inside = "libraries" if given.get("id") == "libraries" else kind
            if self.inside == "script":
                self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.elements.append(("/" + tag, ()))
        self.inside = ""

    def handle_comment(self, data: str) -> None:
        self.elements.append(("comment", ()))

    def handle_decl(self, decl: str) -> None:
        self.elements.append(("declaration", ()))

    def unknown_decl(self, data: str) -> None:
        self.elements.append(("unknown declaration", ()))

    def handle_data(self, data: str) -> None:
        if self.inside == "chart":
            self.blocks.append(json.loads(unpacked(data)))
        elif self.inside == "libraries":
            self.scripts.append(unpacked(data))
        elif self.inside == "script":
            self.scripts[-1] += data
        elif self.inside != "style":
            self.text.append(data)


def unpacked(text: str) -> str:
    """What a packed block of a page holds."""
    return zlib.decompress(base64.b64decode(text, validate=True)).decode()


def make_record(*, metric: str = "accuracy", value: float = 0.5) -> Record:
    spec = RunSpec(task="t", method="adamw:cosine", base_lr=0.1, total_steps=10)
    evals = (Evaluation(5, {metric: 0.1}), Evaluation(10, {metric: value}))
    return Record(
        spec=spec, outcome=Outcome.FINISHED, objective=Objective(metric, "maximize"), evals=evals, cost=Cost(10, 1.0)
    )


def make_page(text: str = "text", *, metric: str | None = None) -> Page:
    records = [make_record(metric=metric or text or "m"), make_record(metric=metric or text or "m")]
    return Page(
        title=f"T{text}",
        lead=f"L{text}",
        figures=[(f"a{text}", f"b{text}", f"c{text}")],
        sections=[
            Section(
                f"H{text}",
                [f"P{text}"],
                Table([f"C{text}", "n"], [[f"R{text}", "1"], ["x", f"2{text}"]], ["left", "right"], 1),
                charts.learning_curves(records, [text, f"{text}2"]),
            ),
            Section(f"S{text}", chart=charts.costs([(f"stage{text}", 10)], 10)),
        ],
    )


@pytest.fixture(scope="module")
def benign() -> Elements:
    return Elements(render(make_page()))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_changes_neither_elements_nor_scripts(text: str, benign: Elements) -> None:
    page = render(make_page(text))
    page.encode()
    found = Elements(page)
    assert found.elements == benign.elements
    assert found.scripts == benign.scripts
    assert len(found.blocks) == len(benign.blocks) == 2
    shown = "".join(found.text)
    assert f"H{clean(text)}" in shown
    assert f"R{clean(text)}" in shown
    names = {row["run"] for rows in found.blocks[0]["datasets"].values() for row in rows}
    assert (clean(text).strip() or "unnamed") in names
    assert "\x00" not in page


@pytest.mark.parametrize("text", [text for text in HOSTILE if text])
def test_hostile_chart_of_anyone_round_trips(text: str) -> None:
    values = [{"x": text, text: math.nan, "y": math.inf, "z": 1.5}]
    chart = alt.Chart(alt.InlineData(values=values), title=text).mark_point().encode(x="x:N")
    found = Elements(render(Page("t", sections=[Section("h", chart=chart)])))
    (rows,) = found.blocks[0]["datasets"].values()
    assert rows == [{"x": text, text: None, "y": None, "z": 1.5}]


def test_nothing_is_loaded_from_anywhere(benign: Elements) -> None:
    loading = {"src", "href", "srcset", "data", "poster", "action", "formaction", "background", "ping", "style"}
    assert not [value for value in benign.values if value[1] in loading or value[1].startswith("on")]
    assert not {"link", "iframe", "object", "embed", "base", "img", "form", "a"} & {tag for tag, _ in benign.elements}
    page = render(make_page())
    styles = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in styles
    assert "@import" not in styles


def test_policy_allows_exactly_the_scripts_of_the_page(benign: Elements) -> None:
    (policy,) = [value for tag, name, value in benign.values if tag == "meta" and "default-src" in value]
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in benign.scripts}
    assert set(re.findall(r"'sha256-([^']+)'", policy)) == hashes
    assert len(benign.scripts) == 2
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert "unsafe" not in rules["script-src"]
    assert "connect-src" not in rules
    assert rules["img-src"] == "data:"


def test_a_page_is_short_and_holds_its_libraries_whole(benign: Elements) -> None:
    """Packed, as the libraries are nine tenths of a page; unpacked, they are what Altair's charts are drawn by."""
    assert benign.scripts[0] == libraries.libraries()
    assert len(render(make_page())) < 0.5 * len(libraries.libraries())


def test_the_script_of_a_page_unpacks_what_is_packed(tmp_path: Path) -> None:
    """In the JavaScript that there is here without a browser: the same spec, the same libraries, added once."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js here")
    page = render(make_page("é<&"))
    blocks = dict(re.findall(r'<script type="application/zlib" id="([^"]+)">([^<]*)</script>', page))
    charts_there = [name for name in blocks if name != "libraries"]
    assert len(charts_there) == 2
    (tmp_path / "blocks.json").write_text(json.dumps(blocks))
    (tmp_path / "page.js").write_text(page.rsplit("<script>", 1)[1].split("</script>")[0])
    (tmp_path / "run.js").write_text(STUB)
    done = subprocess.run([node, "run.js"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    told = json.loads(done.stdout)
    assert told["added"] == [hashlib.sha256(libraries.libraries().encode()).hexdigest()]
    assert told["drawn"] == {name: json.loads(unpacked(blocks[name])) for name in charts_there}
    assert told["texts"] == {}


def test_a_page_without_charts_has_no_script() -> None:
    found = Elements(render(Page("t", "lead", [Section("h", ["p"])])))
    assert found.scripts == []


def test_the_same_page_gives_the_same_bytes() -> None:
    assert render(make_page()) == render(make_page())


def test_charts_take_the_width_and_the_colours_of_the_page(benign: Elements) -> None:
    for spec in benign.blocks:
        assert spec["width"] == "container"
        assert spec["config"]["axis"]["labelColor"] == "var(--muted)"
        assert "title" not in spec
        assert "usermeta" not in spec


def test_a_chart_of_charts_keeps_its_own_width() -> None:
    chart = alt.Chart(alt.InlineData(values=[{"x": 1}])).mark_point().encode(x="x:Q")
    found = Elements(render(Page("t", sections=[Section("h", chart=alt.hconcat(chart, chart))])))
    assert "width" not in found.blocks[0]


def test_titles_of_charts_and_tables_are_read_without_scripts(benign: Elements) -> None:
    shown = "".join(benign.text)
    assert "Where the budget went: 1.00 full runs, 10 steps" in shown
    assert "Rtext" in shown


def test_the_chosen_row_is_the_one_highlighted(benign: Elements) -> None:
    marks = [attributes for tag, attributes in benign.elements if tag == "tr"]
    assert marks == [(), (), ("class",)]
    assert ("tr", "class", "chosen") in benign.values


@pytest.mark.parametrize("field", ["title", "lead", "figures", "sections"])
def test_every_field_of_a_page_shows(field: str) -> None:
    page = make_page()
    empty = "" if isinstance(getattr(page, field), str) else ()
    assert render(msgspec.structs.replace(page, **{field: empty})) != render(page)


def test_wrong_tables_are_told() -> None:
    with pytest.raises(BadInput, match="2 cells, got 1 in row 1"):
        Table(["a", "b"], [["1", "2"], ["3"]])
    with pytest.raises(BadInput, match="one word per column, got 1 for 2"):
        Table(["a", "b"], [], ["left"])
    with pytest.raises(BadInput, match="unknown alignment 'centre'"):
        Table(["a"], [], ["centre"])
    with pytest.raises(BadInput, match="`highlight`"):
        Table(["a"], [["1"]], highlight=1)


def test_the_scripts_of_pages_are_put_together_once_and_never_taken_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, bundled = libraries.libraries(), libraries._bundled
    made = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(libraries, "_bundled", lambda: made.append(1) or bundled())
    for _ in range(2):
        libraries.libraries.cache_clear()
        assert libraries.libraries() == whole
    assert made == [1]
    (kept,) = (tmp_path / "lrcontrol").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1] + b"!")
    libraries.libraries.cache_clear()
    assert libraries.libraries() == whole
    assert made == [1, 1]
    monkeypatch.setattr("os.getuid", lambda: 4711)
    assert libraries._kept(kept) is None, "another's file would be a script of our pages"
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/none")
    libraries.libraries.cache_clear()
    assert libraries.libraries() == whole, "without a place to keep them too"


def test_pages_are_written_whole(tmp_path: Path) -> None:
    page = make_page("é")
    write(page, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes() == render(page).encode()
    with pytest.raises(BadInput, match="does not exist"):
        write(page, tmp_path / "no" / "page.html")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
