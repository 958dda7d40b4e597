"""Stepwell, with its default settings: syncing every second, a ring of 1,048,576 records.

- log: `run.log(dict, step)`. `run.log_metric(name, dict, step)` is the same call with one argument more.
- handle: `h = run.metric(name, key)`; `h(value, step)`, which docs/GUIDE.md calls the cheapest. Ten metrics are ten
  handles called in a loop.
Reading: `stepwell.sql`; nothing is done after a crash, because SQL reads the journal of a run that died.
"""

from adapters.base import Peer, Run


class Adapter(Peer):
    VARIANTS = {"log": "run.log(dict, step)", "handle": "run.metric(name, key)(value, step)"}
    DISTRIBUTIONS = ("stepwell",)
    READER = "stepwell.sql over committed and live records"

    def load(self):
        import stepwell

        self.tool = stepwell

    def start(self, folder, name, params):
        run = self.tool.start(pipeline="peers", stage="train", name=name, params=params, store=folder)
        return Handles(run) if self.variant == "handle" else Dicts(run)

    def read_curve(self, folder, name, metric):
        query = "SELECT step, value FROM metrics WHERE run_name = $run AND metric = $metric ORDER BY seq"
        return self.tool.sql(query, folder, params={"run": name, "metric": metric}).rows

    def rank(self, folder, metric):
        query = "SELECT name, min FROM summary JOIN runs USING (run_id) WHERE metric = $metric ORDER BY min"
        return self.tool.sql(query, folder, params={"metric": metric}).rows

    def build(self):
        return getattr(self.tool, "__build__", "")


class Dicts(Run):
    def __init__(self, run):
        self.log, self.finish = run.log, run.finish


class Handles(Run):
    def __init__(self, run):
        self.run, self.handles, self.finish = run, {}, run.finish

    def one(self, key):
        return self.run.metric("metrics", key)

    def log(self, values, step):
        handles = self.handles
        for key, value in values.items():
            try:
                handle = handles[key]
            except KeyError:
                handle = handles[key] = self.run.metric("metrics", key)
            handle(value, step)
