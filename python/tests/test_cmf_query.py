"""CmfQuery on a file of ML Metadata that was not made by Stepwell: tables as CMF leaves them, made here by hand."""

import sqlite3

import pytest

from stepwell.cmf import CmfQuery, NotSupportedError

TABLES = """
CREATE TABLE MLMDEnv (schema_version INTEGER);
INSERT INTO MLMDEnv VALUES (10);
CREATE TABLE Type (id INTEGER PRIMARY KEY, name, version, type_kind, description, input_type, output_type, external_id);
CREATE TABLE TypeProperty (type_id, name, data_type);
CREATE TABLE Artifact (id INTEGER PRIMARY KEY, type_id, uri, state, name, external_id, create_time_since_epoch,
    last_update_time_since_epoch);
CREATE TABLE Execution (id INTEGER PRIMARY KEY, type_id, last_known_state, name, external_id, create_time_since_epoch,
    last_update_time_since_epoch);
CREATE TABLE Context (id INTEGER PRIMARY KEY, type_id, name, external_id, create_time_since_epoch,
    last_update_time_since_epoch);
CREATE TABLE ArtifactProperty (artifact_id, name, is_custom_property, int_value, double_value, string_value, byte_value,
    proto_value, bool_value);
CREATE TABLE ExecutionProperty (execution_id, name, is_custom_property, int_value, double_value, string_value,
    byte_value, proto_value, bool_value);
CREATE TABLE ContextProperty (context_id, name, is_custom_property, int_value, double_value, string_value, byte_value,
    proto_value, bool_value);
CREATE TABLE Event (id INTEGER PRIMARY KEY, artifact_id, execution_id, type, milliseconds_since_epoch);
CREATE TABLE EventPath (event_id, is_index_step, step_index, step_key);
CREATE TABLE ParentContext (context_id, parent_context_id);
CREATE TABLE Association (id INTEGER PRIMARY KEY, context_id, execution_id);
CREATE TABLE Attribution (id INTEGER PRIMARY KEY, context_id, artifact_id);
INSERT INTO Type (id, name, type_kind) VALUES (1, 'mlmd.Dataset', 1), (10, 'Parent_Context', 2), (11, 'Pipeline_Stage', 2),
    (12, 'split', 0), (13, 'Dataset', 1), (14, 'fit', 0), (15, 'Model', 1), (16, 'Label', 1);
INSERT INTO Context VALUES (1, 10, 'p', NULL, 1, 1), (2, 11, 'p/split', NULL, 2, 2), (3, 11, 'p/fit', NULL, 3, 3);
INSERT INTO ParentContext VALUES (2, 1), (3, 1);
INSERT INTO Execution VALUES (1, 12, NULL, NULL, NULL, 4, 4), (2, 14, NULL, NULL, NULL, 5, 5);
INSERT INTO Association VALUES (1, 2, 1), (2, 3, 2);
INSERT INTO ExecutionProperty VALUES (1, 'Execution_type_name', 0, NULL, NULL, 'p/split', NULL, NULL, NULL),
    (1, 'Execution_uuid', 0, NULL, NULL, 'u-1,u-3', NULL, NULL, NULL), (1, 'Pipeline_id', 0, 1, NULL, NULL, NULL, NULL, NULL),
    (1, 'split', 1, NULL, 0.2, NULL, NULL, NULL, NULL), (2, 'Execution_type_name', 0, NULL, NULL, 'p/fit', NULL, NULL, NULL),
    (2, 'Execution_uuid', 0, NULL, NULL, 'u-2', NULL, NULL, NULL), (2, 'Pipeline_id', 0, 1, NULL, NULL, NULL, NULL, NULL),
    (2, 'flag', 1, NULL, NULL, NULL, NULL, NULL, 1);
INSERT INTO Artifact VALUES (1, 13, 'aa', NULL, 'raw:aa', NULL, 6, 6), (2, 13, 'bb', NULL, 'train:bb', NULL, 7, 7),
    (3, 15, 'cc', NULL, 'model:cc:2', NULL, 8, 8), (4, 16, 'dd', NULL, 'labels:dd', NULL, 9, 9);
INSERT INTO ArtifactProperty VALUES (1, 'url', 0, NULL, NULL, 'p:x', NULL, NULL, NULL),
    (1, 'rows', 1, 100, NULL, NULL, NULL, NULL, NULL), (3, 'custom_properties_a', 0, NULL, NULL, 'declared', NULL, NULL, NULL),
    (3, 'a', 1, NULL, NULL, 'custom', NULL, NULL, NULL), (3, 'type', 1, NULL, NULL, 'forest', NULL, NULL, NULL);
INSERT INTO Attribution VALUES (1, 2, 1), (2, 2, 2), (3, 3, 3), (4, 2, 4);
INSERT INTO Event VALUES (1, 1, 1, 3, 1), (2, 4, 1, 3, 2), (3, 2, 1, 4, 3), (4, 2, 2, 3, 4), (5, 3, 2, 4, 5), (6, 3, 2, 6, 6);
INSERT INTO EventPath VALUES (4, 0, NULL, 'other/train:bb');
"""


@pytest.fixture(scope="module")
def query(tmp_path_factory):
    path = tmp_path_factory.mktemp("cmf") / "mlmd"
    with sqlite3.connect(path) as connection:
        connection.executescript(TABLES)
    return CmfQuery(str(path))


def test_pipelines_and_stages_are_named(query):
    assert query.get_pipeline_names() == ["p"]
    assert (query.get_pipeline_id("p"), query.get_pipeline_id("none")) == (1, -1)
    assert query.get_pipeline_stages("p") == ["p/split", "p/fit"]


def test_executions_come_as_objects_whose_values_answer_as_those_of_protobuf(query):
    (execution,) = query.get_all_exe_in_stage("p/split")
    assert (execution.id, execution.type, execution.name) == (1, "split", "")
    uuid = execution.properties["Execution_uuid"]
    assert (uuid.string_value, uuid.WhichOneof("value"), uuid.HasField("int_value"), uuid.int_value) == ("u-1,u-3", "string_value", False, 0)
    assert execution.custom_properties["split"].double_value == 0.2
    execution.custom_properties["made up"].int_value = 7
    assert execution.custom_properties["made up"].WhichOneof("value") == "int_value"
    assert str(execution).startswith('id: 1\ntype_id: 12\ntype: "split"\nproperties {\n  key: "Execution_type_name"\n  value {\n')
    assert query.get_all_exe_in_stage("none") == []
    assert [found.id for found in query.get_all_executions_by_stage(2, "u-3")] == [1]


def test_frames_have_the_columns_of_cmf_sorted_and_numbers_keep_their_types(query):
    frame = query.get_all_executions_in_pipeline("p")
    assert list(frame.columns) == [
        "Execution_type_name", "Execution_uuid", "Pipeline_id", "custom_properties_flag", "custom_properties_split", "id", "name",
    ]  # fmt: skip
    assert list(frame.Pipeline_id) == [1, 1] and frame.custom_properties_split[0] == 0.2
    assert "id" not in query.get_all_executions_by_ids_list([1])
    assert list(query.get_executions_with_execution_ids([1, 2]).columns) == ["id", "Execution_type_name", "Execution_uuid"]
    assert query.get_all_artifacts_by_ids_list([]).empty


def test_a_custom_property_that_collides_with_a_declared_one_gets_a_number(query):
    frame = query.get_artifact("model:cc:2")
    assert list(frame.columns)[:6] == ["id", "type", "uri", "name", "create_time_since_epoch", "last_update_time_since_epoch"]
    assert (frame.custom_properties_a[0], frame.custom_properties_a_1[0]) == ("declared", "custom")
    assert query.get_artifact("none") is None


def test_artifacts_are_listed_by_execution_with_their_direction(query):
    frame = query.get_all_artifacts_for_execution(1)
    assert list(zip(frame.name, frame.event)) == [("raw:aa", "INPUT"), ("labels:dd", "INPUT"), ("train:bb", "OUTPUT")]
    assert query.get_all_artifacts() == query.get_artifact_names() == ["raw:aa", "train:bb", "model:cc:2", "labels:dd"]
    assert query.get_all_artifact_types() == ["Dataset", "Model", "Label"]
    found = query.get_all_executions_for_artifact("train:bb")
    assert list(zip(found.Type, found.execution_id, found.stage, found.pipeline)) == [
        ("OUTPUT", 1, "p/split", "p"), ("INPUT", 2, "p/fit", "p"),
    ]  # fmt: skip
    assert found.execution_type_name[0].string_value == "p/split"
    (event,) = [event for event in query.store.get_events_by_execution_ids([2]) if event.type == 3]
    assert event.path == ["other/train:bb"]


def test_lineage_goes_over_any_number_of_executions(query):
    assert list(query.get_one_hop_child_artifacts("raw:aa").name) == ["train:bb"]
    assert query.get_one_hop_child_artifacts("raw:aa", pipeline_id=9).empty
    assert list(query.get_all_child_artifacts("raw:aa").name) == ["train:bb", "model:cc:2"]
    assert list(query.get_all_parent_artifacts("model:cc:2").name) == ["train:bb", "raw:aa", "labels:dd"]
    assert list(query.get_one_hop_parent_artifacts_with_id(2).name) == ["raw:aa"]
    assert list(query.get_all_parent_executions("model:cc:2").id) == [1]
    assert [found.id for found in query.get_one_hop_parent_executions([2])] == [1]
    assert query.get_one_hop_parent_execution_ids(2) == query.get_one_hop_parent_executions_ids([2]) == [1]
    assert query.get_all_parent_executions_by_id([2]) == [[[1, "p/split", "u-1,u-3"]], [{"source": 1, "target": 2}]]
    assert query.find_producer_execution("train:bb").id == 1
    assert query.find_producer_execution("raw:aa") is None


def test_lineage_with_a_cycle_ends(tmp_path):
    path = tmp_path / "mlmd"
    with sqlite3.connect(path) as connection:
        connection.executescript(TABLES + "INSERT INTO Event VALUES (7, 3, 1, 3, 7);")
    query = CmfQuery(str(path))
    assert set(query.get_all_parent_artifacts("train:bb").name) == {"raw:aa", "labels:dd", "model:cc:2", "train:bb"}


def test_the_push_document_leaves_out_what_is_empty_and_renames_the_custom_property_type(query):
    import json

    (pipeline,) = json.loads(query.dumptojson("p"))["Pipeline"]
    assert [stage["name"] for stage in pipeline["stages"]] == ["p/split", "p/fit"]
    (execution,) = pipeline["stages"][1]["executions"]
    model = execution["events"][1]["artifact"]
    assert model["custom_properties"] == {"a": "custom", "user_type": "forest"}
    assert [event["type"] for event in execution["events"]] == [3, 4, 6]
    assert json.loads(query.extract_to_json(100)) == {"Pipeline": []}
    (changed,) = json.loads(query.extract_to_json(4))["Pipeline"]
    assert [stage["name"] for stage in changed["stages"]] == ["p/fit"]


def test_what_is_read_is_never_written(query):
    with pytest.raises(NotSupportedError, match="put_artifacts is not possible"):
        query.store.put_artifacts([])
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        query.store.rows("DELETE FROM Event")
    with pytest.raises(NotSupportedError):
        CmfQuery("mlmd", is_server=True)


def test_many_executions_take_statements_by_the_hundred_not_by_the_piece(tmp_path):
    path = tmp_path / "mlmd"
    with sqlite3.connect(path) as connection:
        connection.executescript(TABLES)
        rows = [(number, 12, None, None, None, number, number) for number in range(10, 2010)]
        connection.executemany("INSERT INTO Execution VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        connection.executemany("INSERT INTO Association VALUES (?, 2, ?)", [(row[0], row[0]) for row in rows])
    query = CmfQuery(str(path))
    query.get_pipeline_names()
    statements = []
    query.store._connection.set_trace_callback(statements.append)
    assert len(query.get_all_executions_in_pipeline("p")) == 2002
    assert len(statements) < 20


def test_the_answers_are_those_of_cmflib_on_a_store_it_made():
    """The sample holds what cmflib 0.1.0 printed; text is compared word by word."""
    import ast
    import pathlib

    import pandas

    sample = pathlib.Path(__file__).resolve().parents[2] / "fixtures" / "cmf-sample"
    if not (sample / "cmfquery-outputs.txt").exists():
        print("skipped: fixtures/cmf-sample is not there")
        return
    query = CmfQuery(str(sample / "mlmd"))
    options = [("display.width", 10**6), *((f"display.max_{what}", None) for what in ("columns", "colwidth", "rows"))]
    compared = 0
    for part in ("\n" + (sample / "cmfquery-outputs.txt").read_text()).split("\n### ")[1:]:
        call, _, expected = part.partition("\n")
        name, arguments = call[: call.index("(")], ast.literal_eval(call[call.index("(") :])
        # Executions are printed with their properties in no order; these two are put right, as docs/CMF.md says.
        if expected.lstrip("[").startswith("id: ") or name in ("get_metrics", "get_all_parent_executions_by_id"):
            continue
        answer = getattr(query, name)(*arguments)
        if isinstance(answer, pandas.DataFrame):
            with pandas.option_context(*(word for pair in options for word in pair)):
                answer = f"columns={list(answer.columns)!r}\n{answer.to_string()}"
            if name == "get_all_parent_artifacts":
                # CMF leaves gaps in the numbers of the rows.
                expected = expected.replace("\n3 ", "\n2 ").replace("\n4 ", "\n3 ")
        assert str(answer).split() == expected.split(), call
        compared += 1
    assert compared == 22
