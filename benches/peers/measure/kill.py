"""SIGKILL at random moments: how many calls that had returned can be read afterwards.

A writer logs a call about every millisecond, or flat out, and after each returned call stores the number of returned
calls in a mapped file, which outlives it. It is killed with SIGKILL, alone; processes that the tool started beside it
have `grace_s` to save what they hold, then they are killed, too. A new process does what the tool documents for a run
that died, and reads. A record counts as readable if its step is there with the value that was logged.
"""

import concurrent.futures
import math
import mmap
import os
import random
import signal
import statistics
import struct
import time
from typing import Any

import child
import curves
import processes
from measure.figures import fresh

PACE_S = 0.001


# Kills that are under way at once. Each has a process of its own as parent, which ends only what its writer left.
TOGETHER = 3


def main(task: dict[str, Any]) -> dict[str, Any]:
    form, chance = task["form"], random.Random(task["seed"])
    moments = [
        (kind, number, chance.uniform(form["from_s"], form["to_s"]))
        for kind in ("paced", "flat")
        for number in range(form[kind])
    ]
    with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
        done = list(pool.map(lambda moment: kill(task, *moment), moments))
    return {
        kind: total([told for (other, _, _), told in zip(moments, done) if other == kind])
        for kind in ("paced", "flat")
        if form[kind]
    }


def total(done: list[dict[str, Any]]) -> dict[str, Any]:
    lost = [kill["lost"] for kill in done]
    return {
        "kills": len(done),
        "lost_min": min(lost),
        "lost_median": statistics.median(lost),
        "lost_max": max(lost),
        "lost_share_median": statistics.median(kill["lost"] / kill["returned"] for kill in done),
        "unreadable": sum("error" in kill for kill in done),
        "wrong": sum(kill["wrong"] for kill in done),
        "each": done,
    }


def kill(task: dict[str, Any], kind: str, number: int, after_s: float) -> dict[str, Any]:
    folder = os.path.join(task["folder"], f"{kind}-{number}")
    os.makedirs(folder)
    return child.run_role(
        task, "one", os.path.join(folder, "one.json"), timeout=120, folder=folder, kind=kind, after_s=after_s
    )


def one(task: dict[str, Any]) -> dict[str, Any]:
    form, store, after = task["form"], fresh(task, "store"), task["after_s"]
    counter = os.path.join(task["folder"], "count")
    with open(counter, "wb") as file:
        file.write(bytes(8))
    result = os.path.join(task["folder"], "write.json")
    writer = child.start_role(
        task, "write", result, store=store, counter=counter, pause=PACE_S * (task["kind"] == "paced")
    )
    try:
        wait_for_first(writer, counter, result)
        time.sleep(after)
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    returned = read_counter(counter)
    left = processes.end_descendants(os.getpid(), form["grace_s"])
    told = {"after_s": round(after, 4), "returned": returned, "still_running_after_grace": left}
    try:
        found = child.run_role(task, "read", os.path.join(task["folder"], "read.json"), store=store, returned=returned)
    except RuntimeError as error:
        return {**told, "lost": returned, "wrong": 0, "error": str(error)}
    return {**told, **found}


def read_counter(path: str) -> int:
    with open(path, "rb") as file:
        return struct.unpack("<q", file.read(8))[0]


def wait_for_first(writer: Any, counter: str, result: str) -> None:
    until = time.monotonic() + 60
    while not read_counter(counter):
        if writer.poll() is not None or time.monotonic() > until:
            child.finish_role(writer, result, 1)
            raise RuntimeError("the writer ended before its first call had returned")
        time.sleep(0.002)


def write(task: dict[str, Any]) -> None:
    peer = child.loaded(task)
    values, pause = curves.losses(), task["pause"]
    with open(task["counter"], "r+b") as file:
        shared = memoryview(mmap.mmap(file.fileno(), 8)).cast("q")
    run = peer.start(task["store"], "run-0", {"lr": 0.1})
    call, one = run.log, bool(run.one)
    if one:
        call = run.one("loss")
    due = time.perf_counter()
    for step in range(task["form"]["calls_max"]):
        value = values[step % len(values)]
        call(value if one else {"loss": value}, step)
        shared[0] = step + 1
        if pause:
            due = max(due + pause, time.perf_counter())
            time.sleep(max(0.0, due - time.perf_counter()))
    # As many as the form allows; the kill comes while the tool works on what it holds.
    while True:
        time.sleep(1)


def read(task: dict[str, Any]) -> dict[str, Any]:
    peer, returned = child.loaded(task), task["returned"]
    begin = time.perf_counter()
    peer.recover(task["store"])
    recovered = time.perf_counter()
    curve = peer.read_curve(task["store"], "run-0", "loss")
    # Tools that keep 32 bits are not charged with it.
    right = {step for step, value in curve if math.isclose(value, curves.loss(step), rel_tol=1e-6)}
    return {
        "lost": returned - sum(step < returned for step in right),
        "readable": len(right),
        "wrong": sum(step not in right for step, _ in curve),
        "wrong_sample": [[step, repr(value)] for step, value in curve if step not in right][:5],
        "repeated": len(curve) - len({step for step, _ in curve}),
        "recover_s": round(recovered - begin, 4),
        "read_s": round(time.perf_counter() - recovered, 4),
    }


ROLES = {"main": main, "one": one, "write": write, "read": read}
