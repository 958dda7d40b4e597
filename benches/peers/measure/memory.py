"""Memory: proportional set size of the process and all below it, after so many calls of one metric; flat out."""

import os
import time
from typing import Any

import child
import curves
import processes
from measure.figures import fresh


def main(task: dict[str, Any]) -> dict[str, Any]:
    form, own = task["form"], os.getpid()
    peer, values = child.loaded(task), curves.losses()
    loaded = processes.resident_bytes(own)
    run = peer.start(fresh(task, "store"), "run-0", {"lr": 0.1})
    begin = time.perf_counter()
    until = begin + form["limit_s"]
    points, peak, done = [{"calls": 0, "bytes": processes.resident_bytes(own)}], 0, 0
    call, one = run.log, bool(run.one)
    if one:
        call = run.one("loss")
    checks = sorted({*form["calls"], *range(0, max(form["calls"]), 2_000)})
    for check in checks:
        while done < check and time.perf_counter() < until:
            value = values[done % len(values)]
            call(value if one else {"loss": value}, done)
            done += 1
        resident = processes.resident_bytes(own)
        peak = max(peak, resident)
        if check in form["calls"] or done < check:
            points.append({"calls": done, "bytes": resident})
        if done < check:
            break
    seconds = time.perf_counter() - begin
    run.finish()
    peak = max(peak, processes.resident_bytes(own))
    first = next((point for point in points if point["calls"] >= min(form["calls"])), points[-1])
    last = points[-1]
    grown = last["calls"] - first["calls"]
    return {
        "loaded_bytes": loaded,
        "points": points,
        "peak_bytes": peak,
        "seconds": round(seconds, 3),
        "calls": done,
        "bytes_per_call": round((last["bytes"] - first["bytes"]) / grown, 2) if grown else None,
    }


ROLES = {"main": main}
