from . import errors as errors
from ._native import (
    Artifact as Artifact,
    Metric as Metric,
    MetricsArtifact as MetricsArtifact,
    Report as Report,
    Result as Result,
    Run as Run,
    Stats as Stats,
    __version__ as __version__,
    compact as compact,
    history as history,
    metrics as metrics,
    runs as runs,
    sql as sql,
    start as start,
)
from .errors import StepwellError as StepwellError, StepwellWarning as StepwellWarning

__all__ = [
    "Artifact",
    "Metric",
    "MetricsArtifact",
    "Report",
    "Result",
    "Run",
    "Stats",
    "StepwellError",
    "StepwellWarning",
    "__version__",
    "compact",
    "errors",
    "history",
    "metrics",
    "runs",
    "sql",
    "start",
]
