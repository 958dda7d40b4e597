"""SQL while several processes log and another one compacts: at each moment, what was acknowledged is there, once.

`STEPWELL_SNAPSHOT_SECONDS` sets how long the writers log (3 by default), `STEPWELL_SNAPSHOTS` how many queries are asked
at least (20), `STEPWELL_SNAPSHOT_RATE` the records a second of each of the 4 writers (50,000), `STEPWELL_SNAPSHOT_GRACE_SECS` for how long
the files are kept that a compaction replaced (2).
"""

import ctypes
import mmap
import os
import subprocess
import sys
import time

import stepwell

WRITERS = 4
# Stored and read in one piece, which `struct` does not do.
Words = ctypes.c_int64 * WRITERS

# The ends of the runs of two writers compact them, and remove the replaced files at once; those of the others leave it to the
# compactor.
WRITER = """
import ctypes, mmap, os, sys, time
if int(sys.argv[3]) % 2:
    os.environ["STEPWELL_COMPACT_AT_FINISH_ROWS"] = "0"
import stepwell

store, page, number, seconds, rate = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
with open(page, "r+b") as file:
    shared = ctypes.c_int64.from_buffer(mmap.mmap(file.fileno(), 0), number * 8)
acknowledged = merged = 0
end = time.monotonic() + seconds
while time.monotonic() < end:
    # A new run every second or so: some are ended, and may be compacted, while others are written.
    with stepwell.start("load", "write", params={"writer": number}, store=store) as run:
        loss = run.metric("train", "loss")
        start, logged, committed = time.monotonic(), 0, 0.0
        while (now := time.monotonic()) < min(end, start + 1.3):
            for _ in range(max(0, int((now - start) * rate) - logged)):
                loss(0.5, logged)
                logged += 1
                acknowledged += 1
                shared.value = acknowledged
            if logged and now > committed + 0.1:
                run.commit_metrics("train")
                committed = now
            time.sleep(0.001)
        merged += sum(name["segments_before"] for name in run.finish().compacted)
print(merged)
"""

# Replaced files go after two seconds, and not after ten minutes: under the eyes of whoever reads.
COMPACTOR = """
import os, sys, time
os.environ["STEPWELL_GRACE_SECS"] = sys.argv[3]
import stepwell

store, end = sys.argv[1], time.monotonic() + float(sys.argv[2])
merged = removed = 0
waiting = 0
while time.monotonic() < end or waiting > 0:
    report = stepwell.compact(store, segments=2)
    merged, removed = merged + report["segments_before"], removed + report["removed_files"]
    waiting = report["waiting_files"]
    time.sleep(0.05)
print(merged, removed)
"""


def test_each_snapshot_holds_what_was_acknowledged_once(store, tmp_path):
    seconds = float(os.environ.get("STEPWELL_SNAPSHOT_SECONDS", "3"))
    snapshots_min = int(os.environ.get("STEPWELL_SNAPSHOTS", "20"))
    rate = os.environ.get("STEPWELL_SNAPSHOT_RATE", "50000")
    grace = os.environ.get("STEPWELL_SNAPSHOT_GRACE_SECS", "2")
    page = tmp_path / "acknowledged"
    page.write_bytes(bytes(mmap.PAGESIZE))
    with open(page, "r+b") as file:
        shared = Words.from_buffer(mmap.mmap(file.fileno(), 0))

    def acknowledged():
        return list(shared)

    def counted():
        # Sequence numbers rise by one in each run: as many as lie between the first and the last.
        query = """SELECT r.params['writer'], sum(n), sum(numbers)
                   FROM (SELECT run_id, count(*) AS n, max(seq) - min(seq) + 1 AS numbers FROM metrics GROUP BY run_id)
                   JOIN runs r USING (run_id) GROUP BY 1"""
        rows = stepwell.sql(query, store).rows
        assert all(rows == numbers for _, rows, numbers in rows), f"rows that are there twice, or missing: {rows}"
        by_writer = {writer: rows for writer, rows, _ in rows}
        return [by_writer.get(number, 0) for number in range(WRITERS)]

    command = [sys.executable, "-c", WRITER, store, str(page)]
    writers = [
        subprocess.Popen([*command, str(number), str(seconds), rate], stdout=subprocess.PIPE, text=True)
        for number in range(WRITERS)
    ]
    snapshots = 0
    try:
        while not all(acknowledged()):
            assert all(writer.poll() is None for writer in writers)
            time.sleep(0.01)
        compactor = [sys.executable, "-c", COMPACTOR, store, str(seconds), grace]
        compactor = subprocess.Popen(compactor, stdout=subprocess.PIPE, text=True)
        while snapshots < snapshots_min or any(writer.poll() is None for writer in writers):
            before = acknowledged()
            found = counted()
            after = acknowledged()
            for number in range(WRITERS):
                # A call that has not returned yet may be there.
                assert before[number] <= found[number] <= after[number] + 1, (number, before, found, after)
            snapshots += 1
            if any(writer.poll() is None for writer in writers):
                time.sleep(seconds / 300)
    finally:
        at_finish = [int(writer.communicate(timeout=60)[0] or -1) for writer in writers]
        told, _ = compactor.communicate(timeout=60)
    assert [writer.returncode for writer in [*writers, compactor]] == [0] * (WRITERS + 1)
    merged, removed = map(int, told.split())
    total, found = sum(acknowledged()), sum(counted())
    assert total == found
    print(f"snapshots: {snapshots} cases, {total} records acknowledged, {found} kept, 0 lost, 0 invented; {merged} segments merged, {removed} files removed, {sum(at_finish)} merged by the ends of runs")
    assert merged > 0
    assert at_finish[1] == at_finish[3] == 0 < max(at_finish[0], at_finish[2]), at_finish
