"""One table of a measure: a row per peer, sorted by a figure, Stepwell among the others, and what is lower marked."""

import dataclasses
from typing import Callable

from records import Row
from words import NONE, Form, bold, clean, listed, table

LOWER = "▼"
LOWER_MEANS = f"{LOWER}: lower than Stepwell's."


@dataclasses.dataclass
class Column:
    """A column: how to read its figure from a row and how to write it."""

    head: str
    get: Callable[[Row], float | None]
    form: Form
    # Whether a lower figure is the better one, so that it is marked where a peer has one.
    compared: bool = True
    # A text that takes the place of the figure, where there is one.
    text: Callable[[Row], str] | None = None


def reference(rows: list[Row]) -> Row | None:
    """Stepwell's row that others are compared with: its first variant, the call with a dict, where that has values."""
    own = [row for row in rows if row.own and not row.error]
    return min(own, key=lambda row: (not row.first, row.variant), default=None)


def order(rows: list[Row], get: Callable[[Row], float | None]) -> list[Row]:
    """By the figure; rows without one come last, those with an error at the very end."""

    def key(row: Row) -> tuple[bool, bool, float, str]:
        found = None if row.error else get(row)
        return bool(row.error), found is None, found or 0.0, row.name

    return sorted(rows, key=key)


def cell(column: Column, row: Row, base: Row | None) -> str:
    if column.text and (said := column.text(row)):
        return said
    found = column.get(row)
    text = column.form(found)
    if column.compared and base and not row.own and found is not None:
        own = column.get(base)
        # What is written the same is no difference to point at.
        if own is not None and found < own and column.form(own) != text:
            text += f" {LOWER}"
    return text


def compare(rows: list[Row], columns: list[Column], sort: int = 0) -> str:
    """The table and the notes on its rows. Errors are rows: their reason stands in the first column."""
    base, lines, notes = reference(rows), [], []
    for row in order(rows, columns[sort].get):
        if row.error:
            cells = [row.name, f"failed: {clean(row.error)}"] + [NONE] * (len(columns) - 1)
        else:
            cells = [row.name, *(cell(column, row, base) for column in columns)]
        lines.append([bold(text) for text in cells] if row.own else cells)
        notes += [f"{row.name}: {clean(note)}." for note in row.notes]
    heads = ["", *(column.head for column in columns)]
    text = table(heads, lines)
    if any(LOWER in value for line in lines for value in line):
        notes.insert(0, LOWER_MEANS)
    return text + ("\n\n" + " ".join(notes) if notes else "")


def ahead(rows: list[Row], get: Callable[[Row], float | None], form: Form) -> str:
    """Which tools have a lower figure than Stepwell, in words; floors are not tools."""
    base = reference(rows)
    own = get(base) if base else None
    if own is None:
        return NONE
    found = []
    for row in order([row for row in rows if not (row.own or row.floor or row.error)], get):
        value = get(row)
        if value is not None and value < own and form(value) != form(own):
            found.append(f"{row.name} ({form(value)})")
    return listed(found)


def best(rows: list[Row], get: Callable[[Row], float | None]) -> list[Row]:
    """The tools with the lowest figure, floors and Stepwell left out; several where they have the same."""
    peers = [row for row in rows if not (row.own or row.floor or row.error) and get(row) is not None]
    ordered = order(peers, get)
    return [row for row in ordered if get(row) == get(ordered[0])]
