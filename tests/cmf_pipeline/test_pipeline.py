"""The example pipeline on stepwell.cmf and, where it is installed, on cmflib: the same content in both stores."""

import re
import sys

import pytest
from pipelines import cmflib_python, pipeline, run

from stepwell.cmf import CmfQuery

#: Made of random or local parts: uuids, ids, times, the list of packages, bytes of Parquet. Told apart by the place they have.
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def masked(text, ids):
    text = UUID.sub("<uuid>", str(text))
    text = re.sub(r"python_env_[0-9a-f]+\.txt(:[0-9a-f]{32})?", "python_env", text)
    text = re.sub(r"(metrics/training_metrics):[0-9a-f]{32}", r"\1:<md5>", text)
    return re.sub(r"(?<=:)\d+(?=:|$)", lambda found: "<id>" if int(found[0]) in ids else found[0], text)


def content(path):
    """What a store says, without ids, times and uuids."""
    store = CmfQuery(str(path)).store
    stages = store.get_contexts_by_type("Pipeline_Stage")
    executions = {found.id: stage.name for stage in stages for found in store.get_executions_by_context(stage.id)}
    told = {"contexts": [], "executions": [], "artifacts": {}, "events": [], "attributions": []}
    for context in store.get_contexts():
        told["contexts"].append((context.type, context.name, context.properties.plain(), context.custom_properties.plain()))
    hashes = {"Environment": "<env>", "Step_Metrics": "<md5>", "Metrics": "<uuid>"}
    names = {}
    for artifact in store.get_artifacts():
        name = names[artifact.id] = masked(artifact.name, executions)
        properties = {key: masked(value, executions) for key, value in artifact.properties.plain().items()}
        if artifact.type in ("Environment", "Step_Metrics"):
            properties = {key: value for key, value in properties.items() if key == "git_repo"}
        uri = hashes.get(artifact.type, artifact.uri)
        told["artifacts"][name] = (artifact.type, uri, properties, artifact.custom_properties.plain())
    for execution in store.get_executions():
        properties = execution.properties.plain()
        for key in ("Context_ID", "Pipeline_id", "Execution_uuid", "Git_Start_Commit", "Git_End_Commit"):
            properties.pop(key)
        custom = {key: masked(value, ()) for key, value in execution.custom_properties.plain().items()}
        told["executions"].append((execution.type, execution.name, properties, custom))
        for event in store.get_events_by_execution_ids([execution.id]):
            path = [masked(key, executions) for key in event.path]
            told["events"].append((executions[execution.id], event.type, names[event.artifact_id], path))
    for stage, artifact in store.rows("SELECT context_id, artifact_id FROM Attribution"):
        if artifact in names:
            told["attributions"].append((next(found.name for found in stages if found.id == stage), names[artifact]))
    told["attributions"].sort()
    return told


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stepwell") / "work"
    folder.mkdir()
    before = run(["git", "--version"], folder)
    assert before.startswith("git version")
    told, _ = pipeline(sys.executable, folder, "stepwell")
    return folder, told


def test_the_example_runs_and_its_query_tells_the_lineage(ours):
    folder, told = ours
    assert [line.split(":")[0] for line in told.splitlines() if not line.startswith(" ")] == [
        f"text-example/{stage}" for stage in ("Prepare", "Featurize", "Train", "Evaluate")
    ]
    assert told.count(" Step_Metrics ") == 1 and told.count(" Environment ") == 4
    query = CmfQuery(str(folder / "mlmd"))
    assert list(query.get_metrics("training_metrics").epoch) == list(range(20))
    (model,) = query.store.get_artifacts_by_type("Model")
    parents = set(query.get_all_parent_artifacts(model.name).type)
    assert parents == {"Environment", "Dataset", "Label"}
    assert run(["git", "branch", "--show-current"], folder).strip() == "trunk"


def test_cmflib_leaves_the_same_content(ours, tmp_path):
    python = cmflib_python()
    if python is None:
        print("skipped: no environment with cmflib (STEPWELL_CMFLIB_PYTHON, .venv/peers/cmflib or .venv/cmflib)")
        return
    folder = tmp_path / "work"
    folder.mkdir()
    pipeline(python, folder, "cmflib")
    theirs, mine = content(folder / "mlmd"), content(ours[0] / "mlmd")
    # CMF turns the floats among an execution's properties into text; these are the two of the example.
    floats = [custom[key] for _, _, _, custom in theirs["executions"] for key in ("split", "lr") if key in custom]
    assert floats == ["0.2", "0.5"]
    for part in ("contexts", "artifacts", "events", "attributions", "executions"):
        assert mine[part] == theirs[part], part
