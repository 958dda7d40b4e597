"""DVCLive: per step `live.step = step`, `live.log_metric(name, value)` for each, `live.next_step()`, as its guide
shows.

Off, by arguments of `Live`: an experiment in DVC at the end, `dvc.yaml`, reports, system metrics. `next_step` writes
the summary.
Reading: the TSV file of a metric, which is the documented format of its plots.
"""

import csv
import os
import pathlib

from adapters.base import Peer, Run


class Adapter(Peer):
    VARIANTS = {"log_metric": "live.log_metric(name, value), live.next_step()"}
    DISTRIBUTIONS = ("dvclive", "dvc")
    ENVIRONMENT = {"DVC_NO_ANALYTICS": "true", "ITERATIVE_DO_NOT_TRACK": "true", "DO_NOT_TRACK": "true"}
    READER = "csv of plots/metrics/NAME.tsv"

    def load(self):
        import dvclive

        self.tool = dvclive

    def start(self, folder, name, params):
        live = self.tool.Live(
            os.path.join(folder, name), save_dvc_exp=False, dvcyaml=None, report=None, monitor_system=False
        )
        live.log_params(params)
        return Steps(live)

    def read_curve(self, folder, name, metric):
        path = pathlib.Path(folder, name, "plots", "metrics", f"{metric}.tsv")
        if not path.exists():
            return []
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        key = metric.rpartition("/")[2]
        return [(int(row["step"]), float(row[key])) for row in rows if row.get("step") and row.get(key)]

    def runs(self, folder):
        return [path.name for path in pathlib.Path(folder).iterdir()]


class Steps(Run):
    def __init__(self, live):
        self.live, self.finish = live, live.end

    def log(self, values, step):
        self.live.step = step
        for key, value in values.items():
            self.live.log_metric(key, value)
        self.live.next_step()
