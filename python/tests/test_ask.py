"""Questions without SQL, and with values beside it."""

import datetime
import math
import os
import shutil
import subprocess
import sys

import pytest

import stepwell


@pytest.fixture
def filled(store):
    for name, lr in [("baseline", 0.1), ("fast", 0.5), ("fast", 0.7)]:
        with stepwell.start(pipeline="p", stage="s", name=name, params={"lr": lr}, store=store) as run:
            for step in range(10):
                run.log_metric("train", {"loss": 1 / (step + 1), "accuracy": step * lr}, step=step)
            run.log_metric("eval", {"loss": lr}, step=5)
    return store


def test_values_beside_the_query_are_never_sql(filled):
    def one(query, **params):
        return stepwell.sql(query, filled, params=params).rows[0][0]

    assert one("SELECT count(*) FROM runs WHERE params['lr'] > $lr", lr=0.3) == 2
    for value in [None, True, -(2**63), 0.1, 1e-300, math.inf, "it's; DROP TABLE x -- $y", "", "é\n"]:
        assert one("SELECT $value", value=value) == value
    assert math.isnan(one("SELECT $value", value=math.nan))
    moment = datetime.datetime(2026, 11, 23, 1, 2, 3, 456789, tzinfo=datetime.timezone.utc)
    assert one("SELECT $moment", moment=moment) == moment
    east = moment.astimezone(datetime.timezone(datetime.timedelta(hours=5)))
    assert one("SELECT $moment", moment=east) == moment
    assert one("SELECT count(*) FROM runs WHERE name IN ($names)", names=["fast", "none"]) == 2
    assert one("SELECT count(*) FROM runs WHERE name IN ($names)", names=[]) == 0


def test_what_cannot_be_a_value_is_told(filled):
    with pytest.raises(stepwell.errors.QueryError, match=r"\$lr, and no value was given"):
        stepwell.sql("SELECT $lr", filled)
    with pytest.raises(stepwell.errors.QueryError, match=r"given for \$lr, and the query does not ask"):
        stepwell.sql("SELECT 1", filled, params={"lr": 1})
    with pytest.raises(stepwell.errors.InputError, match="time zone"):
        stepwell.sql("SELECT $x", filled, params={"x": datetime.datetime(2026, 1, 1)})
    with pytest.raises(stepwell.errors.InputTypeError, match='"x" is of type object'):
        stepwell.sql("SELECT $x", filled, params={"x": object()})
    with pytest.raises(stepwell.errors.InputTypeError, match="dict of names to values, not list"):
        stepwell.sql("SELECT $x", filled, params=[1])


def test_limits_end_a_query(filled):
    cut = stepwell.sql("SELECT * FROM metrics", filled, max_rows=7)
    assert len(cut) == 7
    assert "7 rows" in cut.warnings[0]
    with pytest.raises(stepwell.errors.QueryError, match="memory"):
        stepwell.sql("SELECT repeat(metric, 1000000) FROM metrics", filled, memory_limit=1 << 20)
    with pytest.raises(stepwell.errors.QueryError, match="stopped after 100 ms"):
        stepwell.sql("SELECT count(*) FROM metrics a, metrics b, metrics c, metrics d, metrics e, metrics f", filled, timeout=0.1)


def test_a_run_is_found_by_id_beginning_and_name(filled):
    ids = [row["run_id"] for row in stepwell.runs(filled)]
    baseline = next(row["run_id"] for row in stepwell.runs(filled) if row["name"] == "baseline")
    expected = [(step, 1 / (step + 1)) for step in range(10)]
    for run in ["baseline", baseline]:
        curve = stepwell.history(run, "loss", "train", filled)
        assert curve.columns == ["step", "time", "value", "rank", "attempt"]
        assert [(row["step"], row["value"]) for row in curve] == expected
    assert len(stepwell.history("baseline", "loss", store=filled)) == 11
    with pytest.raises(stepwell.errors.InputError, match="fits several runs"):
        stepwell.history("fast", "loss", store=filled)
    with pytest.raises(stepwell.errors.NotFoundError, match='no run "slow"'):
        stepwell.metrics("slow", filled)
    with pytest.raises(stepwell.errors.NotFoundError, match="no metric train/los; it has eval/loss, train/accuracy, train/loss"):
        stepwell.history(ids[0], "los", "train", filled)


def test_a_run_that_is_written_tells_what_it_logged(store):
    with stepwell.start(pipeline="p", stage="s", store=store) as run:
        for step in range(5):
            run.log({"loss": 5 - step}, step=step)
        assert [row["value"] for row in run.history("loss")] == [5, 4, 3, 2, 1]
        [row] = run.metrics()
        assert (row["metric"], row["count"], row["min"], row["min_step"], row["last"]) == ("loss", 5, 1, 4, 1)
    assert len(run.history("loss")) == 5


def test_a_store_that_is_kept_open_shows_what_came_and_what_replaced_it(store):
    def count():
        return stepwell.sql("SELECT count(*), count(DISTINCT run_id) FROM metrics", store).rows[0]

    def log(steps):
        with stepwell.start(pipeline="p", stage="s", store=store) as run:
            for step in range(steps):
                run.log({"loss": 0.5}, step=step)

    log(3)
    assert count() == (3, 1)
    assert count() == (3, 1)
    log(4)
    assert count() == (7, 2)
    other = subprocess.run([sys.executable, "-c", OTHER, store], check=False)
    assert other.returncode == 0
    assert count() == (12, 3)
    shutil.rmtree(store)
    with pytest.raises(stepwell.errors.NotFoundError):
        count()
    log(2)
    assert count() == (2, 1)
    child = os.fork()
    if child == 0:
        os._exit(0 if count() == (2, 1) else 1)
    assert os.waitpid(child, 0)[1] == 0


OTHER = """
import sys, stepwell
with stepwell.start(pipeline="p", stage="s", store=sys.argv[1]) as run:
    for step in range(5):
        run.log({"loss": 0.5}, step=step)
"""
