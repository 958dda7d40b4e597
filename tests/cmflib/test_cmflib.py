"""The real cmflib opens what `stepwell export cmf` wrote, and answers what it answered on the store that was imported.

The sample in fixtures/cmf-sample is a store that CMF made, with the answers of CmfQuery on it. It goes through
`stepwell import cmf` and `stepwell export cmf`; the copy has to give the same answers, and the same JSON document.
STEPWELL_BIN names the program.
"""

import ast
import json
import os
import pathlib
import re
import subprocess
import sys

import pandas as pd
import pytest
from cmflib.cmfquery import CmfQuery

SAMPLE = pathlib.Path(__file__).parents[2] / "fixtures" / "cmf-sample"
STEPWELL = os.environ["STEPWELL_BIN"]
PIPELINE = "demo-pipeline"

# As wide as the sample's answers were printed.
pd.set_option("display.width", 100_000, "display.max_columns", None, "display.max_rows", None, "display.max_colwidth", None)


def stepwell(folder, *arguments):
    done = subprocess.run([STEPWELL, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of the export of the imported sample."""
    folder = tmp_path_factory.mktemp("exported")
    stepwell(folder, "import", "cmf", str(SAMPLE))
    stepwell(folder, "export", "cmf", "out/mlmd")
    return folder / "out"


@pytest.fixture(scope="module")
def continued(tmp_path_factory):
    """The folder of an export with runs of Stepwell's own in the pipeline of the sample."""
    folder = tmp_path_factory.mktemp("continued")
    stepwell(folder, "import", "cmf", str(SAMPLE))
    (folder / "two.csv").write_text("run,lr,step,loss,acc\na,0.1,0,2.5,\na,0.1,10,0.5,0.5\nb,0.2,0,1.5,0.25\n")
    stepwell(folder, "import", "csv", "two.csv", "--run-column=run", "--group-column=lr", "--step-column=step",
             "--pipeline", PIPELINE, "--stage", "sweep")
    stepwell(folder, "export", "cmf", "out/mlmd")
    return folder / "out"


def answers():
    """Calls with the text they gave, as the sample has them."""
    text = (SAMPLE / "cmfquery-outputs.txt").read_text()
    parts = re.split(r"^### (\w+)(\(.*\))$", text, flags=re.M)[1:]
    return [(name, arguments, answer.strip("\n")) for name, arguments, answer in zip(parts[::3], parts[1::3], parts[2::3])]


def shown(value):
    if isinstance(value, pd.DataFrame):
        return f"columns={list(value.columns)}\n{value.to_string()}"
    return str(value)


def normal(text):
    """Without what is in no order: properties in ML Metadata's messages, columns of a frame that names them in any order."""
    if not text.startswith("columns="):
        return sorted(line.strip() for line in text.splitlines())
    head, rows = text.split("\n", 1)
    return sorted(ast.literal_eval(head.removeprefix("columns="))), [sorted(row.split()) for row in rows.splitlines()]


@pytest.mark.parametrize("name, arguments, answer", answers(), ids=lambda part: str(part)[:40].replace("\n", " "))
def test_cmfquery_answers_as_on_the_sample(exported, name, arguments, answer):
    got = getattr(CmfQuery(str(exported / "mlmd")), name)(*ast.literal_eval(arguments))
    assert normal(shown(got).strip("\n")) == normal(answer)


def test_the_sample_has_many_answers():
    assert len(answers()) == 28


def test_cmf_metadata_export_writes_the_same_document(exported, tmp_path):
    cmf = pathlib.Path(sys.executable).with_name("cmf")
    target = tmp_path / "document.json"
    done = subprocess.run(
        [cmf, "metadata", "export", "-p", PIPELINE, "-j", str(target), "-f", str(exported / "mlmd")],
        capture_output=True, text=True, cwd=exported,
    )
    # The command's exit code is 0 for every outcome: the file is what counts.
    assert target.exists(), done.stdout + done.stderr
    assert json.loads(target.read_text()) == json.loads((SAMPLE / "metadata-export.json").read_text())


def test_own_runs_are_executions_beside_the_imported_ones(continued):
    query = CmfQuery(str(continued / "mlmd"))
    assert sorted(query.get_pipeline_stages(PIPELINE)) == [f"{PIPELINE}/{stage}" for stage in ("prepare", "sweep", "train")]
    executions = query.get_all_executions_in_pipeline(PIPELINE)
    assert len(executions) == 4
    own = query.get_all_executions_in_stage(f"{PIPELINE}/sweep")
    assert sorted(own["custom_properties_lr"].astype(float)) == [0.1, 0.2]
    assert own["Execution_uuid"].is_unique and (own["Context_Type"] == f"{PIPELINE}/sweep").all()
    assert sorted(own["id"]) == [3, 4]


def test_own_metrics_are_files_that_pandas_reads(continued):
    query = CmfQuery(str(continued / "mlmd"))
    names = [name for name in query.get_all_artifacts() if "/metrics/" in name and "training_metrics" not in name]
    assert len(names) == 2
    frames = {}
    for name in names:
        path, md5 = name.split(":")[:2]
        frame = pd.read_parquet(continued / path)
        assert frame.index.name == "SequenceNumber" and frame.index.tolist() == list(range(1, len(frame) + 1))
        row = query.get_artifact(name)
        assert row["uri"][0] == md5 == row["Commit"][0] and row["type"][0] == "Step_Metrics"
        frames[len(frame)] = frame
    assert frames[2]["step"].tolist() == [0, 10]
    assert frames[2]["loss"].tolist() == [2.5, 0.5] and frames[2]["acc"].isna().tolist() == [True, False]


def test_dumptojson_is_stepwell_s_document(continued):
    theirs = json.loads(CmfQuery(str(continued / "mlmd")).dumptojson(PIPELINE))
    # ML Metadata gives the executions of a stage in no order.
    for stage in theirs["Pipeline"][0]["stages"]:
        stage["executions"].sort(key=lambda execution: execution["id"])
    ours = json.loads(stepwell(continued, "metadata", "export", "-p", PIPELINE, "-f", "mlmd"))
    assert ours == theirs
