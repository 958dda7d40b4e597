"""Forks at random moments of a Python program whose threads log, as data loaders do it.

STEPWELL_FORKS sets the number of forks: 60 by default, 1,000 in full.
"""

import ctypes
import os
import signal
import subprocess
import sys
import uuid

import fork_parent
import stepwell
from campaign import Page, Tally, chance, number, recover, state_of, tight_environment

FORKS_PER_PARENT = 20
PR_SET_CHILD_SUBREAPER = 36
STATES = {"finish": "finished", "end of the program": "finished", "os._exit": "died", "kill": "died"}


def children_of(folder):
    """Run, number and page of every child that had a writer."""
    for name in os.listdir(folder):
        if name.startswith("child."):
            run_id, number_text = name.removeprefix("child.").split(".")
            yield run_id, int(number_text), Page(folder / name)


def test_forked_children_of_a_python_program_never_touch_its_run(tmp_path):
    random = chance("python forks")
    forks = number("STEPWELL_FORKS", 60)
    tally = Tally()
    # Orphans become children of this process, which can wait for them then.
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    while tally.cases < forks:
        folder = tmp_path / str(tally.cases)
        folder.mkdir()
        count = min(FORKS_PER_PARENT, forks - tally.cases)
        one_parent(folder, random, count, tally)
        tally.cases += count
    tally.close("python forks")


FIRST_QUERY = """
import os, signal, sys, threading
import stepwell

query = "SELECT count(*) FROM metrics"
first = threading.Thread(target=stepwell.sql, args=(query,))
first.start()
children = []
while first.is_alive() and len(children) < 30:
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        os._exit(stepwell.sql(query).rows[0][0])
    children.append(child)
first.join()
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 10 for child in children))
"""


def test_a_fork_during_the_first_query_leaves_the_child_able_to_ask(tmp_path):
    # The moment at which a child inherited a function of DataFusion half made is short, so many programs try for it.
    store = str(tmp_path)
    with stepwell.start("p", "fork", store=store) as run:
        for step in range(10):
            run.log({"loss": 1.0}, step=step)
    for _ in range(12):
        subprocess.run([sys.executable, "-c", FIRST_QUERY], env=tight_environment(store), timeout=300, check=True)


def one_parent(folder, random, forks, tally):
    store, run_id = str(folder / "store"), str(uuid.uuid4())
    end = random.choice(list(STATES))
    words = [fork_parent.__file__, str(folder), run_id, str(random.randrange(2**32)), str(forks), end]
    log = folder / "stderr"
    try:
        with open(log, "w") as stderr:
            # Children that outlive the parent hold its descriptors: no pipe is waited for.
            parent = subprocess.run(
                [sys.executable, *words], env=tight_environment(store), stderr=stderr, timeout=300, check=False
            )
        assert parent.returncode == (-signal.SIGKILL if end == "kill" else 0), log.read_text()
        failures = folder / "failures"
        assert not failures.exists(), failures.read_text() + log.read_text()
        check(folder, store, run_id, STATES[end], tally)
    finally:
        survivors = folder / "survivors"
        for pid in survivors.read_text().split() if survivors.exists() else []:
            os.kill(int(pid), signal.SIGKILL)


def check(folder, store, run_id, state, tally):
    """While the children that outlive their parent still live."""
    orphans = folder / "orphans"
    for pid in orphans.read_text().split() if orphans.exists() else []:
        # Its alarm ends one that hangs.
        assert os.waitpid(int(pid), 0)[1] == 0, "an orphan failed"
    children = list(children_of(folder))
    recover(store)
    page = Page(folder / "page")
    acknowledged = {lane: page.of(lane) for lane in range(fork_parent.THREADS)}
    ranks = [child for child in children if child[0] == run_id]
    if not ranks:
        assert state_of(store, run_id) == state, "its children hold nothing of the parent's run"
        tally.count(store, run_id, acknowledged)
    else:
        count_ranks(store, run_id, acknowledged, len(ranks), tally)
    for other, _, _ in (child for child in children if child[0] != run_id):
        tally.count(store, other, {3: fork_parent.CHILD_STEPS})
    running = stepwell.sql("SELECT run_id FROM runs WHERE state = 'running'", store).rows
    assert running == [], "a run is taken for running when nobody writes to it"


def count_ranks(store, run_id, acknowledged, ranks, tally):
    """Children that became ranks of the parent's run logged lane 3 each."""
    query = f"SELECT rank, count(*), count(DISTINCT step) FROM metrics WHERE run_id = '{run_id}' AND metric = 'lane3' GROUP BY rank"
    found = stepwell.sql(query, store).rows
    steps = fork_parent.CHILD_STEPS
    assert sorted(row[1:] for row in found) == [(steps, steps)] * ranks and all(row[0] > 0 for row in found), found
    tally.acknowledged += ranks * steps
    tally.kept += ranks * steps
    query = f"SELECT metric, count(*), count(DISTINCT step), min(step), max(step) FROM metrics WHERE run_id = '{run_id}' AND rank = 0 GROUP BY metric"
    for metric, rows, distinct, low, high in stepwell.sql(query, store).rows:
        lane = int(metric.removeprefix("lane"))
        tally.acknowledged += acknowledged[lane]
        tally.kept += rows
        assert (rows, low, high) == (distinct, 0, rows - 1), f"lane {lane}"
        tally.lost_beyond += max(0, acknowledged[lane] - rows)
        tally.invented += max(0, rows - acknowledged[lane] - 1)
