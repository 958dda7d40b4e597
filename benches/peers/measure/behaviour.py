"""What happens with NaN and infinities, late steps, repeated steps, 10,000 keys, fork. Told by reading back.

Each case has a `word` and, where it helps, `detail`. Words: kept, dropped, changed, partly kept, error, hangs,
unreadable.
"""

import concurrent.futures
import math
import os
import random
import select
import signal
import time
from typing import Any, Callable

import child
from measure.figures import fresh

SPECIAL = {3: math.nan, 5: math.inf, 7: -math.inf}
FORKED = 100
# The cases that each part tells about.
CASES = {"steps": ("nan", "late", "repeated"), "keys": ("keys",), "fork": ("fork",)}


def main(task: dict[str, Any]) -> dict[str, Any]:
    # Two at a time: what is told are words, not times, but for those of the many keys, which are told as orientation.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(lambda part: one(task, part), ("steps", "keys", "fork")))
    return {case: told for part in parts for case, told in part.items()}


def one(task: dict[str, Any], part: str) -> dict[str, Any]:
    folder = os.path.join(task["folder"], f"{part}-parts")
    os.makedirs(folder)
    store, result = fresh(task, part), os.path.join(folder, "write.json")
    try:
        told = child.run_role(task, part, result, timeout=100, folder=folder, store=store)
        result = os.path.join(folder, "read.json")
        return child.run_role(task, f"read_{part}", result, timeout=100, folder=folder, store=store, told=told)
    except RuntimeError as error:
        word = "hangs" if "no answer within" in str(error) else "error"
        return {case: {"word": word, "detail": str(error)} for case in CASES[part]}


def attempt(call: Callable[..., Any], *arguments: Any) -> str:
    """Empty, or what was raised."""
    try:
        call(*arguments)
    except Exception as error:
        return child.last_line(error)
    return ""


def steps(task: dict[str, Any]) -> dict[str, Any]:
    """Three runs: one with values that are not finite, one with late steps, one that repeats a step."""
    peer = child.loaded(task)
    told: dict[str, Any] = {}
    orders = {
        "nan": [(step, SPECIAL.get(step, float(step))) for step in range(10)],
        "late": [(step, float(step)) for step in (0, 1, 2, 10, 3, 4, 11)],
        "repeated": [(0, 0.0), (1, 1.0), (1, 1.5), (2, 2.0)],
    }
    for name, order in orders.items():
        errors = {}
        run = peer.start(task["store"], f"run-{name}", {"lr": 0.1})
        for number, (step, value) in enumerate(order):
            if error := attempt(run.log, {"loss": value}, step):
                errors[str(number)] = error
        if error := attempt(run.finish):
            errors["finish"] = error
        told[name] = errors
    return told


def read_steps(task: dict[str, Any]) -> dict[str, Any]:
    peer, found = child.loaded(task), {}
    for name, judge in (("nan", judge_nan), ("late", judge_late), ("repeated", judge_repeated)):
        errors = task["told"][name]
        try:
            curve = peer.read_curve(task["store"], f"run-{name}", "loss")
        except Exception as error:
            found[name] = {"word": "unreadable", "detail": child.last_line(error), "errors": errors}
            continue
        found[name] = {**judge(curve), "errors": errors, "read": [[step, repr(value)] for step, value in curve]}
    return found


def judge_nan(curve: list[tuple[int, float]]) -> dict[str, str]:
    values, words = dict(curve), {}
    for step, value in SPECIAL.items():
        if step not in values:
            words[repr(value)] = "dropped"
        elif values[step] == value or (math.isnan(value) and values[step] != values[step]):
            words[repr(value)] = "kept"
        else:
            words[repr(value)] = f"changed to {values[step]!r}"
    others = sum(values.get(step) == step for step in range(10) if step not in SPECIAL)
    detail = ", ".join(f"{key}: {word}" for key, word in words.items())
    detail += "" if others == 7 else f"; {7 - others} of the 7 finite values beside them are missing"
    return {"word": one_word(list(words.values())), "detail": detail}


def one_word(words: list[str]) -> str:
    kinds = {word.split()[0] for word in words}
    return kinds.pop() if len(kinds) == 1 else "partly kept"


def judge_late(curve: list[tuple[int, float]]) -> dict[str, str]:
    late = [step for step in (3, 4) if (step, float(step)) in curve]
    moved = [pair for pair in curve if pair[1] in (3.0, 4.0) and pair[0] != pair[1]]
    others = [step for step in (0, 1, 2, 10, 11) if (step, float(step)) not in curve]
    word = "kept" if len(late) == 2 else "changed" if moved else "partly kept" if late else "dropped"
    detail = [f"read at other steps: {moved}"] if moved else []
    detail += [f"steps {others} are missing, too"] if others else []
    return {"word": word, "detail": "; ".join(detail)}


def judge_repeated(curve: list[tuple[int, float]]) -> dict[str, str]:
    values = [value for step, value in curve if step == 1]
    detail = {(1.0, 1.5): "both", (1.5, 1.0): "both", (1.0,): "the first alone", (1.5,): "the last alone"}
    word = {2: "kept", 1: "partly kept", 0: "dropped"}.get(len(values), "changed")
    return {"word": word, "detail": detail.get(tuple(values), f"read: {values}")}


def keys(task: dict[str, Any]) -> dict[str, Any]:
    """All keys in one call, then again at the next step, when they are known."""
    peer, count = child.loaded(task), task["form"]["keys"]
    run, took = peer.start(task["store"], "run-0", {"lr": 0.1}), []
    errors = []
    for step in (0, 1):
        values = {f"group_{number // 100}/key_{number}": number + step / 2 for number in range(count)}
        begin = time.perf_counter()
        errors.append(attempt(run.log, values, step))
        took.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    errors.append(attempt(run.finish))
    told = {"first_call_s": took[0], "second_call_s": took[1], "finish_s": time.perf_counter() - begin}
    return {**{key: round(value, 6) for key, value in told.items()}, "errors": [error for error in errors if error]}


def read_keys(task: dict[str, Any]) -> dict[str, Any]:
    """A sample of the keys, drawn with the seed, is read; at most 60 s long."""
    peer, form, told = child.loaded(task), task["form"], task["told"]
    chosen = random.Random(task["seed"]).sample(range(form["keys"]), form["sample"])
    right = asked = 0
    begin, wrong = time.perf_counter(), ""
    for number in chosen:
        asked += 1
        try:
            curve = peer.read_curve(task["store"], "run-0", f"group_{number // 100}/key_{number}")
            right += sorted(curve) == [(0, float(number)), (1, number + 0.5)]
        except Exception as error:
            wrong = child.last_line(error)
        if time.perf_counter() - begin > 60:
            break
    word = "kept" if right == asked else "partly kept" if right else "error" if told["errors"] else "dropped"
    detail = f"{right} of {asked} keys read whole" + (f"; {told['errors'][0]}" if told["errors"] else "")
    return {
        "keys": {
            "word": word,
            "detail": detail + (f"; {wrong}" if wrong else ""),
            "keys": form["keys"],
            "read_s_per_key": round((time.perf_counter() - begin) / asked, 6),
            **told,
        }
    }


def fork(task: dict[str, Any]) -> dict[str, Any]:
    """The parent logs, forks, and goes on after the child has logged to the same run and ended without finishing."""
    peer = child.loaded(task)
    run = peer.start(task["store"], "run-0", {"lr": 0.1})
    for step in range(FORKED):
        run.log({"loss": float(step)}, step)
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        error = ""
        for step in range(FORKED, 2 * FORKED):
            error = error or attempt(run.log, {"loss": float(step)}, step)
        os.write(writing, error.encode()[:4000] or b"ok")
        # Tools that hand over in the background get a second, as a worker that goes on would give them.
        time.sleep(1)
        os._exit(0)
    ready, _, _ = select.select([reading], [], [], 20)
    said = os.read(reading, 5000).decode() if ready else "hangs"
    if not ready:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    error = ""
    for step in range(2 * FORKED, 3 * FORKED):
        error = error or attempt(run.log, {"loss": float(step)}, step)
    return {"child": said, "parent": error or attempt(run.finish)}


def read_fork(task: dict[str, Any]) -> dict[str, Any]:
    peer, told = child.loaded(task), task["told"]
    try:
        curve = peer.read_curve(task["store"], "run-0", "loss")
    except Exception as error:
        return {"fork": {"word": "unreadable", "detail": child.last_line(error), **told}}
    right = [step for step, value in curve if step == value]
    parent = len({step for step in right if not FORKED <= step < 2 * FORKED})
    own = len({step for step in right if FORKED <= step < 2 * FORKED})
    if told["child"] == "hangs":
        word = "hangs"
    elif own == FORKED and parent == 2 * FORKED:
        word = "kept"
    elif told["child"] != "ok" and parent == 2 * FORKED:
        word = "error"
    else:
        word = "partly kept" if own or parent else "dropped"
    detail = f"read: {parent} of {2 * FORKED} of the parent, {own} of {FORKED} of the child"
    detail += f", {len(curve) - len(set(curve))} twice" if len(curve) != len(set(curve)) else ""
    detail += "" if told["child"] in ("ok", "hangs") else f"; in the child: {told['child']}"
    return {"fork": {"word": word, "detail": detail + (f"; in the parent: {told['parent']}" if told["parent"] else "")}}


ROLES = {
    "main": main,
    "steps": steps,
    "read_steps": read_steps,
    "keys": keys,
    "read_keys": read_keys,
    "fork": fork,
    "read_fork": read_fork,
}
