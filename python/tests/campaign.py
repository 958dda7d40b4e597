"""What the campaigns share: seeds and counts from the environment, a page of acknowledgements, the closing line.

A writer logs lanes: lane `n` is the metric `lane<n>` under the metrics name "campaign", with a value that follows from lane and
step, so that a row which was lost, doubled or made up is seen as such.
"""

import mmap
import os
import random
import time
from dataclasses import dataclass

import stepwell

NAME = "campaign"
LANES_MAX = 64


def number(variable, default):
    """The number in an environment variable."""
    return int(os.environ.get(variable, default))


def chance(campaign):
    """A generator from STEPWELL_SEED or the clock; prints the seed, so that a failure can be repeated."""
    seed = number("STEPWELL_SEED", time.time_ns())
    print(f"{campaign}: STEPWELL_SEED={seed} repeats this campaign")
    return random.Random(seed)


def value(lane, step):
    return lane * 1e6 + step * 0.5


class Page:
    """A shared page with one counter per lane: how many log calls have returned. It outlives its writer."""

    def __init__(self, path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(descriptor, LANES_MAX * 8)
        self.counters = memoryview(mmap.mmap(descriptor, LANES_MAX * 8)).cast("Q")
        os.close(descriptor)

    def acknowledge(self, lane, count):
        self.counters[lane] = count

    def of(self, lane):
        return self.counters[lane]


def log_lane(run, page, lane, stop=None, steps=None, pause=0.0):
    """Logs until `stop` is set, or so many steps, with a pause in seconds after every 64; the ways of logging take turns by lane."""
    handle = run.metric(NAME, f"lane{lane}") if lane % 2 else None
    key = f"lane{lane}"
    step = 0
    while (steps is None or step < steps) and not (stop and stop.is_set()):
        if handle:
            handle(value(lane, step), step)
        else:
            run.log_metric(NAME, {key: value(lane, step)}, step=step)
        step += 1
        page.acknowledge(lane, step)
        if pause and step % 64 == 0:
            time.sleep(pause)


@dataclass
class Tally:
    """The closing line of a campaign: the same six figures as in Rust. The last two have to be 0."""

    cases: int = 0
    acknowledged: int = 0
    kept: int = 0
    lost_within: int = 0
    lost_beyond: int = 0
    invented: int = 0

    def count(self, store, run_id, acknowledged):
        """Compares the rows of a run with what was acknowledged: a count per lane. The one call that was under way in each
        thread at the end may have been finished, and no other."""
        query = f"SELECT metrics_name, metric, step, value, rank, attempt, seq FROM metrics WHERE run_id = '{run_id}' ORDER BY rank, attempt, seq"
        rows = stepwell.sql(query, store).rows
        assert len({row[4:] for row in rows}) == len(rows), "(rank, attempt, seq) is there twice"
        lanes = {lane: [] for lane in acknowledged}
        for name, metric, step, found, *_ in rows:
            lane = int(metric.removeprefix("lane"))
            if name != NAME or lane not in lanes or found != value(lane, step) or step > acknowledged[lane]:
                self.invented += 1
            else:
                lanes[lane].append(step)
        for lane, steps in lanes.items():
            assert steps == sorted(steps), f"lane {lane} is not in the order of its calls"
            self.acknowledged += acknowledged[lane]
            self.kept += len(set(steps))
            self.invented += len(steps) - len(set(steps))
            self.lost_beyond += len(set(range(acknowledged[lane])) - set(steps))

    def close(self, campaign):
        print(
            f"{campaign}: {self.cases} cases, {self.acknowledged} records acknowledged, {self.kept} kept, "
            f"{self.lost_within} lost within the promise, {self.lost_beyond} lost beyond it, {self.invented} invented"
        )
        assert (self.lost_beyond, self.invented) == (0, 0), f"{campaign}: records lost beyond the promise, or invented"


def tight_environment(store):
    """Settings with a ring so small that sealing, publishing and recycling go on all the time."""
    return dict(
        os.environ,
        STEPWELL_STORE=store,
        STEPWELL_RING_RECORDS="4096",
        STEPWELL_SEGMENT_ROWS="1024",
        STEPWELL_SYNC_MILLIS="10",
        STEPWELL_SEAL_MILLIS="10",
        STEPWELL_WAIT_MILLIS="60000",
        PYTHONWARNINGS="ignore::DeprecationWarning",
        PYTHONPATH=os.path.dirname(__file__),
    )


def recover(store):
    """Opens the store for writing, which recovers the dead."""
    stepwell.start("recovery", "recovery", store=store).finish()


def state_of(store, run_id):
    return stepwell.sql(f"SELECT state FROM runs WHERE run_id = '{run_id}'", store).rows[0][0]
