"""The gallery of schedules, drawn from the recipes themselves.

One chart a recipe is drawn when the documentation is built; `python docs/gallery.py` writes `gallery.svg`, the picture
of all that is seen without building anything.
"""

from html import escape
from pathlib import Path

import numpy as np

from lrcontrol.analysis.curves import outline
from lrcontrol.report.charts import schedules
from lrcontrol.report.save import save_chart
from lrcontrol.report.theme import ON_PAPER, PALETTE
from lrcontrol.runs.papers import papers_of
from lrcontrol.schedules.recipes.catalogue import RECIPES
from lrcontrol.schedules.text import schedule

TOTAL_STEPS = 200
SHOWN = {
    "constant": ("constant", "constant(0.5)"),
    "linear": ("linear", "linear(end=0.1)", "linear(start=0, end=1)", "linear(times=5)"),
    "cosine": ("cosine", "cosine(end=0.1)", "cosine(times=8)"),
    "polynomial": ("polynomial", "polynomial(0.5)", "polynomial(4)"),
    "rex": ("rex", "rex(beta=0.1)", "rex(reverse=true)", "rex(start=0, end=1)"),
    "exponential": ("exponential", "exponential(2)", "exponential(times=6)"),
    "geometric": ("geometric(0.99)", "geometric(0.95)"),
    "inverse_sqrt": ("warmup(0.04)+inverse_sqrt", "inverse_sqrt(timescale=50)"),
    "inverse_power": ("inverse_power", "inverse_power(1)", "inverse_power(2)"),
    "one_minus_sqrt": ("one_minus_sqrt", "constant+one_minus_sqrt(share=0.2)"),
    "power": ("power", "warmup(0.02)+power(knee=0.1)"),
    "warmup": ("warmup+constant", "warmup(0.2)+rex"),
    "wsd": ("wsd", "wsd(shape=linear)", "wsd(shape=cosine)", "wsd(shape=square)", "wsd(shape=exponential, end=0.05)"),
    "step": ("step", "step(0.5, (0.3, 0.6, 0.9))", "step(0.7, every=20)"),
    "piecewise": ("piecewise((0.2, 1, 0.3, 0), (0.2, 0.7))", "piecewise((1, 0.3, 0.6), (0.3, 0.7), hold=true)"),
    "table": ("table((0.1, 0.7, 1, 0.9, 0.5, 0.2, 0))",),
    "triangular": ("triangular", "triangular(2, low=0.1, rise=0.2)"),
    "triangular2": ("triangular2", "triangular2(3, low=0)"),
    "exp_range": ("exp_range(0.99)", "exp_range(0.99, both=true)"),
    "sgdr": ("sgdr", "sgdr(4, growth=1, shrink=0.7)", "sgdr(period=30)"),
    "snapshot": ("snapshot",),
    "one_cycle": ("one_cycle", "one_cycle(0.45, 0.45, start=0.1, end=0.001, shape=linear)"),
    "one_cycle_momentum": ("one_cycle_momentum", "one_cycle_momentum(0.45, 0.45, shape=linear)"),
    "fractal": ("fractal", "fractal(8, low=0.2, every=4)"),
}
"""What is drawn for each recipe."""

SVG = "http://www.w3.org/2000/svg"
OVERVIEW = Path(__file__).parent / "gallery.svg"
ACROSS, WIDE, HIGH, GAP, HEAD = (
    4,
    200,
    84,
    24,
    24,
)  # panels in a row; of each the size, the distance, the name's height


def overview() -> str:
    """One small picture of the first schedule of every recipe, as SVG; the same on every machine."""
    down = -(-len(SHOWN) // ACROSS)
    width, height = GAP + ACROSS * (WIDE + GAP), GAP + down * (HEAD + HIGH + GAP)
    panels = [
        _panel(texts[0], GAP + index % ACROSS * (WIDE + GAP), GAP + index // ACROSS * (HEAD + HIGH + GAP))
        for index, texts in enumerate(SHOWN.values())
    ]
    return "\n".join(
        [
            f'<svg xmlns="{SVG}" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
            f"<title>Every schedule over {TOTAL_STEPS} steps, each from 0 to its highest multiplier</title>",
            f'<rect width="{width}" height="{height}" fill="{ON_PAPER["paper"]}"/>',
            f'<g fill="{ON_PAPER["ink"]}" font-family="system-ui, sans-serif" font-size="12">',
            *panels,
            "</g>",
            "</svg>",
            "",
        ]
    )


def _panel(text: str, left: int, top: int) -> str:
    """A name, the axis, and a curve under it."""
    values = schedule(text).multipliers(TOTAL_STEPS)
    drawn = outline(np.arange(TOTAL_STEPS), values / values.max(), grain=1 / HIGH)
    points = " ".join(
        f"{left + step * WIDE / TOTAL_STEPS:.1f},{top + HEAD + HIGH * (1 - value):.1f}"
        for step, value in zip(drawn.steps, drawn.values, strict=True)
    )
    floor = top + HEAD + HIGH
    return "\n".join(
        [
            f'<text x="{left}" y="{top + 12}">{escape(text)}</text>',
            f'<path d="M{left},{floor}h{WIDE}" stroke="{ON_PAPER["grid"]}"/>',
            f'<polyline points="{points}" fill="none" stroke="{PALETTE[0]}" stroke-width="1.5"/>',
        ]
    )


def write(folder: Path) -> None:
    """Write a chart for each recipe, and the page that shows them, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    page = []
    for name, texts in SHOWN.items():
        save_chart(schedules([(text, schedule(text)) for text in texts], TOTAL_STEPS), folder / f"{name}.svg")
        about = (RECIPES[name].__doc__ or "").strip().partition("\n")[0]
        page += [f"## {name}", "", about, "", f"![{name}](_gallery/{name}.svg)", ""]
        page += [
            "```sh",
            "lrcontrol plot " + " ".join(f'"{text}"' for text in texts) + f" --steps {TOTAL_STEPS}",
            "```",
            "",
        ]
        if papers_of(RECIPES[name]):
            page += ["; ".join(papers_of(RECIPES[name])) + ".", ""]
    (folder / "recipes.md").write_text("\n".join(page))


if __name__ == "__main__":
    OVERVIEW.write_text(overview())
    print(OVERVIEW)
