"""The ways in which a training program ends: what it logged is kept, and its exit status is its own."""

import os
import signal
import subprocess
import sys
import uuid

import pytest

import stepwell
from campaign import Page, Tally, recover, state_of, tight_environment

# Lanes 1 and 2 are daemon threads that log until the end; lane 0 is the main thread.
PROGRAM = """
import ctypes, faulthandler, os, resource, signal, sys, threading, time, stepwell
from campaign import Page, log_lane
page = Page(sys.argv[1])
{before}
run = stepwell.start("p", "ends", run_id=sys.argv[2])
for lane in (1, 2):
    threading.Thread(target=log_lane, args=(run, page, lane), daemon=True).start()
log_lane(run, page, 0, steps=2000)
while not (page.of(1) and page.of(2)):
    time.sleep(0.001)
{end}
"""

LIMIT_MEMORY = """
def limit_memory(more):
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + more, resource.RLIM_INFINITY))
"""

# Name: (before the run, at the end, exit status, states that the run may have).
ENDS = {
    "the end of the program": ("", "", 0, {"finished"}),
    "os._exit": ("", "os._exit(3)", 3, {"died"}),
    "sys.exit": ("", "sys.exit(4)", 4, {"finished"}),
    "sys.exit in a daemon thread": (
        "",
        "thread = threading.Thread(target=sys.exit, args=(5,), daemon=True); thread.start(); thread.join()",
        0,
        {"finished"},
    ),
    "os._exit in a daemon thread": (
        "",
        "threading.Thread(target=os._exit, args=(6,), daemon=True).start(); time.sleep(60)",
        6,
        {"died"},
    ),
    "an exception": ("", "raise ValueError('loss is NaN')", 1, {"failed"}),
    "an exception in a with block": ("", "with run: raise ValueError('loss is NaN')", 1, {"failed"}),
    "SIGTERM": ("", "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", -signal.SIGTERM, {"died"}),
    "SIGTERM with a handler": (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))",
        "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
        143,
        {"finished"},
    ),
    "SIGINT": (
        "signal.signal(signal.SIGINT, signal.default_int_handler)",
        "os.kill(os.getpid(), signal.SIGINT); time.sleep(60)",
        -signal.SIGINT,
        {"failed"},
    ),
    "SIGHUP": ("", "os.kill(os.getpid(), signal.SIGHUP); time.sleep(60)", -signal.SIGHUP, {"died"}),
    "a segmentation fault": ("", "ctypes.string_at(0)", -signal.SIGSEGV, {"died"}),
    "a segmentation fault with faulthandler": ("faulthandler.enable()", "ctypes.string_at(0)", -signal.SIGSEGV, {"died"}),
    "abort": ("", "os.abort()", -signal.SIGABRT, {"died"}),
    "a fatal error of the interpreter": (
        "",
        "ctypes.pythonapi.Py_FatalError(b'broken')",
        -signal.SIGABRT,
        {"died"},
    ),
    "one allocation too large": (
        LIMIT_MEMORY,
        "limit_memory(256 << 20); bytearray(1 << 32)",
        1,
        {"failed"},
    ),
    "memory used up": (
        LIMIT_MEMORY,
        """
limit_memory(64 << 20)
kept = []
while True:
    kept.append(bytearray(1 << 20))
""",
        1,
        {"failed", "died"},
    ),
}

RAN = []


@pytest.mark.parametrize("name", ENDS)
def test_what_was_logged_is_kept_and_the_exit_status_is_the_programs_own(name, tmp_path):
    before, end, status, states = ENDS[name]
    store, run_id = str(tmp_path / "store"), str(uuid.uuid4())
    program = PROGRAM.format(before=before, end=end)
    words = [sys.executable, "-c", program, str(tmp_path / "page"), run_id]
    # Where the tests run, SIGINT may be ignored, and a core file is of no use.
    ended = subprocess.run(words, env=tight_environment(store), capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == status, ended.stderr
    page = Page(tmp_path / "page")
    acknowledged = {lane: page.of(lane) for lane in range(3)}
    live = Tally(cases=1)
    live.count(store, run_id, acknowledged)
    live.close(f"{name}, as it was left")
    assert state_of(store, run_id) in states, ended.stderr
    recover(store)
    tally = Tally(cases=1)
    tally.count(store, run_id, acknowledged)
    tally.close(name)
    assert state_of(store, run_id) in states
    assert stepwell.sql(f"SELECT count(*) FROM gaps WHERE run_id = '{run_id}'", store).rows == [(0,)]
    RAN.append(tally)


def test_the_ends_are_closed_with_one_line():
    total = Tally()
    for tally in RAN:
        total.cases += 1
        total.acknowledged += tally.acknowledged
        total.kept += tally.kept
    total.close("ends")


@pytest.mark.parametrize("end, bytes_left", [("", 256 << 10), ("os._exit(0)", 1536 << 10)])
def test_an_ended_process_leaves_no_long_log_beside_the_catalog(tmp_path, end, bytes_left):
    """A process kept its last run to the end, so its catalog was never closed: eight megabytes of write-ahead log stayed
    beside half a megabyte of runs. One that ends at once, as after a crash, leaves what its last commits wrote."""
    store = tmp_path / "store"
    script = f"""
import os
import stepwell
for number in range(40):
    with stepwell.start("p", "s", store={str(store)!r}, params={{f"p{{i}}": number for i in range(50)}}) as run:
        run.log({{"loss": 1.0}})
{end}
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
    assert os.path.getsize(store / "catalog.db") > 0
    assert os.path.getsize(store / "catalog.db-wal") <= bytes_left
    assert stepwell.sql("SELECT count(*) FROM runs", store).rows == [(40,)]
