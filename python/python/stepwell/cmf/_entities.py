"""What ML Metadata's library returns as protobuf messages, as small Python objects with the same attributes.

Scripts written for CMF read `.id`, `.name`, `.uri`, `.properties["url"].string_value` and so on, and go on doing so.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: Fields of a value, with what they are when another field is set.
_DEFAULTS: dict[str, Any] = {
    "int_value": 0,
    "double_value": 0.0,
    "string_value": "",
    "bool_value": False,
    "proto_value": b"",
}

INPUT, OUTPUT, INTERNAL_OUTPUT = 3, 4, 6


def _field(name: str, cast: type, about: str) -> property:
    def get(self: Value) -> Any:
        return self._value if self._field == name else _DEFAULTS[name]

    def put(self: Value, value: Any) -> None:
        self._field, self._value = name, cast(value)

    return property(get, put, doc=about)


class Value:
    """The value of a property: one of its fields is set, and `WhichOneof("value")` names it."""

    __slots__ = ("_field", "_value")

    int_value = _field("int_value", int, "The value, when it is an integer; else 0.")
    double_value = _field("double_value", float, "The value, when it is a float; else 0.0.")
    string_value = _field("string_value", str, "The value, when it is text; else an empty text.")
    bool_value = _field("bool_value", bool, "The value, when another program stored a boolean; else False.")
    proto_value = _field("proto_value", bytes, "The bytes of a message, when another program stored one.")

    def __init__(self, value: Any = None, field: str | None = None) -> None:
        if field is None and value is not None:
            field = "int_value" if isinstance(value, int) else "double_value" if isinstance(value, float) else "string_value"
        self._field: str | None = field
        self._value: Any = int(value) if field == "int_value" else value

    def WhichOneof(self, oneof: str) -> str | None:
        """Name of the field that is set, or None; `oneof` is "value"."""
        if oneof != "value":
            raise ValueError(f"a value has no oneof {oneof!r}; use \"value\"")
        return self._field

    def HasField(self, name: str) -> bool:
        """Whether the field `name` is the one that is set."""
        return self._field == name

    def plain(self) -> Any:
        """The value as a Python object; None when no field is set."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and (self._field, self._value) == (other._field, other._value)

    def __hash__(self) -> int:
        return hash((self._field, self._value))

    def __repr__(self) -> str:
        return "" if self._field is None else f"{self._field}: {_literal(self._value)}\n"


class Properties(dict[str, Value]):
    """Values by name. As in a protobuf map, reading a name that is not there adds it, so that a field of it can be set."""

    def __missing__(self, name: str) -> Value:
        self[name] = Value()
        return self[name]

    def plain(self) -> dict[str, Any]:
        """The values as Python objects; those of which no field is set are left out."""
        return {name: value.plain() for name, value in self.items() if value.plain() is not None}


class Entity:
    """What pipelines, stages, executions and artifacts have in common.

    Times are milliseconds since 1970. `id` is 0 while the catalog does not hold the entity yet.
    """

    _extra: tuple[str, ...] = ()

    def __init__(
        self,
        id: int = 0,
        name: str = "",
        type: str = "",
        type_id: int = 0,
        properties: dict[str, Value] | None = None,
        custom_properties: dict[str, Value] | None = None,
        create_time_since_epoch: int = 0,
        last_update_time_since_epoch: int = 0,
    ) -> None:
        self.id = id
        self.name = name
        self.type = type
        self.type_id = type_id
        self.properties = Properties(properties or {})
        self.custom_properties = Properties(custom_properties or {})
        self.create_time_since_epoch = create_time_since_epoch
        self.last_update_time_since_epoch = last_update_time_since_epoch

    def HasField(self, name: str) -> bool:
        """Whether `name` holds something."""
        return bool(getattr(self, name))

    def adopt(self, other: Entity) -> None:
        """Takes over everything that `other` says: whoever holds this object sees it."""
        self.__dict__.update(other.__dict__)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.id))

    def __repr__(self) -> str:
        return "".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for name in ("id", "type_id", "name", "type", *self._extra):
            if getattr(self, name):
                yield f"{name}: {_literal(getattr(self, name))}\n"
        for kind in ("properties", "custom_properties"):
            for key, value in sorted(getattr(self, kind).items()):
                inner = f"    {value!r}" if value.WhichOneof("value") else ""
                yield f"{kind} {{\n  key: {_literal(key)}\n  value {{\n{inner}  }}\n}}\n"
        for name in ("create_time_since_epoch", "last_update_time_since_epoch"):
            if getattr(self, name):
                yield f"{name}: {getattr(self, name)}\n"


class Context(Entity):
    """A pipeline (type `Parent_Context`) or a stage (type `Pipeline_Stage`)."""


class Execution(Entity):
    """One execution of a stage: a run. `last_known_state` is ML Metadata's number: 2 running, 3 complete, 4 failed."""

    _extra = ("last_known_state",)
    last_known_state: int = 0


class Artifact(Entity):
    """An artifact. `uri` is the hash of its content, or a UUID where it has none."""

    _extra = ("uri", "state")
    uri: str = ""
    state: int = 0


class EntityType:
    """A type of artifacts, executions or contexts; `properties` maps its declared properties to data types."""

    def __init__(self, id: int, name: str, properties: dict[str, int]) -> None:
        self.id = id
        self.name = name
        self.properties = properties

    def __repr__(self) -> str:
        return f"id: {self.id}\nname: {_literal(self.name)}\n"


class Event:
    """An edge between an execution and an artifact. `type` is 3 for INPUT, 4 for OUTPUT, 6 for INTERNAL_OUTPUT.

    `path` holds the keys of ML Metadata's event path: the name under which known content was logged again.
    """

    INPUT, OUTPUT, INTERNAL_OUTPUT = INPUT, OUTPUT, INTERNAL_OUTPUT

    def __init__(
        self, artifact_id: int, execution_id: int, type: int, milliseconds_since_epoch: int, path: list[str] | None = None
    ) -> None:
        self.artifact_id = artifact_id
        self.execution_id = execution_id
        self.type = type
        self.milliseconds_since_epoch = milliseconds_since_epoch
        self.path = path or []

    def __repr__(self) -> str:
        fields = ("artifact_id", "execution_id", "type", "milliseconds_since_epoch")
        return "".join(f"{name}: {getattr(self, name)}\n" for name in fields)


_ESCAPES = {"\\": "\\\\", '"': '\\"', "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return '"' + "".join(_ESCAPES.get(character, character) for character in value) + '"'
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)
