"""Reading ML Metadata's tables, in the catalog of a store or in a file that CMF made, with the names of its library.

Everything is read by index. Nothing is ever written: the connection is read-only.
"""

from __future__ import annotations

import functools
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from ..errors import NotFoundError, StepwellError
from ._entities import Artifact, Context, EntityType, Event, Execution, Value
from ._values import NotSupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SQLITE = b"SQLite format 3\0"
#: Ids in one statement; older builds of SQLite take 999.
_IDS_MAX = 900
_EXECUTION, _ARTIFACT, _CONTEXT = 0, 1, 2
_TABLES: dict[int, tuple[str, str, str, type]] = {
    _EXECUTION: ("Execution", "execution_id", "last_known_state", Execution),
    _ARTIFACT: ("Artifact", "artifact_id", "uri, e.state", Artifact),
    _CONTEXT: ("Context", "context_id", "external_id", Context),
}
_VALUES = ("int_value", "double_value", "string_value", "bool_value", "proto_value")
#: Metrics that Stepwell registers by itself, of runs for which CMF's form was registered, too: the same rows twice.
_TWINS = """
SELECT a.id FROM Artifact a JOIN Event e ON e.artifact_id = a.id
WHERE a.type_id = (SELECT id FROM Type WHERE type_kind = 1 AND name = 'Step_Metrics' AND version IS NULL)
  AND a.name GLOB 'runs/*' AND EXISTS (
    SELECT 1 FROM Event f JOIN Artifact b ON b.id = f.artifact_id
    WHERE f.execution_id = e.execution_id AND b.type_id = a.type_id AND b.name GLOB 'cmf_artifacts/*')
"""


def is_sqlite(path: str) -> bool:
    """Whether the file at `path` is an SQLite database."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def fresh(method: Callable[..., Any]) -> Callable[..., Any]:
    """Brings the catalog up to date once, before the outermost call."""

    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        with getattr(self, "store", self)._reading():
            return method(self, *args, **kwargs)

    return wrapper


class Catalog:
    """ML Metadata's tables below `path`: the folder of a store, or an SQLite file.

    The methods are those of ML Metadata's `MetadataStore` that CMF and its scripts call; those that write raise.
    Entities come in the order of their creation.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.is_store = not is_sqlite(path)
        if self.is_store and os.path.isfile(path) and os.path.getsize(path):
            raise StepwellError(f"{path} is neither the folder of a store nor an SQLite file of ML Metadata")
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[str, int, int] | None = None
        self._depth = 0
        self._types: dict[int, list[EntityType]] = {}
        self._hidden: frozenset[int] = frozenset()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        self._depth += 1
        try:
            if self._depth == 1:
                self._refresh()
            yield
        finally:
            self._depth -= 1

    def _refresh(self) -> None:
        self._types = {}
        if self.is_store:
            if not os.path.isdir(os.path.join(self.path, "runs")):
                return
            from .. import _native

            file = _native.catalog_path(self.path)
        else:
            file = self.path
        try:
            found = os.stat(file)
        except OSError as fault:
            raise NotFoundError(f"{file} cannot be read: {fault.strerror}") from fault
        opened = (file, found.st_dev, found.st_ino)
        if self._connection is None or self._opened != opened:
            self.close()
            self._connection, self._opened = _connect(file), opened
        if self.is_store:
            self._hidden = frozenset(row[0] for row in self._connection.execute(_TWINS))

    def close(self) -> None:
        """Closes the file; the next question opens it again."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._opened = None, None

    def rows(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """Rows of a statement; none when there is no catalog yet."""
        if self._depth == 0:
            self._refresh()
        return [] if self._connection is None else self._connection.execute(sql, args).fetchall()

    def _by_ids(self, sql: str, ids: Iterable[int]) -> list[tuple[Any, ...]]:
        wanted, found = [int(id) for id in ids], []
        for start in range(0, len(wanted), _IDS_MAX):
            part = wanted[start : start + _IDS_MAX]
            found += self.rows(sql.replace("IN ()", f"IN ({','.join('?' * len(part))})"), *part)
        return found

    # Entities

    def _entities(self, kind: int, where: str, *args: Any, ids: Iterable[int] | None = None) -> list[Any]:
        table, key, extra, cls = _TABLES[kind]
        sql = (
            "SELECT e.id, coalesce(e.name, ''), t.name, e.type_id, e.create_time_since_epoch, "
            f"e.last_update_time_since_epoch, e.{extra} FROM {table} e JOIN Type t ON t.id = e.type_id {where}"
        )
        rows = self.rows(sql, *args) if ids is None else self._by_ids(sql, set(ids))
        if kind == _ARTIFACT and self._hidden:
            rows = [row for row in rows if row[0] not in self._hidden]
        rows.sort(key=lambda row: (row[4], row[0]))
        entities = {}
        for id, name, type_name, type_id, created, updated, *more in rows:
            entity = cls(id, name, type_name, type_id, None, None, created, updated)
            if kind == _ARTIFACT:
                entity.uri, entity.state = more[0] or "", more[1] or 0
            elif kind == _EXECUTION:
                entity.last_known_state = more[0] or 0
            entities[id] = entity
        columns = ", ".join(_VALUES)
        properties = self._by_ids(
            f"SELECT {key}, name, is_custom_property, {columns} FROM {table}Property WHERE {key} IN () "
            "ORDER BY is_custom_property, name",
            entities,
        )
        for id, name, custom, *values in properties:
            place = entities[id].custom_properties if custom else entities[id].properties
            filled = ((field, value) for field, value in zip(_VALUES, values) if value is not None)
            field, value = next(filled, (None, None))
            place[name] = Value(bool(value) if field == "bool_value" else value, field)
        return list(entities.values())

    @fresh
    def get_artifacts(self) -> list[Artifact]:
        """All artifacts."""
        return self._entities(_ARTIFACT, "")

    @fresh
    def get_artifacts_by_id(self, artifact_ids: Iterable[int]) -> list[Artifact]:
        """The artifacts with these ids."""
        return self._entities(_ARTIFACT, "WHERE e.id IN ()", ids=artifact_ids)

    @fresh
    def get_artifacts_by_uri(self, uri: str) -> list[Artifact]:
        """The artifacts whose content has this hash."""
        return self._entities(_ARTIFACT, "WHERE e.uri = ?", uri)

    @fresh
    def get_artifacts_by_type(self, type_name: str) -> list[Artifact]:
        """The artifacts of a type."""
        return self._entities(_ARTIFACT, "WHERE t.name = ? AND t.type_kind = 1", type_name)

    @fresh
    def get_artifacts_by_context(self, context_id: int) -> list[Artifact]:
        """The artifacts that first came up in a stage."""
        inner = "SELECT artifact_id FROM Attribution WHERE context_id = ?"
        return self._entities(_ARTIFACT, f"WHERE e.id IN ({inner})", context_id)

    @fresh
    def get_artifacts_by_name(self, name: str) -> list[Artifact]:
        """The artifacts with this full name, of any type. (ML Metadata has no such call; it needs no scan.)"""
        types = "SELECT id FROM Type WHERE type_kind = 1"
        return self._entities(_ARTIFACT, f"WHERE e.type_id IN ({types}) AND e.name = ?", name)

    @fresh
    def get_artifact_names(self) -> list[str]:
        """Names of all artifacts. (Not a call of ML Metadata.)"""
        rows = self.rows("SELECT coalesce(name, ''), id FROM Artifact ORDER BY create_time_since_epoch, id")
        return [name for name, id in rows if id not in self._hidden]

    @fresh
    def get_executions(self) -> list[Execution]:
        """All executions."""
        return self._entities(_EXECUTION, "")

    @fresh
    def get_executions_by_id(self, execution_ids: Iterable[int]) -> list[Execution]:
        """The executions with these ids."""
        return self._entities(_EXECUTION, "WHERE e.id IN ()", ids=execution_ids)

    @fresh
    def get_executions_by_context(self, context_id: int) -> list[Execution]:
        """The executions of a stage."""
        inner = "SELECT execution_id FROM Association WHERE context_id = ?"
        return self._entities(_EXECUTION, f"WHERE e.id IN ({inner})", context_id)

    @fresh
    def get_executions_by_type(self, type_name: str) -> list[Execution]:
        """The executions of a type."""
        return self._entities(_EXECUTION, "WHERE t.name = ? AND t.type_kind = 0", type_name)

    @fresh
    def get_execution_by_type_and_name(self, type_name: str, execution_name: str) -> Execution | None:
        """The execution of this type and name, or None."""
        found = self._entities(_EXECUTION, "WHERE t.name = ? AND t.type_kind = 0 AND e.name = ?", type_name, execution_name)
        return found[0] if found else None

    @fresh
    def get_contexts(self) -> list[Context]:
        """All pipelines and stages."""
        return self._entities(_CONTEXT, "")

    @fresh
    def get_contexts_by_id(self, context_ids: Iterable[int]) -> list[Context]:
        """The pipelines and stages with these ids."""
        return self._entities(_CONTEXT, "WHERE e.id IN ()", ids=context_ids)

    @fresh
    def get_contexts_by_type(self, type_name: str) -> list[Context]:
        """The contexts of a type: `Parent_Context` are the pipelines, `Pipeline_Stage` the stages."""
        return self._entities(_CONTEXT, "WHERE t.name = ? AND t.type_kind = 2", type_name)

    @fresh
    def get_context_by_type_and_name(self, type_name: str, context_name: str) -> Context | None:
        """The pipeline or stage of this name, or None."""
        found = self._entities(_CONTEXT, "WHERE t.name = ? AND t.type_kind = 2 AND e.name = ?", type_name, context_name)
        return found[0] if found else None

    @fresh
    def get_contexts_by_execution(self, execution_id: int) -> list[Context]:
        """The stage of an execution."""
        inner = "SELECT context_id FROM Association WHERE execution_id = ?"
        return self._entities(_CONTEXT, f"WHERE e.id IN ({inner})", execution_id)

    @fresh
    def get_children_contexts_by_context(self, context_id: int) -> list[Context]:
        """The stages of a pipeline."""
        inner = "SELECT context_id FROM ParentContext WHERE parent_context_id = ?"
        return self._entities(_CONTEXT, f"WHERE e.id IN ({inner})", context_id)

    @fresh
    def get_parent_contexts_by_context(self, context_id: int) -> list[Context]:
        """The pipeline of a stage."""
        inner = "SELECT parent_context_id FROM ParentContext WHERE context_id = ?"
        return self._entities(_CONTEXT, f"WHERE e.id IN ({inner})", context_id)

    # Events

    def _events(self, column: str, ids: Iterable[int]) -> list[Event]:
        rows = self._by_ids(
            "SELECT artifact_id, execution_id, type, milliseconds_since_epoch, id FROM Event "
            f"WHERE {column} IN ()",
            set(ids),
        )
        rows = sorted((row for row in rows if row[0] not in self._hidden), key=lambda row: (row[3] or 0, row[4]))
        paths: dict[int, list[str]] = {}
        for event, key in self._by_ids(
            "SELECT event_id, step_key FROM EventPath WHERE event_id IN () AND is_index_step = 0", [row[4] for row in rows]
        ):
            paths.setdefault(event, []).append(key)
        return [Event(*row[:4], paths.get(row[4])) for row in rows]

    @fresh
    def get_events_by_execution_ids(self, execution_ids: Iterable[int]) -> list[Event]:
        """The events of executions, in the order in which they were logged."""
        return self._events("execution_id", execution_ids)

    @fresh
    def get_events_by_artifact_ids(self, artifact_ids: Iterable[int]) -> list[Event]:
        """The events of artifacts, in the order in which they were logged."""
        return self._events("artifact_id", artifact_ids)

    # Types

    def _types_of(self, kind: int) -> list[EntityType]:
        if kind not in self._types:
            properties: dict[int, dict[str, int]] = {}
            for type_id, name, data_type in self.rows("SELECT type_id, name, data_type FROM TypeProperty"):
                properties.setdefault(type_id, {})[name] = data_type
            rows = self.rows("SELECT id, name FROM Type WHERE type_kind = ? AND name NOT LIKE 'mlmd.%' ORDER BY id", kind)
            self._types[kind] = [EntityType(id, name, properties.get(id, {})) for id, name in rows]
        return self._types[kind]

    @fresh
    def get_artifact_types(self) -> list[EntityType]:
        """The types of which there are artifacts."""
        used = {row[0] for row in self.rows("SELECT DISTINCT type_id FROM Artifact")}
        return [entity_type for entity_type in self._types_of(_ARTIFACT) if entity_type.id in used]

    @fresh
    def get_artifact_types_by_id(self, type_ids: Iterable[int]) -> list[EntityType]:
        """Types of artifacts by id."""
        wanted = set(type_ids)
        return [entity_type for entity_type in self._types_of(_ARTIFACT) if entity_type.id in wanted]

    @fresh
    def get_execution_types_by_id(self, type_ids: Iterable[int]) -> list[EntityType]:
        """Types of executions by id."""
        wanted = set(type_ids)
        return [entity_type for entity_type in self._types_of(_EXECUTION) if entity_type.id in wanted]

    @fresh
    def get_context_types_by_id(self, type_ids: Iterable[int]) -> list[EntityType]:
        """Types of contexts by id."""
        wanted = set(type_ids)
        return [entity_type for entity_type in self._types_of(_CONTEXT) if entity_type.id in wanted]

    @fresh
    def places_of(self, execution_ids: Iterable[int]) -> dict[int, tuple[str, str]]:
        """Names of stage and pipeline of executions. (Not a call of ML Metadata.)"""
        rows = self._by_ids(
            "SELECT a.execution_id, c.name, coalesce(p.name, '') FROM Association a JOIN Context c ON c.id = a.context_id "
            "LEFT JOIN ParentContext pc ON pc.context_id = c.id LEFT JOIN Context p ON p.id = pc.parent_context_id "
            "WHERE a.execution_id IN ()",
            set(execution_ids),
        )
        return {execution: (stage, pipeline) for execution, stage, pipeline in rows}

    # Runs

    @fresh
    def run_of(self, execution_id: int) -> tuple[str, str, str] | None:
        """Run id, pipeline and stage of an execution of a store; None when it is unknown."""
        rows = self.rows("SELECT run_id, pipeline, stage FROM stepwell_run WHERE execution_id = ?", execution_id)
        return rows[0] if rows else None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("put_"):
            raise NotSupportedError(
                f"{name} is not possible: the catalog is an index of what runs logged. Log through Cmf, whose update_... "
                "methods add to what is there"
            )
        raise AttributeError(f"a catalog has no attribute {name!r}")


def _connect(file: str) -> sqlite3.Connection:
    """Opens `file` read-only; in a folder that cannot be written to, as a file that does not change."""
    from urllib.parse import quote

    fault: sqlite3.Error | None = None
    for mode in ("mode=ro", "mode=ro&immutable=1"):
        try:
            connection = sqlite3.connect(f"file:{quote(os.path.abspath(file))}?{mode}", uri=True, check_same_thread=False)
            connection.execute("SELECT schema_version FROM MLMDEnv").fetchone()
            return connection
        except sqlite3.Error as caught:
            fault = caught
    raise StepwellError(f"{file} cannot be read as a store of ML Metadata: {fault}") from fault
