"""The raw record: machine, versions, and every result; written anew after each, so that an interrupted run keeps it
all."""

import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
from typing import Any

SCHEMA = 1


def machine(work: pathlib.Path) -> dict[str, Any]:
    """Where it runs: model, cores, memory, kernel, and the file system that is written to."""
    info = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGESIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "model": model,
        "cores": os.cpu_count(),
        "memory_bytes": memory,
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "file_system": file_system(work),
        "load": round(os.getloadavg()[0], 2),
    }


def file_system(folder: pathlib.Path) -> str:
    """Kind of the file system that holds `folder`: the mount with the longest path above it."""
    path, best = str(folder.resolve()), ("", "unknown")
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        if path == mount or path.startswith(mount.rstrip("/") + "/"):
            best = max(best, (mount, kind), key=lambda pair: len(pair[0]))
    return best[1]


def commit(folder: pathlib.Path) -> str:
    """The commit of the clone, with a mark if it was changed."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True).stdout.strip()

    return (git("rev-parse", "HEAD") or "unknown") + ("+changes" if git("status", "--porcelain", "-uno") else "")


def now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


class Record:
    """One JSON file."""

    def __init__(self, path: pathlib.Path, head: dict[str, Any], resume: bool) -> None:
        self.path = path
        self.data: dict[str, Any] = {"schema": SCHEMA, **head, "peers": {}, "results": []}
        if resume and path.exists():
            kept = json.loads(path.read_text())
            for key in ("form", "seed", "commit"):
                if kept.get(key) != head[key]:
                    raise SystemExit(f"--resume: {path} has {key} {kept.get(key)}, and this run {head[key]}")
            self.data["results"], self.data["resumed"] = kept["results"], [*kept.get("resumed", []), kept["started"]]
            self.data["peers"] = kept["peers"]

    def done(self, key: dict[str, Any]) -> bool:
        return any(all(row[name] == value for name, value in key.items()) for row in self.data["results"])

    def add(self, row: dict[str, Any]) -> None:
        self.data["results"].append(row)
        self.write()

    def write(self) -> None:
        self.data["written"] = now()
        self.data["cost"] = medians(self.data["results"])
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.data, indent=1, allow_nan=False) + "\n")
        part.replace(self.path)


def medians(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Cost per call: the median of the repetitions for each figure; the repetitions themselves stay among the
    results."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in results:
        if row["measure"] == "cost" and "value" in row:
            groups.setdefault((row["peer"], row["variant"]), []).append(row["value"])
    figures = ("p50_ns", "p90_ns", "p99_ns", "p99_9_ns", "max_ns", "mean_ns", "batch_mean_ns")
    found: dict[str, Any] = {}
    for (peer, variant), values in groups.items():
        found[f"{peer}/{variant}"] = {
            "repetitions": len(values),
            "timer_p50_ns": statistics.median(value["timer_ns"]["p50"] for value in values),
            **{
                metrics: {
                    name: statistics.median(value[metrics][name] for value in values if metrics in value)
                    for name in figures
                }
                for metrics in ("metrics_1", "metrics_10")
                if any(metrics in value for value in values)
            },
        }
    return found
