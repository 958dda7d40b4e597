"""The interface between a measure and a tool.

An adapter file defines `Adapter(Peer)`. Importing the file must not import the tool: `load` does that, because its
time is measured. The orchestrator imports the file, too, for the constants, in a Python without the tool.

A measure calls, in the virtual environment of the peer:

    peer = Adapter(variant); peer.load()
    run = peer.start(folder, "run-0", {"lr": 0.1})      folder: the tool's store; it exists and belongs to the measure
    run.log({"loss": 0.5}, step)                        the tool's own call where its order of arguments is the same
    run.finish()                                        as the tool documents the end of a run
    peer.recover(folder)                                what the tool documents after a crash; before reading
    peer.read_curve(folder, "run-0", "loss")            [(step, value), ...] in the tool's own order
    peer.rank(folder, "loss")                           [(run, lowest value), ...], the lowest first

Reading happens in a process that has not logged.
"""

import importlib.metadata
import math
from typing import Any

Curve = list[tuple[int, float]]


class Run:
    """A run that is being logged. `log` may be replaced by the tool's own callable, so that no wrapper is timed."""

    # A callable (value, step) for one metric, where the variant is about such a call; else None.
    one: Any = None

    def log(self, values: dict[str, float], step: int) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        raise NotImplementedError


class Peer:
    # Variants by name, each with one line on what is called. The first is the one that the tool's documentation shows.
    VARIANTS: dict[str, str] = {}
    # Distributions whose versions are recorded, the tool itself first.
    DISTRIBUTIONS: tuple[str, ...] = ()
    # Set for every process: no telemetry, no look for updates, nothing over the network.
    ENVIRONMENT: dict[str, str] = {}
    # False where nothing can be read by another process; the measures that need it say so.
    READABLE = True
    # What read_curve reads with, in words, for the record.
    READER = ""

    def __init__(self, variant: str) -> None:
        self.variant = variant

    def load(self) -> None:
        """Imports the tool."""

    def start(self, folder: str, name: str, params: dict[str, Any]) -> Run:
        raise NotImplementedError

    def recover(self, folder: str) -> None:
        """What the tool documents for a run that died. Nothing by default."""

    def read_curve(self, folder: str, name: str, metric: str) -> Curve:
        raise NotImplementedError

    def runs(self, folder: str) -> list[str]:
        """Names of the runs in the store; only for `rank` as it is here."""
        raise NotImplementedError

    def rank(self, folder: str, metric: str) -> list[tuple[str, float]]:
        """By reading each curve; a tool that can answer it itself overrides this."""
        best = [(name, lowest(self.read_curve(folder, name, metric))) for name in self.runs(folder)]
        return sorted(best, key=lambda pair: pair[1])

    def versions(self) -> dict[str, str]:
        found = {}
        for name in self.DISTRIBUTIONS:
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                found[name] = "not installed"
        return found

    def build(self) -> str:
        """How native code of the tool was built, where it tells; else empty."""
        return ""


def lowest(curve: Curve) -> float:
    return min((value for _, value in curve if math.isfinite(value)), default=math.inf)
