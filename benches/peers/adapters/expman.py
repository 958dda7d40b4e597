"""expman-rs: `Experiment.log_vector(dict, step)`, which its documentation calls non-blocking.

The defaults of the class for flushing (50 rows or 500 ms). Off, by arguments that its docstring lists: copies of the
console, samples of the hardware, capture of the git state. EXPMAN_* variables are not set.
Reading: `expman.read_metrics(run_dir)` (docstring of the package); nothing is documented for the data of a run that
died.
"""

import os

from adapters.base import Peer, Run


class Adapter(Peer):
    VARIANTS = {"log": "Experiment.log_vector(dict, step)"}
    DISTRIBUTIONS = ("expman-rs",)
    READER = "expman.read_metrics"

    def load(self):
        import expman

        self.tool = expman

    def start(self, folder, name, params):
        experiment = self.tool.Experiment(
            "peers",
            run_name=name,
            base_dir=folder,
            redirect_console=False,
            system_metrics_interval_secs=0,
            capture_provenance=False,
        )
        experiment.log_params(params)
        return Vectors(experiment)

    def read_curve(self, folder, name, metric):
        rows = self.tool.read_metrics(os.path.join(folder, "peers", name))
        return [(row["step"], row[metric]) for row in rows if row.get(metric) is not None]

    def runs(self, folder):
        return [run["run"] for run in self.tool.load_runs(base_dir=folder)]


class Vectors(Run):
    def __init__(self, experiment):
        self.log, self.finish = experiment.log_vector, experiment.close
