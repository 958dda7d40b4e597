"""Results cross as Arrow streams, and the files say the same to every program that reads Parquet."""

import datetime
import glob
import math
import os
import struct

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pytest

import stepwell

NAN_WITH_PAYLOAD = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_1234))[0]
VALUES = [0.1, -0.0, 0.0, math.nan, NAN_WITH_PAYLOAD, math.inf, -math.inf, 5e-324, -1.7976931348623157e308, 1 / 3, 7.0]
COLUMNS = ["metric", "step", "time", "value", "rank", "attempt", "seq"]
QUERY = f"SELECT {', '.join(COLUMNS)} FROM metrics ORDER BY seq"


def bits(values):
    return [struct.pack("<d", value) for value in values]


@pytest.fixture
def filled(store):
    with stepwell.start(pipeline="p", stage="s", store=store) as run:
        for step in range(200):
            for place, value in enumerate(VALUES):
                run.log_metric("train", {f"metric {place}": value, "loss": step / 3}, step=step - 50)
    return store


def test_every_library_gets_the_same_from_a_result(filled):
    result = stepwell.sql(QUERY, filled)
    arrow = pa.table(result)
    assert result.to_arrow().schema == arrow.schema
    expected = bits(arrow["value"].to_pylist())
    assert len(expected) == len(result) == 200 * len(VALUES) * 2
    assert set(bits(VALUES)) <= set(expected)
    assert bits(result.to_polars()["value"].to_list()) == expected
    assert bits(pl.DataFrame(result)["value"].to_list()) == expected
    assert bits(result.to_pandas()["value"].tolist()) == expected
    assert bits(row[3] for row in result.rows) == expected
    assert bits(row["value"] for row in result) == expected
    assert bits(row[0] for row in duckdb.sql("SELECT value FROM arrow").fetchall()) == expected
    assert arrow["step"].to_pylist() == [row[1] for row in result.rows]
    assert arrow["time"].to_pylist() == [row[2] for row in result.rows]


def test_the_parquet_files_say_the_same_as_sql(filled):
    files = sorted(glob.glob(os.path.join(filled, "runs", "*", "train", "*.parquet")))
    assert files
    ours = pa.table(stepwell.sql(QUERY, filled))
    by_pyarrow = pa.dataset.dataset(files).to_table(columns=COLUMNS).sort_by("seq")
    by_polars = pl.read_parquet(files, columns=COLUMNS).sort("seq")
    names = ", ".join(f"'{file}'" for file in files)
    by_duckdb = duckdb.sql(f"SELECT {', '.join(COLUMNS)} FROM read_parquet([{names}]) ORDER BY seq")
    duck = by_duckdb.to_arrow_table() if hasattr(by_duckdb, "to_arrow_table") else by_duckdb.arrow().read_all()
    by_pandas = pd.read_parquet(files, columns=COLUMNS).sort_values("seq")
    expected = bits(ours["value"].to_pylist())
    assert bits(by_pyarrow["value"].to_pylist()) == expected
    assert bits(by_polars["value"].to_list()) == expected
    assert bits(duck["value"].to_pylist()) == expected
    assert bits(by_pandas["value"].tolist()) == expected
    for column in ("metric", "step", "rank", "attempt", "seq"):
        told = ours[column].to_pylist()
        assert by_pyarrow[column].to_pylist() == told
        assert by_polars[column].to_list() == told
        assert duck[column].to_pylist() == told
        assert by_pandas[column].tolist() == told
    times = ours["time"].cast(pa.int64()).to_pylist()
    assert by_pyarrow["time"].cast(pa.int64()).to_pylist() == times
    assert by_polars["time"].cast(pl.Int64).to_list() == times
    assert duck["time"].cast(pa.int64()).to_pylist() == times


def test_types_are_those_every_engine_knows(filled):
    schema = pa.table(stepwell.sql(QUERY, filled)).schema
    assert schema.field("step").type == pa.int64()
    assert schema.field("time").type == pa.timestamp("us", tz="UTC")
    assert schema.field("value").type == pa.float64()
    assert schema.field("rank").type == pa.int32()
    assert schema.field("seq").type == pa.int64()


def test_a_stream_may_be_asked_for_again_and_outlives_its_result(filled):
    result = stepwell.sql("SELECT step FROM metrics ORDER BY seq LIMIT 3", filled)
    first, second = pa.table(result), pa.table(result)
    capsule = result.__arrow_c_stream__()
    unused = result.__arrow_c_stream__(None)
    del result, unused
    third = pa.RecordBatchReader._import_from_c_capsule(capsule).read_all()
    assert first == second == third
    assert first.num_rows == 3


def test_a_result_without_rows(filled):
    result = stepwell.sql("SELECT step, value FROM metrics WHERE step > 1e9", filled)
    assert len(result) == 0 and result.rows == [] and list(result) == []
    assert result.columns == ["step", "value"] and result.types == ["Int64", "Float64"]
    assert pa.table(result).schema.names == ["step", "value"]
    assert result.to_polars().shape == (0, 2)
    assert "0 rows" in repr(result) and "<th>step</th>" in result._repr_html_()


def test_python_values_of_all_types(filled):
    query = """SELECT 1 AS i, 2.5 AS f, 'text' AS s, true AS b, NULL AS n, CAST(1 AS TINYINT UNSIGNED) AS u,
               [1, 2, NULL] AS l, struct(1 AS a, 'x' AS b) AS t, TIMESTAMP '2026-01-02 03:04:05.000006' AS naive,
               to_timestamp_micros(-1) AT TIME ZONE 'UTC' AS early, DATE '2026-01-02' AS d, CAST(1.50 AS DECIMAL(5, 2)) AS e"""
    row = stepwell.sql(query, filled).to_dicts()[0]
    assert (row["i"], row["f"], row["s"], row["b"], row["n"], row["u"]) == (1, 2.5, "text", True, None, 1)
    assert row["l"] == [1, 2, None]
    assert sorted(row["t"].values(), key=str) == [1, "x"]
    assert row["naive"] == datetime.datetime(2026, 1, 2, 3, 4, 5, 6)
    assert row["early"].microsecond == 999_999
    assert row["d"] == "2026-01-02" and row["e"] == "1.50"


def test_a_result_shows_itself(filled):
    shown = repr(stepwell.sql("SELECT step, '<b>' AS mark FROM metrics", filled))
    assert "4400 rows, 4380 not shown" in shown and "| step" in shown
    html = stepwell.sql("SELECT '<b>&' AS mark", filled)._repr_html_()
    assert "&lt;b&gt;&amp;" in html and "1 row" in html
    told = stepwell.runs(filled)
    assert told.columns[:3] == ["run_id", "pipeline", "stage"] and len(told) == 1


def test_missing_libraries_are_named(filled, monkeypatch):
    import sys

    for library, call in (("pyarrow", "to_arrow"), ("polars", "to_polars"), ("pandas", "to_pandas")):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(ImportError, match=f"pip install {library}"):
            getattr(stepwell.sql("SELECT 1", filled), call)()
