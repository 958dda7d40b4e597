"""tensorboardX: `SummaryWriter.add_scalar(tag, value, step)`, once per metric; its defaults (a queue of 10, flushed
every 120 s).

Reading: TensorBoard's `EventAccumulator` with `size_guidance` 0, which its documentation gives for "all of them".
"""

import functools
import os
import pathlib

from adapters.base import Peer, Run


class Adapter(Peer):
    VARIANTS = {"add_scalar": "SummaryWriter.add_scalar(tag, value, step)"}
    DISTRIBUTIONS = ("tensorboardX", "tensorboard", "protobuf")
    READER = "tensorboard EventAccumulator"

    def load(self):
        import tensorboardX

        self.tool = tensorboardX

    def start(self, folder, name, params):
        return Scalars(self.tool.SummaryWriter(os.path.join(folder, name)))

    def read_curve(self, folder, name, metric):
        from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

        events = EventAccumulator(os.path.join(folder, name), size_guidance={SCALARS: 0})
        events.Reload()
        if metric not in events.Tags()["scalars"]:
            return []
        return [(event.step, event.value) for event in events.Scalars(metric)]

    def runs(self, folder):
        return [path.name for path in pathlib.Path(folder).iterdir()]


class Scalars(Run):
    def __init__(self, writer):
        self.writer, self.finish = writer, writer.close

    def one(self, key):
        return functools.partial(self.writer.add_scalar, key)

    def log(self, values, step):
        for key, value in values.items():
            self.writer.add_scalar(key, value, step)
