"""Raw records as the report reads them: files under benches/results, what a row of the peers' record holds, and names.

A record may lack anything: a peer that was not installed, a measure that hung, figures of a form that takes fewer.
"""

import dataclasses
import json
import pathlib
from typing import Any, Callable

# Names as the tools write them; a peer that is not here is called as its adapter is.
NAMES = {
    "stepwell": "Stepwell",
    "expman": "expman-rs",
    "wandb": "wandb offline",
    "mlflow": "MLflow",
    "tensorboardx": "tensorboardX",
    "clearml": "ClearML",
    "swanlab": "SwanLab",
    "dvclive": "DVCLive",
    "aim": "Aim",
}
FLOORS = {
    "pass": "floor: empty function",
    "list": "floor: list.append",
    "jsonl": "floor: JSON line",
    "sqlite": "floor: SQLite",
}
OWN, FLOOR = "stepwell", "floors"


@dataclasses.dataclass
class Row:
    """What one peer, called in one way, gave in one measure. `value` is empty where there is an error."""

    peer: str
    variant: str
    name: str
    value: dict[str, Any]
    error: str = ""
    notes: tuple[str, ...] = ()
    # Whether it is the first variant: the one that goes through all measures.
    first: bool = True

    @property
    def own(self) -> bool:
        return self.peer == OWN

    @property
    def floor(self) -> bool:
        return self.peer == FLOOR


def load(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Every record by the name of its file, without `.json`."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise SystemExit(f"{path.name}: not JSON: {error}") from error
        if isinstance(data, dict):
            found[path.stem] = data
    return found


def kind(data: dict[str, Any]) -> str:
    """Which program made it: `peers`, `sql`, `cmf`, or `engine` for those of the Rust programs; empty if none is known."""
    if data.get("suite") == "peers" and isinstance(data.get("results"), list):
        return "peers"
    if isinstance(data.get("sizes"), list):
        return "sql"
    if data.get("suite") == "cmf" and isinstance(data.get("calls"), dict):
        return "cmf"
    if "benchmark" in data and isinstance(data.get("records"), list):
        return "engine"
    return ""


def dig(value: Any, *keys: str) -> Any:
    """What lies below these keys, or None."""
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def number(value: Any, *keys: str) -> float | None:
    found = dig(value, *keys)
    return found if isinstance(found, (int, float)) and not isinstance(found, bool) else None


def figure(*keys: str) -> Callable[[Row], float | None]:
    """A reader of one figure of a row."""
    return lambda row: number(row.value, *keys)


CALLS_FOR = {"p99_ns": 100, "p99_9_ns": 1000}


def tail(part: str, key: str) -> Callable[[Row], float | None]:
    """A reader of a high percentile of a call: none where there were so few calls that it is their maximum."""

    def get(row: Row) -> float | None:
        enough = (number(row.value, part, "calls") or 0) >= CALLS_FOR[key]
        return number(row.value, part, key) if enough else None

    return get


def row_name(peer: str, variant: str, variants: list[str]) -> str:
    if peer == FLOOR:
        return FLOORS.get(variant, f"floor: {variant}")
    name = NAMES.get(peer, peer)
    # The first variant of ours is what the others are compared with, and goes without a word.
    if len(variants) < 2 or (peer == OWN and variant == variants[0]):
        return name
    return f"{name} {variant}"


class Peers:
    """The record of benches/peers."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    def variants(self, peer: str) -> list[str]:
        found = list(dig(self.data, "peers", peer, "variants") or {})
        used = dict.fromkeys(row["variant"] for row in self.data["results"] if row.get("peer") == peer)
        return found or list(used)

    def rows(self, measure: str) -> list[Row]:
        """One row per peer and variant. Of repetitions the first that gave a value counts; cost has its medians."""
        groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for result in self.data["results"]:
            if result.get("measure") == measure:
                groups.setdefault((result["peer"], result["variant"]), []).append(result)
        return [self.row(measure, *key, results) for key, results in sorted(groups.items())]

    def row(self, measure: str, peer: str, variant: str, results: list[dict[str, Any]]) -> Row:
        good = [result for result in results if isinstance(result.get("value"), dict) and result["value"]]
        errors = [str(result["error"]) for result in results if "error" in result]
        variants = self.variants(peer)
        name, first = row_name(peer, variant, variants), variant == variants[0]
        if not good:
            return Row(peer, variant, name, {}, errors[0] if errors else "no value in the record", first=first)
        value = good[0]["value"]
        if measure == "cost":
            value = self.with_medians(f"{peer}/{variant}", value, good)
        notes = [f"incomplete, {result['incomplete']}" for result in good if result.get("incomplete")]
        notes += [f"{len(errors)} of {len(results)} repetitions failed: {errors[0]}"] if errors else []
        return Row(peer, variant, name, value, "", tuple(dict.fromkeys(notes)), first)

    def with_medians(self, key: str, value: dict[str, Any], good: list[dict[str, Any]]) -> dict[str, Any]:
        """Cost of a call: figures are medians of the repetitions, histograms are those of all of them together."""
        found = dict(value)
        for metrics in ("metrics_1", "metrics_10"):
            parts = [result["value"][metrics] for result in good if isinstance(result["value"].get(metrics), dict)]
            if not parts:
                continue
            counts: dict[float, int] = {}
            for lower, count in (pair for part in parts for pair in part.get("histogram") or []):
                counts[lower] = counts.get(lower, 0) + count
            middle = dig(self.data, "cost", key, metrics) or {}
            found[metrics] = {**parts[0], **middle, "histogram": sorted(counts.items())}
        return found

    def command(self) -> str:
        form = self.data.get("form", "quick")
        option = "" if form == "quick" else f" --{form}"
        files = "--wheel target/wheels/stepwell-*.whl --json benches/results/peers.json"
        return f"python benches/peers/run.py{option} {files}"
