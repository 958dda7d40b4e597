"""`Cmf`, with the signatures of `cmflib.cmf.Cmf`."""

from __future__ import annotations

import os
import sys
import warnings

from ..errors import InputError, NotFoundError, StepwellWarning
from . import _project
from ._artifacts import Artifacts
from ._dataslice import DataSlice as _DataSlice
from ._entities import OUTPUT, Artifact, Context, Execution
from ._metrics_file import write_step_metrics
from ._values import NotSupportedError, md5_of_bytes, new_uuid, pandas, property_values, write_new

from ._writer import set_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Cmf(Artifacts):
    """Logs a pipeline as CMF's class does, into the folder of a Stepwell store.

    `filepath` names that folder; it is made with the first execution. Relative paths are looked up beside it, then in the
    current folder. The process stays in its folder, git and DVC are only read, and neither is needed. A call that returned
    survives the death of the process. Several objects, in threads and processes, may work on one store.
    """

    cmf_config = os.environ.get("CONFIG_FILE", ".cmfconfig")
    ARTIFACTS_PATH = "cmf_artifacts"
    DATASLICE_PATH = "dataslice"
    METRICS_PATH = "metrics"
    DataSlice = _DataSlice

    def __init__(
        self,
        filepath: str = "mlmd",
        pipeline_name: str = "",
        custom_properties: dict[str, Any] | None = None,
        graph: bool = False,
        is_server: bool = False,
    ) -> None:
        if is_server:
            raise NotSupportedError("is_server=True writes to CMF's PostgreSQL; log to a folder and push it")
        if graph:
            told = "graph=True: nothing is written to Neo4j while logging; lineage is in the store and can be exported from it"
            warnings.warn(told, StepwellWarning, stacklevel=2)
        self.graph = graph
        super().__init__(filepath, pipeline_name, custom_properties)

    # Contexts

    def create_context(self, pipeline_stage: str, custom_properties: dict[str, Any] | None = None) -> Context:
        """Makes the stage of this name current. Of one that exists, `custom_properties` change nothing."""
        name = f"{self.parent_context.name}/{pipeline_stage}"
        self.child_context = self._context("stage", name, custom_properties)
        return self.child_context

    def merge_created_context(self, pipeline_stage: str, custom_properties: dict[str, Any] | None = None) -> Context:
        """As `create_context`, by the full name `<pipeline>/<stage>`."""
        self.child_context = self._context("stage", pipeline_stage, custom_properties)
        return self.child_context

    def update_context(
        self,
        type_name: str,
        context_name: str,
        context_id: int,
        properties: dict[str, Any] | None = None,
        custom_properties: dict[str, Any] | None = None,
    ) -> Context:
        """Adds custom properties to the current pipeline (`type_name` "Parent_Context") or stage; types are kept."""
        level = "pipeline" if type_name == "Parent_Context" else "stage"
        context = self.parent_context if level == "pipeline" else self.child_context
        if context is None or context.name != context_name:
            raise NotFoundError(f"{context_name!r} is not the current {level}; make it current before you update it")
        values = property_values(custom_properties)
        if self._execution is not None:
            self._current().run.set_context_properties(level, values)
        else:
            self._pending[level].update(values)
        for name, value in values.items():
            set_value(context.custom_properties, name, value)
        return context

    # Executions

    def create_execution(
        self,
        execution_type: str,
        custom_properties: dict[str, Any] | None = None,
        cmd: str | None = None,
        create_new_execution: bool = True,
    ) -> Execution:
        """Starts an execution of the current stage: a run of Stepwell. The one before is committed and closed.

        With `create_new_execution=False`, the execution of this stage with the name `execution_type` goes on, if there is
        one. Values keep their types. The environment's packages are logged as an input.
        """
        command = str(sys.argv) if cmd is None else cmd
        return self._create(execution_type, custom_properties, command, execution_type, create_new_execution, {})

    def merge_created_execution(
        self,
        execution_type: str,
        execution_cmd: str,
        properties: dict[str, Any] | None = None,
        custom_properties: dict[str, Any] | None = None,
        orig_execution_name: str = "",
        create_new_execution: bool = True,
    ) -> Execution:
        """Starts an execution with the declared properties it has elsewhere, such as its `Execution_uuid`."""
        is_new, name = not orig_execution_name, orig_execution_name or execution_type
        return self._create(execution_type, custom_properties, execution_cmd, name, is_new, dict(properties or {}), False)

    def _create(
        self,
        execution_type: str,
        custom_properties: dict[str, Any] | None,
        command: str,
        name: str,
        is_new: bool,
        declared: dict[str, Any],
        with_environment: bool = True,
    ) -> Execution:
        self._stage()
        stage_name = self.child_context.name  # type: ignore[union-attr]
        self.input_artifacts, self.execution_label_props = [], {}
        known = None if is_new else self.store.get_execution_by_type_and_name(stage_name, name)
        if known is None:
            options = {"command": command, "execution_type": execution_type if is_new else stage_name}
            if not is_new:
                options["execution_name"] = name
            if "Execution_uuid" in declared:
                options["execution_uuid"] = declared["Execution_uuid"]
            run = self._begin(options).run
        else:
            self.execution = known
            run = self._current().run
            uuids = known.properties["Execution_uuid"].string_value
            declared = {**declared, "Execution_uuid": f"{uuids},{declared.get('Execution_uuid') or new_uuid()}"}
        repository = {"Git_Repo": self._git_repo(), "Git_Start_Commit": _project.git_commit(self._home)}
        run.set_execution_properties({"Git_End_Commit": "", **repository, **property_values(declared)})
        values = property_values(custom_properties)
        environment = self._environment_file() if with_environment else None
        if environment is not None:
            values["Python_Env"] = environment
        run.set_params(values)
        self._update_contexts()
        self.execution = self._read_execution(run.execution_id)
        self._place_of = run.execution_id
        if environment is not None:
            self.log_python_env(environment)
        self._label(execution_type, custom_properties)
        return self._execution  # type: ignore[return-value]

    def _label(self, execution_type: str, custom_properties: dict[str, Any] | None) -> None:
        props = {str(name).replace("-", "_"): value for name, value in (custom_properties or {}).items()}
        props["Execution_Name"] = f"{execution_type}:{self._execution.id}"  # type: ignore[union-attr]
        props["execution_command"] = self.execution_command
        self.execution_label_props.update(props)

    def _environment_file(self) -> str:
        """Writes the list of packages once for each content, and gives its path beside the store."""
        packages = _project.packages()
        path = f"{self.ARTIFACTS_PATH}/python_env_{md5_of_bytes(f'{packages}{os.linesep}'.encode())}.txt"
        full = os.path.join(self._home, path)
        if not os.path.exists(full):
            write_new(full, "".join(f"{package}\n" for package in packages).encode())
        return path

    def update_execution(self, execution_id: int, custom_properties: dict[str, Any] | None = None) -> Execution:
        """Makes an execution current and adds custom properties to it; a value that is there is replaced."""
        self.execution = self._read_execution(execution_id)
        values = property_values(custom_properties)
        if values:
            self._current().run.set_params(values)
            self.execution = self._read_execution(execution_id)
        self._label(self._execution.type, self._execution.custom_properties.plain())  # type: ignore[union-attr]
        return self._execution  # type: ignore[return-value]

    def finalize(self) -> None:
        """Commits what is left, notes the commit that is checked out, and closes the execution; git is not written to.

        Logging afterwards takes the execution up again.
        """
        if self._execution is not None:
            opened = self._current()
            opened.run.set_execution_properties({"Git_End_Commit": _project.git_commit(self._home)})
            self._leave()

    # Metrics

    @property
    def metrics(self) -> dict[str, dict[int, dict[str, Any]]]:
        """What was logged to the current execution, as CMF holds it: dicts by row number, by metrics name. A copy."""
        if self._execution is None:
            return {}
        return {name: rows.as_dicts() for name, rows in self._current().metrics.items()}

    def log_metric(self, metrics_name: str, custom_properties: dict[str, Any] | None = None) -> None:
        """Logs a row of metrics. When it returns, the row survives the death of the process; no commit is needed for that.

        Numbers are rows of Stepwell's `metrics`, with CMF's row number as the step. Threads may share the object.
        """
        self._current().rows(metrics_name).add(custom_properties or {})

    def commit_metrics(self, metrics_name: str) -> Artifact:
        """Publishes everything logged under `metrics_name`: a Parquet file in CMF's form, and an artifact `Step_Metrics`.

        Raises NotFoundError when nothing was logged under it, also not by an earlier process.
        """
        return self._publish(self._current(), metrics_name)

    def _publish(self, opened: Any, metrics_name: str) -> Artifact:
        rows = opened.rows(metrics_name)
        if not rows.count:
            opened.metrics.pop(metrics_name, None)
            raise NotFoundError(f"nothing was logged under {metrics_name!r}")
        if "/" in metrics_name or metrics_name in (".", ".."):
            raise InputError(f"{metrics_name!r} cannot name a file; its rows are in the store. Use a name without \"/\"")
        rows.changed = False
        path = f"{self.ARTIFACTS_PATH}/{opened.uuid}/{self.METRICS_PATH}/{metrics_name}"
        file = os.path.join(self._home, path)
        if rows.has_new_numbers:
            rows.has_new_numbers = False
            opened.run.commit_metrics(metrics_name)
        write_step_metrics(file, rows)
        md5 = _project.dvc_md5(file)
        name = f"{path}:{md5}:{opened.run.execution_id}:{new_uuid()}"
        self.execution_label_props["Commit"] = md5
        declared = {"Commit": md5, "url": f"{opened.run.pipeline}:{_project.dvc_url(self._home, md5)}"}
        return self._record("Step_Metrics", name, md5, OUTPUT, declared, content=file, run=opened.run)

    # Slices

    def create_dataslice(self, name: str) -> _DataSlice:
        """A slice of data, to which paths are added before its `commit`."""
        return self.DataSlice(name, self)

    def read_dataslice(self, name: str) -> Any:
        """A slice of the current execution as a DataFrame."""
        self._need_execution("read_dataslice")
        path = os.path.join(self._home, self._artifacts_folder(self.DATASLICE_PATH), name)
        return pandas().read_parquet(path)

    def update_dataslice(self, name: str, record: str, custom_properties: dict[str, Any]) -> None:
        """Changes columns of one path of a slice, and records the slice's new content as an artifact of its own."""
        rows = self.read_dataslice(name).to_dict("index")
        if record not in rows:
            raise NotFoundError(f"the slice {name!r} has no path {record!r}")
        rows[record].update(custom_properties)
        changed = self.DataSlice(name, self)
        changed.props = rows
        changed.commit()



