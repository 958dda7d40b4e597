"""What a log call costs while others ask: latency of `run.metric(...)` calls in writer processes, quiet and beside SQL.

    python benches/sql/beside.py [--writers 4] [--rate 250000] [--seconds 3] [--rounds 5]

Each writer logs at a fixed rate and times every call; what a call takes with nothing around it but the clock is in the figures, and the
same for both rows. Quiet windows and windows in which this process asks one query after another over the same store take turns, so
that both see the same machine. Percentiles of each kind are those of all its calls; the ratio of a percentile is the median over rounds.
"""

import argparse
import ctypes
import json
import mmap
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import stepwell

# Buckets of 10 ns up to 1 ms; above that, the last one.
BUCKET_NS, BUCKETS = 10, 100_000
PERCENTILES = (50, 99, 99.9, 99.99)

WRITER = f"""
import ctypes, json, mmap, sys, time
import stepwell

store, page, rate = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(page, "r+b") as file:
    # Number of the window, or -1 for the end.
    window = ctypes.c_int64.from_buffer(mmap.mmap(file.fileno(), 0))
clock = time.perf_counter_ns
counts, of = [0] * {BUCKETS}, 0
with stepwell.start("load", "write", store=store) as run:
    loss = run.metric("train", "loss")
    start, logged = time.monotonic(), 0
    while True:
        now = window.value
        if now != of:
            print(json.dumps({{"window": of, "counts": {{n: count for n, count in enumerate(counts) if count}}}}), flush=True)
            counts, of = [0] * {BUCKETS}, now
            if now < 0:
                break
        for _ in range(max(0, min(1000, int((time.monotonic() - start) * rate) - logged))):
            before = clock()
            loss(0.5, logged)
            counts[min((clock() - before) // {BUCKET_NS}, {BUCKETS - 1})] += 1
            logged += 1
        time.sleep(0.0005)
"""

QUESTIONS = (
    "SELECT count(*), max(step) FROM metrics",
    "SELECT run_id, avg(value) FROM metrics GROUP BY run_id",
    "SELECT step, value FROM metrics WHERE metric = 'loss' ORDER BY step DESC LIMIT 1000",
    "SELECT run_id, last, last_step FROM summary",
)


def percentiles(counts):
    total = sum(counts.values())
    found, seen, left = {}, 0, list(PERCENTILES)
    for bucket in sorted(counts):
        seen += counts[bucket]
        while left and seen >= total * left[0] / 100:
            found[left.pop(0)] = (bucket + 1) * BUCKET_NS
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--rate", type=int, default=250_000, help="records a second of each writer")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a window")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store, page = str(pathlib.Path(folder) / "store"), pathlib.Path(folder) / "window"
        page.write_bytes(bytes(mmap.PAGESIZE))
        with open(page, "r+b") as file:
            window = ctypes.c_int64.from_buffer(mmap.mmap(file.fileno(), 0))
        command = [sys.executable, "-c", WRITER, store, str(page), str(options.rate)]
        # Into files: a pipe that nobody reads meanwhile would fill up and stop its writer.
        told = [pathlib.Path(folder) / f"writer-{number}" for number in range(options.writers)]
        writers = [subprocess.Popen(command, stdout=path.open("w")) for path in told]
        time.sleep(2)
        asked = 0
        for number in range(1, 2 * options.rounds + 1):
            window.value = number
            end = time.monotonic() + options.seconds
            while time.monotonic() < end:
                if number % 2:
                    time.sleep(0.05)
                else:
                    stepwell.sql(QUESTIONS[asked % len(QUESTIONS)], store)
                    asked += 1
        window.value = -1
        if any(writer.wait() for writer in writers):
            raise SystemExit("a writer failed; what it said is above")
        lines = [line for path in told for line in path.read_text().splitlines()]
    by_window = {}
    for line in map(json.loads, lines):
        counts = by_window.setdefault(line["window"], {})
        for bucket, count in ((int(bucket), count) for bucket, count in line["counts"].items()):
            counts[bucket] = counts.get(bucket, 0) + count
    rounds = [(percentiles(by_window[n]), percentiles(by_window[n + 1])) for n in range(1, 2 * options.rounds, 2)]
    calls = sum(sum(by_window[n].values()) for n in range(1, 2 * options.rounds + 1))
    print(f"{options.writers} writers, {options.rate:,} records/s each, {calls:,} calls timed, {asked} queries")
    print(f"{'percentile':>12}{'quiet ns':>12}{'beside SQL':>12}{'ratio':>8}")
    for percentile in PERCENTILES:
        quiet, beside = (statistics.median(pair[kind][percentile] for pair in rounds) for kind in (0, 1))
        ratio = statistics.median(beside[percentile] / quiet[percentile] for quiet, beside in rounds)
        print(f"{percentile:>12}{quiet:>12.0f}{beside:>12.0f}{ratio:>8.2f}")


if __name__ == "__main__":
    main()
