"""Executions that are open in this process: their runs, and the metrics that were not committed yet.

Two `Cmf` objects that work on one execution share its run. An execution that was closed is taken up again by whoever logs
to it next.
"""

from __future__ import annotations

import atexit
import os
import warnings
from collections import namedtuple

from .. import start
from ..errors import StepwellWarning
from ._metrics_rows import MetricsRows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


#: Where a run is: store folder, run id, pipeline, stage.
Place = namedtuple("Place", ("store", "run_id", "pipeline", "stage"))


class Open:
    """An execution that is open in this process."""

    def __init__(self, run: Any, is_resumed: bool) -> None:
        self.run = run
        self.metrics: dict[str, MetricsRows] = {}
        #: First of the execution's UUIDs: its files lie below it.
        self.uuid = run.id
        #: Publishes a metrics name; set by the `Cmf` that logs.
        self.publish: Callable[[Open, str], Any] | None = None
        self._is_resumed = is_resumed

    def rows(self, name: str) -> MetricsRows:
        """The rows of a metrics name; of an execution that was taken up again, with what it logged before."""
        rows = self.metrics.get(name)
        if rows is None:
            rows = MetricsRows(self.run, name)
            if self._is_resumed:
                rows.load()
            rows = self.metrics.setdefault(name, rows)
        return rows

    def commit_rest(self) -> None:
        """Commits every metrics name that has rows since its last commit."""
        for name, rows in list(self.metrics.items()):
            if rows.changed and self.publish is not None:
                self.publish(self, name)


_open: dict[tuple[int, str, str], Open] = {}


def new(options: dict[str, Any]) -> Open:
    """Starts a run and keeps it."""
    run = start(**options)
    return _open.setdefault((os.getpid(), run.store, run.id), Open(run, is_resumed=False))


def attach(place: Place) -> Open:
    """The run at `place`, open; taken up again when it was closed or belongs to another process."""
    key = (os.getpid(), place.store, place.run_id)
    known = _open.get(key)
    if known is None or known.run.closed:
        run = start(pipeline=place.pipeline, stage=place.stage, store=place.store, run_id=place.run_id)
        known = _open[key] = Open(run, is_resumed=True)
    return known


def close(place: Place) -> None:
    """Commits what is left of the run at `place` and finishes it, if it is open here."""
    key = (os.getpid(), place.store, place.run_id)
    known = _open.get(key)
    if known is not None and not known.run.closed:
        known.commit_rest()
        known.run.finish()
    _open.pop(key, None)


@atexit.register
def _commit_all() -> None:
    """Scripts that end without `commit_metrics` or `finalize` keep their metrics, too."""
    for (process, _, _), known in list(_open.items()):
        if process != os.getpid() or known.run.closed:
            continue
        try:
            known.commit_rest()
        except Exception as fault:
            warnings.warn(f"the metrics of run {known.run.id} are in the store but have no file: {fault}", StepwellWarning, stacklevel=1)
