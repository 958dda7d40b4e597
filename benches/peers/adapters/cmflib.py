"""cmflib, the Common Metadata Framework: `Cmf.log_metric(name, dict)`, then `commit_metrics`, as its guide shows.

The step is a key of the dict: cmflib numbers the calls and has no step. A folder is made a CMF repository once, with
`cmf init local`, which is part of the first start. Neo4j is off (`graph=False`, the default). The remote is a folder.
Reading: the Parquet file that `commit_metrics` leaves, with pandas. A docstring names `read_metrics` for that; 0.1.0
has none.
"""

import os
import pathlib
import subprocess

from adapters.base import Peer, Run


class Adapter(Peer):
    VARIANTS = {"log": "Cmf.log_metric(name, dict)"}
    DISTRIBUTIONS = ("cmflib", "ml-metadata", "dvc", "pandas", "pyarrow")
    # Git wants to know who commits; DVC is told not to report usage (dvc.org/doc/user-guide/analytics).
    ENVIRONMENT = {
        "DVC_NO_ANALYTICS": "true",
        "GIT_AUTHOR_NAME": "bench",
        "GIT_AUTHOR_EMAIL": "bench@localhost",
        "GIT_COMMITTER_NAME": "bench",
        "GIT_COMMITTER_EMAIL": "bench@localhost",
        "GIT_TERMINAL_PROMPT": "0",
    }
    READER = "pandas.read_parquet of the committed file"

    def load(self):
        from cmflib import cmf

        self.tool = cmf

    def start(self, folder, name, params):
        os.chdir(folder)
        if not os.path.exists(".cmfconfig"):
            where = ["--path", f"{folder}-remote", "--git-remote-url", "https://localhost/none.git"]
            done = subprocess.run(["cmf", "init", "local", *where], capture_output=True, text=True)
            if done.returncode or "SUCCESS" not in done.stdout:
                raise RuntimeError((done.stderr or done.stdout).strip().splitlines()[-1])
        metadata = self.tool.Cmf(filepath="mlmd", pipeline_name="peers")
        metadata.create_context("train")
        metadata.create_execution(name, params)
        return Metrics(metadata, name)

    def read_curve(self, folder, name, metric):
        import pandas

        curve = []
        for path in pathlib.Path(folder).glob(f"cmf_artifacts/*/metrics/{name}"):
            table = pandas.read_parquet(path)
            if metric in table:
                # A value that was not logged at a step and a NaN look the same here: both are kept.
                curve += zip(table["step"].astype(int).tolist(), table[metric].tolist())
        return curve

    def runs(self, folder):
        return [path.stem for path in pathlib.Path(folder).glob("cmf_artifacts/*/metrics/*.dvc")]


class Metrics(Run):
    def __init__(self, metadata, name):
        self.metadata, self.name = metadata, name

    def log(self, values, step):
        self.metadata.log_metric(self.name, {"step": step, **values})

    def finish(self):
        self.metadata.commit_metrics(self.name)
        self.metadata.finalize()
