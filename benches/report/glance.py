"""The first table of the report and the README's: where Stepwell stands in each question, and who is lower."""

import dataclasses
from typing import Callable

from compare import LOWER_MEANS, Column, ahead, best, cell, order, reference
from page import Page, trace, where
from records import Peers, Row, figure, number, tail
from words import NONE, Form, bold, clean, divided, listed, millis, nanos, percent, plain, ratio, seconds, table, whole


@dataclasses.dataclass
class Question:
    words: str
    measure: str
    get: Callable[[Row], float | None]
    form: Form
    # The README's heading; empty: not in the README.
    short: str = ""


QUESTIONS = (
    Question("a call with 1 metric, p50", "cost", figure("metrics_1", "p50_ns"), nanos, "call, p50"),
    Question("a call with 1 metric, mean", "cost", figure("metrics_1", "batch_mean_ns"), nanos, "mean"),
    Question("a call with 1 metric, p99.9", "cost", tail("metrics_1", "p99_9_ns"), nanos),
    Question("a call with 10 metrics, p50", "cost", figure("metrics_10", "p50_ns"), nanos),
    Question("a call with 10 metrics, mean", "cost", figure("metrics_10", "batch_mean_ns"), nanos),
    Question("loop of 0.2 ms a step, slowdown", "loop", figure("0.2", "slowdown_percent", "median"), percent),
    Question(
        "loop of 1 ms a step, slowdown",
        "loop",
        figure("1", "slowdown_percent", "median"),
        percent,
        "slowdown at 1 ms a step",
    ),
    Question(
        "calls lost by SIGKILL, flat out, median",
        "kill",
        figure("flat", "lost_median"),
        whole,
        "lost by SIGKILL, median",
    ),
    Question("calls lost by SIGKILL, flat out, most", "kill", figure("flat", "lost_max"), whole, "most"),
    Question("calls lost by SIGKILL, 1 call/ms, most", "kill", figure("paced", "lost_max"), whole),
    Question("bytes a record", "size", figure("apparent_bytes_per_record"), plain, "bytes a record"),
    Question("a value visible to another process", "visible", figure("delay_ms", "median"), millis, "visible after"),
    Question("import", "times", figure("import_s", "median"), seconds),
    Question("first start of a run", "times", figure("first_start_s", "median"), seconds),
    Question("end of a run", "times", figure("first_finish_s", "median"), seconds),
    Question("read one curve", "read", figure("curve_s", "median"), seconds),
    Question("rank runs", "read", figure("rank_s", "median"), seconds),
    Question("memory, bytes a call", "memory", figure("bytes_per_call"), plain),
)


def section(page: Page, peers: Peers) -> None:
    lines = []
    for question in QUESTIONS:
        rows = peers.rows(question.measure)
        base = reference(rows)
        own, others = (question.get(base) if base else None), best(rows, question.get)
        if own is None and not others:
            continue
        theirs = question.get(others[0]) if others else None
        nearest = f"{question.form(theirs)} ({listed([row.name for row in others])})" if others else NONE
        lines.append(
            [
                question.words,
                bold(question.form(own)),
                nearest,
                ratio(divided(theirs, own)),
                ahead(rows, question.get, question.form),
            ]
        )
    if not lines:
        return
    page.add(
        "## At a glance",
        "Stepwell, the lowest figure of all other tools (floors left out), their ratio, and every tool with a figure "
        "lower than "
        "Stepwell's. Tools that read or logged less are in it with what they did: the sections below say how much.",
        table(["", "**Stepwell**", "lowest of the others", "ratio", "tools with a lower figure"], lines, words=1),
        trace("peers", "the keys under each table below", peers.command()),
    )


def readme(peers: Peers) -> str:
    """A row per tool: the first way to call it, since only that goes through all measures."""
    questions = [question for question in QUESTIONS if question.short]
    found: dict[str, dict[str, Row]] = {}
    for question in questions:
        for row in peers.rows(question.measure):
            if row.floor or row.first:
                found.setdefault(f"{row.peer}/{row.variant}", {})[question.measure] = row
    first = questions[0]
    bases = {question.measure: reference(peers.rows(question.measure)) for question in questions}
    firsts = {
        id(row): key for key, rows in found.items() for row in [rows.get(first.measure) or next(iter(rows.values()))]
    }
    by_id = {id(row): row for rows in found.values() for row in rows.values()}
    lines = []
    for row in order([by_id[key] for key in firsts], first.get):
        cells = [row.name]
        for question in questions:
            cells.append(readme_cell(question, found[firsts[id(row)]].get(question.measure), bases[question.measure]))
        lines.append([bold(text) for text in cells] if row.own else cells)
    heads = ["", *(question.short for question in questions)]
    failed = sorted(
        {f"{row.name}: {clean(row.error, 80)}" for rows in found.values() for row in rows.values() if row.error}
    )
    end = [f"{where(peers.data)}, CPython {python(peers)}. {LOWER_MEANS}"]
    end += [f"Failed: {'; '.join(failed)}."] if failed else []
    return f"{table(heads, lines)}\n\n{' '.join(end)}"


def readme_cell(question: Question, row: Row | None, base: Row | None) -> str:
    if row is None:
        return NONE
    if row.error:
        return "failed"
    if question.measure == "visible" and row.value.get("never_before_finish"):
        return f"not within {number(row.value, 'watched_s') or 0:g} s"
    return cell(Column("", question.get, question.form), row, base)


def python(peers: Peers) -> str:
    versions = {told.get("python") for told in (peers.data.get("peers") or {}).values()} - {None}
    return " and ".join(sorted(versions)) or "?"
