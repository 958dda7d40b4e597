"""Makes lines of text, half of them about one subject, and splits them into those to learn from and those to test with."""

import random
from pathlib import Path

from tracking import Cmf

SEED, SHARE, LINES = 20170428, 0.2, 400
WORDS = {1: ["gradient", "tensor", "kernel", "layer"], 0: ["garden", "table", "kettle", "ladder"]}

random.seed(SEED)
raw = Path("artifacts/data.tsv")
raw.parent.mkdir(exist_ok=True)
rows = [(number % 2, " ".join(random.choices(WORDS[number % 2] + ["the", "a", "of"], k=8))) for number in range(LINES)]
raw.write_text("".join(f"{label}\t{text}\n" for label, text in rows))

metawriter = Cmf(filepath="mlmd", pipeline_name="text-example", custom_properties={"owner": "example", "version": 1})
metawriter.create_context(pipeline_stage="Prepare", custom_properties={"user-metadata1": "metadata_value"})
metawriter.create_execution(execution_type="Prepare", custom_properties={"split": SHARE, "seed": SEED})
labels = Path("artifacts/labels.csv")
labels.write_text("label,meaning\n1,learning\n0,home\n")
metawriter.log_dataset(str(raw), "input", custom_properties={"lines": LINES}, label=str(labels), label_properties={"by": "hand"})

parsed = Path("artifacts/parsed")
parsed.mkdir(exist_ok=True)
lines = raw.read_text().splitlines(keepends=True)
random.shuffle(lines)
cut = int(len(lines) * SHARE)
(parsed / "test.tsv").write_text("".join(lines[:cut]))
(parsed / "train.tsv").write_text("".join(lines[cut:]))
metawriter.log_dataset(str(parsed / "train.tsv"), "output")
metawriter.log_dataset(str(parsed / "test.tsv"), "output", custom_properties={"lines": cut, "share": SHARE})
metawriter.finalize()
