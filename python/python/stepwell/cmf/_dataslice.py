"""Slices of data: lists of files with their hashes and properties, kept as a Parquet file."""

from __future__ import annotations

import os

from . import _project
from ._entities import OUTPUT, Artifact
from ._metrics_file import write_slice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class DataSlice:
    """A slice of data; made by `Cmf.create_dataslice`."""

    def __init__(self, name: str, writer: Any) -> None:
        self.name = name
        self.writer = writer
        self.props: dict[str, dict[str, Any]] = {}
        self.data_parent = ""

    def add_data(self, path: str, custom_properties: dict[str, Any] | None = None) -> None:
        """Adds a file with its hash. Where there is no such file, the hash is empty, and a warning says so."""
        found = self.writer._hash(path, "add_data")
        self.props[path] = {"hash": found[1] if found else "", **(custom_properties or {})}
        self.data_parent = os.path.basename(os.path.dirname(path))

    def commit(self, custom_properties: dict[str, Any] | None = None) -> Artifact:
        """Writes the slice, and records it as an output; a slice that is known already is linked as an output."""
        writer = self.writer
        path = f"{writer._artifacts_folder(writer.DATASLICE_PATH)}/{self.name}"
        file = os.path.join(writer._home, path)
        write_slice(file, self.props)
        md5 = _project.dvc_md5(file)
        git_repo = writer._git_repo()
        writer.execution_label_props.update(git_repo=git_repo, Commit=md5)
        return writer._content("Dataslice", f"{path}:{md5}", md5, OUTPUT, {"git_repo": git_repo}, custom_properties, file)

    def log_dataslice_from_client(
        self, uri: str, props: dict[str, Any] | None = None, custom_properties: dict[str, Any] | None = None
    ) -> Artifact:
        """Records a slice that is elsewhere, by its full name and hash."""
        declared = {name: (props or {}).get(name, "") for name in ("git_repo", "Commit", "url")}
        return self.writer._versioned("Dataslice", self.name, uri.strip(), OUTPUT, declared, custom_properties)
