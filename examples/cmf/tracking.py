"""Chooses the library by CMF_LIBRARY: `stepwell` (default) or `cmflib`. The steps are the same for both.

With CMF_TIMES=<file>, the time of each call is appended to that file, a line of JSON each.
"""

import functools
import json
import os
import time

OPERATIONS = (
    "__init__", "create_context", "create_execution", "log_dataset", "log_metric", "commit_metrics", "log_model",
    "log_execution_metrics", "finalize",
)  # fmt: skip

begin = time.perf_counter()
if os.environ.get("CMF_LIBRARY", "stepwell") == "cmflib":
    from cmflib.cmf import Cmf
    from cmflib.cmfquery import CmfQuery
else:
    from stepwell.cmf import Cmf, CmfQuery
imported = time.perf_counter() - begin

times = os.environ.get("CMF_TIMES")


def note(operation, seconds):
    with open(times, "a") as file:
        file.write(json.dumps({"operation": operation, "seconds": seconds}) + "\n")


def timed(operation, method):
    @functools.wraps(method)
    def wrapper(self, *args, **kwargs):
        # A call inside another one, such as create_context in create_execution, is part of that one.
        if timed.depth:
            return method(self, *args, **kwargs)
        timed.depth = 1
        begin = time.perf_counter()
        try:
            return method(self, *args, **kwargs)
        finally:
            timed.depth = 0
            note(operation, time.perf_counter() - begin)

    return wrapper


timed.depth = 0

if times:
    note("import", imported)
    for name in OPERATIONS:
        setattr(Cmf, name, timed("Cmf()" if name == "__init__" else name, getattr(Cmf, name)))

__all__ = ["Cmf", "CmfQuery"]
