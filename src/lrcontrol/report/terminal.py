"""A plot of schedules as text: braille dots for the lines, letters on them where there are several."""

from collections.abc import Sequence
from string import ascii_letters

import numpy as np
from numpy.typing import NDArray

from lrcontrol import checks
from lrcontrol.report.words import distinct, wrapped
from lrcontrol.schedules.schedule import Schedule

__all__ = ["terminal"]

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # the bits of a braille cell, 4 high and 2 wide
MARGIN = 9  # columns left of the plot: numbers and the axis


def terminal(labelled: Sequence[tuple[str, Schedule]], total_steps: int, width: int = 80, height: int = 20) -> str:
    """The multipliers of named schedules, drawn with braille characters, with axes and a legend.

    What swings within a column of dots fills it, from its lowest to its highest multiplier.

    Args:
        labelled: names and schedules; where there are several, letters on the lines tell them apart.
        total_steps: >= 1; the horizon all are laid over.
        width: >= 30; columns of all.
        height: >= 5; rows of the plot, to which come two of the axis and one to four per name.
    Example:
        >>> import lrcontrol as lrc
        >>> print(terminal([("linear", lrc.linear())], 100, width=30, height=5))
              1 ┤⠙⠲⠤⣀
                │    ⠉⠓⠦⢄⡀
            0.5 ┤        ⠈⠑⠢⢤⣀
                │             ⠉⠒⠦⣄⡀
              0 ┤                 ⠉⠓⠲⢤
                └─────────────────────
                 0       step      100
        <BLANKLINE>
                 linear
    """
    total = checks.integer("total_steps", total_steps, low=1)
    columns = checks.integer("width", width, low=30, high=1000) - MARGIN
    rows = checks.integer("height", height, low=5, high=1000)
    lines = [given.multipliers(total) for _, given in labelled]
    top = max((float(line.max()) for line in lines), default=1.0) or 1.0
    bands = [_band(line / top, 2 * columns, 4 * rows) for line in lines]
    canvas = [[_cell(bands, row, column) for column in range(columns)] for row in range(rows)]
    if len(lines) > 1:
        _put_letters(canvas, np.array([low + high for low, high in bands]) // 2)
    numbers = {0: f"{top:.4g}", rows // 2: f"{top / 2:.4g}", rows - 1: "0"}
    plot = [
        f"{numbers.get(row, ''):>{MARGIN - 2}} {'┤' if row in numbers else '│'}{''.join(cells)}"
        for row, cells in enumerate(canvas)
    ]
    end = f"{total:,}"
    axis = [" " * (MARGIN - 1) + "└" + "─" * columns]
    axis += [" " * MARGIN + "0" + "step".center(columns - 1 - len(end)) + end]
    return "\n".join(line.rstrip() for line in [*plot, *axis, *_legend([label for label, _ in labelled], width)])


def _band(line: NDArray[np.float64], across: int, down: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For every column of dots the highest and the lowest dot of the line, joined to the column before it."""
    edges = np.arange(across + 1) * line.size // across
    low, high = np.empty(across, dtype=np.int64), np.empty(across, dtype=np.int64)
    before = None
    for column in range(across):
        begin, end = int(edges[column]), int(edges[column + 1])
        dots = np.rint((1 - line[begin : max(end, begin + 1)]) * (down - 1)).astype(np.int64)
        low[column], high[column] = dots.min(), dots.max()
        if before is not None and before < low[column] - 1:
            low[column] = before + 1
        if before is not None and before > high[column] + 1:
            high[column] = before - 1
        before = int(dots[-1])
    return low, high


def _cell(bands: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], row: int, column: int) -> str:
    """The character of one cell of the plot."""
    bits = 0
    for low, high in bands:
        for side in (0, 1):
            for dot in range(4):
                if low[2 * column + side] <= 4 * row + dot <= high[2 * column + side]:
                    bits |= DOTS[dot][side]
    return chr(0x2800 + bits) if bits else " "


def _put_letters(canvas: list[list[str]], heights: NDArray[np.int64]) -> None:
    """Write each line's letter on it, once in each third, where the other lines are farthest away.

    Args:
        canvas: rows of characters.
        heights: shape (lines, columns of dots); the middle dot of each line.
    """
    columns = len(canvas[0])
    at_cells = heights[:, ::2]
    for index, line in enumerate(at_cells):
        others = np.delete(at_cells, index, axis=0)
        apart = np.abs(others - line).min(axis=0)
        for third in range(3):
            begin, end = max(columns * third // 3, 2), min(columns * (third + 1) // 3, columns - 2)
            far = np.minimum(apart[begin:end], 12)  # farther does not read better; then the place is free to choose
            best = np.flatnonzero(far == far.max())
            column = begin + int(best[(2 * index + 1) * best.size // (2 * len(at_cells))])
            canvas[int(line[column]) // 4][column] = _letter(index)


def _letter(index: int) -> str:
    return ascii_letters[index % len(ascii_letters)]


def _legend(labels: Sequence[str], width: int) -> list[str]:
    """The names, each in as many rows as it needs, at most four."""
    if not labels:
        return []
    names, rows = distinct(labels), [""]
    for index, name in enumerate(names):
        letter = f"{_letter(index)}  " if len(names) > 1 else ""
        lines = wrapped(name, width - MARGIN - len(letter))
        rows += [" " * MARGIN + (letter if line is lines[0] else " " * len(letter)) + line for line in lines]
    return rows
