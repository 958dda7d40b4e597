"""How much each measure does: `tiny` for the tests, `quick` for `make bench`, `full` for figures to quote.

Every limit in seconds bounds the logging of one peer, not the peer's own import, start, finish or reading. `timeout_s`
is when the whole measure is given up for this peer. Where a limit cut the work short, the record says how much was
done.
"""

from typing import Any

FORMS: dict[str, dict[str, dict[str, Any]]] = {
    "tiny": {
        "cost": {"repetitions": 1, "calls": 200, "warm": 10, "limit_s": 2, "timeout_s": 60},
        "loop": {"step_ms": [0.2], "window_s": 0.02, "pairs": 2, "settle_s": 0.05, "timeout_s": 60},
        "times": {"processes": 1, "calls": 20, "timeout_s": 60},
        "kill": {
            "paced": 1,
            "flat": 1,
            "from_s": 0.05,
            "to_s": 0.15,
            "grace_s": 2,
            "calls_max": 20_000,
            "timeout_s": 120,
        },
        "size": {"runs": 1, "steps": 200, "limit_s": 5, "timeout_s": 60},
        "memory": {"calls": [100, 1000], "limit_s": 5, "timeout_s": 60},
        "visible": {"every_ms": 10, "limit_s": 1, "timeout_s": 60},
        "read": {"points": 500, "runs": 5, "steps": 20, "limit_s": 5, "reads": 2, "timeout_s": 60},
        "behaviour": {"keys": 50, "sample": 10, "timeout_s": 120},
    },
    "quick": {
        "cost": {"repetitions": 1, "calls": 20_000, "warm": 100, "limit_s": 0.4, "timeout_s": 45},
        "loop": {"step_ms": [0.2, 1, 10], "window_s": 0.12, "pairs": 5, "settle_s": 0.4, "timeout_s": 90},
        "times": {"processes": 1, "calls": 200, "timeout_s": 90},
        "kill": {
            "paced": 3,
            "flat": 2,
            "from_s": 0.2,
            "to_s": 1.2,
            "grace_s": 2,
            "calls_max": 300_000,
            "timeout_s": 150,
        },
        "size": {"runs": 12, "steps": 10_000, "limit_s": 2, "timeout_s": 90},
        "memory": {"calls": [1000, 10_000, 100_000], "limit_s": 2, "timeout_s": 60},
        "visible": {"every_ms": 10, "limit_s": 2, "timeout_s": 60},
        "read": {"points": 10_000, "runs": 100, "steps": 20, "limit_s": 1.5, "reads": 2, "timeout_s": 150},
        "behaviour": {"keys": 10_000, "sample": 10, "timeout_s": 60},
    },
    "full": {
        "cost": {"repetitions": 3, "calls": 200_000, "warm": 100, "limit_s": 15, "timeout_s": 180},
        "loop": {"step_ms": [0.2, 1, 10], "window_s": 0.5, "pairs": 15, "settle_s": 2, "timeout_s": 300},
        "times": {"processes": 10, "calls": 1000, "timeout_s": 300},
        "kill": {
            "paced": 25,
            "flat": 25,
            "from_s": 0.2,
            "to_s": 3,
            "grace_s": 2,
            "calls_max": 1_000_000,
            "timeout_s": 1800,
        },
        "size": {"runs": 36, "steps": 10_000, "limit_s": 120, "timeout_s": 600},
        "memory": {"calls": [1000, 10_000, 100_000], "limit_s": 60, "timeout_s": 180},
        "visible": {"every_ms": 10, "limit_s": 30, "timeout_s": 180},
        "read": {"points": 10_000, "runs": 100, "steps": 100, "limit_s": 150, "reads": 10, "timeout_s": 600},
        "behaviour": {"keys": 10_000, "sample": 200, "timeout_s": 300},
    },
}

# In the order in which they run.
MEASURES = tuple(FORMS["quick"])

# Measures that all variants of a peer go through. In the others the first stands for all: what is stored and read back
# does not depend on the call. The floors are each a store of its own.
ALL_VARIANTS = {
    "tiny": ("cost", "loop", "times", "kill", "memory", "visible"),
    "quick": ("cost",),
    "full": ("cost", "loop", "times", "kill", "memory", "visible"),
}
EACH_VARIANT = ("floors",)
