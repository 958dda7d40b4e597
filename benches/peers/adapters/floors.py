"""Floors: what it costs to do nothing, to keep the dict in memory, to write it as a line, to commit it to SQLite.

- pass: an empty function that takes the same arguments: the cost of calling anything.
- list: `list.append` of step and dict. Nothing is written: a kill loses all. The end of the run writes JSON lines.
- jsonl: one JSON line and a flush to the kernel per call.
- sqlite: a row per metric in one transaction per call; WAL and synchronous=NORMAL, which sqlite.org/wal.html and
  sqlite.org/pragma.html#pragma_synchronous give for this use: commits survive the process, not always a power loss.
"""

import json
import pathlib
import sqlite3

from adapters.base import Peer, Run


class Adapter(Peer):
    VARIANTS = {
        "pass": "an empty function of the same arguments",
        "list": "list.append of step and dict",
        "jsonl": "a JSON line and a flush",
        "sqlite": "an insert and commit into SQLite, WAL, synchronous NORMAL",
    }
    READER = "json.loads of each line; a SELECT"

    def start(self, folder, name, params):
        return {"pass": Nothing, "list": Kept, "jsonl": Line, "sqlite": Table}[self.variant](folder, name)

    def read_curve(self, folder, name, metric):
        if self.variant == "sqlite":
            connection = sqlite3.connect(f"{folder}/metrics.db")
            try:
                query = "SELECT step, value FROM metrics WHERE run = ? AND metric = ? ORDER BY rowid"
                return [(step, value) for step, value in connection.execute(query, (name, metric))]
            finally:
                connection.close()
        path = pathlib.Path(folder, f"{name}.jsonl")
        if not path.exists():
            return []
        curve = []
        for line in path.read_text().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue  # A line that the kill cut off.
            if metric in record:
                curve.append((record["step"], record[metric]))
        return curve

    def runs(self, folder):
        if self.variant == "sqlite":
            connection = sqlite3.connect(f"{folder}/metrics.db")
            return [name for (name,) in connection.execute("SELECT DISTINCT run FROM metrics")]
        return [path.stem for path in pathlib.Path(folder).glob("*.jsonl")]


def nothing(values, step):
    pass


class Nothing(Run):
    def __init__(self, folder, name):
        self.log = nothing

    def finish(self):
        pass


class Kept(Run):
    def __init__(self, folder, name):
        self.path, self.kept = pathlib.Path(folder, f"{name}.jsonl"), []

    def log(self, values, step):
        self.kept.append((step, values))

    def finish(self):
        with open(self.path, "w") as file:
            file.writelines(json.dumps({"step": step, **values}) + "\n" for step, values in self.kept)


class Line(Run):
    def __init__(self, folder, name):
        self.file = open(f"{folder}/{name}.jsonl", "a")

    def log(self, values, step):
        self.file.write(json.dumps({"step": step, **values}) + "\n")
        self.file.flush()

    def finish(self):
        self.file.close()


class Table(Run):
    def __init__(self, folder, name):
        self.name = name
        self.connection = sqlite3.connect(f"{folder}/metrics.db", isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=NORMAL")
        self.connection.execute("CREATE TABLE IF NOT EXISTS metrics(run TEXT, metric TEXT, step INTEGER, value REAL)")

    def log(self, values, step):
        self.connection.execute("BEGIN")
        rows = [(self.name, key, step, value) for key, value in values.items()]
        self.connection.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?)", rows)
        self.connection.execute("COMMIT")

    def finish(self):
        self.connection.close()
