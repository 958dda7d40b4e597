"""Makes a store with every kind of thing the catalog knows, and says in JSON what SQL finds in it.

make_store.py STORE EXPECTED.json
"""

import json
import pathlib
import sys

import stepwell


def main(store: pathlib.Path, expected: pathlib.Path) -> None:
    data = store.parent / "data.csv"
    data.write_text("1,2\n3,4\n")
    weights = store.parent / "weights.bin"
    with stepwell.start("digits", "prepare", store=store, params={"split": 0.2, "shuffle": True}) as run:
        run.log_dataset(data, "output", {"rows": 2})
    for seed in range(3):
        params = {"lr": 0.1 * (seed + 1), "seed": seed, "optimizer": "sgd", "limit": float("inf")}
        with stepwell.start("digits", "train", store=store, name=f"seed {seed}", params=params, tags={"team": "a"}) as run:
            run.log_dataset(data, "input")
            for step in range(100):
                run.log_metric("training_metrics", {"loss": 1 / (step + 1), "acc": step / 100}, step=step)
            run.log_execution_metrics("final", {"auc": 0.9 + seed / 100, "note": "good", "undefined": float("nan")})
            weights.write_text(f"weights {seed}")
            run.log_model(weights, "output", {"layers": 2})
    tables = {
        "runs": "SELECT run_id, pipeline, stage, state FROM runs ORDER BY run_id",
        "artifacts": "SELECT id, type, name, uri FROM artifacts ORDER BY id",
        "lineage": "SELECT run_id, artifact_id, direction FROM lineage ORDER BY run_id, artifact_id, direction",
    }
    answers = {name: stepwell.sql(query, store).to_dicts() for name, query in tables.items()}
    expected.write_text(json.dumps(answers, default=str))


main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
