"""Values on their way into a store: what a property may be, hashes and names in CMF's manner, and errors."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..errors import StepwellError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

INT_MAX = 2**63 - 1


class NotSupportedError(StepwellError, NotImplementedError):
    """A function of CMF that Stepwell does in another way; the message says how."""


def property_value(value: Any) -> bool | int | float | str:
    """`value` as a property keeps it.

    Numbers of NumPy and one-element tensors become the Python numbers they hold. None and everything else that is no
    number becomes its text, as does an integer beyond 64 bits.
    """
    if not isinstance(value, (bool, int, float, str)) and hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, bool) or isinstance(value, float):
        return value
    if isinstance(value, int):
        return int(value) if -INT_MAX - 1 <= value <= INT_MAX else str(value)
    return str(value)


def property_values(values: Mapping[Any, Any] | None) -> dict[str, bool | int | float | str]:
    """All of `values`, with their names as text."""
    return {str(name): property_value(value) for name, value in (values or {}).items()}


def joined(known: str, *more: str) -> str:
    """`known`, a list with commas, and those of `more` that it does not hold yet."""
    parts = [part for part in known.split(",") if part]
    for text in more:
        parts.extend(part for part in text.split(",") if part and part not in parts)
    return ",".join(parts)


def new_uuid() -> str:
    """A random UUID. CMF takes version 1, which tells the address of the machine."""
    raw = bytearray(os.urandom(16))
    raw[6], raw[8] = raw[6] & 0x0F | 0x40, raw[8] & 0x3F | 0x80
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def md5_of_bytes(data: bytes) -> str:
    """MD5 of `data`, as hexadecimal text. It names content here; it guards nothing."""
    import hashlib

    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def write_new(path: str, data: bytes) -> None:
    """Writes a file so that another process sees all of it or nothing."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}.{new_uuid()}.tmp"
    with open(temporary, "xb") as file:
        file.write(data)
    os.replace(temporary, path)


def script_name() -> str:
    """Name of the script without its ending: stage and execution of one who names none."""
    import sys

    name = os.path.splitext(os.path.basename(sys.argv[0] if sys.argv else ""))[0]
    return name if name and not name.startswith("-") else "interactive"


def pandas() -> Any:
    """The library pandas, which is needed where a DataFrame is returned."""
    try:
        import pandas
    except ImportError as fault:
        raise StepwellError(f"this returns a DataFrame and needs pandas ({fault}): pip install 'stepwell[pandas]'") from fault
    return pandas
