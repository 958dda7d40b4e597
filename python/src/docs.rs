//! Docstrings of the hand-written calls, in the form that `inspect.signature` and `help` read.

use std::ffi::CStr;

/// Of the class `Metric`.
pub const METRIC_DOC: &CStr = c"A metric of a run, made by `run.metric(metrics_name, key)`.

Call it as `loss(value)` or `loss(value, step)`: the fastest way to log one value. Without a step, steps count up from 0
per metrics name. Values, errors and durability are those of `Run.log_metric`.";

/// Of `Run.log_metric`.
pub const LOG_METRIC_DOC: &CStr = c"log_metric($self, /, name, metrics, step=None)
--

Logs one row: the values of a dict, under one step and one time.

`name` is the metrics name; `metrics` a dict of metric to number (float, int up to 2**53, bool, numpy scalar, array or
tensor of one element; a device tensor is waited for). `step` is any 64-bit integer and may repeat or go back; without
it, steps count up from 0 per metrics name.

Durability: when the call returned, the row survives the death of the process; power loss, about a second later.

Raises InputTypeError (None, text, sequences), InputError (a bad name, an integer beyond 2**53, an array of several),
RunClosedError, ForkedError, JournalFullError (only with when_full=\"fail\"). A row that raises is not logged at all.

    run.log_metric(\"training_metrics\", {\"loss\": loss, \"accuracy\": accuracy}, step=step)";

/// Of `Run.log`.
pub const LOG_DOC: &CStr = c"log($self, /, metrics, step=None)
--

Logs one row under the metrics name \"metrics\": the short form of `log_metric`.

    run.log({\"loss\": loss}, step=step)";
