"""Cost per call with 1 and with 10 metrics: each call timed, then as many again without timing, for the mean."""

import os
import statistics
import time
from array import array
from typing import Any

import child
import curves
from measure.figures import fresh, summary

PARAMS = {"lr": 0.1, "batch": 64}


def main(task: dict[str, Any]) -> dict[str, Any]:
    peer = child.loaded(task)
    found: dict[str, Any] = {"timer_ns": timer()}
    for metrics in (1, 10):
        folder = fresh(task, f"metrics-{metrics}")
        form = task["form"]
        run = peer.start(folder, "run-0", PARAMS)
        items: list[Any] = curves.dicts(2 * form["calls"] + form["warm"], metrics)
        call = run.log
        if metrics == 1 and run.one:
            call, items = run.one("loss"), [values["loss"] for values in items]
        warm, first, second = cut(items, form["warm"], form["calls"])
        begin = time.perf_counter_ns()
        call(warm[0], 0)
        first_ns = time.perf_counter_ns() - begin
        done = 1 + len(timed(call, warm[1:], 1, form["limit_s"]))
        nanos = timed(call, first, done, form["limit_s"])
        done += len(nanos)
        # About as many as could be timed, so that the second part takes about as long.
        second = second[: len(nanos)]
        batch_ns = batch(call, second, done)
        done += len(second)
        told = found[f"metrics_{metrics}"] = {
            **summary(nanos),
            "first_ns": first_ns,
            "batch_calls": len(second),
            "batch_mean_ns": round(batch_ns / len(second), 1),
            "logged": done,
        }
        # The end of a run with full queues may take longer than there is time; the calls were measured all the same.
        child.keep(found)
        finish = time.perf_counter()
        run.finish()
        told["finish_s"] = round(time.perf_counter() - finish, 6)
        if task["repetition"] == 0:
            key = "loss" if metrics == 1 else curves.TEN[9]
            result = os.path.join(task["folder"], f"count-{metrics}.json")
            told["read_back"] = child.run_role(task, "count", result, store=folder, key=key)
    return found


def cut(items: list[Any], warm: int, calls: int) -> tuple[list[Any], list[Any], list[Any]]:
    return items[:warm], items[warm : warm + calls], items[warm + calls :]


def timer() -> dict[str, float]:
    """What two readings of the clock with nothing between take: part of every timed call."""
    clock, nanos = time.perf_counter_ns, array("q", bytes(8 * 20_000))
    for number in range(len(nanos)):
        begin = clock()
        end = clock()
        nanos[number] = end - begin
    return {"p50": statistics.median(nanos), "mean": round(statistics.fmean(nanos), 1)}


def timed(call: Any, items: list[Any], step: int, limit_s: float) -> list[int]:
    """Calls with one item after the other, each timed, until all are logged or the limit has passed."""
    clock, nanos = time.perf_counter_ns, array("q", bytes(8 * len(items)))
    until, number = clock() + int(limit_s * 1e9), 0
    for item in items:
        begin = clock()
        call(item, step)
        end = clock()
        nanos[number] = end - begin
        number += 1
        step += 1
        if end > until:
            break
    return nanos[:number].tolist()


def batch(call: Any, items: list[Any], step: int) -> int:
    begin = time.perf_counter_ns()
    for item in items:
        call(item, step)
        step += 1
    return time.perf_counter_ns() - begin


def count(task: dict[str, Any]) -> int | None:
    """How many different steps a process that has not logged reads of one metric."""
    peer = child.loaded(task)
    return len({step for step, _ in peer.read_curve(task["store"], "run-0", task["key"])})


ROLES = {"main": main, "count": count}
