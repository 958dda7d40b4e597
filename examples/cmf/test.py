"""Tries the model on the lines it has not seen. The final values are logged after `finalize`, as in CMF's own example."""

import numpy
from tracking import Cmf

metawriter = Cmf(filepath="mlmd", pipeline_name="text-example")
metawriter.create_context(pipeline_stage="Evaluate")
metawriter.create_execution(execution_type="Evaluate")
metawriter.log_model(path="artifacts/model/model.npy", event="input")
metawriter.log_dataset("artifacts/features/test.npy", "input")

table = numpy.load("artifacts/features/test.npy")
scores = table[:, 1:] @ numpy.load("artifacts/model/model.npy")
right = (scores > 0) == (table[:, 0] > 0.5)
metawriter.finalize()
metawriter.log_execution_metrics("result", {"accuracy": float(right.mean()), "lines": int(len(right)), "verdict": "good"})
