"""What both preludes make of a store: which files count, and what the event logs say."""

import json
import sqlite3
import struct

import pytest

from engines import ENGINES

SUMMARY = "run_id, metrics_name, metric, count, non_finite, min, min_step, max, max_step, first, last, last_step, mean"
RUNS = "run_id, pipeline, stage, name, state"

pytestmark = pytest.mark.parametrize("engine", ENGINES)


def table(opened, engine, name, columns):
    """Rows of a table of the prelude, sorted."""
    if engine == "duckdb":
        return opened.ask(f"SELECT {columns} FROM {name} ORDER BY ALL")
    frame = opened.ask(f"{name}.select({columns.split(', ')}).collect()")
    return sorted(frame, key=lambda row: [(cell is not None, cell) for cell in row])


def rows(opened, engine):
    return table(opened, engine, "metrics", "run_id, metrics_name, metric, step, rank, attempt, seq")


def catalog(store, statement):
    """What the index of the store says; it is a program of Stepwell that wrote it, not the preludes."""
    connection = sqlite3.connect(f"file:{store / 'catalog.db'}?mode=ro", uri=True)
    try:
        return sorted(connection.execute(statement).fetchall(), key=lambda row: [(cell is not None, cell) for cell in row])
    finally:
        connection.close()


def double(bits):
    """A double that the catalog keeps as an integer of the same bits."""
    return None if bits is None else struct.unpack("<d", struct.pack("<q", bits))[0]


def parquet_files(store):
    return len(list(store.glob("runs/*/*/*.parquet")))


def files_that_count(opened, engine):
    if engine == "duckdb":
        return sorted("/".join(name.split("/")[-3:]) for (names,) in opened.ask("SELECT getvariable('files')") for name in names)
    return sorted("/".join(file.parts[-3:]) for file in opened.names["files"])


@pytest.mark.parametrize("placement", ["committed", "compacted", "split"])
def test_the_segments_are_those_that_the_catalog_names(kept, open_store, engine, placement):
    store = kept / placement / "store"
    named = catalog(store, "SELECT run_id || '/' || file, rows FROM stepwell_segment")
    opened = open_store(engine, store)
    assert files_that_count(opened, engine) == [file for file, _ in named]
    assert len(rows(opened, engine)) == sum(count for _, count in named)


def test_a_compacted_store_shows_each_row_once_though_the_old_files_are_still_there(kept, open_store, engine):
    committed, compacted = (kept / placement / "store" for placement in ("committed", "compacted"))
    once = rows(open_store(engine, compacted), engine)
    assert parquet_files(compacted) > len(files_that_count(open_store(engine, compacted), engine))
    assert len(once) == len(set(once)) == len(rows(open_store(engine, committed), engine))


def test_live_rows_are_not_in_files(kept, open_store, engine):
    half = len(rows(open_store(engine, kept / "split/store"), engine))
    assert 0.49 < half / len(rows(open_store(engine, kept / "committed/store"), engine)) < 0.51


@pytest.mark.parametrize("placement", ["committed", "compacted"])
def test_runs_params_and_tags_are_those_of_the_catalog(kept, open_store, engine, placement):
    store = kept / placement / "store"
    opened = open_store(engine, store)
    assert table(opened, engine, "runs", RUNS) == catalog(store, f"SELECT {RUNS} FROM stepwell_run")
    started = catalog(store, "SELECT run_id, started FROM stepwell_run")
    if engine == "duckdb":
        assert opened.ask("SELECT run_id, epoch_ns(started) FROM runs ORDER BY ALL") == started
    else:
        assert sorted(opened.ask("runs.select('run_id', pl.col('started').dt.epoch('ns')).collect()")) == started
    number = "iif(kind IN ('int', 'float'), CAST(value AS REAL), NULL)"
    params = catalog(store, f"SELECT run_id, name, CAST(value AS TEXT), {number} FROM stepwell_param")
    assert table(opened, engine, "params", "run_id, key, value, number") == params
    tags = catalog(store, "SELECT run_id, value FROM stepwell_tag WHERE name = 'git_commit'")
    if engine == "duckdb":
        assert opened.ask("SELECT run_id, value FROM tags WHERE key = 'git_commit' ORDER BY ALL") == tags
    else:
        assert sorted(row for row in table(opened, engine, "tags", "run_id, git_commit") if row[1]) == tags


def test_the_summary_is_the_one_that_is_stored_with_the_segments(kept, open_store, engine):
    store = kept / "compacted/store"
    stored = catalog(
        store,
        """SELECT run_id, metrics_name, metric, count, non_finite, min_bits, min_step, max_bits, max_step, first_bits, last_bits,
                  last_step, sum_bits
           FROM stepwell_segment s JOIN stepwell_segment_metric m ON m.segment_id = s.id
           GROUP BY run_id, metrics_name, metric HAVING count(*) = 1""",
    )
    found = {row[:3]: row[3:] for row in table(open_store(engine, store), engine, "summary", SUMMARY)}
    assert len(stored) > 200
    for *key, count, non_finite, low, low_step, high, high_step, first, last, last_step, total in stored:
        exact = (count, non_finite, double(low), low_step, double(high), high_step, double(first), double(last), last_step)
        *row, mean = found[tuple(key)]
        # As text, in which NaN is NaN; only the mean depends on the order of additions.
        assert list(map(str, row)) == list(map(str, exact)), key
        assert mean == pytest.approx(double(total) / (count - non_finite)), key


def test_a_line_that_is_not_whole_is_left_out(one_run, open_store, engine):
    run = one_run("committed", "spiky")
    before = rows(open_store(engine, run.store), engine)
    with run.log.open("a") as file:
        file.write('{"n":9,"time":1795457319821685742,"event":"segment_set_aside","fi')
    assert rows(open_store(engine, run.store), engine) == before != []


def test_a_segment_that_was_set_aside_is_not_read(one_run, open_store, engine):
    run = one_run("compacted", "spiky")
    before = rows(open_store(engine, run.store), engine)
    old = next(event for event in run.events() if event["event"] == "segments")["segments"][0]
    more = {**old, "n": 90, "file": "metrics/more.parquet"}
    (run.folder / old["file"]).rename(run.folder / more["file"])
    run.append({"event": "segments", "segments": [more]})
    assert len(rows(open_store(engine, run.store), engine)) == len(before) + more["rows"]
    run.append({"event": "segment_set_aside", "file": more["file"], "rows": more["rows"]})
    (run.folder / more["file"]).unlink()
    assert rows(open_store(engine, run.store), engine) == before


def test_what_was_replaced_already_is_not_replaced_again(one_run, open_store, engine):
    run = one_run("compacted", "spiky")
    before = rows(open_store(engine, run.store), engine)
    replaced = next(event for event in run.events() if event["event"] == "segments_replaced")
    segment = {**replaced["segments"][0], "n": 91, "file": "metrics/nothing-there.parquet"}
    run.append({"event": "segments_replaced", "replaced": [replaced["replaced"][0]], "segments": [segment]})
    assert rows(open_store(engine, run.store), engine) == before


def test_what_was_compacted_can_be_compacted_again(one_run, open_store, engine):
    run = one_run("compacted", "spiky")
    before = rows(open_store(engine, run.store), engine)
    replaced = next(event for event in run.events() if event["event"] == "segments_replaced")
    segment = replaced["segments"][0]
    (run.folder / segment["file"]).rename(run.folder / "metrics/again.parquet")
    again = {**segment, "n": segment["n"] + 1, "file": "metrics/again.parquet"}
    run.append({"event": "segments_replaced", "replaced": [segment["n"]], "segments": [again]})
    assert rows(open_store(engine, run.store), engine) == before


def test_a_metrics_name_may_hold_a_bracket(one_run, open_store, engine):
    run = one_run("committed", "spiky")
    before = rows(open_store(engine, run.store), engine)
    (run.folder / "metrics").rename(run.folder / "metrics[12]")
    run.log.write_text(run.log.read_text().replace('"metrics/w-', '"metrics[12]/w-'))
    assert rows(open_store(engine, run.store), engine) == before


def test_a_later_value_of_a_parameter_counts(one_run, open_store, engine):
    run = one_run("committed", "adamw-0.01-0")
    run.append({"event": "params", "params": {"lr": "warm-up", "seed": True, "limit": {"float": "inf"}, "steps": 1}})
    run.append({"event": "params", "params": {"steps": 2.5}})
    opened = open_store(engine, run.store)
    found = {key: (value, number) for key, value, number in table(opened, engine, "params", "key, value, number")}
    assert found["lr"] == ("warm-up", None)
    assert found["seed"] == ("true", None)
    assert found["limit"] == ("inf", float("inf"))
    assert found["steps"] == ("2.5", 2.5)
    assert found["optimiser"] == ("adamw", None)
    assert found["batch_size"] == ("64", 64.0)


@pytest.mark.parametrize(
    ("ends", "state"),
    [
        ({"0-0": "finished"}, "finished"),
        ({"0-0": None}, "running"),
        ({"0-0": "recovered"}, "died"),
        ({"0-0": "failed", "0-1": "finished"}, "finished"),
        ({"0-2": "recovered", "0-10": "finished"}, "finished"),
        ({"0-0": "finished", "1-0": "failed"}, "failed"),
        ({"0-0": "failed", "1-0": "recovered"}, "died"),
        ({"0-0": None, "0-1": "finished"}, "running"),
    ],
)
def test_the_state_of_a_run_follows_from_its_writers(one_run, open_store, engine, ends, state):
    run = one_run("committed", "spiky")
    started = run.events()[0]
    segments = next(event for event in run.events() if event["event"] == "segments")
    run.log.unlink()
    for time, (writer, end) in enumerate(ends.items()):
        log = run.folder / f"w-{writer}-0000000{time}.events.jsonl"
        lines = [{**started, "time": 10 * time, "n": 0}, {**segments, "n": 1, "time": 10 * time + 1}]
        if time > 0:
            lines.pop()
        log.write_text("".join(json.dumps(line) + "\n" for line in lines))
        if end == "recovered":
            run.append({"event": "recovered", "rows": 0}, log)
        elif end is not None:
            run.append({"event": "writer_finished", "state": end, "rows": 0}, log)
    assert [row[-1] for row in table(open_store(engine, run.store), engine, "runs", RUNS)] == [state]
