"""ClearML, offline mode: `Logger.report_scalar(title, series, value, iteration)`, once per metric.

- thread: reports go through a thread: `sdk.development.report_use_subprocess: false` of its configuration.
- process: through a process of their own, the default on Linux; it is the slower one, so it comes second.

Off, by arguments of `Task.init`: frameworks, command line, console, samples of the hardware; and the search for a Git
repository, by `Task.force_store_standalone_script`, all in the reference of `Task`.
Reading: `metrics.jsonl` of the session, from its folder or the archive that closing makes, which
`Task.import_offline_session` reads.
"""

import json
import os
import pathlib
import zipfile

from adapters.base import Peer, Run


class Adapter(Peer):
    VARIANTS = {"thread": "Logger.report_scalar, by a thread", "process": "Logger.report_scalar, by a process"}
    DISTRIBUTIONS = ("clearml",)
    ENVIRONMENT = {"CLEARML_OFFLINE_MODE": "1", "CLEARML_NO_DEFAULT_SERVER": "1"}
    READER = "metrics.jsonl of the offline session"

    def load(self):
        if self.variant == "thread":
            path = pathlib.Path.home() / "clearml.conf"
            path.write_text("sdk { development { report_use_subprocess: false } }\n")
            os.environ["CLEARML_CONFIG_FILE"] = str(path)
        import clearml

        self.tool = clearml

    def start(self, folder, name, params):
        os.environ["CLEARML_CACHE_DIR"] = folder
        self.tool.Task.force_store_standalone_script()
        task = self.tool.Task.init(
            "peers",
            name,
            reuse_last_task_id=False,
            auto_connect_arg_parser=False,
            auto_connect_frameworks=False,
            auto_resource_monitoring=False,
            auto_connect_streams=False,
        )
        task.set_parameters(params)
        return Scalars(task)

    def sessions(self, folder):
        """Name of the task, and lines of its metrics."""
        for path in pathlib.Path(folder, "offline").glob("offline-*"):
            if path.is_dir() and (path / "task.json").exists():
                lines = (path / "metrics.jsonl").read_text() if (path / "metrics.jsonl").exists() else ""
                yield json.loads((path / "task.json").read_text()).get("name"), lines
            elif path.suffix == ".zip" and not path.with_suffix("").exists():
                with zipfile.ZipFile(path) as archive:
                    lines = archive.read("metrics.jsonl").decode() if "metrics.jsonl" in archive.namelist() else ""
                    yield json.loads(archive.read("task.json")).get("name"), lines

    def read_curve(self, folder, name, metric):
        return [point for task, lines in self.sessions(folder) if task == name for point in points(lines, metric)]

    def runs(self, folder):
        return [task for task, _ in self.sessions(folder)]


def points(lines, metric):
    for line in lines.splitlines():
        try:
            events = json.loads(line)
        except ValueError:
            continue  # A line that the kill cut off.
        for event in events if isinstance(events, list) else [events]:
            if event.get("metric") == metric and "value" in event:
                yield event["iter"], event["value"]


class Scalars(Run):
    def __init__(self, task):
        self.logger, self.finish = task.get_logger(), task.close

    def log(self, values, step):
        for key, value in values.items():
            self.logger.report_scalar(key, key, value, step)
