"""The same questions over the same Parquet files, asked with Stepwell and with DuckDB.

    python benches/sql/bench.py [--store-folder F] [--json FILE] [--sizes nanogpt,many,short,long] [--scale 1.0] [--rounds 7]

Both engines run in this process, on the same number of threads, and hand their result over as Arrow. Each question is
asked once by each engine before anything is timed (that first time is shown, too: Stepwell reads each file whole once to
compare it with its hash), and then in turn, `--rounds` times; medians are compared. Answers are compared as well: a
question whose answers differ ends the program. DuckDB reads the files through `read_parquet` with their metadata cached,
and gets runs and parameters as an Arrow table in memory. Where there are packs, DuckDB is asked over these and what is
in none, too, and the faster of both counts. benches/METHOD.md says more.
"""

import argparse
import csv
import datetime
import gzip
import itertools
import json
import math
import os
import pathlib
import platform
import random
import statistics
import subprocess
import sys
import time

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import stepwell

FIXTURES = pathlib.Path(__file__).resolve().parent.parent.parent / "fixtures"


class Question:
    """One question: SQL for each engine. `same` means that DuckDB is asked the very same text."""

    def __init__(self, name, ours, theirs=None, note=""):
        self.name, self.ours, self.theirs, self.note = name, ours, theirs or ours, note


def questions(run, metric, other, param, by_step):
    """The questions of a store. `run` has the curve; `other` is a second metric with the same steps."""
    m4 = f"""
        WITH p AS (SELECT step, value FROM metrics WHERE run_id = '{run}' AND metric = '{metric}'),
             w AS (SELECT min(step) AS lo, max(step) - min(step) AS width FROM p),
             b AS (SELECT step, value, least(2000 * (step - lo) // width, 1999) AS bucket FROM p, w)
        SELECT DISTINCT p.step, p.value FROM (
            SELECT unnest([min(step), max(step), arg_min(step, (value, step)), arg_min(step, (-value, step))]) AS step
            FROM b GROUP BY bucket) JOIN p USING (step)"""
    curve = f"SELECT step, value FROM metrics WHERE run_id = '{run}' AND metric = '{metric}'"
    asked = [
        Question("count", "SELECT count(*) FROM metrics"),
        Question("one curve", f"{curve} ORDER BY step"),
        Question("one metric of all runs", f"SELECT run_id, step, value FROM metrics WHERE metric = '{metric}'"),
        Question(
            "best value per run, top 10",
            f"SELECT run_id, min FROM summary WHERE metric = '{metric}' ORDER BY min, run_id LIMIT 10",
            f"SELECT run_id, min(value) FROM metrics WHERE metric = '{metric}' GROUP BY run_id ORDER BY 2, 1 LIMIT 10",
            "from stored statistics",
        ),
        Question(
            "best value per run, top 10, over records",
            f"SELECT run_id, min(value) FROM metrics WHERE metric = '{metric}' GROUP BY run_id ORDER BY 2, 1 LIMIT 10",
        ),
        Question(
            "mean and deviation by parameter over seeds",
            f"""SELECT r.params['{param}'] AS p, count(*), avg(s.last), stddev(s.last)
                FROM summary s JOIN runs r USING (run_id) WHERE s.metric = '{metric}' GROUP BY 1 ORDER BY 1""",
            f"""SELECT r.p, count(*), avg(l.last), stddev(l.last) FROM
                (SELECT run_id, arg_max(value, step) AS last FROM metrics WHERE metric = '{metric}' GROUP BY run_id) l
                JOIN runs r USING (run_id) GROUP BY 1 ORDER BY 1""",
            "from stored statistics",
        ),
        Question(
            "rolling mean of a curve",
            f"SELECT step, avg(value) OVER (ORDER BY step ROWS 99 PRECEDING) FROM ({curve}) ORDER BY step",
        ),
        Question(
            "EMA of a curve",
            f"SELECT step, ema(value, 0.99) OVER (ORDER BY step) FROM ({curve}) ORDER BY step",
            f"""WITH RECURSIVE c AS MATERIALIZED (SELECT row_number() OVER (ORDER BY step) AS n, step, value FROM ({curve})),
                e AS (SELECT n, step, value AS y FROM c WHERE n = 1
                      UNION ALL SELECT c.n, c.step, 0.99 * e.y + 0.01 * c.value FROM e JOIN c ON c.n = e.n + 1)
                SELECT step, y FROM e ORDER BY step""",
            "DuckDB has no function for it: a recursive query",
        ),
        Question(
            "M4 of a curve, 2,000 buckets",
            f"SELECT unnest(unnest(m4(step, value, 2000))) FROM ({curve})",
            m4,
            "DuckDB: written out, after Jugel et al. 2014",
        ),
        Question(
            "join of two metrics by step",
            f"""SELECT count(*), avg(a.value - b.value) FROM ({curve}) a JOIN
                (SELECT step, value FROM metrics WHERE run_id = '{run}' AND metric = '{other}') b USING (step)""",
        ),
    ]
    return [question for question in asked if by_step or "EMA" not in question.name]


def nanogpt(store, _scale):
    """36 real training runs of NanoGPT, from their logs."""
    with gzip.open(FIXTURES / "nanogpt-speedrun.csv.gz", "rt") as file:
        for (record, name), rows in itertools.groupby(csv.DictReader(file), lambda row: (row["record"], row["run"])):
            with stepwell.start("nanogpt", "train", name=name, params={"record": record}, store=store) as run:
                for row in rows:
                    values = {key: float(row[key]) for key in ("train_loss", "val_loss", "train_time_ms") if row[key]}
                    run.log_metric("train", values, step=int(row["step"]))
    return "train_loss", "train_time_ms", "record"


def many(store, scale):
    """Many runs of the same shape: 1,000 runs of 20 metrics and 1,000 steps, 4 learning rates, at scale 1."""
    runs, steps = max(8, int(1000 * scale)), 1000
    chance = random.Random(7)
    for number in range(runs):
        lr = [0.001, 0.003, 0.01, 0.03][number % 4]
        with stepwell.start("sweep", "train", params={"lr": lr, "seed": number // 4}, store=store) as run:
            names = ["loss", "accuracy", *(f"metric{n:02}" for n in range(18))]
            for step in range(steps):
                value = math.exp(-lr * step) + chance.random() / 10
                run.log_metric("train", {name: value + place for place, name in enumerate(names)}, step=step)
    return "loss", "accuracy", "lr"


def long(store, scale):
    """One run of two metrics, 50 million records at scale 1."""
    steps = int(25_000_000 * scale)
    with stepwell.start("long", "train", params={"lr": 0.1}, store=store) as run:
        loss, accuracy = run.metric("train", "loss"), run.metric("train", "accuracy")
        for step in range(steps):
            value = (step * 7919 % 10007) / 10007
            loss(value, step)
            accuracy(1 - value * value, step)
    return "loss", "accuracy", "lr"


def short(store, scale):
    """Very many short runs: 10,000 runs of 2 metrics and 200 steps at scale 1."""
    chance = random.Random(7)
    for number in range(max(80, int(10_000 * scale))):
        lr = [0.001, 0.003, 0.01, 0.03][number % 4]
        with stepwell.start("sweep", "train", params={"lr": lr, "seed": number // 4}, store=store) as run:
            for step in range(200):
                value = math.exp(-lr * step) + chance.random() / 10
                run.log_metric("train", {"loss": value, "accuracy": 1 - value}, step=step)
    return "loss", "accuracy", "lr"


SIZES = {"nanogpt": nanogpt, "many": many, "short": short, "long": long}


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=FIXTURES).stdout.strip()
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "kernel": platform.release(),
        "processor": model,
        "threads": len(os.sched_getaffinity(0)),
        "commit": commit,
        "stepwell": stepwell.__version__,
        "duckdb": duckdb.__version__,
        "python": platform.python_version(),
    }


def equal(ours, theirs):
    """Whether two Arrow tables hold the same rows, in any order, floats up to rounding."""
    if ours.num_rows != theirs.num_rows or ours.num_columns != theirs.num_columns:
        return False

    def same(a, b):
        if isinstance(a, float) and isinstance(b, float):
            return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) or math.isnan(a) and math.isnan(b)
        return a == b

    def key(row):
        return [str(value) for value in row if not isinstance(value, float)], [value for value in row if isinstance(value, float)]

    if ours.num_rows > 200_000:
        numbers = [n for n in range(ours.num_columns) if not pa.types.is_dictionary(ours.column(n).type)]
        sums = [[pc.sum(table.column(n)).as_py() for n in numbers] for table in (ours, theirs)]
        return all(map(same, *sums))
    rows = [sorted(zip(*(column.to_pylist() for column in table.columns)), key=key) for table in (ours, theirs)]
    return all(same(a, b) for row, other in zip(*rows) for a, b in zip(row, other))


def timed(ask):
    start = time.perf_counter()
    table = ask()
    return (time.perf_counter() - start) * 1000, table


def duck(files, runs):
    """DuckDB with a view of the Parquet files and a table of the runs."""
    connection = duckdb.connect()
    connection.execute(f"SET threads = {len(os.sched_getaffinity(0))}")
    connection.execute("SET parquet_metadata_cache = true")
    connection.execute("SET enable_progress_bar = false")
    connection.execute(f"CREATE VIEW metrics AS SELECT * FROM read_parquet({files})")
    connection.register("runs", runs)
    return connection


def compare(size, store, names, rounds):
    metric, other, param = names
    run = stepwell.sql(
        "SELECT run_id FROM summary WHERE metric = $metric ORDER BY count DESC, run_id LIMIT 1", store, params={"metric": metric}
    ).rows[0][0]
    rows = stepwell.sql("SELECT count(*), count(DISTINCT run_id) FROM metrics", store).rows[0]
    files = list(pathlib.Path(store).glob("runs/*/*/*.parquet"))
    size_bytes = sum(file.stat().st_size for file in files)
    print(f"\n{size}: {rows[0]:,} records of {rows[1]:,} runs, {len(files):,} files, {size_bytes / 1e6:,.1f} MB")
    table = pa.table(stepwell.sql(f"SELECT CAST(run_id AS VARCHAR) AS run_id, params['{param}'] AS p FROM runs", store))
    patterns = {"duckdb": [f"{store}/runs/*/*/*.parquet"]}
    packs = list(pathlib.Path(store).glob("packs/*.parquet"))
    if packs:
        packed = {segment[0] for pack in packs for segment in json.loads(pq.read_metadata(pack).metadata[b"stepwell.pack"])["segments"]}
        # Each row once: the packs, and the files that are in none.
        patterns["duckdb_packs"] = [*map(str, packs), *(str(file) for file in files if file.stem.rsplit("-", 1)[1] not in packed)]
    ducks = {name: duck(pattern, table) for name, pattern in patterns.items()}
    results = []
    print(f"{'':45}{'Stepwell':>12}{'DuckDB':>12}{'ratio':>9}{'first':>12}{'first':>12}   ms")
    for question in questions(run, metric, other, param, by_step=size != "long"):
        engines = {"stepwell": lambda: pa.table(stepwell.sql(question.ours, store))}
        for name, connection in ducks.items():
            engines[name] = lambda connection=connection: connection.sql(question.theirs).to_arrow_table()
        first, answers = {}, {}
        for name, ask in engines.items():
            first[name], answers[name] = timed(ask)
        for name in ducks:
            if not equal(answers["stepwell"], answers[name]):
                sys.exit(f"{size}, {question.name}: the answers differ\n{answers['stepwell']}\n{answers[name]}")
        samples = {name: [] for name in engines}
        for _ in range(rounds):
            for name, ask in engines.items():
                samples[name].append(timed(ask)[0])
        median = {name: statistics.median(times) for name, times in samples.items()}
        # The faster of its two ways counts for DuckDB.
        best = min(ducks, key=lambda name: median[name])
        ratio = median[best] / median["stepwell"]
        print(
            f"  {question.name:43}{median['stepwell']:12.2f}{median[best]:12.2f}{ratio:8.1f}x"
            f"{first['stepwell']:12.2f}{first[best]:12.2f}   {question.note}{' (DuckDB: packs)' * (best != 'duckdb')}"
        )
        plan = [row[1] for row in stepwell.sql(f"EXPLAIN {question.ours}", store).rows if row[0] == "physical_plan"]
        results.append(
            {"question": question.name, "note": question.note, "rows": answers["stepwell"].num_rows, "ms": samples,
             "first_ms": first, "median_ms": median, "ratio": ratio, "plan": plan}
        )
    return {"size": size, "records": rows[0], "runs": rows[1], "files": len(files), "bytes": size_bytes, "questions": results}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--store-folder", default="target/bench-sql", help="where the stores are made, and found again")
    parser.add_argument("--json", help="write the raw records to this file")
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full size of the made stores")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    head = machine()
    print(", ".join(f"{key} {value}" for key, value in head.items()))
    sizes = []
    for size in options.sizes.split(","):
        folder = pathlib.Path(options.store_folder) / f"{size}-{options.scale}"
        known = folder / "names.json"
        if not known.exists():
            folder.mkdir(parents=True, exist_ok=True)
            names = SIZES[size](str(folder / "store"), options.scale)
            # What the end of runs leaves for later is done: everything small is in packs.
            stepwell.compact(folder / "store")
            known.write_text(json.dumps(names))
        sizes.append(compare(size, str(folder / "store"), json.loads(known.read_text()), options.rounds))
    if options.json:
        pathlib.Path(options.json).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(options.json).write_text(json.dumps({"machine": head, "sizes": sizes}, indent=1) + "\n")


if __name__ == "__main__":
    main()
