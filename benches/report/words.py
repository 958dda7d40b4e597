"""Figures as text, and Markdown: numbers with three digits that matter, tables, errors made fit to print."""

import html
import math
import re
from typing import Callable, Iterable

NONE = "-"


def plain(value: float | None, digits: int = 3) -> str:
    """A number with so many digits that matter, and never an exponent."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}")))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals > 6 else text


def whole(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def nanos(value: float | None) -> str:
    """A time that is given in nanoseconds, in the unit that suits it."""
    if not value:
        return NONE if value is None else "0"
    for unit, size in (("ns", 1), ("us", 1e3), ("ms", 1e6)):
        if abs(value) < 999.5 * size:
            return f"{plain(value / size)} {unit}"
    return f"{plain(value / 1e9)} s"


def seconds(value: float | None) -> str:
    return nanos(None if value is None else value * 1e9)


def millis(value: float | None) -> str:
    return nanos(None if value is None else value * 1e6)


def percent(value: float | None) -> str:
    """Down to a tenth: less is noise."""
    if value is None:
        return NONE
    # Adding 0 makes -0.0 a plain 0.
    return f"{round(value, 1) + 0:,.1f} %" if abs(value) < 99.95 else f"{value:,.0f} %"


def size(value: float | None) -> str:
    if value is None:
        return NONE
    if abs(value) < 1000:
        return f"{whole(value)} B"
    for unit, bytes_ in (("kB", 1e3), ("MB", 1e6)):
        if abs(value) < 999.5 * bytes_:
            return f"{plain(value / bytes_)} {unit}"
    return f"{plain(value / 1e9)} GB"


def tick(text: str) -> str:
    """A label of an axis: 10 ms instead of 10.0 ms."""
    return re.sub(r"(\d)\.0+(?!\d)", r"\1", text)


def ratio(value: float | None) -> str:
    if value is None:
        return NONE
    digits = 2 if value < 9.95 else 3
    return f"{plain(float(f'{value:.{digits - 1}e}'), digits)}x"


def divided(one: float | None, other: float | None) -> float | None:
    """A ratio; none where a figure is missing, or is not above zero, as a slowdown within the noise may be."""
    return one / other if one is not None and other is not None and one > 0 and other > 0 else None


def clean(text: str, limit: int = 140) -> str:
    """One line of what a tool said, for a table: no paths or addresses of the machine, no markup, not too long."""
    text = re.sub(r"\w+://\S+", "(address)", " ".join(str(text).split()))
    text = re.sub(r"(?<![\w.])/(?:[\w.@+~-]+/)+([\w.@+~-]*)", r"\1", text)
    text = re.sub(r"\x1b\[[0-9;]*m|[^\x20-\x7e]", "", text)
    text = text if len(text) <= limit else text[: limit - 3].rstrip() + "..."
    return html.escape(text, quote=False).replace("|", "\\|").replace("`", "'").replace("*", "\\*").replace("_", "\\_")


def table(heads: Iterable[str], rows: Iterable[list[str]], left: int = 1, words: int = 0) -> str:
    """A Markdown table; all columns but the first `left` and the last `words` are set to the right."""
    heads = list(heads)
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * left + "---:|" * (len(heads) - left - words) + "---|" * words]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def bold(text: str) -> str:
    return f"**{text}**" if text and text != NONE else text


def listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


Form = Callable[[float | None], str]
