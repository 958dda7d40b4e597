"""Reading: one curve of 10,000 points, and 100 runs ranked by their lowest loss; in a process that has not logged."""

import os
import time
from typing import Any

import child
import curves
from measure.figures import fresh, spread


def main(task: dict[str, Any]) -> dict[str, Any]:
    form, peer = task["form"], child.loaded(task)
    one, many = fresh(task, "curve"), fresh(task, "ranked")
    points = fill(peer, one, "run-0", form["points"], 0, form["limit_s"])
    runs, until = 0, time.perf_counter() + form["limit_s"]
    while runs < form["runs"] and (runs < 2 or time.perf_counter() < until):
        fill(peer, many, f"run-{runs}", form["steps"], runs * form["steps"], 10)
        runs += 1
    result = os.path.join(task["folder"], "ask.json")
    found = child.run_role(task, "ask", result, timeout=form["timeout_s"] * 0.8, curve=one, ranked=many)
    steps = form["steps"]
    lowest = [min(curves.loss(number * steps + step) for step in range(steps)) for number in range(runs)]
    best = min(lowest)
    first, value = found.pop("first")
    number = int(first.rpartition("-")[2]) if first else -1
    # Runs of equal loss may come in any order, and values may have been kept in 32 bits.
    right = 0 <= number < runs and abs(lowest[number] - best) < 1e-5 and abs(value - best) < 1e-5
    return {"points_logged": points, "runs_logged": runs, "steps_per_run": steps, "rank_right": right, **found}


def fill(peer: Any, store: str, name: str, steps: int, offset: int, limit_s: float) -> int:
    run, until = peer.start(store, name, {"lr": 0.1}), time.perf_counter() + limit_s
    done = 0
    while done < steps and time.perf_counter() < until:
        run.log({"loss": curves.loss(offset + done)}, done)
        done += 1
    run.finish()
    return done


def ask(task: dict[str, Any]) -> dict[str, Any]:
    peer = child.loaded(task)
    took: dict[str, list[float]] = {"curve": [], "rank": []}
    began = time.perf_counter()
    for _ in range(task["form"]["reads"]):
        # Once is enough where one reading takes seconds.
        if took["rank"] and time.perf_counter() - began > 10:
            break
        begin = time.perf_counter()
        curve = peer.read_curve(task["curve"], "run-0", "loss")
        took["curve"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        ranked = peer.rank(task["ranked"], "loss")
        took["rank"].append(time.perf_counter() - begin)
    return {
        "points_read": len(curve),
        "curve_first_s": round(took["curve"][0], 6),
        "curve_s": spread(took["curve"]),
        "runs_ranked": len(ranked),
        "rank_first_s": round(took["rank"][0], 6),
        "rank_s": spread(took["rank"]),
        "first": list(ranked[0]) if ranked else ["", 0.0],
    }


ROLES = {"main": main, "ask": ask}
