"""The example pipeline on stepwell.cmf and, where it is installed, on cmflib: the same content in both stores.

cmflib 0.1.0 needs Python 3.11 and the pins of benches/peers/requirements/cmflib.txt. Its environment is found below .venv/
(peers/cmflib or cmflib), or named by STEPWELL_CMFLIB_PYTHON. With STEPWELL_CMF_TIMES=<file>, the times of both are
written there as JSON.
"""

import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys

import pytest

from stepwell.cmf import CmfQuery

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "cmf"
STEPS = ("parse.py", "featurize.py", "train.py", "test.py", "query.py")
#: Made of random or local parts: uuids, ids, times, the list of packages, bytes of Parquet. Told apart by the place they have.
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def cmflib_python():
    named = os.environ.get("STEPWELL_CMFLIB_PYTHON")
    places = [named] if named else [ROOT / ".venv" / part / "bin" / "python" for part in ("peers/cmflib", "cmflib")]
    return next((str(place) for place in places if place and os.path.exists(place)), None)


def run(command, folder, **environment):
    git = {f"GIT_{role}_{part}": "t@localhost" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    settings = {**os.environ, **git, "DVC_NO_ANALYTICS": "true", "GIT_TERMINAL_PROMPT": "0", **environment}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, env=settings)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def repository(folder):
    """A git repository with a remote, a DVC configuration with a default remote, and the example."""
    for name in (*STEPS, "tracking.py"):
        (folder / "src").mkdir(parents=True, exist_ok=True)
        shutil.copy(EXAMPLE / name, folder / "src" / name)
    run(["git", "-c", "init.defaultBranch=trunk", "init", "-q"], folder)
    run(["git", "remote", "add", "cmf_origin", "https://localhost/none.git"], folder)
    run(["git", "add", "src"], folder)
    run(["git", "commit", "-qm", "one"], folder)
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text(
        "[core]\n    remote = local-storage\n    analytics = false\n['remote \"local-storage\"']\n    url = /srv/none/store\n"
    )


def pipeline(python, folder, library):
    repository(folder)
    times = folder.parent / f"{library}.times"
    path = os.pathsep.join([str(pathlib.Path(python).parent), os.environ["PATH"]])
    for step in STEPS:
        settings = {"CMF_LIBRARY": library, "CMF_TIMES": str(times), "PATH": path}
        if library == "cmflib":
            # Its environment is another one.
            settings["PYTHONPATH"] = ""
        told = run([python, f"src/{step}"], folder, **settings)
    return told, [json.loads(line) for line in times.read_text().splitlines()]


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


def summary(times):
    operations = {}
    for line in times:
        operations.setdefault(line["operation"], []).append(line["seconds"])
    return {name: {"calls": len(all), "median_s": statistics.median(all), "total_s": sum(all)} for name, all in operations.items()}


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stepwell") / "work"
    folder.mkdir()
    before = run(["git", "--version"], folder)
    assert before.startswith("git version")
    told, times = pipeline(sys.executable, folder, "stepwell")
    return folder, told, times


def test_the_example_runs_and_its_query_tells_the_lineage(ours):
    folder, told, _ = ours
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
    _, times = pipeline(python, folder, "cmflib")
    theirs, mine = content(folder / "mlmd"), content(ours[0] / "mlmd")
    # CMF turns the floats among an execution's properties into text; these are the two of the example.
    floats = [custom[key] for _, _, _, custom in theirs["executions"] for key in ("split", "lr") if key in custom]
    assert floats == ["0.2", "0.5"]
    for part in ("contexts", "artifacts", "events", "attributions", "executions"):
        assert mine[part] == theirs[part], part
    tables = {"cmflib": summary(times), "stepwell": summary(ours[2])}
    total = {name: sum(row["total_s"] for row in table.values()) for name, table in tables.items()}
    print(f"\n{'operation':24}{'cmflib ms':>12}{'stepwell ms':>12}{'ratio':>9}")
    for name, row in tables["cmflib"].items():
        other = tables["stepwell"][name]["median_s"]
        print(f"{name:24}{row['median_s'] * 1e3:12.3f}{other * 1e3:12.3f}{row['median_s'] / other:9.0f}")
    print(f"{'total':24}{total['cmflib'] * 1e3:12.0f}{total['stepwell'] * 1e3:12.0f}{total['cmflib'] / total['stepwell']:9.0f}")
    if os.environ.get("STEPWELL_CMF_TIMES"):
        record = {"operations": tables, "total_s": total, "ratio": total["cmflib"] / total["stepwell"]}
        pathlib.Path(os.environ["STEPWELL_CMF_TIMES"]).write_text(json.dumps(record, indent=2) + "\n")
