"""The methods of `Cmf` that log artifacts; names, hashes and properties are those that CMF gives them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..errors import InputError, NotFoundError
from . import _project
from ._entities import INPUT, INTERNAL_OUTPUT, OUTPUT, Artifact
from ._values import joined, new_uuid
from ._writer import Writer, event_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Artifacts(Writer):
    """Artifacts of the current execution; without one, one named after the script is started."""

    def _content(
        self,
        artifact_type: str,
        name: str,
        md5: str,
        event: int,
        declared: Mapping[str, Any],
        custom: Mapping[str, Any] | None,
        file: str,
    ) -> Artifact:
        """Records content by its hash: linked where it is known, else with a copy of the file in the store."""
        self._current()
        url = self._url(md5)
        known = self._known(artifact_type, md5)
        if known is not None:
            return self._link(known, event, name, url, None if artifact_type == "Model" else custom)
        if artifact_type == "Model":
            name = f"{name}:{self._execution.id}"  # type: ignore[union-attr]
        declared = {**declared, "Commit": md5, "url": url}
        return self._record(artifact_type, name, md5, event, declared, custom, file if os.path.isfile(file) else None)

    def _versioned(
        self,
        artifact_type: str,
        name: str,
        uri: str,
        event: int,
        declared: Mapping[str, Any],
        custom: Mapping[str, Any] | None,
    ) -> Artifact:
        """Records what is elsewhere by a hash that is given."""
        self._current()
        known = self._known(artifact_type, uri)
        if known is not None:
            return self._link(known, event, name, str(declared.get("url", "")).strip(), custom)
        return self._record(artifact_type, name, uri, event, declared, custom)

    def log_dataset(
        self,
        url: str,
        event: str,
        custom_properties: dict[str, Any] | None = None,
        label: str | None = None,
        label_properties: dict[str, Any] | None = None,
        external: bool = False,
    ) -> Artifact | None:
        """Logs a file or folder as a data set, by the MD5 that DVC gives it; a file is copied into the store.

        `event` is "input", or anything else for an output. None, with a warning, when there is no such file.
        """
        found = self._hash(url, "log_dataset")
        if found is None:
            return None
        git_repo = self._git_repo()
        declared = {"git_repo": git_repo}
        artifact = self._content("Dataset", f"{url}:{found[1]}", found[1], event_of(event), declared, custom_properties, found[0])
        self.execution_label_props.update(git_repo=git_repo, Commit=found[1])
        if label:
            self.log_label(label, url, label_properties)
            artifact = self._artifact(artifact.id)
        return artifact

    def log_label(self, url: str, dataset_name: str, custom_properties: dict[str, Any] | None = None) -> Artifact | None:
        """Logs a file with the labels of a data set that was logged before; both name each other in their properties."""
        found, dataset = self._hash(url, "log_label"), self._hash(dataset_name, "log_label")
        if found is None or dataset is None:
            return None
        known = self._known("Dataset", dataset[1])
        if known is None:
            raise NotFoundError(f"log_label: {dataset_name} was not logged; log it as a dataset before")
        name = f"{url}:{found[1]}"
        self._amend(known, {}, self._merged(known, {"labels": url, "labels_uri": name}))
        custom = {**(custom_properties or {}), "dataset_uri": dataset[1]}
        label = self._known("Label", found[1])
        if label is not None:
            return self._link(label, INPUT, name, name, custom)
        declared = {"git_repo": self._git_repo(), "Commit": found[1], "url": name}
        return self._record("Label", name, found[1], INPUT, declared, custom, found[0])

    def log_model(
        self,
        path: str,
        event: str,
        model_framework: str = "Default",
        model_type: str = "Default",
        model_name: str = "Default",
        custom_properties: dict[str, Any] | None = None,
    ) -> Artifact | None:
        """Logs a file or folder as a model. Of content that is known, name and properties stay as they are.

        None, with a warning, when there is no such file.
        """
        found = self._hash(path, "log_model")
        if found is None:
            return None
        declared = {
            "model_framework": str(model_framework),
            "model_type": str(model_type),
            "model_name": str(model_name),
        }
        self.execution_label_props["Commit"] = found[1]
        return self._content("Model", f"{path}:{found[1]}", found[1], event_of(event), declared, custom_properties, found[0])

    def log_python_env(self, url: str) -> Artifact | None:
        """Logs a file with a list of packages as an input."""
        self._need_execution("log_python_env")
        found = self._hash(url, "log_python_env")
        if found is None:
            return None
        git_repo = self._git_repo()
        self.execution_label_props.update(git_repo=git_repo, Commit=found[1])
        return self._content("Environment", f"{url}:{found[1]}", found[1], INPUT, {"git_repo": git_repo}, None, found[0])

    def log_execution_metrics(self, metrics_name: str, custom_properties: dict[str, Any] | None = None) -> Artifact:
        """Logs final values; each call makes an artifact. NaN and infinities are kept, as text in ML Metadata's tables."""
        self._current()
        uri = new_uuid()
        name = f"{metrics_name}:{uri}:{self._execution.id}"  # type: ignore[union-attr]
        return self._record("Metrics", name, uri, OUTPUT, {"metrics_name": name}, custom_properties)

    def log_validation_output(self, version: str, custom_properties: dict[str, Any] | None = None) -> Artifact:
        """Logs a validation of this version, as an internal output."""
        self._need_execution("log_validation_output")
        uri = new_uuid()
        return self._record("Validation_output", uri, uri, INTERNAL_OUTPUT, {"version": version}, custom_properties)

    def log_dvc_lock(self, file_path: str) -> str:
        """Gives the MD5 of a `dvc.lock`. CMF commits it to git; Stepwell does not write to git."""
        self._need_execution("log_dvc_lock")
        local = self._local(file_path)
        if local is None:
            raise NotFoundError(f"{file_path} does not exist")
        return _project.dvc_md5(local)

    # What is there

    def get_artifact(self, artifact_id: int) -> Artifact:
        """An artifact by its id."""
        return self._artifact(artifact_id)

    def update_existing_artifact(self, artifact: Artifact, custom_properties: dict[str, Any]) -> None:
        """Adds custom properties to an artifact; `labels`, `labels_uri` and `dataset_uri` collect, others are replaced."""
        self._amend(artifact, {}, self._merged(artifact, custom_properties))
        artifact.adopt(self._artifact(artifact.id))

    def update_dataset_url(self, artifact: Artifact, updated_url: str) -> None:
        """Adds a place to the property `url` of an artifact."""
        merged = joined(artifact.properties["url"].string_value, updated_url)
        self._amend(artifact, {"url": merged}, {})
        artifact.adopt(self._artifact(artifact.id))

    def update_model_url(self, dup_artifact: list[Artifact], updated_url: str) -> list[Artifact]:
        """The same for several artifacts."""
        for artifact in dup_artifact:
            self.update_dataset_url(artifact, updated_url)
        return dup_artifact

    def update_model_output(self, artifact: Artifact) -> None:
        """Keeps what was set in the properties of `artifact`."""
        self._amend(artifact, artifact.properties.plain(), artifact.custom_properties.plain())

    def link_artifacts(self, artifact_source: Artifact, artifact_target: Artifact) -> None:
        """Notes on the target that it was derived from the source. CMF keeps this in Neo4j only."""
        self._amend(artifact_target, {}, {"derived_from": artifact_source.name})

    # By a hash that is given

    def log_dataset_with_version(
        self,
        url: str,
        version: str,
        event: str,
        props: dict[str, Any] | None = None,
        custom_properties: dict[str, Any] | None = None,
    ) -> Artifact:
        """Logs a data set that is elsewhere, by the hash `version`; nothing is read."""
        props = props or {}
        declared = {"git_repo": props.get("git_repo", ""), "Commit": version, "url": props.get("url", " ")}
        return self._versioned("Dataset", f"{url}:{version}", version, event_of(event), declared, custom_properties)

    def log_label_with_version(
        self,
        url: str,
        version: str,
        props: dict[str, Any] | None = None,
        custom_properties: dict[str, Any] | None = None,
    ) -> Artifact:
        """Logs labels that are elsewhere, by the hash `version`."""
        props = props or {}
        declared = {"git_repo": props.get("git_repo", ""), "Commit": version, "url": props.get("url", " ")}
        return self._versioned("Label", f"{url}:{version}", version, INPUT, declared, custom_properties)

    def log_model_with_version(
        self,
        path: str,
        event: str,
        props: dict[str, Any] | None = None,
        custom_properties: dict[str, Any] | None = None,
    ) -> Artifact:
        """Logs a model that is elsewhere, by the hash `props["uri"]`."""
        props = props or {}
        uri = str(props.get("uri", "")).strip()
        if not uri:
            raise InputError('log_model_with_version needs the hash of the model: props={"uri": ...}')
        self._current()
        name = f"{path}:{uri}"
        known = self._known("Model", uri)
        if known is not None:
            return self._link(known, event_of(event), name, props.get("url", ""), None)
        declared = {key: props.get(key, "") for key in ("model_framework", "model_type", "model_name", "Commit", "url")}
        name = f"{name}:{self._execution.id}"  # type: ignore[union-attr]
        return self._record("Model", name, uri, event_of(event), declared, custom_properties)

    def log_python_env_from_client(self, url: str, uri: str, props: dict[str, Any] | None = None) -> Artifact:
        """Logs an environment that is elsewhere, by its hash."""
        declared = {key: (props or {}).get(key, "") for key in ("git_repo", "Commit", "url")}
        return self._versioned("Environment", f"{url}:{uri}", uri, INPUT, declared, None)

    def log_execution_metrics_from_client(
        self, metrics_name: str, custom_properties: dict[str, Any] | None = None
    ) -> Artifact:
        """Logs final values under the full name `<name>:<uuid>:<execution id>` they have elsewhere."""
        parts = metrics_name.split(":")
        if len(parts) < 3:
            raise InputError(f"{metrics_name!r} is no full name: <name>:<uuid>:<execution id>")
        self._current()
        name = f"{parts[0]}:{parts[1]}:{self._execution.id}"  # type: ignore[union-attr]
        return self._record("Metrics", name, parts[1], OUTPUT, {"metrics_name": metrics_name}, custom_properties)

    def log_step_metrics_from_client(
        self,
        metrics_name: str,
        uri: str,
        props: dict[str, Any] | None = None,
        custom_properties: dict[str, Any] | None = None,
    ) -> Artifact:
        """Logs step metrics that are elsewhere, by full name and hash."""
        declared = {key: (props or {}).get(key, "") for key in ("Commit", "url")}
        return self._versioned("Step_Metrics", metrics_name, uri.strip(), OUTPUT, declared, custom_properties)
