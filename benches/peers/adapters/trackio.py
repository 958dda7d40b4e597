"""Trackio, local: `run.log(dict, step)`. No dashboard is started; samples of the hardware are off (arguments of
`init`).

TRACKIO_DIR, which names the folder of all projects, is read once, at import. Here it is a link that `start` points to
the store of the measure, and a project is named as its store.
Reading: what `trackio get metric` and `trackio query` call: `SQLiteStorage.get_metric_values` and `query_project`.
"""

import os

from adapters.base import Peer, Run


class Adapter(Peer):
    VARIANTS = {"log": "run.log(dict, step)"}
    DISTRIBUTIONS = ("trackio", "huggingface-hub", "gradio-client")
    # huggingface.co/docs, environment variables of huggingface_hub.
    ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    READER = "SQLiteStorage.get_metric_values, as trackio get metric"

    def load(self):
        self.link = os.environ["TRACKIO_DIR"] = os.path.join(os.getcwd(), f"trackio-{os.getpid()}")
        import trackio
        from trackio.sqlite_storage import SQLiteStorage

        self.tool, self.storage = trackio, SQLiteStorage

    def open(self, folder):
        if os.path.lexists(self.link):
            os.unlink(self.link)
        os.symlink(folder, self.link)
        return os.path.basename(folder)

    def start(self, folder, name, params):
        return Logged(
            self.tool.init(
                project=self.open(folder), name=name, config=params, embed=False, auto_log_gpu=False, auto_log_cpu=False
            )
        )

    def read_curve(self, folder, name, metric):
        rows = self.storage.get_metric_values(self.open(folder), name, metric)
        return [(row["step"], row["value"]) for row in rows]

    def rank(self, folder, metric):
        query = f"""SELECT run_name, min(json_extract(metrics, '$."{metric}"')) AS best
                    FROM metrics GROUP BY run_name ORDER BY best"""
        found = self.storage.query_project(self.open(folder), query)
        return [(row["run_name"], row["best"]) for row in found["rows"]]


class Logged(Run):
    def __init__(self, run):
        self.log, self.finish = run.log, run.finish
