"""Aim, a local repository: `Run.track(dict, step=step)`, the form for several values of one step in its documentation.

Off, by arguments of `Run`: system metrics, system parameters, capture of the terminal.
Reading: `Repo.query_metrics`. Runs can be found once they are in the repository's index, which the process of `aim up`
keeps; without it `aim storage reindex` makes it. `recover` does that, and so does a reading that finds nothing.
"""

from adapters.base import Peer, Run


class Adapter(Peer):
    VARIANTS = {"track": "Run.track(dict, step=step)"}
    DISTRIBUTIONS = ("aim", "aimrocks")
    ENVIRONMENT = {"AIM_UI_TELEMETRY_ENABLED": "0"}
    READER = "Repo.query_metrics, after the index was made as aim storage reindex does"

    def load(self):
        import aim

        self.tool = aim

    def start(self, folder, name, params):
        run = self.tool.Run(
            repo=folder,
            experiment="peers",
            system_tracking_interval=None,
            log_system_params=False,
            capture_terminal_logs=False,
        )
        run.name = name
        run["params"] = params
        return Tracked(run)

    def recover(self, folder):
        self.tool.Repo(folder)._recreate_index()

    def query(self, folder, condition):
        found = self.ask(folder, condition)
        if not found:
            self.recover(folder)
            found = self.ask(folder, condition)
        return found

    def ask(self, folder, condition):
        found, quiet = [], self.tool.sdk.types.QueryReportMode.DISABLED
        for metric in self.tool.Repo(folder).query_metrics(condition, report_mode=quiet).iter():
            # What `Metric.dataframe` does, without pandas.
            steps, (values, _, _) = metric.data.items_list()
            found.append((metric.run.name, list(zip(map(int, steps), map(float, values)))))
        return found

    def read_curve(self, folder, name, metric):
        curves = [curve for _, curve in self.query(folder, f"run.name == '{name}' and metric.name == '{metric}'")]
        return curves[0] if curves else []

    def rank(self, folder, metric):
        found = self.query(folder, f"metric.name == '{metric}'")
        return sorted(((name, min(value for _, value in curve)) for name, curve in found), key=lambda pair: pair[1])


class Tracked(Run):
    def __init__(self, run):
        self.run, self.finish = run, run.close

    def log(self, values, step):
        self.run.track(values, step=step)
