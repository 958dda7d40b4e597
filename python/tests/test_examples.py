"""The example trains, and the benchmark counts its rows back."""

import json
import os
import subprocess
import sys

import stepwell

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def test_the_digits_are_learnt(store):
    command = [sys.executable, os.path.join(ROOT, "examples", "digits.py"), "--store", store]
    command += ["--lr", "0.1", "0.3", "--seeds", "0", "1", "--epochs", "4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("validation accuracy") == 4 and "| lr " in done.stdout
    counts = "SELECT stage, state, count(*) FROM runs GROUP BY 1, 2 ORDER BY 1"
    assert stepwell.sql(counts, store).rows == [("prepare", "finished", 1), ("train", "finished", 4)]
    steps = "SELECT metric, count(*), count(DISTINCT step) FROM metrics WHERE metrics_name = 'training_metrics' GROUP BY 1"
    # 1,437 images in batches of 64, four times over, in each of four runs.
    assert sorted(stepwell.sql(steps, store).rows) == [
        (metric, 4 * 92, 92) for metric in ("accuracy", "grad_norm", "loss")
    ]
    best = stepwell.sql("SELECT max(value) FROM metrics WHERE metric = 'val_accuracy'", store).rows[0][0]
    assert best > 0.85
    lineage = "SELECT type, direction, count(*) AS n FROM lineage WHERE type IN ('Dataset', 'Model') GROUP BY 1, 2 ORDER BY 1, 2"
    edges = [(kind, direction.lower(), count) for kind, direction, count in stepwell.sql(lineage, store).rows]
    assert edges == [("Dataset", "input", 9), ("Dataset", "output", 2), ("Model", "output", 4)]


def test_the_benchmark_runs(tmp_path):
    file = tmp_path / "bench.json"
    command = [sys.executable, os.path.join(ROOT, "benches", "python", "call.py"), "--rounds", "1", "--json", str(file)]
    done = subprocess.run([*command, "--store", str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(file.read_text())
    assert told["rows"] > 0 and all(row["best"] <= row["p50"] <= row["max"] for row in told["records"])
    assert stepwell.__build__ == told["environment"]["profile"]
