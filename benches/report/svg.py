"""SVG by hand: text, lines, axes, and colours for light and dark pages. The same input gives the same bytes."""

import html
import math
from typing import Callable, Iterable

# Each is readable on white and on near-black; Stepwell's own orange is none of them.
HUES = ("#3b7dd8", "#2e9e6b", "#a06ee0", "#d1548c", "#1f98a8", "#8f8a26", "#a8674f", "#6677c4", "#6f9a35", "#b05bb5")
STYLE = """
text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;font-size:12px;fill:#1f2328}
.bg{fill:#ffffff}.title{font-size:16px;font-weight:600}.head{font-weight:600}.soft{fill:#59636e}
.own{fill:#b3470a;font-weight:700}.grid{stroke:#d8dee4;stroke-width:1}.base{stroke:#59636e;stroke-width:1.5}
.band{fill:#f3f5f7}.ownband{fill:#fdf0e6}.oc{fill:#d9600f}.os{stroke:#d9600f}.pc{fill:#4b7fc4}.ps{stroke:#4b7fc4}
.fc{fill:#8b949e}.fs{stroke:#8b949e}.line{fill:none;stroke-width:1.6;stroke-linejoin:round}.wide{stroke-width:3.2}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.bg{fill:#0d1117}.soft{fill:#9198a1}.own{fill:#f5914a}
.grid{stroke:#2b323b}.base{stroke:#9198a1}.band{fill:#151b23}.ownband{fill:#2b1d12}.oc{fill:#f5914a}.os{stroke:#f5914a}
.pc{fill:#6ea0e6}.ps{stroke:#6ea0e6}}
""".strip().replace("\n", "")


def place(value: float) -> str:
    """A coordinate: one decimal, no trailing zeros, so that the bytes do not depend on rounding far behind."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


class Drawing:
    """Elements of one picture, in the order in which they are painted."""

    def __init__(self, width: float, height: float, title: str, description: str) -> None:
        self.size, self.title, self.description = (width, height), title, description
        self.parts: list[str] = []

    def text(self, x: float, y: float, words: str, style: str = "", anchor: str = "start") -> None:
        kind = f' class="{style}"' if style else ""
        side = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self.parts.append(f'<text x="{place(x)}" y="{place(y)}"{kind}{side}>{html.escape(words, quote=False)}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str, more: str = "") -> None:
        ends = f'x1="{place(x1)}" y1="{place(y1)}" x2="{place(x2)}" y2="{place(y2)}"'
        self.parts.append(f'<line {ends} class="{style}"{more}/>')

    def box(self, x: float, y: float, width: float, height: float, style: str, more: str = "") -> None:
        sides = f'x="{place(x)}" y="{place(y)}" width="{place(max(width, 0))}" height="{place(height)}"'
        self.parts.append(f'<rect {sides} class="{style}"{more}/>')

    def dot(self, x: float, y: float, radius: float, style: str, more: str = "") -> None:
        self.parts.append(f'<circle cx="{place(x)}" cy="{place(y)}" r="{place(radius)}" class="{style}"{more}/>')

    def path(self, points: Iterable[tuple[float, float]], style: str, more: str = "") -> None:
        steps = " L".join(f"{place(x)} {place(y)}" for x, y in points)
        self.parts.append(f'<path d="M{steps}" class="{style}"{more}/>')

    def render(self) -> str:
        width, height = (place(side) for side in self.size)
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img" aria-labelledby="title desc">'
        )
        words = [
            f'<title id="title">{html.escape(self.title, quote=False)}</title>',
            f'<desc id="desc">{html.escape(self.description, quote=False)}</desc>',
            f"<style>{STYLE}</style>",
            f'<rect class="bg" width="{width}" height="{height}"/>',
        ]
        return "\n".join([head, *words, *self.parts, "</svg>"]) + "\n"


class Scale:
    """A logarithmic axis from `low` to `high`; what is not above `low` stands at a place of its own before it.

    `zero` names that place, for instance "0"; without it there is none, and such values stand at the beginning.
    """

    def __init__(self, low: float, high: float, start: float, end: float, zero: str = "") -> None:
        self.low, self.high, self.zero = low, max(high, low * 10), zero
        gap = max(26, 7 * len(zero) + 16) if zero else 0
        self.first, self.start, self.end = start + gap * 0.35, start + gap, end

    def __call__(self, value: float) -> float:
        if value < self.low or value <= 0:
            return self.first if self.zero else self.start
        share = math.log10(value / self.low) / math.log10(self.high / self.low)
        return self.start + (self.end - self.start) * min(share, 1.0)

    def ticks(self, room: float = 44) -> list[float]:
        """Powers of ten, thinned out where there is no room, with twos and fives where there is much."""
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        decade = abs(self.end - self.start) / math.log10(self.high / self.low)
        every = max(1, math.ceil(room / decade))
        found = [10.0**power for power in range(first, last + 1) if power % every == 0]
        if room > 1 and decade > 3.4 * room:
            found = [
                base * part for base in (10.0**power for power in range(first - 1, last + 1)) for part in (1, 2, 5)
            ]
        return [tick for tick in found if self.low * 0.999 <= tick <= self.high * 1.001]


def bounds(values: Iterable[float], low: float = 0.0) -> tuple[float, float]:
    """The powers of ten around all values above 0; from `low` on where that is given."""
    some = [value for value in values if value > max(low, 0)]
    if not some:
        return (low or 1.0, (low or 1.0) * 10)
    return (low or 10.0 ** math.floor(math.log10(min(some))), 10.0 ** math.ceil(math.log10(max(some)) - 1e-9))


def spaced(wanted: list[float], gap: float, low: float, high: float) -> list[float]:
    """Places near the wanted ones (ascending), at least `gap` apart and between `low` and `high` as far as they fit."""
    found: list[float] = []
    for place_ in wanted:
        found.append(max(place_, found[-1] + gap if found else low))
    limit = high
    for index in range(len(found) - 1, -1, -1):
        found[index] = min(found[index], limit)
        limit = found[index] - gap
    return found


def axis(drawing: Drawing, scale: Scale, top: float, bottom: float, form: Callable[[float], str]) -> None:
    """Grid lines from top to bottom and their values above them, as many as there is room for."""
    widest = max((len(form(tick)) for tick in scale.ticks(1)), default=1)
    for tick in scale.ticks(7 * widest + 8):
        drawing.line(scale(tick), top, scale(tick), bottom, "grid")
        if not scale.zero or scale(tick) - scale.first > 3.5 * (len(form(tick)) + len(scale.zero)) + 6:
            drawing.text(scale(tick), top - 6, form(tick), "soft", "middle")
    if scale.zero:
        drawing.line(scale.first, top, scale.first, bottom, "grid")
        drawing.text(scale.first, top - 6, scale.zero, "soft", "middle")
