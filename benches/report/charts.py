"""The two forms of picture: rows with a dot or bar in each panel, and lines over percentiles; both label directly."""

import dataclasses
import math
from typing import Callable

from records import Row
from svg import HUES, Drawing, Scale, axis, bounds, spaced
from words import tick

WIDTH, ROW, TOP = 960, 24, 114
GAP, LETTER = 6, 6.9


@dataclasses.dataclass
class Cell:
    """One row in one panel: the figure, how it spreads, each sample of it, and what is written beside it."""

    value: float | None
    text: str
    low: float | None = None
    high: float | None = None
    points: tuple[float, ...] = ()


@dataclasses.dataclass
class Panel:
    """A column of the picture. Its axis begins at `low`, or below the lowest value."""

    head: str
    form: Callable[[float], str]
    cells: list[Cell]
    low: float = 0.0
    zero: str = ""
    bars: bool = False
    # Bars begin here and go to both sides.
    base: float | None = None


@dataclasses.dataclass
class Line:
    """A label of a row: `own`, `floor` or `peer` says how it is painted."""

    name: str
    kind: str = "peer"


def kind_of(row: Row) -> str:
    return "own" if row.own else "floor" if row.floor else "peer"


def heading(drawing: Drawing, title: str, under: str) -> None:
    drawing.text(16, 28, title, "title")
    drawing.text(16, 48, under, "soft")


def extent(panels: list[Panel]) -> tuple[float, float]:
    """From where to where the axis goes that holds all of these panels."""
    cells = [cell for panel in panels for cell in panel.cells]
    values = [value for cell in cells for value in (cell.value, cell.low, cell.high, *cell.points) if value]
    return bounds([*values, *(panel.base for panel in panels if panel.base)], panels[0].low)


def rows_chart(
    title: str,
    under: str,
    description: str,
    lines: list[Line],
    panels: list[Panel],
    foot: str = "",
    shared: bool = True,
) -> str:
    """Panels side by side with the same rows; `shared`: all have the same axis, so that they can be compared."""
    left = 26 + LETTER * max((len(line.name) for line in lines), default=0)
    height = TOP + ROW * len(lines) + (34 if foot else 16)
    drawing = Drawing(WIDTH, height, title, description)
    heading(drawing, title, under)
    for index, line in enumerate(lines):
        y = TOP + ROW * index
        if line.kind == "own" or index % 2 == 0:
            drawing.box(8, y, WIDTH - 16, ROW, "ownband" if line.kind == "own" else "band")
        style = {"own": "own", "floor": "soft"}.get(line.kind, "")
        drawing.text(left - 10, y + 16, line.name, style, "end")
    each = (WIDTH - left - 12) / len(panels)
    beside = 20 + LETTER * max((len(cell.text) for panel in panels for cell in panel.cells), default=0)
    long = max(len(panel.head) for panel in panels) * LETTER * 1.1 > each - GAP
    for index, panel in enumerate(panels):
        start, end = left + each * index + 6, left + each * (index + 1) - beside - GAP
        scale = Scale(*extent(panels if shared else [panel]), start, end, panel.zero)
        head = panel.head.split(", ", 1) if long else [panel.head]
        for number, words in enumerate(reversed(head)):
            drawing.text(start, TOP - 28 - 16 * number, words, "head")
        paint(drawing, panel, lines, scale)
    if foot:
        drawing.text(16, height - 12, foot, "soft")
    return drawing.render()


def paint(drawing: Drawing, panel: Panel, lines: list[Line], scale: Scale) -> None:
    bottom = TOP + ROW * len(lines)
    axis(drawing, scale, TOP, bottom, lambda value: tick(panel.form(value)))
    if panel.base:
        drawing.line(scale(panel.base), TOP, scale(panel.base), bottom, "base")
    for index, (line, cell) in enumerate(zip(lines, panel.cells)):
        y = TOP + ROW * index + ROW / 2
        letter = {"own": "o", "floor": "f"}.get(line.kind, "p")
        if cell.value is not None:
            mark(drawing, panel, scale, cell, y, letter)
        style = "own" if line.kind == "own" else "soft" if cell.value is None or line.kind == "floor" else ""
        drawing.text(scale.end + 12, y + 4, cell.text, style)


def mark(drawing: Drawing, panel: Panel, scale: Scale, cell: Cell, y: float, letter: str) -> None:
    """A dot for the figure; a line for its spread; small dots for its samples; or a bar."""
    x = scale(cell.value or 0.0)
    if panel.base is not None:
        letter = "o" if x >= scale(panel.base) else "p"
        begin = scale(panel.base)
        drawing.box(min(begin, x), y - 5, abs(x - begin), 10, f"{letter}c")
        return
    if panel.bars:
        drawing.box(scale.start, y - 5, x - scale.start, 10, f"{letter}c")
        return
    if cell.low is not None and cell.high is not None:
        drawing.line(scale(cell.low), y, scale(cell.high), y, f"{letter}s", ' stroke-width="2" stroke-opacity=".45"')
    for point in cell.points:
        drawing.dot(scale(point), y, 4, f"{letter}c", ' fill-opacity=".3"')
    if cell.points:
        drawing.line(x, y - 7, x, y + 7, f"{letter}s", ' stroke-width="2.5"')
    else:
        drawing.dot(x, y, 5, f"{letter}c")


def quantile(histogram: list[tuple[float, int]], share: float) -> float:
    """The lower bound of the bucket that holds the call at or below which `share` of all lie."""
    wanted, seen = share * sum(count for _, count in histogram), 0
    for lower, count in histogram:
        seen += count
        if seen >= wanted - 1e-9:
            return lower
    return histogram[-1][0]


PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99)


def nines(percentile: float) -> float:
    """Place on the axis: each further nine is as wide as the one before."""
    return -math.log10(1 - percentile / 100)


def curve(histogram: list[tuple[float, int]]) -> list[tuple[float, float]]:
    """Points (nines, nanoseconds) from the median to the last percentile that at least one call lies above."""
    first, last = nines(PERCENTILES[0]), nines(PERCENTILES[-1])
    last = min(last, math.log10(sum(count for _, count in histogram)))
    places = [first + (last - first) * index / 120 for index in range(121)] if last > first else [first]
    return [(x, max(1.0, quantile(histogram, 1 - 10**-x))) for x in places]


def percentiles_chart(
    title: str,
    under: str,
    description: str,
    rows: list[tuple[Row, list[tuple[float, int]]]],
    form: Callable[[float], str],
) -> str:
    """A line per row; names stand on the right, in the order of the ends of the lines."""
    height, top, bottom, left, right = 640, 92, 584, 74, 700
    drawing = Drawing(WIDTH, height, title, description)
    heading(drawing, title, under)
    curves = [(row, curve(histogram)) for row, histogram in rows if histogram]
    low, high = bounds([y for _, points in curves for _, y in points])
    scale = Scale(low, high, bottom, top)
    span = (nines(PERCENTILES[0]), nines(PERCENTILES[-1]))

    def across(x: float) -> float:
        return left + (right - left) * (x - span[0]) / (span[1] - span[0])

    for value in scale.ticks():
        drawing.line(left, scale(value), right, scale(value), "grid")
        drawing.text(left - 8, scale(value) + 4, tick(form(value)), "soft", "end")
    for percentile in PERCENTILES:
        drawing.line(across(nines(percentile)), top, across(nines(percentile)), bottom, "grid")
        drawing.text(across(nines(percentile)), bottom + 20, f"p{percentile:g}", "soft", "middle")
    drawing.text(left, top - 12, "time of a call, logarithmic", "soft")
    drawing.text((left + right) / 2, bottom + 42, "share of calls that took no longer", "soft", "middle")
    peers = sorted({row.peer for row, _ in curves if not (row.own or row.floor)})
    hues = {peer: HUES[index % len(HUES)] for index, peer in enumerate(peers)}
    # Stepwell is painted last, so that nothing crosses it.
    for row, points in sorted(curves, key=lambda pair: (pair[0].own, not pair[0].floor, pair[0].name)):
        paint_line(drawing, row, [(across(x), scale(y)) for x, y in points], hues)
    ends = sorted(
        ((scale(points[-1][1]), across(points[-1][0]), row) for row, points in curves),
        key=lambda end: (end[0], end[2].name),
    )
    places = spaced([y for y, _, _ in ends], 17, top, bottom)
    for (y, x, row), label in zip(ends, places):
        style, more = stroke(row, hues)
        thin = more + ' stroke-width="1" stroke-dasharray="2 3"'
        drawing.line(x, y, right + 4, y, style, thin)
        drawing.line(right + 4, y, right + 26, label, style, thin)
        drawing.text(right + 32, label + 4, row.name, {"own": "own", "floor": "soft"}.get(kind_of(row), ""))
    return drawing.render()


def stroke(row: Row, hues: dict[str, str]) -> tuple[str, str]:
    if row.own or row.floor:
        return ("os" if row.own else "fs"), ""
    return "", f' stroke="{hues[row.peer]}"'


def paint_line(drawing: Drawing, row: Row, points: list[tuple[float, float]], hues: dict[str, str]) -> None:
    style, more = stroke(row, hues)
    drawing.path(points, f"line {style}{' wide' if row.own and row.first else ''}".strip(), more)
    drawing.dot(*points[-1], 3, style.replace("s", "c") if style else "", more.replace("stroke", "fill"))
