"""The record of benches/sql/bench.py: the same questions over the same files, Stepwell and DuckDB."""

import math
from typing import Any

from charts import Cell, Line, Panel, rows_chart
from compare import LOWER
from page import Page, trace, where
from records import dig, number
from words import NONE, clean, divided, listed, millis, plain, ratio, table, whole

COMMAND = "make bench-sql"


def faster(question: dict[str, Any], key: str = "median_ms") -> tuple[str, float | None]:
    """DuckDB's way that took less in the median, and the figure of `key` for it."""
    ways = {
        name: found
        for name in dig(question, "median_ms") or {}
        if name != "stepwell" and (found := number(question, "median_ms", name)) is not None
    }
    best = min(ways, key=lambda name: ways[name], default="")
    return best, number(question, key, best)


def own(question: dict[str, Any], key: str = "median_ms") -> float | None:
    return number(question, key, "stepwell")


def times(question: dict[str, Any]) -> float | None:
    """DuckDB's time over Stepwell's."""
    return divided(faster(question)[1], own(question))


def millions(count: float | None) -> str:
    return f"{plain(count / 1e6)} M".replace(".00", "").replace(".0 ", " ") if count and count >= 1e6 else whole(count)


def name(size: dict[str, Any]) -> str:
    runs, records = number(size, "runs"), number(size, "records")
    noun = (
        "one run"
        if runs == 1
        else f"{whole(runs)} real runs"
        if size.get("size") == "nanogpt"
        else f"{whole(runs)} runs"
    )
    return f"{noun}, {millions(records)} records"


def slower(data: dict[str, Any]) -> str:
    """The questions that DuckDB answers in less time, in words."""
    found = []
    for size in data["sizes"]:
        for question in size.get("questions") or []:
            some = times(question)
            if some is not None and some < 1:
                found.append(f"{question['question']} ({name(size)}: {ratio(some)})")
    return listed(found)


def head(data: dict[str, Any]) -> str:
    machine = data.get("machine") or {}
    note = f"; {clean(machine['note'])}" if machine.get("note") else ""
    return f"Stepwell {machine.get('stepwell', '?')}, DuckDB {machine.get('duckdb', '?')}, {where(data)}{note}"


def section(page: Page, data: dict[str, Any]) -> None:
    page.add(
        "## The same questions in SQL: Stepwell and DuckDB",
        "Both engines in one Python process over the same Parquet files, in turn; medians. The ratio is DuckDB's time "
        "over Stepwell's; "
        f"{LOWER} marks the questions that DuckDB answers in less time. *The first time* is that of a process: "
        f"Stepwell reads each file "
        "whole then, to compare it with its hash. Where there are packs, DuckDB is asked over them, too, and its "
        "faster way counts.",
    )
    for size in data["sizes"]:
        lines = []
        for question in size.get("questions") or []:
            way, theirs = faster(question)
            ahead = theirs is not None and (own(question) or 0) > theirs
            first = [millis(own(question, "first_ms")), millis(faster(question, "first_ms")[1])]
            notes = ", ".join(
                part
                for part in (clean(question.get("note") or ""), "DuckDB over packs" if "packs" in way else "")
                if part
            )
            text = millis(theirs) + (f" {LOWER}" if ahead else "")
            lines.append(
                [
                    question["question"],
                    f"**{millis(own(question))}**",
                    text,
                    ratio(times(question)),
                    *first,
                    whole(number(question, "rows")),
                    notes,
                ]
            )
        page.add(
            f"### {name(size)}",
            f"{whole(number(size, 'files'))} files, {plain((number(size, 'bytes') or 0) / 1e6)} MB.",
        )
        heads = [
            "question",
            "**Stepwell**",
            "DuckDB",
            "DuckDB / Stepwell",
            "first, Stepwell",
            "first, DuckDB",
            "rows",
            "note",
        ]
        page.add(table(heads, lines, words=1))
    page.add(
        f"DuckDB takes less time for: {slower(data)}.",
        trace("sql", "`sizes[].questions[].median_ms`; each sample in `ms`", COMMAND),
    )
    title = "SQL: DuckDB's time over Stepwell's"
    page.picture("sql", title, picture(title, data))


def rows_of(data: dict[str, Any]) -> list[str]:
    """The questions of all sizes, in their order."""
    return list(
        dict.fromkeys(question["question"] for size in data["sizes"] for question in size.get("questions") or [])
    )


def picture(title: str, data: dict[str, Any]) -> str:
    asked, panels = rows_of(data), []
    least = min(
        (some for size in data["sizes"] for one in size.get("questions") or [] if (some := times(one)) is not None),
        default=1.0,
    )
    low = 0.5 if least > 0.5 else 10.0 ** math.floor(math.log10(least))
    for size in data["sizes"]:
        found = {question["question"]: times(question) for question in size.get("questions") or []}
        cells = [
            Cell(found.get(question), ratio(found[question]) if found.get(question) else NONE) for question in asked
        ]
        panels.append(Panel(name(size), lambda value: f"{value:,g}x", cells, low=low, base=1.0))
    text = f"Bars right of 1x: DuckDB takes so many times as long; left: Stepwell takes longer. {where(data)}."
    foot = (
        "Right of 1x, orange: Stepwell takes less time. Left of 1x, blue: DuckDB takes less. -: not asked. Logarithmic."
    )
    return rows_chart(title, where(data), text, [Line(question) for question in asked], panels, foot)


def readme(data: dict[str, Any]) -> str:
    """The table of the README: a row per question, a column per size."""
    lines = []
    for asked in rows_of(data):
        cells = [asked]
        for size in data["sizes"]:
            question = next((one for one in size.get("questions") or [] if one["question"] == asked), None)
            if question is None or times(question) is None:
                cells.append(NONE)
                continue
            ours, theirs = millis(own(question)), millis(faster(question)[1])
            if ours.split()[1] == theirs.split()[1]:
                ours = ours.split()[0]
            cells.append(f"{ours} / {theirs}, {ratio(times(question))}")
        lines.append(cells)
    heads = ["question", *(name(size) for size in data["sizes"])]
    end = f"{head(data)}. DuckDB takes less time for: {slower(data)}."
    return f"{table(heads, lines, words=len(heads) - 1)}\n\n{end}"
