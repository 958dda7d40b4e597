"""Sections of the peers' record about time: a call, a training loop, start and end, visibility, reading."""

from charts import Cell, Line, Panel, kind_of, percentiles_chart, rows_chart
from compare import Column, compare, order, reference
from page import Page, trace, where
from records import Peers, Row, dig, figure, number, tail
from words import divided, millis, nanos, percent, plain, ratio, seconds, whole

MISSING = "The record has no such measure yet."


def cost(page: Page, peers: Peers) -> None:
    page.add(
        "## What does one call cost the thread that makes it?",
        "Calls one after the other, from Python, each timed; dicts and values are made beforehand. Percentiles hold "
        "the two readings "
        "of the clock, which are the same for all and make ratios of cheap calls smaller than they are; the mean is "
        "taken over as "
        "many calls again without them. Medians of the repetitions. *= max*: too few calls for this percentile. Sorted "
        "by p50. Ratios are those to Stepwell's `run.log(dict, step)`.",
    )
    rows = peers.rows("cost")
    if not rows:
        page.add(MISSING)
        return
    for metrics, words in (("1", "1 metric"), ("10", "10 metrics")):
        part = f"metrics_{metrics}"
        base = reference([row for row in rows if dig(row.value, part)])
        page.add(f"### A call with {words}", compare(rows, cost_columns(part, base)))
        page.add(
            trace("peers", f"`cost.<peer>/<variant>.{part}`; repetitions in `results`, measure `cost`", peers.command())
        )
        drawn = [(row, dig(row.value, part, "histogram") or []) for row in rows if not row.error]
        if any(histogram for _, histogram in drawn):
            title = f"Time of one log call with {words}, by percentile"
            text = f"A line per tool, from the median to the last percentile that its calls allow. {where(peers.data)}."
            page.picture(f"cost-{metrics}", title, percentiles_chart(title, where(peers.data), text, drawn, nanos))
    floors = number(rows[0].value, "timer_ns", "p50") or next(
        (number(row.value, "timer_ns", "p50") for row in rows if row.value), None
    )
    if floors is not None:
        page.add(f"Two readings of the clock with nothing between: {nanos(floors)}.")


def cost_columns(part: str, base: Row | None) -> list[Column]:
    def few(key: str) -> Column:
        get = tail(part, key)
        head = {"p99_ns": "p99", "p99_9_ns": "p99.9"}[key]
        return Column(head, get, nanos, text=lambda row: "= max" if get(row) is None and dig(row.value, part) else "")

    columns = [Column("p50", figure(part, "p50_ns"), nanos), few("p99_ns"), few("p99_9_ns")]
    columns += [Column("max", figure(part, "max_ns"), nanos), Column("mean", figure(part, "batch_mean_ns"), nanos)]

    def times(key: str) -> Column:
        own = number(base.value, part, key) if base else None
        head = {"p50_ns": "p50 / Stepwell's", "batch_mean_ns": "mean / Stepwell's"}[key]
        return Column(head, lambda row: divided(number(row.value, part, key), own), ratio, compared=False)

    def read_back(row: Row) -> str:
        found, logged = number(row.value, part, "read_back"), number(row.value, part, "logged")
        return f"{whole(found)} of {whole(logged)}" if found is not None else ""

    back = Column("read back", lambda row: None, plain, False, read_back)
    return [
        *columns,
        times("p50_ns"),
        times("batch_mean_ns"),
        Column("calls timed", figure(part, "calls"), whole, False),
        back,
    ]


def steps_of(rows: list[Row]) -> list[str]:
    return sorted(
        {
            step
            for row in rows
            for step in row.value
            if number(row.value, step, "slowdown_percent", "median") is not None
        },
        key=float,
    )


def loop(page: Page, peers: Peers) -> None:
    page.add(
        "## By how much does a training loop slow down?",
        "A network on handwritten digits, trained in numpy; one call with three metrics a step. Windows with and "
        "without logging take "
        "turns; the figure is the median of the ratios of pairs. CPU is what the process and all below it used beyond "
        "the loop's own "
        "work, for 1,000 logged steps. Below 0.1 % is noise, and so is a figure below zero.",
    )
    rows = peers.rows("loop")
    steps = steps_of(rows)
    if not steps:
        page.add(MISSING if not rows else compare(rows, [Column("slowdown", lambda row: None, percent)]))
        return
    columns = [Column(f"slower at {step} ms", figure(step, "slowdown_percent", "median"), percent) for step in steps]
    columns += [Column(f"CPU at {step} ms", figure(step, "extra_cpu_s_per_1000_steps"), seconds) for step in steps]
    longest = steps[-1]
    columns.append(Column(f"end of the run at {longest} ms", figure(longest, "finish_s"), seconds))
    page.add(compare(rows, columns))
    page.add(
        trace(
            "peers", "`results`, measure `loop`, `slowdown_percent` and `extra_cpu_s_per_1000_steps`", peers.command()
        )
    )
    drawn = order(rows, columns[0].get)
    panels = []
    for step in steps:
        cells = []
        for row in drawn:
            spread = dig(row.value, step, "slowdown_percent") or {}
            cells.append(
                Cell(
                    number(spread, "median"),
                    "failed" if row.error else percent(number(spread, "median")),
                    number(spread, "min"),
                    number(spread, "max"),
                )
            )
        panels.append(Panel(f"{step} ms a step: slowdown", lambda value: f"{value:,g} %", cells, 0.1, "<0.1 %"))
    lines = [Line(row.name, kind_of(row)) for row in drawn]
    title = "Slowdown of a training loop"
    text = f"Median of pairs of windows with and without logging, and lowest to highest pair. {where(peers.data)}."
    page.picture(
        "loop",
        title,
        rows_chart(
            title,
            where(peers.data),
            text,
            lines,
            panels,
            "Dot: median of the pairs. Line: lowest to highest pair. Logarithmic.",
        ),
    )


def times(page: Page, peers: Peers) -> None:
    page.add(
        "## How long do import, start and end take?",
        "In fresh processes, files in the page cache; medians. The end is that of a run with "
        f"{whole(number(peers.data, 'settings', 'times', 'calls'))} calls. Sorted by the sum of import, first start "
        f"and end.",
    )
    rows = peers.rows("times")
    if not rows:
        page.add(MISSING)
        return
    keys = {
        "import_s": "import",
        "first_start_s": "first start",
        "first_finish_s": "its end",
        "later_start_s": "later start",
        "later_finish_s": "its end",
    }

    def total(row: Row) -> float | None:
        parts = [number(row.value, key, "median") for key in ("import_s", "first_start_s", "first_finish_s")]
        return None if None in parts else sum(part for part in parts if part is not None)

    columns = [Column("import, start, end", total, seconds)]
    columns += [Column(head, figure(key, "median"), seconds) for key, head in keys.items()]
    page.add(compare(rows, columns), trace("peers", "`results`, measure `times`, `*_s.median`", peers.command()))


def visible(page: Page, peers: Peers) -> None:
    page.add(
        "## How soon can another process see a value?",
        "One call every 10 ms, while another process reads the curve again and again. How long one reading takes is in "
        "the figure, "
        "and given beside it.",
    )
    rows = peers.rows("visible")
    if not rows:
        page.add(MISSING)
        return

    def never(row: Row) -> str:
        if not row.value.get("never_before_finish"):
            return ""
        return f"not within {number(row.value, 'watched_s') or 0:g} s"

    def after(row: Row) -> str:
        found, logged = number(row.value, "steps_after_finish"), number(row.value, "steps_logged")
        return f"{whole(found)} of {whole(logged)}" if found is not None else ""

    columns = [
        Column("median", figure("delay_ms", "median"), millis, text=never),
        Column("max", figure("delay_ms", "max"), millis),
        Column("the first value", figure("first_delay_ms"), millis),
        Column("one reading", figure("reading_ms", "median"), millis, False),
        Column("values seen", figure("steps_seen"), whole, False),
        Column("readable after the end", lambda row: None, plain, False, after),
    ]
    page.add(compare(rows, columns), trace("peers", "`results`, measure `visible`, `delay_ms`", peers.command()))


def read(page: Page, peers: Peers) -> None:
    page.add(
        "## How long does it take to read one curve, and to rank runs?",
        "In a process that has not logged: a curve of the points that could be logged in the time given, and runs "
        "ranked by their lowest "
        "loss; medians, and the first time. Where fewer points or runs could be logged, less was read: see the columns "
        "beside.",
    )
    rows = peers.rows("read")
    if not rows:
        page.add(MISSING)
        return

    def points(row: Row) -> str:
        found, logged = number(row.value, "points_read"), number(row.value, "points_logged")
        return f"{whole(found)} of {whole(logged)}" if found is not None else ""

    def right(row: Row) -> str:
        said = row.value.get("rank_right")
        return {True: "yes", False: "no"}.get(said, "") if said is not None else ""

    columns = [
        Column("one curve", figure("curve_s", "median"), seconds),
        Column("the first time", figure("curve_first_s"), seconds),
        Column("points read", lambda row: None, plain, False, points),
        Column("rank runs", figure("rank_s", "median"), seconds),
        Column("the first time", figure("rank_first_s"), seconds),
        Column("runs ranked", figure("runs_ranked"), whole, False),
        Column("the best one is right", lambda row: None, plain, False, right),
    ]
    page.add(
        compare(rows, columns), trace("peers", "`results`, measure `read`, `curve_s` and `rank_s`", peers.command())
    )
