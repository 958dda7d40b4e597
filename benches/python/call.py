"""Measures what one log call costs in Python, against floors taken in the same run.

    python benches/python/call.py [--rounds 200] [--json FILE] [--store FOLDER]

Each sample runs 20,000 calls, 20 of them written out one after the other in each turn of a loop, so that the loop costs
less than a nanosecond a call. Calls and floors take turns within a round; the figures are percentiles over the samples,
each of which is the mean of its calls; a ratio is the median of the ratios of a round. The floor of a dict call is
`len` of the same dict, built in the call: what Python itself asks for a dict and a builtin. The store is a new folder
with syncing on; the rows are read back and counted at the end, and a run that had to wait for room says so, because
then the disk was measured and not the call.
"""

import argparse
import json
import pathlib
import platform
import shutil
import statistics
import sys
import tempfile
import time

import stepwell

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benches" / "peers"))

from suite import record  # noqa: E402

UNROLLED = 20
TURNS = 1_000
CALLS = UNROLLED * TURNS
TITLE = "nanoseconds a call, each sample the mean of 20,000"
TEN = "{" + ", ".join(f'"metric_{i}": x' for i in range(10)) + "}"

# name, the call, the floor it is compared with, rows one call logs, target in ns, target ratio
CASES = [
    ("len of a dict of 1", 'len({"loss": x})', None, 0, None, None),
    ("len of a dict of 10", f"len({TEN})", None, 0, None, None),
    ("builtin of 2 arguments", "divmod(x, x)", None, 0, None, None),
    ("log_metric, 1 key", 'log_metric("bench", {"loss": x}, step=s)', "len of a dict of 1", 1, 100, 2.0),
    ("log_metric, 1 key, no step", 'log_metric("bench", {"loss": x})', "len of a dict of 1", 1, 100, 2.0),
    ("run.log_metric, 1 key", 'run.log_metric("bench", {"loss": x}, step=s)', "len of a dict of 1", 1, 100, 2.0),
    ("run.log, 1 key", 'run.log({"loss": x}, step=s)', "len of a dict of 1", 1, None, None),
    ("log_metric, 10 keys", f'log_metric("bench", {TEN}, step=s)', "len of a dict of 10", 10, 350, 1.6),
    ("two shapes in turn", 'log_metric("bench", {"loss": x}, s); log_metric("bench", {"acc": x}, s)', None, 2, None, None),
    ("handle", "handle(x, s)", None, 1, 40, None),
    ("handle, no step", "handle(x)", None, 1, 40, None),
    ("handle, numpy float64", "handle(f64, s)", None, 1, None, None),
    ("handle, numpy float32", "handle(f32, s)", None, 1, None, None),
]


def compiled(call, names):
    """A function that makes the call CALLS times."""
    body = "\n".join(["        " + call] * UNROLLED)
    code = f"def sample({', '.join(names)}):\n    for s in range({TURNS}):\n{body}\n"
    scope = {}
    exec(code, scope)
    return scope["sample"]


def measure(run, rounds):
    objects = {"run": run, "log_metric": run.log_metric, "handle": run.metric("bench", "loss"), "x": 0.25}
    try:
        import numpy

        objects |= {"f64": numpy.float64(0.25), "f32": numpy.float32(0.25)}
    except ImportError:
        pass
    cases = [case for case in CASES if "numpy" not in case[0] or "f64" in objects]
    samples = {case[0]: [] for case in cases}
    functions = {case[0]: compiled(case[1], objects) for case in cases}
    for turn in range(rounds + 3):
        for name, *_ in cases:
            start = time.perf_counter_ns()
            functions[name](*objects.values())
            nanos = (time.perf_counter_ns() - start) / CALLS
            # The first rounds fill caches and let the interpreter specialise the calls.
            if turn >= 3:
                samples[name].append(nanos)
        # Give the sealer the time that a training step would.
        run.sync()
    rows = sum(case[3] for case in cases) * CALLS * (rounds + 3)
    return cases, samples, rows


def figures(cases, samples):
    table = []
    for name, _, floor, _, target, target_ratio in cases:
        cuts = statistics.quantiles(samples[name], n=100, method="inclusive") if len(samples[name]) > 1 else samples[name] * 99
        row = {"table": TITLE, "name": name, "best": min(samples[name])}
        row |= {f"p{cut}": cuts[cut - 1] for cut in (50, 90, 99)} | {"max": max(samples[name])}
        if floor:
            row["of the floor"] = statistics.median(a / b for a, b in zip(samples[name], samples[floor]))
        if target:
            row["target"] = target
        if target_ratio:
            row["target of the floor"] = target_ratio
        table.append({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()})
    return table


def show(table):
    print(f"{'ns a call':<28} {'best':>8} {'p50':>8} {'p99':>8} {'x floor':>8} {'target':>14}")
    for row in table:
        ratio = f"{row['of the floor']:.2f}" if "of the floor" in row else ""
        target = f"{row['target']} ns" if "target" in row else ""
        if "target of the floor" in row:
            target += f", {row['target of the floor']}x"
        print(f"{row['name']:<28} {row['best']:>8.1f} {row['p50']:>8.1f} {row['p99']:>8.1f} {ratio:>8} {target:>14}")


def environment(folder):
    """Where it was measured, by the names that the records of the Rust programs have."""
    machine = record.machine(pathlib.Path(folder))
    return {
        "machine": f"{machine['model']}, {machine['cores']} cores",
        "kernel": machine["kernel"],
        "file system": machine["file_system"],
        "commit": record.commit(ROOT),
        "date": record.now(),
        "load": str(machine["load"]),
        "version": stepwell.__version__,
        "profile": stepwell.__build__,
        "compiler": f"CPython {platform.python_version()}",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100, help="samples of each call (default 100)")
    parser.add_argument("--json", help="also write the figures to this file; - for standard output only")
    parser.add_argument("--store", help="folder to make the store in (default: a temporary one)")
    given = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="bench-", dir=given.store)
    where = environment(folder)
    try:
        with stepwell.start(pipeline="bench", stage="call", store=folder) as run:
            cases, samples, rows = measure(run, given.rounds)
            stats = run.stats()
        counted = stepwell.sql("SELECT count(*) AS n FROM metrics", folder).rows[0][0]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table = figures(cases, samples)
    told = {
        "benchmark": "python",
        "environment": where,
        "rounds": given.rounds,
        "calls_per_sample": CALLS,
        "rows": rows,
        "waits": stats.waits,
        "records": table,
    }
    if given.json == "-":
        json.dump(told, sys.stdout, indent=1)
        print()
    else:
        show(table)
        print(f"{rows:,} rows logged and counted back; {stats.waits} calls waited for room; {stepwell.__build__}")
        if given.json:
            pathlib.Path(given.json).write_text(json.dumps(told, indent=1) + "\n")
    if counted != rows:
        sys.exit(f"{rows} rows were logged and {counted} are in the store")


if __name__ == "__main__":
    main()
