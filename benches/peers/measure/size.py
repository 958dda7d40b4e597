"""Bytes per record on real curves: recorded NanoGPT runs, logged with their own steps; all files of the store count."""

import os
import time
from typing import Any

import child
import curves
from measure.figures import folder_bytes, fresh


def main(task: dict[str, Any]) -> dict[str, Any]:
    form, peer, store = task["form"], child.loaded(task), fresh(task, "store")
    small = peer.start(fresh(task, "small"), "run-0", {"lr": 0.1})
    small.log({"loss": curves.loss(0)}, 0)
    small.finish()
    records = runs = calls = 0
    until = time.perf_counter() + form["limit_s"]
    for rows in curves.runs()[: form["runs"]]:
        rows = rows[: form["steps"]]
        run = peer.start(store, f"run-{runs}", {"lr": 0.1, "number": runs})
        part = 0
        for step, values in rows:
            run.log(values, step)
            part, records = part + 1, records + len(values)
            if time.perf_counter() > until:
                break
        run.finish()
        runs, calls = runs + 1, calls + part
        if time.perf_counter() > until:
            break
    # Some tools go on tidying up for a moment after the end of a run.
    time.sleep(0.2)
    sizes = folder_bytes(store)
    count = child.run_role(task, "count", os.path.join(task["folder"], "count.json"), store=store, calls=calls)
    return {
        "runs": runs,
        "calls": calls,
        "records": records,
        **sizes,
        "apparent_bytes_per_record": round(sizes["apparent_bytes"] / records, 3),
        "allocated_bytes_per_record": round(sizes["allocated_bytes"] / records, 3),
        "one_record": folder_bytes(os.path.join(task["folder"], "small")),
        "read_back_of_first_run": count,
    }


def count(task: dict[str, Any]) -> dict[str, int]:
    """Records of the first run's elapsed time, which each of its rows has, as another process reads them."""
    peer = child.loaded(task)
    expected = min(task["calls"], len(curves.runs()[0]), task["form"]["steps"])
    return {"expected": expected, "found": len(peer.read_curve(task["store"], "run-0", "train_time_ms"))}


ROLES = {"main": main, "count": count}
