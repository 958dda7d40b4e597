"""SIGKILL at random moments of a Python writer: every record whose call had returned is there exactly once.

STEPWELL_PY_KILLS sets the number of kills: 20 by default, 500 in full.
"""

import signal
import subprocess
import sys
import time
import uuid

from campaign import Page, Tally, chance, number, recover, state_of, tight_environment

THREADS = 3
# Runs kept in one store before a fresh one is taken.
RUNS_PER_STORE = 10

WRITER = """
import sys, threading, stepwell
from campaign import Page, log_lane
page = Page(sys.argv[1])
run = stepwell.start("p", "kill", run_id=sys.argv[2])
threads = [threading.Thread(target=log_lane, args=(run, page, lane)) for lane in range(1, int(sys.argv[3]))]
[thread.start() for thread in threads]
log_lane(run, page, 0)
"""


def test_every_acknowledged_record_of_a_python_writer_survives_sigkill_exactly_once(tmp_path):
    random = chance("python kills")
    tally = Tally()
    for kill in range(number("STEPWELL_PY_KILLS", 20)):
        store = str(tmp_path / f"store{kill // RUNS_PER_STORE}")
        run_id = str(uuid.uuid4())
        page = Page(tmp_path / f"page{kill}")
        words = [sys.executable, "-c", WRITER, str(tmp_path / f"page{kill}"), run_id, str(THREADS)]
        with subprocess.Popen(words, env=tight_environment(store)) as child:
            # Most kills come while it logs, some while it starts.
            while random.random() < 0.999 and not page.of(0):
                time.sleep(0.001)
            time.sleep(random.uniform(0, 0.1))
            child.send_signal(signal.SIGKILL)
        acknowledged = {lane: page.of(lane) for lane in range(THREADS)}
        tally.cases += 1
        recover(store)
        tally.count(store, run_id, acknowledged)
        if any(acknowledged.values()):
            assert state_of(store, run_id) == "died"
    assert tally.acknowledged > 0, "the writers logged nothing before they were killed"
    tally.close("python kills")
