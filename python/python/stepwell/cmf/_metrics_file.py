"""Parquet files in CMF's form: step metrics (index `SequenceNumber`) and slices of data (index `Path`).

The native module writes them, so neither pyarrow nor pandas is needed. Columns of lists and dicts need pyarrow; where it is
missing they are JSON text.
"""

from __future__ import annotations

import os
from array import array

from .. import _native
from . import _values
from ._metrics_rows import MetricsRows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Types of columns as pandas' footer names them.
_PANDAS_TYPES = {
    "int64": ("int64", "int64"),
    "double": ("float64", "float64"),
    "bool": ("bool", "bool"),
    "string": ("unicode", "object"),
    "nested": ("object", "object"),
}


def write_step_metrics(path: str, rows: MetricsRows) -> None:
    """Writes the rows of one metrics name, with their number as the index."""
    count, columns = rows.snapshot()
    if count:
        numbers = array("q", range(1, count + 1))
        _write(path, count, columns, "SequenceNumber", ("int64", range(count), numbers))


def write_slice(path: str, slice_rows: dict[str, dict[str, Any]]) -> None:
    """Writes a slice: one row a path, with the columns that any of them has."""
    names = dict.fromkeys(name for row in slice_rows.values() for name in row)
    columns = []
    for name in names:
        cells = [(number, _values.property_value(row[name])) for number, row in enumerate(slice_rows.values(), 1) if name in row]
        kind = _common_kind([value for _, value in cells])
        values = [str(value) if kind == "string" else value for _, value in cells]
        columns.append((name, kind, [number for number, _ in cells], values))
    _write(path, len(slice_rows), columns, "Path", ("string", range(len(slice_rows)), list(slice_rows)))


def _common_kind(values: list[Any]) -> str:
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return "bool"
    if kinds <= {bool, int}:
        return "int64"
    return "double" if kinds <= {bool, int, float} else "string"


def _write(path: str, count: int, columns: list[tuple[str, str, Any, Any]], index: str, index_column: tuple[str, Any, Any]) -> None:
    import json

    kind, _, values = index_column
    columns = [*columns, (index, kind, range(1, count + 1), values)]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}.tmp"
    if any(kind == "nested" for _, kind, _, _ in columns) and _write_nested(temporary, count, columns, index):
        os.replace(temporary, path)
        return
    packed = []
    for name, kind, rows, values in columns:
        kind, values = ("string", [json.dumps(value) for value in values]) if kind == "nested" else (kind, values)
        if kind != "string":
            values = values if isinstance(values, array) else array("q" if kind == "int64" else "d", values)
            values = values.tobytes()
        packed.append((name, kind, array("q", rows).tobytes(), values))
    metadata = {"pandas": _pandas_metadata([(name, kind) for name, kind, _, _ in packed], index)}
    _native._write_parquet(temporary, count, packed, metadata)
    os.replace(temporary, path)


def _write_nested(path: str, count: int, columns: list[tuple[str, str, Any, Any]], index: str) -> bool:
    """Writes lists and dicts as such; False when pyarrow is missing or cannot find one type for a column."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return False
    types = {"int64": pyarrow.int64(), "double": pyarrow.float64(), "bool": pyarrow.bool_(), "string": pyarrow.string()}
    arrays = []
    try:
        for _, kind, rows, values in columns:
            cells: list[Any] = [None] * count
            for row, value in zip(rows, values):
                cells[row - 1] = bool(value) if kind == "bool" else value
            arrays.append(pyarrow.array(cells, types.get(kind)))
    except pyarrow.ArrowException:
        return False
    table = pyarrow.table(arrays, names=[name for name, _, _, _ in columns])
    metadata = {"pandas": _pandas_metadata([(name, kind) for name, kind, _, _ in columns], index)}
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), path)
    return True


def _pandas_metadata(columns: list[tuple[str, str]], index: str) -> str:
    """What pandas writes into a footer, so that it finds the index again."""
    import json

    told = [
        {
            "name": name,
            "field_name": name,
            "pandas_type": _PANDAS_TYPES[kind][0],
            "numpy_type": _PANDAS_TYPES[kind][1],
            "metadata": None,
        }
        for name, kind in columns
    ]
    head = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object", "metadata": {"encoding": "UTF-8"}}
    document = {
        "index_columns": [index],
        "column_indexes": [head],
        "columns": told,
        "attributes": {},
        "creator": {"library": "stepwell", "version": _native.__version__},
        "pandas_version": "2.2.3",
    }
    return json.dumps(document)


def read_step_metrics(catalog: Any, artifact: Any) -> Any:
    """The rows of a step metrics artifact as a DataFrame; None, with a warning, when its file and its run are gone."""
    path = artifact.name.split(":")[0]
    parts = path.split("/")
    pandas = _values.pandas()
    if parts[0] == "cmf_artifacts":
        file = os.path.join(os.path.dirname(os.path.abspath(catalog.path)), path)
        if os.path.isfile(file):
            return pandas.read_parquet(file)
    if catalog.is_store and len(parts) > 2:
        name = artifact.custom_properties["metrics_name"].string_value or "/".join(parts[3:])
        frame = _from_run(pandas, catalog.path, parts[1], name)
        if frame is not None:
            return frame
    import warnings

    from ..errors import StepwellWarning

    warnings.warn(f"the rows of {artifact.name} are not there: {path} is missing", StepwellWarning, stacklevel=4)
    return None


def _from_run(pandas: Any, store: str, run_id: str, name: str) -> Any:
    from .. import sql

    rows = sql(
        "SELECT metric, step, value FROM metrics WHERE run_id = $run AND metrics_name = $name ORDER BY step, seq",
        store,
        params={"run": run_id, "name": name},
    ).rows
    if not rows:
        return None
    table: dict[str, dict[int, float]] = {}
    for metric, step, value in rows:
        table.setdefault(metric, {})[step] = value
    return pandas.DataFrame(table).rename_axis("SequenceNumber").sort_index()
