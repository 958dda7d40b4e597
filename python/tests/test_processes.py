"""Threads, forks, other processes and kills."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

import stepwell
from stepwell.errors import ForkedError, RunClosedError


def test_eight_threads_log_to_one_run(run, store):
    each = 5_000
    loss = run.metric("handles", "loss")

    def work(thread):
        for step in range(each):
            run.log_metric(f"thread {thread}", {"loss": float(step), "acc": 1.0}, step=step)
            run.log({f"key {thread}": float(step)}, step=step)
            loss(thread, step)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = """SELECT metrics_name, metric, count(*), count(DISTINCT step), count(DISTINCT seq)
                FROM metrics GROUP BY 1, 2 ORDER BY 1, 2"""
    told = stepwell.sql(counts, store).rows
    expected = [("handles", "loss", 8 * each, each, 8 * each)]
    expected += [("metrics", f"key {thread}", each, each, each) for thread in range(8)]
    expected += [(f"thread {thread}", key, each, each, each) for thread in range(8) for key in ("acc", "loss")]
    assert told == expected
    assert run.stats().drops == 0


def test_a_finish_while_other_threads_log(store):
    run = stepwell.start(pipeline="p", stage="s", store=store)
    logged = [0] * 4

    def work(thread):
        try:
            while True:
                run.log({"x": 1.0}, step=thread)
                logged[thread] += 1
        except RunClosedError:
            pass

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    while min(logged) < 100:
        time.sleep(0.001)
    report = run.finish()
    for thread in threads:
        thread.join()
    assert report.rows == sum(logged)
    counted = stepwell.sql("SELECT step, count(*) FROM metrics GROUP BY step ORDER BY step", store).rows
    assert counted == list(enumerate(logged))


def test_a_forked_child_has_a_closed_run_and_the_parent_goes_on(run, rows, store):
    loss = run.metric("metrics", "loss")
    loss(1.0, 0)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        told = []
        for call in (
            lambda: run.log({"x": 1.0}),
            lambda: run.log_metric("train", {"x": 1.0}),
            lambda: loss(1.0),
            lambda: run.set_params({"x": 1}),
            lambda: run.commit_metrics(),
            lambda: run.finish(),
        ):
            try:
                call()
                told.append("went through")
            except ForkedError as error:
                told.append("refused" if "forked child" in str(error) else str(error))
            except BaseException as error:
                told.append(repr(error))
        told.append(str(run.closed))
        with stepwell.start(pipeline="p", stage="child", store=store) as own:
            own.log({"x": 2.0}, step=1)
        told.append(str(stepwell.sql("SELECT count(*) AS n FROM metrics", store).rows[0][0]))
        os.write(write, ",".join(told).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        told = pipe.read().split(",")
    assert os.waitpid(child, 0)[1] == 0
    assert told == ["refused"] * 6 + ["True", "2"]
    loss(3.0, 2)
    assert not run.closed
    kept = stepwell.sql(f"SELECT step, value FROM metrics WHERE run_id = '{run.id}' ORDER BY step", store).rows
    assert kept == [(0, 1.0), (2, 3.0)]


def test_the_exit_of_a_forked_child_leaves_the_parents_run_open(store):
    code = """
import os, sys, stepwell
run = stepwell.start("p", "s")
run.log({"x": 1.0}, step=0)
child = os.fork()
if child == 0:
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
run.log({"x": 2.0}, step=1)
print(stepwell.sql("SELECT state FROM runs").rows[0][0], run.finish().rows)
"""
    env = dict(os.environ, STEPWELL_STORE=store)
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert said.stdout.split() == ["running", "2"], said.stderr


def log_as_rank(store, run_id, rank, rows):
    with stepwell.start(pipeline="p", stage="s", store=store, run_id=run_id, rank=rank) as run:
        for step in range(rows):
            run.log({"loss": float(step)}, step=step)


def test_four_ranks_in_processes_of_their_own(store):
    import uuid

    run_id = str(uuid.uuid4())
    spawn = multiprocessing.get_context("spawn")
    ranks = [spawn.Process(target=log_as_rank, args=(store, run_id, rank, 2_000)) for rank in range(4)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
        assert rank.exitcode == 0
    counts = "SELECT rank, count(*), count(DISTINCT step) FROM metrics WHERE run_id = '{}' GROUP BY rank ORDER BY rank"
    assert stepwell.sql(counts.format(run_id), store).rows == [(rank, 2_000, 2_000) for rank in range(4)]


def test_another_process_sees_a_row_at_once(store):
    """A row that was logged is in the answer to a query that starts after the call, from another process."""
    code = """
import sys, stepwell
run = stepwell.start("p", "s")
for line in sys.stdin:
    run.log({"x": float(line)}, step=0)
    print("logged", flush=True)
"""
    env = dict(os.environ, STEPWELL_STORE=store)
    with subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        for value in range(20):
            writer.stdin.write(f"{value}\n")
            writer.stdin.flush()
            assert writer.stdout.readline() == "logged\n"
            assert stepwell.sql("SELECT max(value) AS top FROM metrics", store).rows == [(float(value),)]
        writer.stdin.close()
    assert stepwell.sql("SELECT state FROM runs", store).rows == [("finished",)]


def test_a_kill_loses_no_record_whose_call_returned(store):
    """The child tells each step that was logged through a pipe; SIGKILL comes at a random moment."""
    code = """
import os, stepwell
run = stepwell.start("p", "s")
step = 0
while True:
    run.log_metric("train", {"loss": step + 0.5, "acc": 1.0}, step=step)
    os.write(1, step.to_bytes(8, "little"))
    step += 1
"""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    env = dict(os.environ, STEPWELL_STORE=store)
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE) as child:
            told = child.stdout.read(8)
            end = time.monotonic() + chance.uniform(0.0, 0.3)
            while time.monotonic() < end:
                told = child.stdout.read(8)
            child.send_signal(signal.SIGKILL)
            rest = told + child.stdout.read()
        last = int.from_bytes(rest[len(rest) // 8 * 8 - 8 : len(rest) // 8 * 8], "little")
        newest = "SELECT run_id, state FROM runs ORDER BY started DESC, run_id DESC LIMIT 1"
        run_id, state = stepwell.sql(newest, store).rows[0]
        assert state == "died"
        query = f"SELECT step, value FROM metrics WHERE run_id = '{run_id}' AND metric = 'loss' ORDER BY step"
        kept = stepwell.sql(query, store).rows
        assert len(kept) in (last + 1, last + 2), f"seed {seed}"
        assert kept == [(step, step + 0.5) for step in range(len(kept))], f"seed {seed}"


def test_ctrl_c_stops_a_query(store):
    with stepwell.start(pipeline="p", stage="s", store=store) as run:
        for step in range(2_000):
            run.log({"x": float(step)})
    slow = "SELECT count(*) FROM metrics a, metrics b, metrics c, metrics d WHERE a.value + b.value > c.value + d.value"
    # A shell that starts the tests in the background has them ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            stepwell.sql(slow, store, timeout=60)
            time.sleep(1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert stepwell.sql("SELECT count(*) AS n FROM metrics", store).rows == [(2_000,)], "the next query works"


def test_a_query_leaves_other_threads_running(store, run):
    """The interpreter's lock is free while a query runs."""
    for step in range(500):
        run.log({"x": float(step)})
    turns = 0
    done = threading.Event()

    def count():
        nonlocal turns
        while not done.is_set():
            turns += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    stepwell.sql("SELECT count(*) FROM metrics a, metrics b, metrics c WHERE a.value + b.value > c.value LIMIT 1", store)
    done.set()
    thread.join()
    assert turns > 3
