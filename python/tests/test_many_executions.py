"""Sixteen processes log executions with artifacts into one store at once: all of them are there, and none waited in vain.

STEPWELL_EXECUTIONS says how many executions there are in all (default 96; `make executions` takes 1,000).
"""

import os
import sqlite3
import subprocess
import sys

import stepwell
from stepwell import _native

PROCESSES = 16
EXECUTIONS = int(os.environ.get("STEPWELL_EXECUTIONS", "96"))

PROGRAM = """
import os, sys, stepwell
store, folder, first, end = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
data = os.path.join(folder, "data.csv")
for number in range(first, end):
    stage, model = f"train-{number % 3}", os.path.join(folder, f"model-{number}")
    with open(model, "w") as file:
        file.write(str(number))
    with stepwell.start("many", stage, store=store, params={"number": number}, pipeline_properties={"owner": "vision"}) as run:
        run.log_dataset(data, "input", name="data.csv")
        run.log_model(model, "output", name="model")
        run.log_record("Label", f"label:{number % 7}", str(number % 7), "input", properties={"last": number})
        run.log_execution_metrics("result", {"number": number})
        run.log({"loss": number}, step=0)
"""


def dump(path):
    catalog = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    tables = [name for (name,) in catalog.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    rows = {name: sorted(map(repr, catalog.execute(f"SELECT * FROM {name}"))) for name in tables if name != "stepwell_scan"}
    catalog.close()
    return rows


def test_sixteen_processes_log_executions_at_once(tmp_path):
    store = tmp_path / "store"
    (tmp_path / "data.csv").write_text("1,2,3\n")
    bounds = [EXECUTIONS * part // PROCESSES for part in range(PROCESSES + 1)]
    command = [sys.executable, "-c", PROGRAM, str(store), str(tmp_path)]
    ranges = [[str(first), str(end)] for first, end in zip(bounds, bounds[1:])]
    started = [subprocess.Popen([*command, *part], stderr=subprocess.PIPE, text=True) for part in ranges]
    for process in started:
        _, told = process.communicate(timeout=900)
        assert (process.returncode, told) == (0, "")
    ask = lambda sql: stepwell.sql(sql, store).rows  # noqa: E731
    assert ask("SELECT count(*), count(DISTINCT params['number']) FROM runs WHERE state = 'finished'") == [(EXECUTIONS, EXECUTIONS)]
    kinds = ask("SELECT type, count(*) FROM artifacts GROUP BY 1 ORDER BY 1")
    assert kinds == [("Dataset", 1), ("Label", 7), ("Metrics", EXECUTIONS), ("Model", EXECUTIONS), ("Step_Metrics", EXECUTIONS)]
    assert ask("SELECT count(*) FROM lineage WHERE type = 'Dataset'") == [(EXECUTIONS,)]
    assert ask("SELECT sum(value), count(*) FROM metrics") == [(sum(range(EXECUTIONS)), EXECUTIONS)]
    before = dump(_native.catalog_path(store))
    os.remove(store / "catalog.db")
    after = dump(_native.catalog_path(store))
    assert before.keys() == after.keys()
    for table, rows in before.items():
        assert rows == after[table], table
