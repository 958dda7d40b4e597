"""Values to log: the losses of 36 recorded NanoGPT runs (fixtures/nanogpt-speedrun.csv.gz). None is made up."""

import csv
import functools
import gzip
import itertools
import pathlib

FIXTURES = pathlib.Path(__file__).resolve().parent.parent.parent / "fixtures"
COLUMNS = ("train_loss", "val_loss", "train_time_ms")
TEN = tuple(f"metric_{number}" for number in range(10))


@functools.cache
def runs() -> list[list[tuple[int, dict[str, float]]]]:
    """Each run as [(step, values), ...], with the columns that the row has, in the order of the file."""
    with gzip.open(FIXTURES / "nanogpt-speedrun.csv.gz", "rt") as file:
        rows = csv.DictReader(file)
        return [
            [(int(row["step"]), {key: float(row[key]) for key in COLUMNS if row[key]}) for row in group]
            for _, group in itertools.groupby(rows, lambda row: row["run"])
        ]


@functools.cache
def losses() -> list[float]:
    """All training losses, run after run: 38,760 values that differ from step to step as real ones do."""
    return [values["train_loss"] for run in runs() for _, values in run if "train_loss" in values]


def loss(number: int) -> float:
    values = losses()
    return values[number % len(values)]


def dicts(count: int, metrics: int) -> list[dict[str, float]]:
    """`count` dicts to log. The metrics of one dict are losses at places far from one another."""
    if metrics == 1:
        return [{"loss": loss(number)} for number in range(count)]
    return [{key: loss(number + 997 * place) for place, key in enumerate(TEN)} for number in range(count)]
