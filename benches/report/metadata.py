"""The record of benches/cmf/bench.py: CMF's calls with cmflib and with stepwell.cmf."""

import math
import statistics
from typing import Any

from charts import Cell, Line, Panel, rows_chart
from compare import LOWER
from page import Page, trace, where
from records import dig
from words import divided, millis, ratio, table

COMMAND = "make bench-cmf"
ALL = "all of a round"


def medians(data: dict[str, Any]) -> list[tuple[str, float | None, float | None]]:
    """Each call with the median seconds of cmflib and of stepwell.cmf; the sum of a round last."""

    def median(*keys: str) -> float | None:
        found = dig(data, *keys)
        return statistics.median(found) if found else None

    calls = list(dig(data, "calls", "cmflib") or {})
    found = [(call, median("calls", "cmflib", call), median("calls", "stepwell", call)) for call in calls]
    return [*found, (ALL, median("totals", "cmflib"), median("totals", "stepwell"))]


def section(page: Page, data: dict[str, Any]) -> None:
    rounds = len(dig(data, "totals", "stepwell") or [])
    page.add(
        "## Metadata: CMF's calls",
        f"The pipeline of `examples/cmf` ({len(data.get('steps') or [])} steps, each a process of its own) with cmflib "
        f"{dig(data, 'versions', 'cmflib')} and, with one import changed, on `stepwell.cmf`, in turn, {rounds} times each; "
        "medians, in waiting time of the caller. The ratio is cmflib's time over Stepwell's. cmflib's `log_metric` puts the "
        "row into a list in memory; Stepwell's row survives a crash when the call returns.",
    )
    lines = []
    for call, theirs, ours in medians(data):
        ahead = theirs is not None and ours is not None and theirs < ours
        text = f"{millis(theirs and theirs * 1e3)}{f' {LOWER}' if ahead else ''}"
        name = call if call in (ALL, "import") else f"`{call}`"
        lines.append([name, text, f"**{millis(ours and ours * 1e3)}**", ratio(divided(theirs, ours))])
    page.add(
        table(["call", "cmflib", "**stepwell.cmf**", "ratio"], lines),
        trace("cmf", "`calls` and `totals`, in seconds", COMMAND),
    )
    cells = [(call, divided(theirs, ours)) for call, theirs, ours in medians(data)]
    least = min((times for _, times in cells if times), default=1.0)
    panel = Panel(
        "cmflib's time over Stepwell's",
        lambda value: f"{value:,g}x",
        [Cell(times, ratio(times)) for _, times in cells],
        low=0.5 if least > 0.5 else 10.0 ** math.floor(math.log10(least)),
        base=1.0,
    )
    title = "Metadata: cmflib's time over Stepwell's"
    text = f"Bars right of 1x: cmflib takes so many times as long. {where(data)}."
    foot = "Right of 1x, orange: Stepwell takes less time. Left of 1x, blue: cmflib takes less. Logarithmic."
    page.picture("metadata", title, rows_chart(title, where(data), text, [Line(call) for call, _ in cells], [panel], foot))
