"""SwanLab without its cloud: `run.log(dict, step=step)`.

Mode offline: records in one file of the run, for `swanlab sync` later (docs.swanlab.cn, `swanlab.init`). Mode local is
left out: its writer for the dashboard takes about 1,300 calls a second, and the end of a run waits for it.
Off, by `swanlab.Settings`: the probe (hardware, runtime, packages, git) and capture of the terminal.
Reading: the reader that `swanlab sync` uses on the run's file; there is no other for a run that is not in the cloud.
"""

import os
import pathlib

from adapters.base import Peer, Run


class Adapter(Peer):
    VARIANTS = {"offline": "run.log(dict, step), mode offline"}
    DISTRIBUTIONS = ("swanlab",)
    ENVIRONMENT = {"SWANLAB_INTERACTIVE": "false"}
    READER = "DataStoreReader, as swanlab sync"

    def load(self):
        import swanlab

        self.tool = swanlab

    def start(self, folder, name, params):
        settings = self.tool.Settings
        quiet = settings(
            probe=settings.Probe(
                hardware=False, runtime=False, requirements=False, git=False, swanlab=False, monitor=False
            ),
            terminal=settings.Terminal(proxy_type="none"),
        )
        return Logged(
            self.tool.init(
                mode=self.variant,
                project="peers",
                name=name,
                config=params,
                log_dir=os.path.join(folder, name),
                settings=quiet,
            )
        )

    def read_curve(self, folder, name, metric):
        from swanlab.proto.swanlab.record.v1.record_pb2 import Record
        from swanlab.sdk.internal.core_python.store import DataStoreReader

        curve = []
        for path in pathlib.Path(folder, name).glob("run-*/run-*.swanlab"):
            reader = DataStoreReader()
            reader.open(path)
            for data in reader:
                record = Record.FromString(data)
                if record.HasField("scalar") and record.scalar.key == metric:
                    curve.append((record.scalar.step, record.scalar.value.number))
            reader.close()
        return curve

    def runs(self, folder):
        return [path.name for path in pathlib.Path(folder).iterdir()]


class Logged(Run):
    def __init__(self, run):
        self.log, self.finish = run.log, run.finish
