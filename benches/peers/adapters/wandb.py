"""Weights & Biases, offline.

- log: `run.log(dict, step)`. With a step given, a row is held back until a call with a higher step, or the end.
- commit: `run.log(dict, step, commit=True)`, which ends the row at once (reference of `Run.log`).
Off, by settings that the reference of `wandb.Settings` lists: samples of the hardware, capture of machine, git, code
and console.
Reading: `wandb leet inspect --json`, which prints the records of a run's local log; a run that died needs nothing else.
"""

import functools
import json
import pathlib
import subprocess

from adapters.base import Peer, Run

SPECIAL = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


class Adapter(Peer):
    VARIANTS = {"log": "run.log(dict, step)", "commit": "run.log(dict, step, commit=True)"}
    DISTRIBUTIONS = ("wandb",)
    # docs.wandb.ai, environment variables: offline, quiet, no reports of errors to the vendor.
    ENVIRONMENT = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
    READER = "wandb leet inspect --json"

    def load(self):
        import wandb

        self.tool = wandb

    def start(self, folder, name, params):
        settings = self.tool.Settings(
            x_disable_stats=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            disable_git=True,
            disable_code=True,
            console="off",
        )
        run = self.tool.init(project="peers", id=name, name=name, config=params, dir=folder, settings=settings)
        return Logged(run, self.variant)

    def records(self, folder, name):
        for path in pathlib.Path(folder).glob(f"wandb/offline-run-*-{name}/*.wandb"):
            done = subprocess.run(["wandb", "leet", "inspect", "--json", str(path)], capture_output=True, text=True)
            for line in done.stdout.splitlines():
                yield json.loads(line)
            if done.returncode:
                raise RuntimeError((done.stderr.strip() or "wandb leet inspect failed").splitlines()[-1])

    def read_curve(self, folder, name, metric):
        curve = []
        for record in self.records(folder, name):
            if record["type"] == "history" and metric in record["history"]["item"]:
                value = record["history"]["item"][metric]
                curve.append((record["history"]["step"]["num"], SPECIAL.get(value, value)))
        return curve

    def runs(self, folder):
        return [path.name.split("-", 3)[3] for path in pathlib.Path(folder).glob("wandb/offline-run-*")]


class Logged(Run):
    def __init__(self, run, variant):
        self.log = functools.partial(run.log, commit=True) if variant == "commit" else run.log
        self.finish = run.finish
