"""Sections of the peers' record about what is kept: kills, sizes, memory, behaviour, and the versions of the tools."""

from charts import Cell, Line, Panel, kind_of, rows_chart
from compare import Column, compare, order
from page import Page, trace, where
from peers_speed import MISSING
from records import NAMES, Peers, Row, dig, figure, number
from words import NONE, bold, clean, plain, size, table, whole

KINDS = {"flat": "flat out", "paced": "1 call/ms"}


def returned(kind: str) -> Column:
    """How many calls had returned at the kill, in the median: what the lost ones are of."""

    def middle(row: Row) -> float | None:
        counts = sorted(
            found for kill in dig(row.value, kind, "each") or [] if (found := number(kill, "returned")) is not None
        )
        return counts[len(counts) // 2] if counts else None

    return Column("of", middle, whole, compared=False)


def both(key: str) -> Column:
    """A sum over both kinds of kills."""

    def total(row: Row) -> float | None:
        parts = [found for kind in KINDS if (found := number(row.value, kind, key)) is not None]
        return sum(parts) if parts else None

    return Column(
        {"kills": "kills", "unreadable": "store unreadable", "wrong": "values changed"}[key],
        total,
        whole,
        compared=key != "kills",
    )


def kill(page: Page, peers: Peers) -> None:
    page.add(
        "## Of the calls that had returned, how many are lost by SIGKILL?",
        "A writer is killed at random moments; what else the tool runs gets two seconds to save what it holds. A call "
        "counts as kept "
        "when its step and value can be read by what the tool documents for a run that died. A store that cannot be "
        "read has lost all.",
    )
    rows = peers.rows("kill")
    if not rows:
        page.add(MISSING)
        return
    columns = []
    for kind, words in KINDS.items():
        columns += [
            Column(f"lost {words}: median", figure(kind, "lost_median"), whole),
            Column("min", figure(kind, "lost_min"), whole),
            Column("max", figure(kind, "lost_max"), whole),
            returned(kind),
        ]
    columns += [both("kills"), both("unreadable"), both("wrong")]
    page.add(compare(rows, columns), trace("peers", "`results`, measure `kill`, `lost_*` and `each`", peers.command()))
    drawn = order(rows, columns[0].get)
    panels = []
    for kind, words in KINDS.items():
        cells = []
        for row in drawn:
            lost = tuple(
                found for one in dig(row.value, kind, "each") or [] if (found := number(one, "lost")) is not None
            )
            middle = number(row.value, kind, "lost_median")
            cells.append(Cell(middle, "failed" if row.error else whole(middle), points=lost))
        panels.append(Panel(f"{words}: calls lost", lambda value: f"{value:,.0f}", cells, 1.0, "0"))
    title = "Calls that had returned and were lost by SIGKILL"
    text = f"Each dot is a kill; the upright line and the number are the median. {where(peers.data)}."
    lines = [Line(row.name, kind_of(row)) for row in drawn]
    page.picture(
        "kill",
        title,
        rows_chart(
            title,
            where(peers.data),
            text,
            lines,
            panels,
            "Each dot is a kill. Upright line and number: median. Logarithmic.",
        ),
    )


def sizes(page: Page, peers: Peers) -> None:
    page.add(
        "## How many bytes does a record take?",
        "Up to 36 recorded NanoGPT runs with their own steps; all files of the store after the process has ended. Slow "
        "peers are stopped "
        "by a limit: the column *records* says how much was logged, and short logs are mostly the empty store, which "
        "the last columns show.",
    )
    rows = peers.rows("size")
    if not rows:
        page.add(MISSING)
        return

    def back(row: Row) -> str:
        found, wanted = (number(row.value, "read_back_of_first_run", key) for key in ("found", "expected"))
        return f"{whole(found)} of {whole(wanted)}" if found is not None else ""

    columns = [
        Column("bytes a record", figure("apparent_bytes_per_record"), plain),
        Column("allocated", figure("allocated_bytes_per_record"), plain),
        Column("records", figure("records"), whole, False),
        Column("files", figure("files"), whole, False),
        Column("read back of the first run", lambda row: None, plain, False, back),
        Column("store of one record", figure("one_record", "apparent_bytes"), size),
        Column("its files", figure("one_record", "files"), whole, False),
    ]
    page.add(
        compare(rows, columns),
        trace("peers", "`results`, measure `size`, `apparent_bytes_per_record` and `one_record`", peers.command()),
    )
    drawn = order(rows, columns[0].get)

    def panel(head: str, column: Column, low: float) -> Panel:
        cells = [Cell(column.get(row), "failed" if row.error else column.form(column.get(row))) for row in drawn]
        return Panel(head, lambda value: size(value) if low > 1 else f"{value:,.0f}", cells, low, bars=True)

    title = "Bytes on disk"
    text = f"Left: bytes of all files for each record. Right: a store of one run of one record. {where(peers.data)}."
    panels = [panel("bytes a record", columns[0], 1.0), panel("a store of one record", columns[5], 10.0)]
    page.picture(
        "size",
        title,
        rows_chart(
            title,
            where(peers.data),
            text,
            [Line(row.name, kind_of(row)) for row in drawn],
            panels,
            "Logarithmic: a bar twice as long is far more than twice as much.",
            shared=False,
        ),
    )


def memory(page: Page, peers: Peers) -> None:
    page.add(
        "## Does memory grow with the calls?",
        "Proportional set size of the process and all below it, calls with one metric flat out. Growth is from the "
        "first count of calls to "
        "the last; what has not been written yet is in it.",
    )
    rows = peers.rows("memory")
    if not rows:
        page.add(MISSING)
        return
    columns = [
        Column("bytes a call", figure("bytes_per_call"), plain),
        Column("peak", figure("peak_bytes"), size),
        Column("after import", figure("loaded_bytes"), size),
        Column("calls", figure("calls"), whole, False),
    ]
    page.add(
        compare(rows, columns),
        trace("peers", "`results`, measure `memory`, `bytes_per_call` and `peak_bytes`", peers.command()),
    )


CASES = {
    "nan": "NaN, infinities",
    "late": "late steps",
    "repeated": "a repeated step",
    "keys": "10,000 keys",
    "fork": "fork",
}


def behaviour(page: Page, peers: Peers) -> None:
    page.add(
        "## What happens with NaN, late steps, repeated steps, many keys, and a fork?",
        "Told by reading back what was logged. *Kept*: all of it; *partly kept*, *dropped*, *changed*, *error*, "
        "*hangs*, *unreadable*: as "
        "they say. With a repeated step, *kept* is both values. A fork logs in parent and child; in brackets what "
        "differed.",
    )
    rows = peers.rows("behaviour")
    if not rows:
        page.add(MISSING)
        return
    lines, counts = [], {number(row.value, "keys", "keys") for row in rows} - {None}
    heads = {**CASES, "keys": f"{whole(max(counts))} keys"} if counts else CASES
    for row in order(rows, lambda row: -sum(dig(row.value, case, "word") == "kept" for case in CASES)):
        if row.error:
            cells = [row.name, f"failed: {clean(row.error)}"] + [NONE] * (len(CASES) - 1)
        else:
            cells = [row.name, *(told(dig(row.value, case) or {}) for case in CASES)]
        lines.append([bold(cells[0]), *cells[1:]] if row.own else cells)
    page.add(table(["", *heads.values()], lines, words=len(CASES)))
    page.add(
        "Sorted by the number of cases in which all was kept.",
        trace("peers", "`results`, measure `behaviour`", peers.command()),
    )


def told(part: dict) -> str:
    word, detail = str(part.get("word", NONE)), str(part.get("detail", ""))
    plain_kept = word == "kept" and ("changed" not in detail and "missing" not in detail)
    return word if plain_kept or not detail else f"{word} ({clean(detail, 100)})"


def versions(page: Page, peers: Peers) -> None:
    lines = []
    for peer, told_ in sorted((peers.data.get("peers") or {}).items()):
        parts = ", ".join(f"{name} {version}" for name, version in (told_.get("versions") or {}).items())
        calls = "; ".join(f"`{text}`" for text in (told_.get("variants") or {}).values() if text)
        build = told_.get("build") or ""
        error = f"failed: {clean(told_['error'])}" if told_.get("error") else ""
        lines.append(
            [
                NAMES.get(peer, peer),
                error or parts or NONE,
                calls or NONE,
                clean(told_.get("reader") or NONE),
                clean(build) or NONE,
            ]
        )
    page.add("## Peers and versions", table(["", "versions", "calls", "read with", "build"], lines, words=4))
    page.add(trace("peers", "`peers`", peers.command()))
