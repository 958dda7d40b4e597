"""MLflow with its SQLite store, the default of current releases.

- sync: `mlflow.log_metrics(dict, step)`.
- batch: `MlflowClient.log_batch`, 100 calls together (at most 1,000 metrics fit one request, says its reference).
- async: `mlflow.log_metrics(dict, step, synchronous=False)`, flushed at the end, with
  MLFLOW_ASYNC_LOGGING_BUFFERING_SECONDS=1, the setting of its documentation that lets calls be written together;
  without it the queue is written far slower than it fills.

No server: the process writes the database itself. System metrics are off, which is the default.
Reading: `MlflowClient.get_metric_history`. Runs can be ordered by a metric's last value alone, so ranking by the lowest
reads each curve.
"""

import functools
import os
import time

from adapters.base import Peer, Run


class Adapter(Peer):
    VARIANTS = {
        "sync": "mlflow.log_metrics(dict, step)",
        "batch": "MlflowClient.log_batch of 100 calls",
        "async": "mlflow.log_metrics(dict, step, synchronous=False)",
    }
    DISTRIBUTIONS = ("mlflow", "SQLAlchemy")
    ENVIRONMENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}
    READER = "MlflowClient.get_metric_history"

    def load(self):
        if self.variant == "async":
            os.environ["MLFLOW_ASYNC_LOGGING_BUFFERING_SECONDS"] = "1"
        import mlflow

        self.tool, self.store = mlflow, None

    def open(self, folder):
        if self.store != folder:
            self.store = folder
            self.tool.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
            self.client = self.tool.MlflowClient()

    def start(self, folder, name, params):
        self.open(folder)
        self.tool.set_experiment("peers")
        run = self.tool.start_run(run_name=name)
        self.tool.log_params(params)
        return {"sync": Each, "batch": Batches, "async": Later}[self.variant](self.tool, self.client, run.info.run_id)

    def found(self, folder):
        self.open(folder)
        experiment = self.client.get_experiment_by_name("peers")
        runs = self.client.search_runs([experiment.experiment_id], max_results=1000) if experiment else []
        return {run.info.run_name: run.info.run_id for run in runs}

    def read_curve(self, folder, name, metric):
        run_id = self.found(folder)[name]
        return [(point.step, point.value) for point in self.client.get_metric_history(run_id, metric)]

    def rank(self, folder, metric):
        # As the base does it, but with one search for all runs. The search opens the store, so it comes first.
        found, best = self.found(folder), []
        for name, run_id in found.items():
            best.append((name, min(point.value for point in self.client.get_metric_history(run_id, metric))))
        return sorted(best, key=lambda pair: pair[1])

    def runs(self, folder):
        return list(self.found(folder))


class Each(Run):
    def __init__(self, tool, client, run_id):
        self.tool, self.log = tool, tool.log_metrics

    def finish(self):
        self.tool.end_run()


class Later(Each):
    def __init__(self, tool, client, run_id):
        self.tool, self.log = tool, functools.partial(tool.log_metrics, synchronous=False)

    def finish(self):
        self.tool.flush_async_logging()
        self.tool.end_run()


class Batches(Run):
    def __init__(self, tool, client, run_id):
        self.tool, self.client, self.run_id, self.kept, self.calls = tool, client, run_id, [], 0

    def log(self, values, step):
        metric, now = self.tool.entities.Metric, int(time.time() * 1000)
        self.kept += [metric(key, value, now, step) for key, value in values.items()]
        self.calls += 1
        if self.calls % 100 == 0 or len(self.kept) >= 1000:
            self.send()

    def send(self):
        for first in range(0, len(self.kept), 1000):
            self.client.log_batch(self.run_id, self.kept[first : first + 1000])
        self.kept = []

    def finish(self):
        self.send()
        self.tool.end_run()
