"""Import, the first and a later start of a run, and its end, each in fresh processes; files are in the page cache."""

import os
import time
from typing import Any

import child
import curves
from measure.figures import fresh, spread


def main(task: dict[str, Any]) -> dict[str, Any]:
    found: list[dict[str, float]] = []
    # The first process fills the page cache and is not counted.
    for number in range(task["form"]["processes"] + 1):
        result = os.path.join(task["folder"], f"once-{number}.json")
        once = child.run_role(task, "once", result, store=fresh(task, f"store-{number}"))
        if number:
            found.append(once)
    return {key: spread([once[key] for once in found]) for key in found[0]}


def once(task: dict[str, Any]) -> dict[str, float]:
    peer = child.adapter(task)
    items = curves.dicts(task["form"]["calls"], 1)
    clock = time.perf_counter
    begin = clock()
    peer.load()
    found = {"import_s": clock() - begin}
    for name in ("first", "later"):
        begin = clock()
        run = peer.start(task["store"], f"run-{name}", {"lr": 0.1})
        found[f"{name}_start_s"] = clock() - begin
        for step, values in enumerate(items):
            run.log(values, step)
        begin = clock()
        run.finish()
        found[f"{name}_finish_s"] = clock() - begin
    return found


ROLES = {"main": main, "once": once}
