"""Scripts of CMF on a store of Stepwell: what lands in ML Metadata's tables, and what survives."""

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import threading

import numpy
import pandas
import pytest

import stepwell
from stepwell.cmf import Cmf, CmfQuery, NotSupportedError


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with some files, which is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("a\n1\n")
    (tmp_path / "data" / "b.csv").write_text("b\n2\n")
    return tmp_path


def writer(stage="one", **options):
    made = Cmf("mlmd", pipeline_name="p", **options)
    made.create_context(stage)
    return made


def md5(path):
    with open(path, "rb") as file:
        return hashlib.md5(file.read(), usedforsecurity=False).hexdigest()


def plain(entity):
    return entity.properties.plain(), entity.custom_properties.plain()


def script(code, *, signal_expected=None):
    command = [sys.executable, "-c", "from stepwell.cmf import Cmf, CmfQuery\n" + textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == (-signal_expected if signal_expected else 0), done.stderr
    return done.stdout


def test_pipeline_stage_and_execution_keep_types(place):
    cmf = Cmf("mlmd", pipeline_name="p", custom_properties={"owner": "me", "priority": 3})
    cmf.create_context("one", {"cpus": 2})
    execution = cmf.create_execution("fit", {"lr": 0.01, "epochs": 3, "cache": True, "opt": None, "n": numpy.int64(7)}, cmd="run it")
    assert cmf.parent_context.id and cmf.child_context.id and execution.id
    declared, custom = plain(execution)
    assert execution.type == "fit" and execution.name == ""
    assert (declared["Context_Type"], declared["Execution_type_name"], declared["Pipeline_Type"]) == ("p/one", "p/one", "p")
    assert (declared["Execution"], declared["Git_Repo"], declared["Git_End_Commit"]) == ("run it", "", "")
    assert (declared["Pipeline_id"], declared["Context_ID"]) == (cmf.parent_context.id, cmf.child_context.id)
    environment = custom.pop("Python_Env")
    assert custom == {"lr": 0.01, "epochs": 3, "cache": 1, "opt": "None", "n": 7}
    assert "numpy==" in (place / environment).read_text()
    query = CmfQuery("mlmd")
    (pipeline,) = query.store.get_contexts_by_type("Parent_Context")
    assert plain(pipeline) == ({"Pipeline": "p"}, {"owner": "me", "priority": 3})
    assert plain(query.store.get_contexts_by_type("Pipeline_Stage")[0]) == ({"Pipeline_Stage": "p/one"}, {"cpus": 2})
    frame = query.get_all_artifacts_for_execution(execution.id)
    assert list(zip(frame.type, frame.event)) == [("Environment", "INPUT")]
    assert frame.uri[0] == md5(environment) and frame.name[0] == f"{environment}:{frame.uri[0]}"


def test_an_existing_context_keeps_its_properties_until_it_is_updated(place):
    cmf = writer()
    cmf.create_execution("fit")
    again = Cmf("mlmd", pipeline_name="p", custom_properties={"late": 1})
    assert again.parent_context.id == cmf.parent_context.id and not again.parent_context.custom_properties
    again.create_context("one")
    again.create_execution("fit")
    again.update_context("Parent_Context", "p", again.parent_context.id, custom_properties={"score": 0.5})
    pipeline = CmfQuery("mlmd").store.get_contexts_by_type("Parent_Context")[0]
    assert plain(pipeline)[1] == {"score": 0.5}


def test_new_content_is_attributed_and_known_content_is_linked_under_its_first_name(place):
    cmf = writer()
    first = cmf.create_execution("fit")
    made = cmf.log_dataset("data/a.csv", "output", {"rows": 1, "share": 0.5})
    hash = md5("data/a.csv")
    assert (made.type, made.uri, made.name) == ("Dataset", hash, f"data/a.csv:{hash}")
    assert plain(made) == (
        {"git_repo": "", "Commit": hash, "url": f"p:files/md5/{hash[:2]}/{hash[2:]}"}, {"rows": 1, "share": 0.5},
    )  # fmt: skip
    os.rename("data/a.csv", "data/moved.csv")
    cmf.create_context("two")
    second = cmf.create_execution("use")
    linked = cmf.log_dataset("data/moved.csv", "INPUT", {"rows": 2})
    cmf.log_dataset("data/moved.csv", "output")
    assert (linked.id, linked.name) == (made.id, made.name) and linked.custom_properties["rows"].int_value == 2
    events = CmfQuery("mlmd").store.get_events_by_artifact_ids([made.id])
    assert [(event.execution_id, event.type, event.path) for event in events] == [
        (first.id, 4, []), (second.id, 3, [f"data/moved.csv:{hash}"]),
    ]  # fmt: skip
    contexts = CmfQuery("mlmd").store.rows("SELECT context_id FROM Attribution WHERE artifact_id = ?", made.id)
    assert len(contexts) == 1


def test_another_pipeline_adds_its_place_to_known_content(place):
    for name in ("p", "q"):
        cmf = Cmf("mlmd", pipeline_name=name)
        cmf.create_context("one")
        cmf.create_execution("fit")
        made = cmf.log_dataset("data/a.csv", "input")
    key = made.uri[:2] + "/" + made.uri[2:]
    assert made.properties["url"].string_value == f"p:files/md5/{key},q:files/md5/{key}"


def test_models_metrics_and_validations_have_the_names_of_cmf(place):
    cmf = writer()
    execution = cmf.create_execution("fit")
    model = cmf.log_model("data/a.csv", "output", "scikit-learn", "forest", "rf:default", {"trees": 10})
    assert model.name == f"data/a.csv:{model.uri}:{execution.id}"
    assert plain(model)[0]["model_name"] == "rf:default" and plain(model)[1] == {"trees": 10}
    cmf.finalize()
    metrics = cmf.log_execution_metrics("result", {"auc": 0.5, "n": 3, "gone": float("nan"), "single": numpy.float32(0.5)})
    assert metrics.name == f"result:{metrics.uri}:{execution.id}" == metrics.properties["metrics_name"].string_value
    assert plain(metrics)[1] == {"auc": 0.5, "n": 3, "gone": "NaN", "single": 0.5}
    check = cmf.log_validation_output("v1", {"ok": True})
    assert (check.uri, plain(check)) == (check.name, ({"version": "v1"}, {"ok": 1}))
    events = CmfQuery("mlmd").store.get_events_by_execution_ids([execution.id])
    assert [event.type for event in events] == [3, 4, 4, 6]


def test_labels_and_their_data_set_name_each_other(place):
    cmf = writer()
    cmf.create_execution("fit")
    data = cmf.log_dataset("data/a.csv", "input", label="data/b.csv", label_properties={"by": "ron"})
    label = CmfQuery("mlmd").store.get_artifacts_by_type("Label")[0]
    assert plain(data)[1] == {"labels": "data/b.csv", "labels_uri": label.name}
    assert plain(label)[1] == {"by": "ron", "dataset_uri": data.uri}
    cmf.update_existing_artifact(data, {"labels": "more.csv", "score": 0.5})
    assert plain(data)[1] == {"labels": "data/b.csv,more.csv", "labels_uri": label.name, "score": 0.5}


def test_a_missing_file_is_told_and_gives_none(place):
    cmf = writer()
    cmf.create_execution("fit")
    with pytest.warns(stepwell.StepwellWarning, match="data/none.csv does not exist"):
        assert cmf.log_dataset("data/none.csv", "input") is None


def test_step_metrics_are_rows_of_the_store_and_a_file_with_the_index_of_cmf(place):
    cmf = writer()
    execution = cmf.create_execution("fit")
    cmf.log_metric("training", {"epoch": 0, "loss": 1.5, "note": "a", "ok": True})
    cmf.log_metric("training", {"epoch": 1, "loss": float("nan"), "late": 2**60, "note": None})
    cmf.log_metric("training", {"epoch": numpy.int32(2), "loss": numpy.float32(0.5)})
    assert cmf.metrics["training"][1] == {"epoch": 0, "loss": 1.5, "note": "a", "ok": True}
    made = cmf.commit_metrics("training")
    path = made.name.split(":")[0]
    assert path == f"cmf_artifacts/{execution.properties['Execution_uuid'].string_value}/metrics/training"
    assert made.uri == md5(path) and made.name.split(":")[1:3] == [made.uri, str(execution.id)]
    frame = pandas.read_parquet(path)
    assert frame.index.name == "SequenceNumber" and list(frame.index) == [1, 2, 3]
    assert list(frame.columns) == ["epoch", "loss", "note", "ok", "late"]
    assert str(frame.epoch.dtype) == "int64" and list(frame.epoch) == [0, 1, 2]
    assert frame.loss[1] == 1.5 and pandas.isna(frame.loss[2]) and frame.loss[3] == 0.5
    assert frame.note[1] == "a" and frame.ok[1] and pandas.isna(frame.ok[2])
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(path)["late"].to_pylist() == [None, 2**60, None]
    rows = stepwell.sql("SELECT step, value FROM metrics WHERE metric = 'epoch' ORDER BY step", "mlmd").rows
    assert rows == [(1, 0.0), (2, 1.0), (3, 2.0)]
    query = CmfQuery("mlmd")
    assert query.get_metrics(made.name).equals(frame) and query.get_metrics("training").equals(frame)
    os.remove(path)
    assert list(query.get_metrics(made.name).loss)[0] == 1.5


def test_nested_metrics_keep_their_form_and_their_numbers_are_series(place):
    cmf = writer()
    cmf.create_execution("fit")
    cmf.log_metric("tune", {"Output": {"acc": 0.5, "name": "x"}, "list": [1, 2]})
    frame = pandas.read_parquet(cmf.commit_metrics("tune").name.split(":")[0])
    assert frame.Output[1] == {"acc": 0.5, "name": "x"} and list(frame["list"][1]) == [1, 2]
    assert stepwell.sql("SELECT metric, value FROM metrics", "mlmd").rows == [("Output.acc", 0.5)]


def test_mixed_values_of_a_key_become_text_and_nothing_is_lost(place):
    cmf = writer()
    cmf.create_execution("fit")
    for value in (1, "two", 0.5):
        cmf.log_metric("mixed", {"x": value})
    frame = pandas.read_parquet(cmf.commit_metrics("mixed").name.split(":")[0])
    assert list(frame.x) == ["1", "two", "0.5"]


def test_threads_that_log_to_one_name_lose_no_row(place):
    cmf = writer()
    cmf.create_execution("fit")

    def work(offset):
        for number in range(500):
            cmf.log_metric("shared", {"value": offset + number})

    threads = [threading.Thread(target=work, args=(1000 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    frame = pandas.read_parquet(cmf.commit_metrics("shared").name.split(":")[0])
    assert sorted(frame.value) == sorted(1000 * base + number for base in range(4) for number in range(500))


def test_rows_of_a_killed_script_are_there_and_can_be_committed_later(place):
    script(
        """
        import os, signal
        w = Cmf("mlmd", pipeline_name="p"); w.create_context("one"); w.create_execution("fit")
        for i in range(100):
            w.log_metric("training", {"i": i, "x": i / 2, "note": f"row {i}"})
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        signal_expected=signal.SIGKILL,
    )
    assert stepwell.sql("SELECT count(*) FROM metrics", "mlmd").rows == [(200,)]
    (execution,) = CmfQuery("mlmd").get_all_exe_in_stage("p/one")
    cmf = Cmf("mlmd", pipeline_name="p")
    cmf.update_execution(execution.id)
    frame = pandas.read_parquet(cmf.commit_metrics("training").name.split(":")[0])
    assert str(frame.i.dtype) == "int64" and list(frame.i) == list(range(100)) and frame.note[100] == "row 99"


def test_a_script_that_never_commits_nor_finalizes_loses_nothing(place):
    script(
        """
        w = Cmf("mlmd", pipeline_name="p"); w.create_context("one"); w.create_execution("fit")
        w.log_metric("training", {"loss": 0.5})
        """
    )
    assert list(CmfQuery("mlmd").get_metrics("training").loss) == [0.5]
    assert stepwell.sql("SELECT state FROM runs", "mlmd").rows == [("finished",)]


def test_nothing_logged_under_a_name_is_an_error_that_says_so(place):
    cmf = writer()
    cmf.create_execution("fit")
    with pytest.raises(LookupError, match="nothing was logged under 'none'"):
        cmf.commit_metrics("none")


def test_an_execution_is_reused_by_name_and_collects_uuids(place):
    first = writer().create_execution("again", {"a": 1}, create_new_execution=False)
    second = writer().create_execution("again", {"b": 0.5}, create_new_execution=False)
    assert (second.id, second.type, second.name) == (first.id, "p/one", "again")
    uuids = second.properties["Execution_uuid"].string_value.split(",")
    assert uuids[0] == first.properties["Execution_uuid"].string_value and len(set(uuids)) == 2
    assert {key: value for key, value in plain(second)[1].items() if key != "Python_Env"} == {"a": 1, "b": 0.5}


def test_several_executions_and_several_objects_in_one_process(place):
    cmf = writer()
    first = cmf.create_execution("fit", {"n": 1})
    cmf.log_metric("training", {"loss": 1.0})
    second = cmf.create_execution("fit", {"n": 2})
    cmf.log_metric("training", {"loss": 2.0})
    other = Cmf("mlmd", pipeline_name="p")
    updated = other.update_execution(first.id, {"score": 0.25})
    assert updated.custom_properties["score"].double_value == 0.25
    other.log_metric("training", {"loss": 1.5})
    other.commit_metrics("training")
    cmf.log_metric("training", {"loss": 2.5})
    cmf.finalize()
    rows = stepwell.sql("SELECT run_id, step, value FROM metrics ORDER BY value", "mlmd").rows
    assert [(step, value) for _, step, value in rows] == [(1, 1.0), (2, 1.5), (1, 2.0), (2, 2.5)]
    cmf.execution = CmfQuery("mlmd").get_all_exe_in_stage("p/one")[0]
    made = cmf.log_execution_metrics("late", {"x": 1})
    assert made.name.endswith(f":{first.id}") and first.id != second.id


def test_calls_without_context_and_execution_are_named_after_the_script(place):
    (place / "nano.py").write_text("from stepwell.cmf import Cmf\nw = Cmf()\nw.log_dataset('data/a.csv', 'input')\n")
    done = subprocess.run([sys.executable, "nano.py"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    query = CmfQuery("mlmd")
    assert query.get_pipeline_stages(place.name) == [f"{place.name}/nano"]
    assert query.get_all_exe_in_stage(f"{place.name}/nano")[0].type == "nano"


def test_a_slice_is_a_file_with_paths_and_hashes_and_a_change_is_a_new_artifact(place):
    cmf = writer()
    cmf.create_execution("fit")
    part = cmf.create_dataslice("slice")
    part.add_data("data/a.csv", {"k": "1"})
    part.add_data("data/b.csv", {"k": "2", "n": 0.5})
    made = part.commit({"mean": 2.0})
    assert (made.type, plain(made)[1], made.uri) == ("Dataslice", {"mean": 2.0}, md5(made.name.split(":")[0]))
    frame = cmf.read_dataslice("slice")
    assert frame.index.name == "Path" and frame.hash["data/a.csv"] == md5("data/a.csv") and list(frame.k) == ["1", "2"]
    cmf.update_dataslice("slice", "data/a.csv", {"k": "3"})
    assert list(cmf.read_dataslice("slice").k) == ["3", "2"]
    uris = [artifact.uri for artifact in CmfQuery("mlmd").store.get_artifacts_by_type("Dataslice")]
    assert len(set(uris)) == 2 and uris[0] == made.uri


def test_git_is_read_and_nothing_of_it_changes(place):
    def git(*arguments):
        settings = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=trunk"]
        return subprocess.run(["git", *settings, *arguments], capture_output=True, text=True, check=True).stdout.strip()

    git("init", "-q")
    git("remote", "add", "origin", "https://me:secret@example.org/x.git")
    git("add", "data/a.csv")
    git("commit", "-qm", "one")
    (place / ".dvc").mkdir()
    (place / ".dvc" / "config").write_text("[core]\n    remote = far\n['remote \"far\"']\n    url = s3://bucket/x\n")
    before = git("status", "--porcelain"), git("branch", "-a"), git("rev-parse", "HEAD")
    cmf = writer()
    execution = cmf.create_execution("fit")
    made = cmf.log_dataset("data/a.csv", "input")
    cmf.finalize()
    assert plain(execution)[0]["Git_Start_Commit"] == before[2]
    assert plain(execution)[0]["Git_Repo"] == "https://example.org/x.git"
    assert plain(made)[0]["url"] == f"p:s3://bucket/x/files/md5/{made.uri[:2]}/{made.uri[2:]}"
    after = CmfQuery("mlmd").get_all_exe_in_stage("p/one")[0]
    assert after.properties["Git_End_Commit"].string_value == before[2]
    new = {line for line in git("status", "--porcelain").splitlines()} - set(before[0].splitlines())
    assert new == {"?? cmf_artifacts/", "?? mlmd/"} and (git("branch", "-a"), git("rev-parse", "HEAD")) == before[1:]


def test_a_store_elsewhere_leaves_the_process_in_its_folder(place):
    os.makedirs("deep/data")
    with open("deep/data/c.csv", "w") as file:
        file.write("c")
    cmf = Cmf("deep/mlmd", pipeline_name="p")
    cmf.create_context("one")
    cmf.create_execution("fit")
    assert cmf.log_dataset("data/c.csv", "input").uri == md5("deep/data/c.csv")
    assert cmf.log_dataset("data/a.csv", "input").uri == md5("data/a.csv")
    assert os.getcwd() == str(place) and os.path.isdir("deep/cmf_artifacts") and not os.path.exists("cmf_artifacts")


def test_a_file_of_cmf_is_not_written_to(place):
    (place / "mlmd").write_bytes(b"SQLite format 3\0" + bytes(100))
    with pytest.raises(stepwell.StepwellError, match="`stepwell import cmf mlmd` brings it over"):
        Cmf("mlmd")
    with pytest.raises(NotSupportedError):
        Cmf(is_server=True)
    with pytest.warns(stepwell.StepwellWarning, match="graph=True"):
        Cmf("other", graph=True)


def test_module_functions_read_a_store_or_say_what_to_use(place):
    from stepwell import cmf

    made = writer()
    made.create_execution("fit", {"lr": 0.5})
    made.log_dataset("data/a.csv", "input")
    assert cmf.pipeline_list() == "p"
    assert '"lr": 0.5' in cmf.execution_list("p") and cmf.execution_list("p", execution_uuid="none") == ""
    assert '"type": "Dataset"' in cmf.artifact_list("p", artifact_name="a.csv")
    assert "p.json" in cmf.metadata_export("p") and (place / "p.json").exists()
    with pytest.raises(NotImplementedError, match="stepwell push"):
        cmf.artifact_push("p")


def test_what_is_elsewhere_is_logged_by_a_hash_that_is_given(place):
    cmf = writer()
    cmf.create_execution("fit")
    made = cmf.log_dataset_with_version("far/x.csv", "abc", "input", {"url": "p:s3://x"}, {"rows": 3})
    assert (made.name, made.uri, plain(made)[1]) == ("far/x.csv:abc", "abc", {"rows": 3})
    model = cmf.log_model_with_version("far/m", "output", {"uri": "def", "Commit": "def", "url": "u", "model_name": "m"})
    assert model.name == f"far/m:def:{cmf.execution.id}"
