"""What `Cmf` stands on: its store, the run of its current execution, and how an artifact is recorded."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping

from ..errors import InputError, NotFoundError, StepwellError, StepwellWarning
from . import _executions, _project
from ._catalog import Catalog, is_sqlite
from ._entities import INPUT, OUTPUT, Artifact, Context, Execution
from ._executions import Open, Place
from ._values import joined, property_values, script_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DIRECTIONS = {3: "input", 4: "output", 6: "internal_output"}
#: Custom properties that collect several values, with commas.
_LISTS = ("labels", "labels_uri", "dataset_uri")


class Writer:
    """The part of `Cmf` that does not know what CMF's artifacts look like."""

    def __init__(self, filepath: str, pipeline_name: str, custom_properties: Mapping[str, Any] | None) -> None:
        filepath = os.fspath(filepath)
        self._path = os.path.abspath(filepath)
        self._home = os.path.dirname(self._path)
        if os.path.isfile(self._path):
            if is_sqlite(self._path):
                raise StepwellError(
                    f"{filepath} is a store of CMF: `stepwell import cmf {filepath}` brings it over; then name the folder of "
                    "the Stepwell store here"
                )
            raise InputError(f"{filepath} is a file; a store is a folder")
        self.cmf_init_path = filepath.rsplit("/", 1)[0] if "/" in filepath else os.getcwd()
        self.filepath = filepath
        self.branch_name = filepath.rsplit("/", 1)[-1]
        self.pipeline_name = pipeline_name or os.path.basename(self._home)
        self.store = Catalog(self._path)
        self.execution_name = ""
        self.execution_command = ""
        self.input_artifacts: list[dict[str, Any]] = []
        self.execution_label_props: dict[str, Any] = {}
        self._execution: Execution | None = None
        self._place: Place | None = None
        self._pending: dict[str, dict[str, Any]] = {"pipeline": {}, "stage": {}}
        self.child_context: Context | None = None
        self.parent_context = self._context("pipeline", self.pipeline_name, custom_properties)

    # Contexts

    def _context(self, level: str, name: str, custom_properties: Mapping[str, Any] | None) -> Context:
        """The pipeline or stage of this name; a new one gets its id with its first execution."""
        kind = "Parent_Context" if level == "pipeline" else "Pipeline_Stage"
        known = self.store.get_context_by_type_and_name(kind, name)
        self._pending[level] = {}
        if known is not None:
            return known
        self._pending[level] = property_values(custom_properties)
        context = Context(0, name, kind)
        context.properties["Pipeline" if level == "pipeline" else kind].string_value = name
        for key, value in self._pending[level].items():
            set_value(context.custom_properties, key, value)
        return context

    def _update_contexts(self) -> None:
        """Contexts that were new take over what the catalog says now."""
        for context in (self.parent_context, self.child_context):
            if context is not None and context.id == 0:
                found = self.store.get_context_by_type_and_name(context.type, context.name)
                if found is not None:
                    context.adopt(found)

    # Executions

    @property
    def execution(self) -> Execution | None:
        """The current execution; assigning another one makes that one current."""
        return self._execution

    @execution.setter
    def execution(self, execution: Execution | None) -> None:
        self._execution = execution
        if execution is not None:
            self.execution_name = f"{execution.id},{execution.type}"
            self.execution_command = execution.properties["Execution"].string_value

    def _stage(self) -> str:
        if self.child_context is None:
            self.create_context(script_name())  # type: ignore[attr-defined]
        name, prefix = self.child_context.name, f"{self.parent_context.name}/"  # type: ignore[union-attr]
        return name[len(prefix) :] if name.startswith(prefix) else name

    def _begin(self, options: dict[str, Any]) -> Open:
        """Starts the run of a new execution; the one before is committed and closed."""
        self._leave()
        options.update(pipeline=self.parent_context.name, stage=self._stage(), store=self._path)
        options.update(pipeline_properties=self._pending["pipeline"], stage_properties=self._pending["stage"])
        opened = _executions.new({name: value for name, value in options.items() if value})
        self._pending = {"pipeline": {}, "stage": {}}
        self._place = Place(self._path, opened.run.id, opened.run.pipeline, opened.run.stage)
        return self._take(opened)

    def _take(self, opened: Open) -> Open:
        opened.publish = self._publish  # type: ignore[attr-defined]
        return opened

    def _leave(self) -> None:
        if self._place is not None:
            _executions.close(self._place)
            self._place = None

    def _current(self) -> Open:
        """The run of the current execution, taken up again where it was closed; without one, one named after the script."""
        if self._execution is None:
            self.create_execution(script_name())  # type: ignore[attr-defined]
        execution = self._execution
        if self._place is None or self._place_of != execution.id:  # type: ignore[union-attr]
            found = self.store.run_of(execution.id)  # type: ignore[union-attr]
            if found is None:
                raise NotFoundError(f"no execution {execution.id} in {self.filepath}")  # type: ignore[union-attr]
            place = Place(self._path, *found)
            if self._place is not None and self._place != place:
                self._leave()
            self._place, self._place_of = place, execution.id  # type: ignore[union-attr]
        opened = self._take(_executions.attach(self._place))
        opened.uuid = execution.properties["Execution_uuid"].string_value.split(",")[0]  # type: ignore[union-attr]
        return opened

    _place_of: int | None = None

    def _read_execution(self, execution_id: int) -> Execution:
        found = self.store.get_executions_by_id([execution_id])
        if not found:
            raise NotFoundError(f"no execution {execution_id} in {self.filepath}")
        return found[0]

    # Files

    def _local(self, path: str) -> str | None:
        """Where `path` is: below the folder of the store, as CMF has it, or else below the current folder."""
        for candidate in (os.path.join(self._home, path), os.path.abspath(path)):
            if os.path.exists(candidate):
                return candidate
        return None

    def _hash(self, path: str, what: str) -> tuple[str, str] | None:
        """The place and MD5 of a file or folder; None, with a warning, where there is none."""
        local = self._local(path)
        if local is None:
            warnings.warn(f"{what}: {path} does not exist, so nothing was logged", StepwellWarning, stacklevel=4)
            return None
        return local, _project.dvc_md5(local)

    def _url(self, md5: str) -> str:
        return f"{self.parent_context.name}:{_project.dvc_url(self._home, md5)}"

    def _git_repo(self) -> str:
        return _project.git_remote(self._home)

    def _artifacts_folder(self, kind: str) -> str:
        """The folder of an execution's own files, relative to that of the store: `cmf_artifacts/<first uuid>/<kind>`."""
        return f"cmf_artifacts/{self._current().uuid}/{kind}"

    # Artifacts

    def _record(
        self,
        artifact_type: str,
        name: str,
        uri: str,
        event: int,
        declared: Mapping[str, Any],
        custom: Mapping[str, Any] | None = None,
        content: str | None = None,
        run: Any = None,
    ) -> Artifact:
        """Records a new artifact of the current execution, or of `run`, with its event and its attribution to the stage."""
        run = run or self._current().run
        id = run.log_record(
            artifact_type,
            name,
            uri,
            _DIRECTIONS[event],
            declared=property_values(declared),
            properties=property_values(custom),
            content=content,
        )
        return self._artifact(id)

    def _artifact(self, id: int) -> Artifact:
        found = self.store.get_artifacts_by_id([id])
        if not found:
            raise NotFoundError(f"no artifact {id} in {self.filepath}")
        return found[0]

    def _known(self, artifact_type: str, uri: str) -> Artifact | None:
        """The artifact with this content: the last one of the type, or else of any type."""
        found = self.store.get_artifacts_by_uri(uri)
        of_type = [artifact for artifact in found if artifact.type == artifact_type]
        return (of_type or found or [None])[-1]

    def _link(self, known: Artifact, event: int, path: str, url: str | None, custom: Mapping[str, Any] | None) -> Artifact:
        """Links known content: an event with the path it has here, no attribution; its name stays."""
        run = self._current().run
        events = self.store.get_events_by_artifact_ids([known.id])
        is_linked = any(told.execution_id == run.execution_id for told in events)
        declared = {}
        if url and "url" in known.properties:
            merged = joined(known.properties["url"].string_value, url)
            declared = {"url": merged} if merged != known.properties["url"].string_value else {}
        properties = self._merged(known, custom)
        if not is_linked or declared or properties:
            direction = None if is_linked else _DIRECTIONS[event]
            run.log_record(
                known.type,
                known.name,
                known.uri,
                direction,
                declared=declared,
                properties=properties,
                path=None if is_linked else path,
                attributed=False,
            )
        return self._artifact(known.id)

    def _merged(self, artifact: Artifact, custom: Mapping[str, Any] | None) -> dict[str, Any]:
        """`custom` as it is to be kept: lists of labels are joined to what is there."""
        values = property_values(custom)
        for name in _LISTS:
            if isinstance(values.get(name), str) and name in artifact.custom_properties:
                values[name] = joined(artifact.custom_properties[name].string_value, values[name])  # type: ignore[arg-type]
        return values

    def _amend(self, artifact: Artifact, declared: Mapping[str, Any], custom: Mapping[str, Any]) -> None:
        """Adds properties to an artifact of the store."""
        self._current().run.log_record(
            artifact.type,
            artifact.name,
            artifact.uri,
            None,
            declared=property_values(declared),
            properties=property_values(custom),
            attributed=False,
        )

    def _need_execution(self, method: str) -> None:
        if self._execution is None:
            raise InputError(f"{method} needs an execution; call create_execution before")


def event_of(event: str) -> int:
    """INPUT for "input" in any case, OUTPUT for anything else, as CMF has it."""
    return INPUT if event.lower() == "input" else OUTPUT


def set_value(properties: Any, name: str, value: Any) -> None:
    if isinstance(value, int):
        properties[name].int_value = value
    elif isinstance(value, float):
        properties[name].double_value = value
    else:
        properties[name].string_value = str(value)


