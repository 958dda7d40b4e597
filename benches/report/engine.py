"""Records of the programs that measure the engine alone: each table as it was printed, with ratios to the limit of its
run, and the README's table of them."""

from typing import Any, Callable

from page import Page, trace, where
from records import number
from words import NONE, clean, divided, millis, nanos, plain, ratio, table, whole

QUESTIONS = {
    "log": "Means of a call from Rust, beside the least it could cost",
    "latency": "Percentiles of a call from Rust, while the engine works beside it",
    "beside": "Percentiles of a call while other work goes on in the process",
    "instructions": "Instructions of a call, counted by callgrind",
    "python": "What a call costs from Python",
    "throughput": "What is sustained to committed Parquet; times of a run",
    "sealing": "What becoming a segment costs, by stage; how long a commit takes",
    "recovery": "How long a store takes to open after its writer was killed",
    "catalog": "A store of many runs: open it, look at it, add to it",
}
COMMANDS = {
    "log": "STEPWELL_BENCH_JSON=log.json cargo bench -p stepwell-benches --bench log -- --noplot",
    "python": "python benches/python/call.py --json python.json",
}

LIMIT = "TSC read + 32-byte store"
FIRST = ("best", "median", "p50", "p90", "p99", "p99.9", "p99.99", "max", "mean", "first")


def section(page: Page, records: dict[str, dict[str, Any]]) -> None:
    if not records:
        return
    page.add("## The engine alone, from Rust")
    for stem, data in sorted(
        records.items(), key=lambda pair: (list(QUESTIONS).index(pair[0]) if pair[0] in QUESTIONS else 99, pair[0])
    ):
        environment = data.get("environment") or {}
        facts = f"{where(data)}; {clean(environment.get('profile', '?'))}; {clean(environment.get('compiler', '?'))}"
        page.add(f"### {QUESTIONS.get(data['benchmark'], clean(stem))}", facts + ".")
        for title in dict.fromkeys(record.get("table", "") for record in data["records"]):
            page.add(f"*{clean(title)}*", one(data, title))
        program = data["benchmark"]
        command = f"cargo run --release -p stepwell-benches --bin {program} -- --json {stem}.json"
        page.add(trace(stem, "`records`", COMMANDS.get(program, command)))


def one(data: dict[str, Any], title: str) -> str:
    """A table of the record. Where it has a row `limit`, a last column has ratios to it: of means or first figures."""
    rows = [record for record in data["records"] if record.get("table", "") == title]
    heads = list(dict.fromkeys(key for row in rows for key in row if key not in ("name", "table")))
    # Keys of an object have no order of their own.
    heads.sort(key=lambda head: FIRST.index(head) if head in FIRST else len(FIRST))
    limit = next((row for row in rows if str(row.get("name", "")).startswith("limit")), None)
    by = "mean" if "mean" in heads else heads[0] if heads else ""
    lines = []
    for row in rows:
        cells = [clean(str(row.get("name", ""))), *(digits(number(row, head)) for head in heads)]
        if limit:
            # From the moment at which a call was due, it is the machine that is measured rather than the call.
            due = "since due" in cells[0]
            cells.append(NONE if due else ratio(divided(number(row, by), number(limit, by))))
        lines.append(cells)
    return table(["", *(clean(head) for head in heads), *([f"{clean(by)} / limit"] if limit else [])], lines)


def digits(value: float | None) -> str:
    return whole(value) if value is not None and float(value).is_integer() else plain(value)


class Figures:
    """Figures of the records by program, beginning of the table's title, and beginning of the row's name."""

    def __init__(self, records: dict[str, dict[str, Any]]) -> None:
        self.records = {data["benchmark"]: data for data in records.values()}

    def get(self, program: str, title: str, name: str, key: str) -> float | None:
        for row in self.records.get(program, {}).get("records", []):
            if row.get("table", "").startswith(title) and row.get("name", "").startswith(name):
                return number(row, key)
        return None

    def several(self, program: str, title: str, name: str, keys: tuple[str, ...], form: Callable[..., str]) -> str:
        found = [self.get(program, title, name, key) for key in keys]
        return NONE if None in found else " / ".join(form(value) for value in found)


def readme(records: dict[str, dict[str, Any]]) -> str:
    """The engine's own figures in a dozen rows; a row whose record is missing is left out."""
    figures = Figures(records)
    rows = [*rust_rows(figures), *python_rows(figures)]
    lines = [list(row) for row in rows if NONE not in row[1].split("; ")[0].split(" / ")]
    places = sorted({where(data) for data in figures.records.values() if data["benchmark"] != "instructions"})
    return f"{table(['what', 'measured', 'command'], lines, words=2)}\n\n{'; '.join(places)}." if lines else ""


def rust_rows(figures: Figures) -> list[tuple[str, str, str]]:
    call, corrected = "nanoseconds a call", "nanoseconds a call, corrected"
    tail = ("p50", "p99.9", "p99.99")
    log, limit = (figures.get("log", call, name, "mean") for name in ("engine/log", f"floor/{LIMIT}"))
    rate = figures.get("throughput", "sustained", "records / CPU second", "value")
    rows = [
        (f"Rust `log`, mean; the same over the limit, a {LIMIT}", f"{nanos(log)}; {ratio(divided(log, limit))}"),
        (
            "Rust `log`, bursts of 100,000: p50 / p99.9 / p99.99, probe deducted",
            figures.several("latency", corrected, "log, bursts", tail, nanos),
        ),
        ("the same for the limit", figures.several("latency", corrected, "limit", tail, nanos)),
        (
            "Rust `log`, one call every microsecond: p50 / p99.9",
            figures.several("latency", corrected, "log, paced", tail[:2], nanos),
        ),
        (
            "Rust `log_row` of 10, per metric: p50 / mean",
            figures.several("latency", corrected, "log_row of 10", ("p50", "mean"), nanos),
        ),
        ("sustained to committed Parquet, one logging thread, records / CPU second", millions(rate)),
        (
            "a record visible to a second process, median",
            figures.several("throughput", "visible", "from the log call", ("median",), millis),
        ),
        ("open a store, start a run, make its logger / finish 1,000 records, medians", pair(figures)),
    ]
    return [(*row, "`make bench-full`") for row in rows]


def python_rows(figures: Figures) -> list[tuple[str, str, str]]:
    call, keys, rows = "nanoseconds a call", ("p50", "p99"), []
    for name, words in (("log_metric, 1 key", "one key"), ("log_metric, 10 keys", "ten keys")):
        over = ratio(figures.get("python", call, name, "of the floor"))
        what = f"Python `log_metric`, {words}: p50 / p99; over `len` of the same dict, built in the call"
        rows.append((what, f"{figures.several('python', call, name, keys, nanos)}; {over}"))
    handle = figures.several("python", call, "handle", keys, nanos)
    rows.append(("Python metric handle, `loss(x, step)`: p50 / p99", handle))
    return [(*row, "`make bench-python`") for row in rows]


def pair(figures: Figures) -> str:
    started = figures.get("throughput", "a short run", "start", "median")
    finished = figures.get("throughput", "a short run", "Run::finish", "median")
    return f"{millis(started)} / {millis(finished)}"


def millions(value: float | None) -> str:
    return NONE if value is None else f"{plain(value / 1e6)} M"
