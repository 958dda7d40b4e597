"""Logs from threads and forks at random moments; each child does one of the things that children do. What a child finds wrong
goes to its exit status, and from there to the file `failures`. Started by test_fork.py: FOLDER RUN SEED FORKS END.
"""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time

import stepwell
from campaign import NAME, Page, log_lane
from stepwell.errors import ForkedError

THREADS = 2
CHILD_STEPS = 200
# A child that takes longer hangs: SIGALRM ends it.
CHILD_SECS_MAX = 60


def refused(run, handle):
    """Everything of the parent's run says that it is the parent's."""
    calls = (
        lambda: run.log({"x": 1.0}),
        lambda: run.log_metric(NAME, {"lane0": -1.0}),
        lambda: handle(-1.0),
        lambda: run.metric(NAME, "new"),
        lambda: run.set_params({"x": 1}),
        lambda: run.sync(),
        lambda: run.commit_metrics(NAME),
        lambda: run.finish(),
    )
    for number, call in enumerate(calls):
        try:
            call()
        except ForkedError:
            continue
        raise AssertionError(f"call {number} went through in a forked child")
    assert run.closed


def own_writer(folder, number, parent_id):
    """A run of its own, or the parent's as another rank."""
    options = {"run_id": parent_id, "rank": number + 1} if number % 2 else {}
    own = stepwell.start("p", "fork", **options)
    page = Page(os.path.join(folder, f"child.{own.id}.{number}"))
    log_lane(own, page, 3, steps=CHILD_STEPS)
    if number % 3 == 0:
        own.finish()
    elif number % 3 == 1:
        os._exit(0)


def sql(query):
    """With rings this small, segments may come faster than a reader reads; it is told to ask again."""
    while True:
        try:
            return stepwell.sql(query).rows
        except stepwell.StepwellError as error:
            if "ask again" not in str(error):
                raise


def ask(page, run):
    """A query in the child sees what the parent had acknowledged before the fork."""
    before = page.of(0)
    query = f"SELECT count(*) FROM metrics WHERE run_id = '{run.id}' AND metric = 'lane0'"
    assert sql(query)[0][0] >= before


def ask_all_the_time(run, stop):
    """A thread of the parent that is inside a query when the fork comes."""
    while not stop.is_set():
        sql(f"SELECT metric, max(value) FROM metrics WHERE run_id = '{run.id}' GROUP BY metric")
        time.sleep(0.002)


def load_batches(run, handle):
    """A worker of a data loader that logs what it should not."""
    for _ in range(3):
        refused(run, handle)


def in_child(deed, folder, number, run, handle, page):
    signal.alarm(CHILD_SECS_MAX)
    if deed == "refused":
        refused(run, handle)
    elif deed == "own writer":
        own_writer(folder, number, run.id)
    elif deed == "ask":
        ask(page, run)
    elif deed == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif deed == "outlive":
        note(folder, "survivors", str(os.getpid()))
        signal.alarm(0)
        refused(run, handle)
        while True:
            signal.pause()
    elif deed == "grandchild":
        orphan = os.fork()
        if orphan:
            note(folder, "orphans", str(orphan))
        else:
            signal.alarm(CHILD_SECS_MAX)
            refused(run, handle)
            own_writer(folder, number, run.id)
            os._exit(0)
    elif deed == "sys.exit":
        sys.exit(0)
    elif deed == "exception":
        sys.stderr = open(os.devnull, "w")
        raise ValueError("a child that fails")
    os._exit(0)


FORKED = ["refused", "own writer", "ask", "killed", "outlive", "grandchild", "sys.exit", "exception"]
EXPECTED = {"killed": -signal.SIGKILL, "exception": 1}


def note(folder, name, text):
    with open(os.path.join(folder, name), "a") as file:
        file.write(text + "\n")


def by_other_means(chance, run, handle):
    """Processes that are not started by a bare fork."""
    way = chance.randrange(4)
    if way == 0:
        worker = multiprocessing.get_context("fork").Process(target=load_batches, args=(run, handle))
        worker.start()
        worker.join()
        assert worker.exitcode == 0, worker.exitcode
    elif way == 1:
        subprocess.run(["true"], close_fds=False, check=True)
    elif way == 2:
        subprocess.run(["true"], preexec_fn=lambda: None, check=True)
    else:
        os.waitpid(os.posix_spawn("/bin/true", ["true"], os.environ), 0)


def main():
    folder, run_id, seed, forks, end = sys.argv[1:]
    chance = random.Random(int(seed))
    page = Page(os.path.join(folder, "page"))
    run = stepwell.start("p", "fork", run_id=run_id)
    handle = run.metric(NAME, "lane0")
    stop = threading.Event()
    threads = [threading.Thread(target=log_lane, args=(run, page, lane, stop, None, 0.003), daemon=True) for lane in range(THREADS)]
    threads.append(threading.Thread(target=ask_all_the_time, args=(run, stop), daemon=True))
    for thread in threads:
        thread.start()
    children = []
    for number in range(int(forks)):
        time.sleep(chance.uniform(0, 0.01))
        if chance.random() < 0.25:
            by_other_means(chance, run, handle)
            continue
        deed = chance.choice(FORKED)
        child = os.fork()
        if child == 0:
            in_child(deed, folder, number, run, handle, page)
        if deed != "outlive":
            children.append((number, deed, child))
        if len(children) > 3:
            reap(folder, *children.pop(0))
        if chance.random() < 0.1:
            run.commit_metrics(NAME)
    for child in children:
        reap(folder, *child)
    stop.set()
    for thread in threads:
        thread.join()
    if end == "finish":
        run.finish()
    elif end == "os._exit":
        os._exit(0)
    elif end == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


def reap(folder, number, deed, child):
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != EXPECTED.get(deed, 0):
        note(folder, "failures", f"fork {number}, {deed}: ended with {status}")


if __name__ == "__main__":
    main()
