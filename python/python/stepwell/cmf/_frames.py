"""Data frames of entities, and CMF's push document, as CmfQuery gives them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from . import _values
from ._entities import Entity, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Fields of an entity in CMF's push document, in its order.
_DOCUMENT_FIELDS = (
    "create_time_since_epoch", "custom_properties", "id", "last_update_time_since_epoch", "name", "properties", "type",
    "type_id", "uri",
)  # fmt: skip


def record(entity: Entity, start: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A row of a frame: `start`, then the declared properties, then the others as `custom_properties_<name>`."""
    row = dict(start or {})
    row.update((name, _cell(value)) for name, value in entity.properties.items())
    for name, value in entity.custom_properties.items():
        column = base = f"custom_properties_{name}"
        number = 0
        while column in row:
            number += 1
            column = f"{base}_{number}"
        row[column] = _cell(value)
    return row


def artifact_record(artifact: Any, start: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A row of a frame of artifacts."""
    row = dict(start or {})
    for name in ("id", "type", "uri", "name", "create_time_since_epoch", "last_update_time_since_epoch"):
        row[name] = getattr(artifact, name)
    return record(artifact, row)


def execution_record(execution: Any) -> dict[str, Any]:
    """A row of a frame of executions."""
    return record(execution, {"id": execution.id, "name": execution.name})


def _cell(value: Value) -> Any:
    plain = value.plain()
    return 0.0 if plain is None else plain


def frame(rows: Iterable[Mapping[str, Any]], sort: bool = True) -> Any:
    """A DataFrame of `rows`, its columns sorted by name as CMF has them; made in one go, so that its cost is linear."""
    pandas = _values.pandas()
    rows = list(rows)
    if not rows:
        return pandas.DataFrame()
    columns = dict.fromkeys(name for row in rows for name in row)
    return pandas.DataFrame(rows, columns=sorted(columns) if sort else list(columns))


def document_node(entity: Any, start: Mapping[str, Any]) -> dict[str, Any]:
    """An entity in CMF's push document: empty fields are left out, the custom property `type` is told as `user_type`."""
    node = dict(start)
    for name in _DOCUMENT_FIELDS:
        value = getattr(entity, name, None)
        if value is None or value == "" or (name == "type" and "type" in node):
            continue
        if name == "properties":
            value = value.plain()
        elif name == "custom_properties":
            value = {"user_type" if key == "type" else key: told for key, told in value.plain().items()}
        node[name] = value
    return node
