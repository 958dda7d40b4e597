"""Counts words: each line becomes a row of numbers."""

from pathlib import Path

import numpy
from tracking import Cmf

metawriter = Cmf(filepath="mlmd", pipeline_name="text-example")
metawriter.create_context(pipeline_stage="Featurize")
metawriter.create_execution(execution_type="Featurize", custom_properties={"max_features": 16, "normalize": True})

parsed, features = Path("artifacts/parsed"), Path("artifacts/features")
features.mkdir(exist_ok=True)
words = sorted({word for line in (parsed / "train.tsv").open() for word in line.split("\t")[1].split()})
for name in ("train", "test"):
    metawriter.log_dataset(str(parsed / f"{name}.tsv"), "input")
    lines = [line.rstrip("\n").split("\t") for line in (parsed / f"{name}.tsv").open()]
    table = numpy.array([[float(label), *(text.split().count(word) / 8 for word in words)] for label, text in lines])
    numpy.save(features / f"{name}.npy", table)
    metawriter.log_dataset(str(features / f"{name}.npy"), "output")
metawriter.finalize()
