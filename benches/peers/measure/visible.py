"""Time to first visible: from the return of a log call to the moment another process reads that value.

The writer logs every 10 ms and stores the moment of each return in a mapped file. This process reads the curve again
and again and takes the end of the first reading that has a step as the moment at which it could be seen. The time of a
reading is therefore part of the figure, and is given beside it. Both clocks are CLOCK_MONOTONIC.
"""

import mmap
import os
import time
from array import array
from typing import Any

import child
import curves
from measure.figures import fresh, spread

LIMIT = 100_000


def main(task: dict[str, Any]) -> dict[str, Any]:
    form, store = task["form"], fresh(task, "store")
    path, result = os.path.join(task["folder"], "returned"), os.path.join(task["folder"], "write.json")
    with open(path, "wb") as file:
        file.truncate(8 * LIMIT)
    peer = child.loaded(task)
    writer = child.start_role(task, "write", result, store=store, returned=path)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 8 * LIMIT, prot=mmap.PROT_READ) as mapped:
        returned = memoryview(mapped).cast("q")
        try:
            seen, readings, errors = watch(peer, store, writer, returned, form["limit_s"])
            os.unlink(path)  # Tells the writer to finish.
            child.finish_role(writer, result, 60)
            delays = [max(0, moment - returned[step]) / 1e6 for step, moment in sorted(seen.items())]
            logged = sum(1 for moment in returned if moment)
        finally:
            returned.release()
            if writer.poll() is None:
                writer.kill()
    after = child.run_role(task, "count", os.path.join(task["folder"], "count.json"), store=store)
    told = spread(delays, 3)
    told.pop("all", None)
    return {
        "never_before_finish": not seen,
        "watched_s": form["limit_s"],
        "delay_ms": told,
        "first_delay_ms": round(delays[0], 3) if delays else None,
        "steps_seen": len(seen),
        "steps_logged": logged,
        "steps_after_finish": after,
        "reading_ms": readings,
        "errors_while_reading": errors,
    }


def watch(peer: Any, store: str, writer: Any, returned: Any, limit_s: float) -> tuple[dict[int, int], dict, dict]:
    """Reads again and again until the limit, and returns at which moment each step was seen for the first time."""
    while not returned[0]:
        if writer.poll() is not None:
            raise RuntimeError("the writer ended before its first call had returned")
        time.sleep(0.0002)
    seen: dict[int, int] = {}
    errors: dict[str, int] = {}
    took = array("d")
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        begin = time.monotonic_ns()
        try:
            curve = peer.read_curve(store, "run-0", "loss")
        except Exception as error:  # A store that is being written may not open yet: that is not visible, and told.
            errors[child.last_line(error)] = errors.get(child.last_line(error), 0) + 1
            time.sleep(0.005)
            continue
        end = time.monotonic_ns()
        took.append((end - begin) / 1e6)
        for step, _ in curve:
            # A step that is read before its call returned was visible at once: its delay counts as 0.
            seen.setdefault(step, end)
        time.sleep(0.0005)
    readings = spread(list(took), 3)
    readings.pop("all", None)
    # What is being logged at this very moment has no moment of return yet.
    return {step: moment for step, moment in seen.items() if returned[step]}, readings, errors


def write(task: dict[str, Any]) -> None:
    peer = child.loaded(task)
    with open(task["returned"], "r+b") as file:
        returned = memoryview(mmap.mmap(file.fileno(), 8 * LIMIT)).cast("q")
    run = peer.start(task["store"], "run-0", {"lr": 0.1})
    for step in range(LIMIT):
        run.log({"loss": curves.loss(step)}, step)
        returned[step] = time.monotonic_ns()
        if not os.path.exists(task["returned"]):
            break
        time.sleep(task["form"]["every_ms"] / 1000)
    run.finish()


def count(task: dict[str, Any]) -> int:
    return len(child.loaded(task).read_curve(task["store"], "run-0", "loss"))


ROLES = {"main": main, "write": write, "count": count}
