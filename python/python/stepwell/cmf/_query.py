"""`CmfQuery`: CMF's questions to a store, with the same answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from . import _values
from ._catalog import Catalog, fresh
from ._entities import INPUT, OUTPUT, Artifact, Context, Execution
from ._frames import artifact_record, document_node, execution_record, frame, record
from ._metrics_file import read_step_metrics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Types that `get_one_hop_parent_artifacts_with_id` leaves out.
EXCLUDED_ARTIFACT_TYPES = ["Environment", "Label"]


class CmfQuery:
    """Questions to a store of Stepwell, or to a file that CMF made; methods, columns and their order are CMF's.

    `filepath` is the folder of a store, such as the `mlmd` that `Cmf("mlmd")` writes or any other, or an SQLite file of ML
    Metadata. Nothing is written to either. Names are full names, with the hash, as in `get_all_artifacts()`.

    Each question reads what it needs by index; frames are made in one go. DataFrames need pandas, the rest nothing.
    """

    def __init__(self, filepath: str = "mlmd", is_server: bool = False) -> None:
        if is_server:
            raise _values.NotSupportedError("is_server=True reads CMF's PostgreSQL; import that server's pipelines instead")
        self.filepath = filepath
        self.store = Catalog(os.fspath(filepath))

    # Pipelines and stages

    @fresh
    def get_pipeline_names(self) -> list[str]:
        """Names of all pipelines."""
        return [pipeline.name for pipeline in self._pipelines()]

    @fresh
    def get_pipeline_id(self, pipeline_name: str) -> int:
        """Id of a pipeline; -1 when there is none of this name."""
        return next((pipeline.id for pipeline in self._pipelines(pipeline_name)), -1)

    @fresh
    def get_pipeline_stages(self, pipeline_name: str) -> list[str]:
        """Names of the stages of a pipeline, as `<pipeline>/<stage>`."""
        return [stage.name for pipeline in self._pipelines(pipeline_name) for stage in self._stages(pipeline.id)]

    def _pipelines(self, name: str | None = None) -> list[Context]:
        if name is None:
            return self.store.get_contexts_by_type("Parent_Context")
        found = self.store.get_context_by_type_and_name("Parent_Context", name)
        return [found] if found else []

    def _stages(self, pipeline_id: int) -> list[Context]:
        return self.store.get_children_contexts_by_context(pipeline_id)

    # Executions

    @fresh
    def get_all_exe_in_stage(self, stage_name: str) -> list[Execution]:
        """The executions of a stage, as objects."""
        stage = self.store.get_context_by_type_and_name("Pipeline_Stage", stage_name)
        return self.store.get_executions_by_context(stage.id) if stage else []

    @fresh
    def get_all_executions_in_stage(self, stage_name: str) -> Any:
        """The executions of a stage, as a DataFrame."""
        return frame(execution_record(execution) for execution in self.get_all_exe_in_stage(stage_name))

    @fresh
    def get_all_executions_in_pipeline(self, pipeline_name: str) -> Any:
        """The executions of a pipeline, as a DataFrame."""
        stages = self._stages(self.get_pipeline_id(pipeline_name))
        found = (execution for stage in stages for execution in self.store.get_executions_by_context(stage.id))
        return frame(execution_record(execution) for execution in found)

    @fresh
    def get_all_executions_by_ids_list(self, exe_ids: list[int]) -> Any:
        """Executions by id, as a DataFrame without the columns `id` and `name`."""
        return frame(record(execution) for execution in self.store.get_executions_by_id(exe_ids))

    @fresh
    def get_executions_with_execution_ids(self, exe_ids: list[int]) -> Any:
        """Executions by id: `id`, `Execution_type_name`, `Execution_uuid`."""
        names = ("Execution_type_name", "Execution_uuid")
        rows = [
            {"id": execution.id, **{name: execution.properties[name].string_value for name in names}}
            for execution in self.store.get_executions_by_id(exe_ids)
        ]
        return frame(rows, sort=False)

    @fresh
    def get_all_executions_by_stage(self, stage_id: int, execution_uuid: str | None = None) -> list[Execution]:
        """The executions of a stage by its id; with `execution_uuid`, those that have this UUID."""
        executions = self.store.get_executions_by_context(stage_id)
        if execution_uuid is None:
            return executions
        return [
            execution
            for execution in executions
            if execution_uuid in execution.properties["Execution_uuid"].string_value.split(",")
        ]

    # Artifacts

    @fresh
    def get_all_artifacts(self) -> list[str]:
        """Names of all artifacts."""
        return self.store.get_artifact_names()

    def get_artifact_names(self) -> list[str]:
        """Names of all artifacts."""
        return self.get_all_artifacts()

    @fresh
    def get_all_artifact_types(self) -> list[str]:
        """Names of the types of artifacts."""
        return [entity_type.name for entity_type in self.store.get_artifact_types()]

    @fresh
    def get_artifact(self, name: str) -> Any:
        """The artifact of this name as a DataFrame of one row; None when there is none."""
        artifact = self._artifact(name)
        return None if artifact is None else self.get_artifact_df(artifact)

    def get_artifact_df(self, artifact: Artifact, d: dict[str, Any] | None = None) -> Any:
        """`artifact` as a DataFrame of one row, with the columns of `d` first."""
        return frame([artifact_record(artifact, d)], sort=False)

    @fresh
    def get_all_artifacts_by_context(self, pipeline_name: str) -> Any:
        """The artifacts that first came up in a pipeline, as a DataFrame."""
        stages = self._stages(self.get_pipeline_id(pipeline_name))
        return _artifact_frame(artifact for stage in stages for artifact in self.store.get_artifacts_by_context(stage.id))

    @fresh
    def get_all_artifacts_by_ids_list(self, artifact_ids: list[int]) -> Any:
        """Artifacts by id, as a DataFrame."""
        return _artifact_frame(self.store.get_artifacts_by_id(artifact_ids))

    @fresh
    def get_all_artifacts_for_execution(self, execution_id: int) -> Any:
        """Inputs and outputs of an execution, with the column `event`: INPUT, else OUTPUT."""
        events = self.store.get_events_by_execution_ids([execution_id])
        artifacts = {artifact.id: artifact for artifact in self._artifacts_of(events)}
        return frame(
            artifact_record(artifacts[event.artifact_id], {"event": _direction(event.type)})
            for event in events
            if event.artifact_id in artifacts
        )

    @fresh
    def get_all_artifacts_for_executions(self, execution_ids: list[int]) -> Any:
        """Inputs and outputs of executions, each once."""
        return _artifact_frame(self._artifacts_of(self.store.get_events_by_execution_ids(execution_ids)))

    def _artifact(self, name: str) -> Artifact | None:
        found = self.store.get_artifacts_by_name(name.strip())
        return found[0] if found else None

    def _artifacts_of(self, events: Iterable[Any]) -> list[Artifact]:
        return self.store.get_artifacts_by_id({event.artifact_id for event in events})

    # Lineage

    @fresh
    def get_all_executions_for_artifact(self, artifact_name: str) -> Any:
        """The executions that read or wrote an artifact; an empty DataFrame when there is none of this name."""
        artifact = self._artifact(artifact_name)
        return frame([]) if artifact is None else self.get_all_executions_for_artifact_id(artifact.id)

    @fresh
    def get_all_executions_for_artifact_id(self, artifact_id: int) -> Any:
        """The same by id. `execution_type_name` holds the value as an object, as CMF has it."""
        events = self.store.get_events_by_artifact_ids([artifact_id])
        executions = {found.id: found for found in self.store.get_executions_by_id({event.execution_id for event in events})}
        places = self.store.places_of(executions)
        rows = []
        for event in events:
            execution = executions[event.execution_id]
            stage, pipeline = places.get(execution.id, ("", ""))
            rows.append({
                "Type": _direction(event.type),
                "execution_id": execution.id,
                "execution_name": execution.name,
                "execution_type_name": execution.properties["Execution_type_name"],
                "stage": stage,
                "pipeline": pipeline,
            })  # fmt: skip
        return frame(rows)

    @fresh
    def get_one_hop_child_artifacts(self, artifact_name: str, pipeline_id: int | None = None) -> Any:
        """What was made from an artifact by the executions that read it, those of one pipeline only if asked."""
        artifact = self._artifact(artifact_name)
        return frame([]) if artifact is None else _artifact_frame(self._children([artifact.id], pipeline_id))

    @fresh
    def get_all_child_artifacts(self, artifact_name: str) -> Any:
        """Everything that was made from an artifact, over any number of executions; each once."""
        return _artifact_frame(self._closure(artifact_name, self._children))

    @fresh
    def get_one_hop_parent_artifacts(self, artifact_name: str) -> Any:
        """What an artifact was made from: the inputs of the executions that wrote it."""
        artifact = self._artifact(artifact_name)
        return frame([]) if artifact is None else _artifact_frame(self._parents([artifact.id]))

    @fresh
    def get_all_parent_artifacts(self, artifact_name: str) -> Any:
        """Everything an artifact was made from, over any number of executions; each once."""
        return _artifact_frame(self._closure(artifact_name, self._parents))

    @fresh
    def get_one_hop_parent_artifacts_with_id(self, artifact_id: int) -> Any:
        """What an artifact was made from, by its id, without environments and labels."""
        return _artifact_frame(found for found in self._parents([artifact_id]) if found.type not in EXCLUDED_ARTIFACT_TYPES)

    def _children(self, ids: Iterable[int], pipeline_id: int | None = None) -> list[Artifact]:
        readers = self._executions_with(ids, INPUT, pipeline_id)
        events = self.store.get_events_by_execution_ids(readers)
        return self._artifacts_of(event for event in events if event.type == OUTPUT)

    def _parents(self, ids: Iterable[int]) -> list[Artifact]:
        writers = self._executions_with(ids, OUTPUT)
        events = self.store.get_events_by_execution_ids(writers)
        return self._artifacts_of(event for event in events if event.type == INPUT)

    def _executions_with(self, artifact_ids: Iterable[int], event_type: int, pipeline_id: int | None = None) -> list[int]:
        events = self.store.get_events_by_artifact_ids(artifact_ids)
        ids = list(dict.fromkeys(event.execution_id for event in events if event.type == event_type))
        if pipeline_id is None:
            return ids
        executions = self.store.get_executions_by_id(ids)
        return [found.id for found in executions if found.properties["Pipeline_id"].int_value == int(pipeline_id)]

    def _closure(self, artifact_name: str, hop: Callable[..., list[Artifact]]) -> list[Artifact]:
        """All artifacts that repeated hops lead to, in CMF's order: those of one hop, then each one's own, depth first."""
        start = self._artifact(artifact_name)
        found: dict[int, Artifact] = {}
        expanded: set[int] = set()
        waiting = [start] if start else []
        while waiting:
            artifact = waiting.pop()
            if artifact.id in expanded:
                continue
            expanded.add(artifact.id)
            near = hop([artifact.id])
            for other in near:
                found.setdefault(other.id, other)
            waiting.extend(reversed(near))
        return list(found.values())

    @fresh
    def get_one_hop_parent_executions(self, execution_id: list[int], pipeline_id: int | None = None) -> list[Execution]:
        """The executions that wrote the inputs of these, each once."""
        return self.store.get_executions_by_id(self._parent_ids(execution_id, pipeline_id))

    @fresh
    def get_one_hop_parent_execution_ids(self, execution_id: int | list[int], pipeline_id: int | None = None) -> list[int]:
        """Their ids."""
        return self._parent_ids([execution_id] if isinstance(execution_id, int) else execution_id, pipeline_id)

    @fresh
    def get_one_hop_parent_executions_ids(self, execution_ids: list[int], pipeline_id: int | None = None) -> list[int]:
        """Their ids, by the name that the method has in cmflib 0.1.0."""
        return self._parent_ids(execution_ids, pipeline_id)

    def _parent_ids(self, execution_ids: Iterable[int], pipeline_id: int | None = None) -> list[int]:
        events = self.store.get_events_by_execution_ids(execution_ids)
        inputs = [event.artifact_id for event in events if event.type == INPUT]
        return self._executions_with(inputs, OUTPUT, pipeline_id)

    @fresh
    def get_all_parent_executions_by_id(self, execution_id: list[int], pipeline_id: int | None = None) -> list[list[Any]]:
        """All executions before these: a list of `[id, type name, uuid]` and a list of `{"source": id, "target": id}`."""
        found: list[list[Any]] = []
        links: list[dict[str, int]] = []
        waiting, seen = list(execution_id), set(execution_id)
        while waiting:
            target = waiting.pop(0)
            for parent in self.get_one_hop_parent_executions([target], pipeline_id):
                links.append({"source": parent.id, "target": target})
                if parent.id not in seen:
                    seen.add(parent.id)
                    waiting.append(parent.id)
                    names = ("Execution_type_name", "Execution_uuid")
                    found.append([parent.id, *(parent.properties[name].string_value for name in names)])
        return [found, links]

    @fresh
    def get_all_parent_executions(self, artifact_name: str) -> Any:
        """The executions that wrote what an artifact was made from."""
        parents = self._closure(artifact_name, self._parents)
        ids = self._executions_with([artifact.id for artifact in parents], OUTPUT)
        return frame(execution_record(execution) for execution in self.store.get_executions_by_id(ids))

    @fresh
    def find_producer_execution(self, artifact_name: str) -> Execution | None:
        """An execution that wrote an artifact, the first one of several; None when there is none."""
        artifact = self._artifact(artifact_name)
        if artifact is None:
            return None
        executions = self.store.get_executions_by_id(self._executions_with([artifact.id], OUTPUT))
        return executions[0] if executions else None

    def get_producer_execution(self, artifact_name: str) -> Execution | None:
        """As `find_producer_execution`."""
        return self.find_producer_execution(artifact_name)

    # Metrics and slices

    @fresh
    def get_metrics(self, metrics_name: str) -> Any:
        """The rows of a step metrics artifact as a DataFrame, by its full name; None when there is none.

        The short name, such as `training_metrics`, gives the artifact that was committed last under it.
        """
        for artifact in reversed(self.store.get_artifacts_by_type("Step_Metrics")):
            if metrics_name in (artifact.name, artifact.name.split(":")[0].split("/metrics/")[-1]):
                return read_step_metrics(self.store, artifact)
        return None

    @staticmethod
    def read_dataslice(name: str) -> Any:
        """The slice in the Parquet file `name`, as a DataFrame."""
        return _values.pandas().read_parquet(name)

    # Documents

    @fresh
    def dumptojson(self, pipeline_name: str, exec_uuid: str | None = None) -> str:
        """A pipeline as CMF's push document, JSON text; with `exec_uuid`, one execution of it."""
        import json

        return json.dumps({"Pipeline": [self._pipeline_node(found, exec_uuid) for found in self._pipelines(pipeline_name)]})

    @fresh
    def extract_to_json(self, last_sync_time: int) -> str:
        """All pipelines as CMF's push document: what changed after `last_sync_time`, in milliseconds; 0 gives all."""
        import json

        nodes = [(found, self._pipeline_node(found, None, last_sync_time)) for found in self._pipelines()]
        changed = [node for found, node in nodes if node["stages"] or _is_after(found, last_sync_time)]
        return json.dumps({"Pipeline": changed})

    def _pipeline_node(self, pipeline: Context, uuid: str | None, since: int | None = None) -> dict[str, Any]:
        stages = []
        for stage in self._stages(pipeline.id):
            found = self.get_all_executions_by_stage(stage.id, uuid)
            executions = self._execution_nodes([execution for execution in found if _is_after(execution, since)])
            if executions or _is_after(stage, since):
                stages.append(document_node(stage, {"executions": executions}))
        return document_node(pipeline, {"stages": stages})

    def _execution_nodes(self, executions: list[Execution]) -> list[dict[str, Any]]:
        events = self.store.get_events_by_execution_ids([execution.id for execution in executions])
        artifacts = {artifact.id: artifact for artifact in self._artifacts_of(events)}
        told: dict[int, list[dict[str, Any]]] = {execution.id: [] for execution in executions}
        for event in events:
            node = document_node(artifacts[event.artifact_id], {"type": artifacts[event.artifact_id].type})
            told[event.execution_id].append({"type": event.type, "artifact": node})
        return [
            document_node(found, {"type": found.type, "name": found.name, "events": told[found.id]}) for found in executions
        ]


def _artifact_frame(artifacts: Iterable[Artifact]) -> Any:
    return frame(artifact_record(artifact) for artifact in artifacts)


def _direction(event_type: int) -> str:
    return "INPUT" if event_type == INPUT else "OUTPUT"


def _is_after(entity: Any, since: int | None) -> bool:
    return not since or entity.last_update_time_since_epoch > since


__all__ = ["EXCLUDED_ARTIFACT_TYPES", "CmfQuery"]
