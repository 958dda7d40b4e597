"""CMF's helper modules: functions as steps, and the callback for Ray Tune."""

import sys
import types

import pytest

from stepwell.cmf import CmfQuery
from stepwell.cmf.auto_logging import (
    CMFError,
    Context,
    Dataset,
    ExecutionMetrics,
    MLModel,
    Parameters,
    cli_run,
    prepare_workspace,
    step,
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CMF_PIPELINE", "iris")
    (tmp_path / "raw.csv").write_text("1\n2\n")
    return tmp_path


@step()
def fit(ctx: Context, params: Parameters, dataset: Dataset) -> dict:
    assert ctx["cmf"].execution.type == "fit"
    folder = prepare_workspace(ctx)
    (folder / "model.bin").write_text(f"weights {params['lr']}")
    model = MLModel(folder / "model.bin", {"model_name": "small", "layers": 2})
    return {"model": model, "metrics": ExecutionMetrics("none", "result", {"auc": 0.5})}


def test_a_step_logs_parameters_inputs_and_outputs(place):
    context = Context(workspace="work")
    outputs = fit(context, Parameters(lr=0.1), Dataset("raw.csv"))
    assert outputs["model"].uri == "work/model.bin" and "cmf" not in context
    query = CmfQuery("mlmd")
    (execution,) = query.get_all_exe_in_stage("iris/fit")
    assert execution.custom_properties["lr"].double_value == 0.1
    frame = query.get_all_artifacts_for_execution(execution.id)
    assert list(zip(frame.type, frame.event)) == [
        ("Environment", "INPUT"), ("Dataset", "INPUT"), ("Model", "OUTPUT"), ("Metrics", "OUTPUT"),
    ]  # fmt: skip
    assert frame.model_name[2] == "small" and frame.custom_properties_layers[2] == 2


def test_the_command_line_names_parameters_and_inputs(place, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["fit.py", "--params", "lr=0.2", "--ctx", "workspace=w", "dataset=raw.csv"])
    cli_run(fit)
    assert (place / "w" / "model.bin").read_text() == "weights 0.2"
    monkeypatch.setattr(sys, "argv", ["fit.py"])
    with pytest.raises(CMFError, match="the input 'dataset' is missing"):
        cli_run(fit)
    monkeypatch.setattr(sys, "argv", ["fit.py", "dataset=raw.csv", "other=x"])
    with pytest.raises(CMFError, match="takes no input other"):
        cli_run(fit)


def test_a_step_that_fails_keeps_its_inputs_and_raises(place, monkeypatch):
    @step(pipeline_stage="broken")
    def broken(dataset: Dataset) -> None:
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        broken(Dataset("raw.csv"))
    assert list(CmfQuery("mlmd").get_all_artifacts_by_context("iris").type) == ["Environment", "Dataset"]
    monkeypatch.delenv("CMF_PIPELINE")
    with pytest.raises(CMFError, match="set CMF_PIPELINE"):
        broken(Dataset("raw.csv"))
    with pytest.raises(CMFError, match="a step takes nothing else"):
        step("p")(lambda x: None)(3)


def test_the_callback_for_ray_logs_a_trial_as_an_execution(place):
    # The calls that Ray Tune makes, in its order; ray itself is not needed to make them.
    from stepwell.cmf.ray import CmfRayLogger

    logger = CmfRayLogger("iris", "mlmd", "tune", data_dir="raw.csv", top_n=1)
    trials = [types.SimpleNamespace(trial_id=name, config={"lr": 0.1}, last_result={}) for name in ("a", "b")]
    for trial in trials:
        logger.on_trial_start(0, trials, trial)
    for number, trial in enumerate(trials):
        for accuracy in (0.1, 0.5 + number / 10, 0.2):
            logger.on_trial_result(1, trials, trial, {"accuracy": accuracy, "config": {"lr": 0.1}})
        logger.on_trial_complete(2, trials, trial)
    logger.on_experiment_end(trials)
    query = CmfQuery("mlmd")
    executions = {execution.name: execution for execution in query.get_all_exe_in_stage("iris/tune")}
    assert sorted(executions) == ["Trial_a", "Trial_b"]
    assert executions["Trial_b"].custom_properties["in_top_n"].int_value == 1
    assert "in_top_n" not in executions["Trial_a"].custom_properties
    assert [row["accuracy"] for row in query.get_metrics("Trial_a_metrics").Output] == [0.1, 0.5, 0.2]
