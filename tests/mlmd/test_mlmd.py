"""ML Metadata's own library opens the catalog and lists what SQL lists.

The store and the expected answers are made by make_store.py, with the wheel, in another environment: ml-metadata pins
libraries that current ones do not go with.
"""

import json
import os
import pathlib

import pytest
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb

STORE = pathlib.Path(os.environ["STEPWELL_MLMD_STORE"])


@pytest.fixture(scope="module")
def expected():
    return json.loads(pathlib.Path(os.environ["STEPWELL_MLMD_EXPECTED"]).read_text())


@pytest.fixture(scope="module")
def store():
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = str(STORE / "catalog.db")
    config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE
    return metadata_store.MetadataStore(config)


def value(properties, name):
    field = properties[name]
    return getattr(field, field.WhichOneof("value"))


def test_pipelines_and_stages(store):
    contexts = {context.name: context for context in store.get_contexts()}
    assert sorted(contexts) == ["digits", "digits/prepare", "digits/train"]
    assert contexts["digits"].type == "Parent_Context"
    for stage in ("digits/prepare", "digits/train"):
        assert contexts[stage].type == "Pipeline_Stage"
        parents = store.get_parent_contexts_by_context(contexts[stage].id)
        assert [parent.name for parent in parents] == ["digits"]


def test_executions_are_the_runs(store, expected):
    executions = {value(execution.properties, "Execution_uuid"): execution for execution in store.get_executions()}
    assert sorted(executions) == [run["run_id"] for run in expected["runs"]]
    for run in expected["runs"]:
        execution = executions[run["run_id"]]
        assert run["state"] == "finished"
        assert execution.last_known_state == pb.Execution.COMPLETE
        contexts = store.get_contexts_by_execution(execution.id)
        assert [context.name for context in contexts] == [f"{run['pipeline']}/{run['stage']}"]


def test_parameters_keep_their_types(store, expected):
    for execution in store.get_executions():
        properties = execution.custom_properties
        if execution.type.endswith("prepare"):
            assert (value(properties, "split"), value(properties, "shuffle")) == (0.2, 1)
        else:
            seed = value(properties, "seed")
            assert properties["seed"].WhichOneof("value") == "int_value"
            # ML Metadata passes floats through text of 15 digits.
            assert value(properties, "lr") == pytest.approx(0.1 * (seed + 1), rel=1e-14)
            assert value(properties, "optimizer") == "sgd"


def test_artifacts(store, expected):
    found = sorted(
        ({"id": a.id, "type": a.type, "name": a.name, "uri": a.uri} for a in store.get_artifacts()),
        key=lambda artifact: artifact["id"],
    )
    assert found == expected["artifacts"]
    types = [artifact["type"] for artifact in found]
    assert {kind: types.count(kind) for kind in set(types)} == {
        "Dataset": 1,
        "Model": 3,
        "Metrics": 3,
        "Step_Metrics": 3,
    }
    for artifact in store.get_artifacts():
        contexts = store.get_contexts_by_artifact(artifact.id)
        assert contexts, f"{artifact.name} is attributed to no stage"


def test_events_are_the_lineage(store, expected):
    runs = {execution.id: value(execution.properties, "Execution_uuid") for execution in store.get_executions()}
    words = {pb.Event.INPUT: "input", pb.Event.OUTPUT: "output"}
    events = store.get_events_by_execution_ids(list(runs))
    found = sorted((runs[event.execution_id], event.artifact_id, words[event.type]) for event in events)
    assert found == sorted((edge["run_id"], edge["artifact_id"], edge["direction"]) for edge in expected["lineage"])
    assert all(event.milliseconds_since_epoch > 0 for event in events)
