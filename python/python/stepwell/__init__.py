"""Stepwell records every metric of every training step, and answers SQL over all runs.

    import stepwell

    with stepwell.start(pipeline="digits", stage="train", params={"lr": 0.1}) as run:
        for step in range(1000):
            run.log_metric("training_metrics", {"loss": loss, "accuracy": accuracy}, step=step)

    stepwell.sql("SELECT run_id, min(value) FROM metrics WHERE metric = 'loss' GROUP BY run_id")

A log call that returned survives any death of its process; no exit hook is needed. It survives power loss at most
1.1 seconds later, or at once after ``run.sync()``.
"""

import atexit as _atexit
import os as _os

from . import errors
from ._native import (
    Artifact,
    Metric,
    MetricsArtifact,
    Report,
    Result,
    Run,
    Stats,
    __build__,
    __version__,
    compact,
    history,
    metrics,
    runs,
    sql,
    start,
)
from ._native import _after_fork_in_child, _finish_open_runs
from .errors import StepwellError, StepwellWarning

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
    "__build__",
    "__version__",
    "compact",
    "errors",
    "history",
    "metrics",
    "runs",
    "sql",
    "start",
]

# Runs left open are finished when the interpreter ends. Nothing is lost without it: it saves the next reader the recovery.
_atexit.register(_finish_open_runs)
if hasattr(_os, "register_at_fork"):
    _os.register_at_fork(after_in_child=_after_fork_in_child)
