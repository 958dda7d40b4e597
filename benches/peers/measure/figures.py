"""Percentiles, histograms, and how much a folder takes."""

import os
import statistics
from typing import Any, Iterable


def percentile(ordered: list[float], share: float) -> float:
    """The value at or below which `share` of all lie (nearest rank); `ordered` ascends and is not empty."""
    return ordered[max(0, min(len(ordered) - 1, -(-int(share * 1e6) * len(ordered) // 1_000_000) - 1))]


def histogram(values: Iterable[int]) -> list[list[int]]:
    """[[lower bound, count], ...] in buckets that are at most 1/32 of their lower bound wide, like an HdrHistogram."""
    counts: dict[int, int] = {}
    for value in values:
        shift = max(0, value.bit_length() - 6)
        lower = value >> shift << shift
        counts[lower] = counts.get(lower, 0) + 1
    return [[lower, count] for lower, count in sorted(counts.items())]


def summary(nanos: list[int]) -> dict[str, Any]:
    """Percentiles of times in nanoseconds, exact, and a histogram to draw them from."""
    ordered = sorted(nanos)
    return {
        "calls": len(ordered),
        "p50_ns": percentile(ordered, 0.5),
        "p90_ns": percentile(ordered, 0.9),
        "p99_ns": percentile(ordered, 0.99),
        "p99_9_ns": percentile(ordered, 0.999),
        "max_ns": ordered[-1],
        "mean_ns": round(statistics.fmean(ordered), 1),
        "histogram": histogram(ordered),
    }


def spread(values: list[float], digits: int = 6) -> dict[str, Any]:
    """Lowest, median and highest, and all of them in the order in which they were taken."""
    if not values:
        return {"n": 0}
    rounded = [round(value, digits) for value in values]
    return {
        "n": len(values),
        "min": min(rounded),
        "median": round(statistics.median(values), digits),
        "max": max(rounded),
        "all": rounded,
    }


def folder_bytes(folder: str) -> dict[str, int]:
    """Sizes of all files below `folder`: as listed, and as allocated on the file system (directories included)."""
    apparent = allocated = files = 0
    for parent, _, names in os.walk(folder):
        allocated += os.lstat(parent).st_blocks * 512
        for name in names:
            status = os.lstat(os.path.join(parent, name))
            apparent, allocated, files = apparent + status.st_size, allocated + status.st_blocks * 512, files + 1
    return {"apparent_bytes": apparent, "allocated_bytes": allocated, "files": files}


def fresh(task: dict[str, Any], name: str) -> str:
    """A new folder for a store below the folder of the measure."""
    path = os.path.join(task["folder"], name)
    os.makedirs(path)
    return path
