"""A record as one table per measure, for reading in a terminal."""

from typing import Any, Callable


def nanos(value: float) -> str:
    for unit, size in (("ns", 1), ("us", 1e3), ("ms", 1e6)):
        if value < 1000 * size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e9:.3g} s"


def cost(value: dict[str, Any]) -> dict[str, str]:
    found = {}
    for metrics in ("1", "10"):
        part = value.get(f"metrics_{metrics}")
        if not part:
            continue
        for name in ("p50", "p99", "p99_9", "max", "mean"):
            found[f"{name} of {metrics}"] = nanos(part[f"{name}_ns"])
        found[f"batch of {metrics}"] = nanos(part["batch_mean_ns"])
        if "logged" in part:
            found[f"calls of {metrics}"] = f"{part['read_back']}/{part['logged']}" if "read_back" in part else ""
    return found


def loop(value: dict[str, Any]) -> dict[str, str]:
    found = {}
    for step, part in value.items():
        found[f"{step} ms"] = f"{part['slowdown_percent']['median']:.2f} %"
        found[f"cpu/1000 at {step} ms"] = f"{part['extra_cpu_s_per_1000_steps']:.4f} s"
    return found


def times(value: dict[str, Any]) -> dict[str, str]:
    return {key.removesuffix("_s"): nanos(part["median"] * 1e9) for key, part in value.items()}


def kill(value: dict[str, Any]) -> dict[str, str]:
    found = {}
    for kind, part in value.items():
        found[f"lost {kind}"] = f"{part['lost_min']}/{part['lost_median']:g}/{part['lost_max']}"
        found[f"of {kind}"] = str(max(kill["returned"] for kill in part["each"]))
        found[f"unreadable {kind}"] = f"{part['unreadable']}/{part['kills']}"
    return found


def size(value: dict[str, Any]) -> dict[str, str]:
    back = value["read_back_of_first_run"]
    return {
        "bytes/record": f"{value['apparent_bytes_per_record']:.1f}",
        "allocated": f"{value['allocated_bytes_per_record']:.1f}",
        "records": str(value["records"]),
        "runs": str(value["runs"]),
        "files": str(value["files"]),
        "store of one record": str(value["one_record"]["apparent_bytes"]),
        "read": f"{back['found']}/{back['expected']}",
    }


def memory(value: dict[str, Any]) -> dict[str, str]:
    points = ", ".join(f"{point['calls']}: {point['bytes'] >> 20}" for point in value["points"])
    return {
        "bytes/call": str(value["bytes_per_call"]),
        "peak MiB": str(value["peak_bytes"] >> 20),
        "MiB at calls": points,
    }


def visible(value: dict[str, Any]) -> dict[str, str]:
    delay = value["delay_ms"].get("median")
    never = f"not within {value['watched_s']} s"
    return {
        "median": never if delay is None else f"{delay:.1f} ms",
        "max": f"{value['delay_ms'].get('max', '')}",
        "first": f"{value['first_delay_ms']}",
        "reading ms": str(value["reading_ms"].get("median")),
        "after finish": f"{value['steps_after_finish']}/{value['steps_logged']}",
    }


def read(value: dict[str, Any]) -> dict[str, str]:
    return {
        "curve": nanos(value["curve_s"]["median"] * 1e9),
        "points": f"{value['points_read']}/{value['points_logged']}",
        "rank": nanos(value["rank_s"]["median"] * 1e9),
        "runs": f"{value['runs_ranked']}/{value['runs_logged']}",
        "right": str(value["rank_right"]),
    }


def behaviour(value: dict[str, Any]) -> dict[str, str]:
    return {case: f"{part['word']} ({part.get('detail', '')})"[:110] for case, part in value.items()}


VIEWS: dict[str, Callable[[dict[str, Any]], dict[str, str]]] = {
    "cost": cost,
    "loop": loop,
    "times": times,
    "kill": kill,
    "size": size,
    "memory": memory,
    "visible": visible,
    "read": read,
    "behaviour": behaviour,
}


def text(data: dict[str, Any]) -> str:
    """All measures of a record. Cost shows the medians of the repetitions, and which calls were read back."""
    lines = []
    for measure, view in VIEWS.items():
        rows = [row for row in data["results"] if row["measure"] == measure and row["repetition"] == 0]
        if not rows:
            continue
        lines += ["", f"{measure}"]
        cells, errors = [], []
        for row in sorted(rows, key=lambda row: (row["peer"], row["variant"])):
            name = f"{row['peer']}/{row['variant']}"
            if "error" in row:
                errors.append(f"{name}: error: {row['error']}")
                continue
            value = row["value"]
            if measure == "cost":
                middle = data["cost"][name]
                value = {key: {**value[key], **middle[key]} for key in ("metrics_1", "metrics_10") if key in value}
            cells.append((name, view(value)))
        lines += columns(cells) + errors
    return "\n".join(lines)


def columns(cells: list[tuple[str, dict[str, str]]]) -> list[str]:
    if not cells:
        return []
    heads = ["", *dict.fromkeys(key for _, row in cells for key in row)]
    table = [heads] + [[name, *(row.get(head, "") for head in heads[1:])] for name, row in cells]
    widths = [max(len(row[place]) for row in table) for place in range(len(heads))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in table]
