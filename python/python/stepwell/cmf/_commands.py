"""CMF's module functions. Those that only read work here; the others say which command of Stepwell does the same."""

from __future__ import annotations

import os

from ._query import CmfQuery
from ._values import NotSupportedError, write_new

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


def pipeline_list(file_name: str = "./mlmd") -> str:
    """Names of the pipelines, a line each."""
    return "\n".join(CmfQuery(file_name).get_pipeline_names())


def execution_list(pipeline_name: str, file_name: str = "./mlmd", execution_uuid: str | None = None) -> str:
    """The executions of a pipeline as JSON, one a line; with `execution_uuid`, the one that has it."""
    import json

    query = CmfQuery(file_name)
    lines = []
    for stage in query.get_pipeline_stages(pipeline_name):
        for execution in query.get_all_exe_in_stage(stage):
            told = {"id": execution.id, "name": execution.name, **execution.properties.plain()}
            if execution_uuid is None or execution_uuid in told.get("Execution_uuid", "").split(","):
                lines.append(json.dumps({**told, **execution.custom_properties.plain()}))
    return "\n".join(lines)


def artifact_list(pipeline_name: str, file_name: str = "./mlmd", artifact_name: str | None = None) -> str:
    """The artifacts of a pipeline as JSON, one a line; with `artifact_name`, those of this name, path or file name."""
    import json

    query = CmfQuery(file_name)
    lines = []
    for stage in query.store.get_children_contexts_by_context(query.get_pipeline_id(pipeline_name)):
        for artifact in query.store.get_artifacts_by_context(stage.id):
            path = artifact.name.split(":")[0]
            if artifact_name in (None, artifact.name, path, os.path.basename(path)):
                told = {"id": artifact.id, "name": artifact.name, "type": artifact.type, "uri": artifact.uri}
                lines.append(json.dumps({**told, **artifact.properties.plain(), **artifact.custom_properties.plain()}))
    return "\n".join(lines)


def metadata_export(pipeline_name: str, json_file_name: str | None = None, file_name: str = "./mlmd") -> str:
    """Writes CMF's push document of a pipeline to `json_file_name` (`<pipeline>.json`), and says so."""
    import json

    path = os.path.abspath(json_file_name or f"{pipeline_name}.json")
    document = json.loads(CmfQuery(file_name).dumptojson(pipeline_name))
    write_new(path, json.dumps(document, indent=2).encode())
    return f"SUCCESS: metadata of {pipeline_name} is in {path}."


def _elsewhere(name: str, what: str) -> NoReturn:
    raise NotSupportedError(f"{name} is not part of the Python package; {what}")


def metadata_push(
    pipeline_name: str, file_name: str = "./mlmd", tensorboard_path: str | None = None, execution_uuid: str | None = None
) -> str:
    """Not supported: `stepwell push` sends runs and their metadata."""
    _elsewhere("metadata_push", "`stepwell push` sends runs with their metadata")


def metadata_pull(pipeline_name: str, file_name: str = "./mlmd", execution_uuid: str | None = None) -> str:
    """Not supported: `stepwell pull` fetches runs and their metadata."""
    _elsewhere("metadata_pull", "`stepwell pull` fetches runs with their metadata")


def artifact_push(pipeline_name: str, filepath: str = "./mlmd", jobs: int = 32) -> str:
    """Not supported: `stepwell push` sends objects, too."""
    _elsewhere("artifact_push", "`stepwell push` sends the content of artifacts")


def artifact_pull(pipeline_name: str, file_name: str = "./mlmd", artifact_name: str | None = None) -> str:
    """Not supported: `stepwell pull` fetches objects, too."""
    _elsewhere("artifact_pull", "`stepwell pull` fetches the content of artifacts")


def repo_push(
    pipeline_name: str,
    filepath: str = "./mlmd",
    tensorboard_path: str | None = None,
    execution_uuid: str | None = None,
    jobs: int = 32,
) -> str:
    """Not supported: Stepwell never writes to git; `stepwell push` and `git push` do the two halves."""
    _elsewhere("repo_push", "use `stepwell push`, then `git push`: Stepwell only reads git")


def repo_pull(pipeline_name: str, file_name: str = "./mlmd", execution_uuid: str | None = None) -> str:
    """Not supported: `git pull` and `stepwell pull` do the two halves."""
    _elsewhere("repo_pull", "use `git pull`, then `stepwell pull`: Stepwell only reads git")


def dvc_ingest(file_name: str = "./mlmd") -> str:
    """Not supported: `stepwell import dvc` reads dvc.lock."""
    _elsewhere("dvc_ingest", "`stepwell import dvc` reads dvc.lock and .dvc files")


def cmf_init_show() -> str:
    """Not supported: `stepwell init show`."""
    _elsewhere("cmf_init_show", "`stepwell init show` prints the settings")


def cmf_init(
    type: str = "",
    path: str = "",
    git_remote_url: str = "",
    cmf_server_url: str = "http://127.0.0.1:80",
    url: str = "",
    endpoint_url: str = "",
    access_key_id: str = "",
    secret_key: str = "",
    session_token: str = "",
    user: str = "",
    password: str = "",
    port: int = 0,
    osdf_path: str = "",
    osdf_cache: str = "",
    key_id: str = "",
    key_path: str = "",
    key_issuer: str = "",
    neo4j_user: str | None = None,
    neo4j_password: str | None = None,
    neo4j_uri: str | None = None,
) -> str:
    """Not supported, and not needed: a store is made by its first run. `stepwell init` sets up a remote."""
    _elsewhere("cmf_init", "a store needs no preparation, and `stepwell init` sets up a remote")


def non_related_args(type: str, args: dict[str, Any]) -> list[str]:
    """Names in `args` that have a value and are no setting of a remote of this `type`."""
    of_type = {
        "local": {"path"},
        "minioS3": {"url", "endpoint_url", "access_key_id", "secret_key"},
        "amazonS3": {"url", "access_key_id", "secret_key", "session_token"},
        "sshremote": {"path", "user", "port", "password"},
        "osdfremote": {"osdf_path", "osdf_cache", "key_id", "key_path", "key_issuer"},
    }
    common = {"type", "git_remote_url", "cmf_server_url", "neo4j_user", "neo4j_password", "neo4j_uri"}
    return [name for name, value in args.items() if value and name not in common | of_type.get(type, set())]
