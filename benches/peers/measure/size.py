"""Bytes per record on real curves: recorded NanoGPT runs, logged with their own steps.

All files of the store count, after the process that logged has ended.
"""

import os
import time
from typing import Any

import child
import curves
from measure.figures import folder_bytes, fresh


def main(task: dict[str, Any]) -> dict[str, Any]:
    small, store = fresh(task, "small"), fresh(task, "store")
    for role, where in (("small", small), ("fill", store)):
        # The logging process leaves by the ordinary way: some tools tidy up when they are closed, or at exit.
        result = os.path.join(task["folder"], f"{role}.json")
        told = child.run_role(task, role, result, timeout=task["form"]["timeout_s"] / 2, store=where, leave=True)
    sizes = folder_bytes(store)
    result = os.path.join(task["folder"], "count.json")
    return {
        **told,
        **sizes,
        "apparent_bytes_per_record": round(sizes["apparent_bytes"] / told["records"], 3),
        "allocated_bytes_per_record": round(sizes["allocated_bytes"] / told["records"], 3),
        "one_record": folder_bytes(small),
        "read_back_of_first_run": child.run_role(task, "count", result, store=store, calls=told["calls"]),
    }


def small(task: dict[str, Any]) -> dict[str, Any]:
    run = child.loaded(task).start(task["store"], "run-0", {"lr": 0.1})
    run.log({"loss": curves.loss(0)}, 0)
    run.finish()
    return {}


def fill(task: dict[str, Any]) -> dict[str, Any]:
    """Logs run after run until the limit; it counts logging alone, and a run that it falls into ends there."""
    form, peer = task["form"], child.loaded(task)
    records = runs = calls = 0
    left = form["limit_s"]
    for rows in curves.runs()[: form["runs"]]:
        if left <= 0:
            break
        run = peer.start(task["store"], f"run-{runs}", {"lr": 0.1, "number": runs})
        begin = time.perf_counter()
        for step, values in rows[: form["steps"]]:
            run.log(values, step)
            calls, records = calls + 1, records + len(values)
            if time.perf_counter() - begin > left:
                break
        left -= time.perf_counter() - begin
        run.finish()
        runs += 1
    return {"runs": runs, "calls": calls, "records": records}


def count(task: dict[str, Any]) -> dict[str, int]:
    """Records of the first run's elapsed time, which each of its rows has, as another process reads them."""
    peer = child.loaded(task)
    expected = min(task["calls"], len(curves.runs()[0]), task["form"]["steps"])
    return {"expected": expected, "found": len(peer.read_curve(task["store"], "run-0", "train_time_ms"))}


ROLES = {"main": main, "small": small, "fill": fill, "count": count}
