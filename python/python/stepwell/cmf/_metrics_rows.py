"""The rows of one metrics name of one execution, as `Cmf.log_metric` takes them.

Numbers go to the run, where they survive the death of the process. What is no number there (text, lists, None, integers
beyond 2^53), and the type each column had, goes to a file of lines beside the runs, one write a row: it survives, too. Both
are read back when an execution is taken up again. In memory a number costs 16 bytes.
"""

from __future__ import annotations

import os
import threading
from array import array
from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Integers up to here are exact as a 64-bit float.
_EXACT_MAX = 2**53
_INT64_MAX = 2**63 - 1


class Column:
    """One key: its numbers and the rows they are in, and everything else by row."""

    __slots__ = ("kinds", "numbers", "others", "rows")

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.rows = array("q")
        self.numbers = array("d")
        self.others: dict[int, Any] = {}


class MetricsRows:
    """The rows of one metrics name; they count from 1, as CMF's `SequenceNumber`. Threads may share it."""

    def __init__(self, run: Any, name: str) -> None:
        from urllib.parse import quote

        self.name = name
        self.count = 0
        self.columns: dict[str, Column] = {}
        self.changed = False
        self.has_new_numbers = False
        self._run = run
        self._lock = threading.Lock()
        self._file = os.path.join(run.store, "cmf", run.id, quote(name, safe=" ") + ".jsonl")

    def add(self, values: Mapping[Any, Any]) -> None:
        """Appends a row. When it returns, the row survives the death of the process."""
        with self._lock:
            row = self.count + 1
            numbers, lines = self._sorted_out(row, values)
            if numbers:
                self._run.log_metric(self.name, numbers, step=row)
                self.has_new_numbers = True
            elif not lines:
                lines.append({"row": row})
            if lines:
                self._append(lines)
            self.count = row
            self.changed = True

    def _sorted_out(self, row: int, values: Mapping[Any, Any]) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """The numbers of a row, and the lines that keep the rest; both are in the columns afterwards."""
        numbers: dict[str, float] = {}
        lines: list[dict[str, Any]] = []
        others: dict[str, Any] = {}
        for key, value in values.items():
            key = key if isinstance(key, str) else str(key)
            kind, value = _kind_of(value)
            column = self.columns.get(key)
            if column is None:
                column = self.columns[key] = Column()
            if kind not in column.kinds:
                column.kinds.add(kind)
                lines.append({"key": key, "kind": kind})
            if kind in ("float", "int", "bool"):
                column.rows.append(row)
                column.numbers.append(value)
                numbers[key] = value
            else:
                column.others[row] = value
                others[key] = value
                if kind == "nested":
                    numbers.update(_leaves(key, value))
        if others:
            lines.append({"row": row, "cells": others})
        return numbers, lines

    def _append(self, lines: list[dict[str, Any]]) -> None:
        import json

        os.makedirs(os.path.dirname(self._file), exist_ok=True)
        with open(self._file, "ab", buffering=0) as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines).encode())

    def load(self) -> None:
        """Reads what was logged before under this name, by this process or another one."""
        from .. import sql

        for line in _lines(self._file):
            if "key" in line:
                self.columns.setdefault(line["key"], Column()).kinds.add(line["kind"])
                continue
            self.count = max(self.count, line["row"])
            for key, value in line.get("cells", {}).items():
                self.columns.setdefault(key, Column()).others[line["row"]] = value
        found = sql(
            "SELECT metric, step, value FROM metrics WHERE run_id = $run AND metrics_name = $name ORDER BY step, seq",
            self._run.store,
            params={"run": self._run.id, "name": self.name},
        )
        nested = tuple(f"{key}." for key, column in self.columns.items() if "nested" in column.kinds)
        for key, step, value in found.rows:
            self.count = max(self.count, step)
            column = self.columns.get(key)
            if column is None:
                if key.startswith(nested):
                    continue
                column = self.columns[key] = Column()
                column.kinds.add("float")
            column.rows.append(step)
            column.numbers.append(value)

    def snapshot(self) -> tuple[int, list[tuple[str, str, Any, Any]]]:
        """Number of rows, and for each column its name, its type, the rows that have a value, and the values.

        A type is int64, double, bool, string or nested. A column of numbers and text is text; one of integers and floats
        is double; a value that was not logged, or None, is null.
        """
        with self._lock:
            columns = []
            for key, column in self.columns.items():
                kind = _column_kind(column)
                columns.append((key, kind, *_column_values(column, kind)))
            return self.count, columns

    def as_dicts(self) -> dict[int, dict[str, Any]]:
        """The rows as CMF's attribute `metrics` holds them: dicts by row number."""
        count, columns = self.snapshot()
        rows: dict[int, dict[str, Any]] = {row: {} for row in range(1, count + 1)}
        for key, kind, places, values in columns:
            for row, value in zip(places, values):
                rows[row][key] = bool(value) if kind == "bool" else value
        return rows


def _kind_of(value: Any) -> tuple[str, Any]:
    kind = type(value)
    if kind is float:
        return "float", value
    if not isinstance(value, (int, float, str)) and hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    elif hasattr(value, "tolist") and not isinstance(value, (int, float, str)):
        value = value.tolist()
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, int):
        return ("int", int(value)) if -_EXACT_MAX <= value <= _EXACT_MAX else ("integer", int(value))
    if isinstance(value, float):
        return "float", float(value)
    if value is None:
        return "none", None
    if isinstance(value, (list, tuple, dict)):
        import json

        try:
            return "nested", json.loads(json.dumps(value, default=str))
        except (TypeError, ValueError):
            return "text", str(value)
    return "text", str(value)


def _leaves(prefix: str, value: Any) -> dict[str, float]:
    """The numbers in nested dicts, by dotted key: they are series of their own in SQL and in plots."""
    found: dict[str, float] = {}
    if isinstance(value, dict):
        for key, inner in value.items():
            found.update(_leaves(f"{prefix}.{key}", inner))
    elif isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) <= _EXACT_MAX):
        found[prefix] = value
    return found


def _column_kind(column: Column) -> str:
    kinds = column.kinds - {"none"}
    if not kinds:
        return "string"
    if kinds <= {"float", "int", "bool", "integer"}:
        if "float" in kinds:
            return "double"
        if kinds == {"bool"}:
            return "bool"
        big = (value for value in column.others.values() if value is not None)
        return "int64" if all(abs(value) <= _INT64_MAX for value in big) else "string"
    return "nested" if kinds == {"nested"} else "string"


def _column_values(column: Column, kind: str) -> tuple[Any, Any]:
    others = {row: value for row, value in column.others.items() if value is not None}
    if kind in ("double", "bool", "int64") and not others:
        values = array("q", map(int, column.numbers)) if kind == "int64" else column.numbers
        return column.rows, values
    cells: dict[int, Any] = {}
    is_text = kind == "string"
    for row, number in zip(column.rows, column.numbers):
        whole = number.is_integer() and "int" in column.kinds and (is_text or kind == "int64")
        cells[row] = int(number) if whole else number
    cells.update(others)
    rows = sorted(cells)
    if is_text:
        return rows, [_text(cells[row]) for row in rows]
    return rows, [cells[row] for row in rows]


def _text(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, (list, dict)) else str(value)


def _lines(path: str) -> list[dict[str, Any]]:
    """The lines of a file; a torn last one, which a killed process left, is not there yet and is left out."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return []
    import json

    return [json.loads(line) for line in data.split(b"\n")[:-1] if line]
