"""CMF's interface on a Stepwell store: in a script written for CMF, one import changes.

    from stepwell.cmf import Cmf            # was: from cmflib.cmf import Cmf

    metawriter = Cmf("mlmd", pipeline_name="digits")
    metawriter.create_context("train")
    metawriter.create_execution("train", {"lr": 0.1})
    metawriter.log_dataset("data/train.csv", "input")
    metawriter.log_metric("training_metrics", {"loss": 0.5})
    metawriter.commit_metrics("training_metrics")

docs/CMF.md says what differs from CMF, and why.
"""

from ._cmf import Cmf
from ._commands import (
    artifact_list,
    artifact_pull,
    artifact_push,
    cmf_init,
    cmf_init_show,
    dvc_ingest,
    execution_list,
    metadata_export,
    metadata_pull,
    metadata_push,
    non_related_args,
    pipeline_list,
    repo_pull,
    repo_push,
)
from ._query import EXCLUDED_ARTIFACT_TYPES, CmfQuery
from ._values import NotSupportedError

__all__ = [
    "EXCLUDED_ARTIFACT_TYPES",
    "Cmf",
    "CmfQuery",
    "NotSupportedError",
    "artifact_list",
    "artifact_pull",
    "artifact_push",
    "cmf_init",
    "cmf_init_show",
    "dvc_ingest",
    "execution_list",
    "metadata_export",
    "metadata_pull",
    "metadata_push",
    "non_related_args",
    "pipeline_list",
    "repo_pull",
    "repo_push",
]
