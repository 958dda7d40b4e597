"""Records of the Rust programs of benches/src: each table as it was printed, with ratios to the limit of its run."""

from typing import Any

from page import Page, trace, where
from records import number
from words import NONE, clean, divided, plain, ratio, table, whole

QUESTIONS = {
    "latency": "Percentiles of a call from Rust, while the engine works beside it",
    "beside": "Percentiles of a call while other work goes on in the process",
    "throughput": "What is sustained to committed Parquet; times of a run",
    "instructions": "Instructions of a call, counted by callgrind",
}


FIRST = ("median", "p50", "p90", "p99", "p99.9", "p99.99", "max", "mean", "first")


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
        command = f"cargo run --release -p stepwell-benches --bin {data['benchmark']} -- --json {stem}.json"
        page.add(trace(stem, "`records`", command))


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
