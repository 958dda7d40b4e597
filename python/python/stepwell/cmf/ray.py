"""A callback for Ray Tune: one execution a trial, as CMF's `CmfRayLogger`. Needs ray (`pip install "ray[tune]"`)."""

from __future__ import annotations

from ._cmf import Cmf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

try:
    from ray.tune import Callback as _Callback
except ImportError:
    _Callback = object


class CmfRayLogger(_Callback):  # type: ignore[misc,valid-type]
    """Logs each trial as the execution `Trial_<id>`: its results as rows of `Trial_<id>_metrics`, its best value at the end.

    `metric` and `order` ("max" or "min") say what best is; the `top_n` best trials get the property `in_top_n`. A result with
    `model_path` names the model of the trial. `data_dir` is logged as an input of every trial.
    """

    def __init__(
        self,
        pipeline_name: str,
        file_path: str,
        pipeline_stage: str,
        data_dir: str | None = None,
        metric: str = "accuracy",
        order: str = "max",
        top_n: int = 5,
    ) -> None:
        self.pipeline_name = pipeline_name
        self.file_path = file_path
        self.pipeline_stage = pipeline_stage
        self.data_dir = data_dir
        self.metric = metric
        self.order = order
        self.top_n = top_n
        self.cmf_obj: dict[str, Cmf] = {}
        self._best: dict[str, tuple[float, str | None]] = {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Starts the trial's execution."""
        cmf = self.cmf_obj[trial.trial_id] = Cmf(self.file_path, self.pipeline_name)
        cmf.create_context(self.pipeline_stage)
        name = f"Trial_{trial.trial_id}"
        cmf.create_execution(name, {"Configuration": trial.config}, create_new_execution=False)
        if self.data_dir:
            cmf.log_dataset(str(self.data_dir), "input")

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        """Logs a result."""
        self.cmf_obj[trial.trial_id].log_metric(f"Trial_{trial.trial_id}_metrics", {"Output": result})
        value = result.get(self.metric)
        if value is None:
            return
        known = self._best.get(trial.trial_id)
        is_better = known is None or (value > known[0] if self.order == "max" else value < known[0])
        if is_better:
            self._best[trial.trial_id] = (value, result.get("model_path"))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Commits the trial's metrics, its best value and its model."""
        cmf = self.cmf_obj[trial.trial_id]
        cmf.commit_metrics(f"Trial_{trial.trial_id}_metrics")
        best, model = self._best.get(trial.trial_id, (None, None))
        if best is not None:
            execution_id = cmf.execution.id if cmf.execution else 0
            values = {f"Best_{self.metric}": best, "execution_id": execution_id}
            cmf.log_execution_metrics(f"Best_{self.metric}_Trial_{trial.trial_id}", values)
        if model:
            cmf.log_model(model, "input", model_name=f"{trial.trial_id}_model")
        cmf.finalize()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Commits what the trial logged before it failed."""
        cmf = self.cmf_obj.get(trial.trial_id)
        if cmf is not None:
            cmf.log_execution_metrics(f"Trial_{trial.trial_id}_Result", {"Result": "-inf"})
            cmf.finalize()

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Marks the best trials."""
        ranked = sorted(self._best, key=lambda trial_id: self._best[trial_id][0], reverse=self.order == "max")
        for trial_id in ranked[: self.top_n]:
            cmf = self.cmf_obj[trial_id]
            if cmf.execution is not None:
                cmf.update_execution(cmf.execution.id, {"in_top_n": True})
            cmf.finalize()
