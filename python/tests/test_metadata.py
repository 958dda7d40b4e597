"""What runs say in ML Metadata's own terms, read back from the catalog's SQLite file."""

import sqlite3

import pytest

import stepwell
from stepwell import _native, errors


def ask(store, sql):
    catalog = sqlite3.connect(f"file:{_native.catalog_path(store)}?mode=ro", uri=True)
    try:
        return catalog.execute(sql).fetchall()
    finally:
        catalog.close()


def test_a_run_is_called_what_it_is_told(store):
    options = {"execution_type": "Train", "execution_name": "reused", "execution_uuid": "u-1", "command": "train.py"}
    properties = {"pipeline_properties": {"owner": "vision"}, "stage_properties": {"order": 2}}
    with stepwell.start("p", "s", store=store, **options, **properties) as run:
        run.set_execution_properties({"Git_End_Commit": "abc"})
        run.set_context_properties("stage", {"order": 3})
    found = ask(store, "SELECT Execution.id, Type.name, Execution.name FROM Execution JOIN Type ON Type.id = type_id")
    assert found == [(run.execution_id, "Train", "reused")]
    sql = "SELECT string_value FROM ExecutionProperty WHERE name IN ('Execution', 'Execution_uuid', 'Git_End_Commit') ORDER BY name"
    assert ask(store, sql) == [("train.py",), ("u-1",), ("abc",)]
    sql = "SELECT context_id, name, int_value, string_value FROM ContextProperty WHERE is_custom_property ORDER BY name"
    assert ask(store, sql) == [(run.stage_id, "order", 3, None), (run.pipeline_id, "owner", None, "vision")]
    assert stepwell.sql("SELECT id, type, name, command FROM executions", store).rows == [
        (run.execution_id, "Train", "reused", "train.py")
    ]


def test_records_are_kept_as_they_are_given(store, tmp_path):
    content = tmp_path / "data.csv"
    content.write_text("1,2\n")
    with stepwell.start("p", "s", store=store) as run:
        given = {"declared": {"Commit": "0123"}, "properties": {"rows": 1, "share": 0.5, "clean": True}}
        first = run.log_record("Dataset", "data.csv:0123", "0123", "output", content=content, **given)
        assert run.log_record("Dataset", "data.csv:0123", "0123", properties={"rows": 2}, attributed=False) == first
        run.log_record("Validation_output", "v", "v", "internal_output", path="v")
    assert ask(store, f"SELECT name, uri FROM Artifact WHERE id = {first}") == [("data.csv:0123", "0123")]
    sql = f"SELECT name, int_value, double_value FROM ArtifactProperty WHERE artifact_id = {first} AND is_custom_property ORDER BY name"
    assert ask(store, sql) == [("clean", 1, None), ("rows", 2, None), ("share", None, 0.5)]
    assert ask(store, "SELECT type FROM Event ORDER BY type") == [(4,), (6,)]
    directions = "SELECT direction FROM lineage ORDER BY 1"
    assert stepwell.sql(directions, store).rows == [("internal_output",), ("output",)]


def test_links_and_aliases_are_rows_in_sql(store, tmp_path):
    with stepwell.start("p", "s", store=store) as run:
        made = []
        for text in ("old", "new"):
            (tmp_path / text).write_text(text)
            made.append(run.log_model(tmp_path / text, "output", name="model"))
        run.link(*made)
        run.set_alias(made[0], "best")
        run.set_alias(made[1], "best")
        run.set_alias(made[0], "first")
        run.set_alias(None, "first", name="model")
    sql = "SELECT s.uri, t.uri, relation FROM links JOIN artifacts s ON s.id = source_id JOIN artifacts t ON t.id = target_id"
    assert stepwell.sql(sql, store).rows == [(made[0].hash, made[1].hash, "derived")]
    sql = "SELECT l.name, alias, uri FROM aliases l JOIN artifacts a ON a.id = artifact_id"
    assert stepwell.sql(sql, store).rows == [("model", "best", made[1].hash)]


def test_what_cannot_be_is_refused(store):
    with stepwell.start("p", "s", store=store) as run:
        with pytest.raises(errors.InputError, match="it is empty"):
            run.log_record("Dataset", "", "0123")
        with pytest.raises(errors.InputError, match="sideways"):
            run.log_record("Dataset", "n", "0123", "sideways")
        with pytest.raises(errors.InputError, match="pipeline"):
            run.set_context_properties("run", {})
        with pytest.raises(errors.InputError, match="name"):
            run.set_alias(None, "best")
    assert stepwell.sql("SELECT count(*) FROM artifacts", store).rows == [(0,)]
