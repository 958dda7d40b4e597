"""The stores that `make recipes-test` has the tests of SQL write, and engines that have run their prelude over one."""

import json
import os
import pathlib
import shutil

import pytest

from engines import ENGINES

FOLDER = os.environ.get("STEPWELL_SLT_KEEP")


@pytest.fixture(scope="session")
def kept():
    """The folder of the stores."""
    assert FOLDER, "STEPWELL_SLT_KEEP names no folder: `make recipes-test` makes one"
    folder = pathlib.Path(FOLDER).resolve()
    assert (folder / "committed/store/stepwell.json").exists(), f"{folder} holds no store"
    return folder


@pytest.fixture
def open_store(tmp_path, monkeypatch):
    """Runs the prelude of an engine over a store, in a folder where it is called `.stepwell`, as in the document."""

    def open_one(engine, store):
        link = tmp_path / ".stepwell"
        link.unlink(missing_ok=True)
        link.symlink_to(store)
        monkeypatch.chdir(tmp_path)
        return ENGINES[engine]()

    return open_one


class OneRun:
    """A copy of one run of a store, to be changed. Its lines keep no checksum: the recipes do not look at them."""

    def __init__(self, run: pathlib.Path, folder: pathlib.Path):
        self.store = folder / "one-run"
        self.folder = self.store / "runs" / run.name
        shutil.copytree(run, self.folder)
        (self.log,) = self.folder.glob("*.events.jsonl")

    def events(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def append(self, event: dict, log: pathlib.Path | None = None):
        log = log or self.log
        last = json.loads(log.read_text().splitlines()[-1])
        with log.open("a") as file:
            file.write(json.dumps({"n": last["n"] + 1, "time": last["time"] + 1, **event}) + "\n")


@pytest.fixture
def one_run(kept, tmp_path):
    """Copies the run of a name, of one writer, out of a store."""

    def copy(placement, name):
        for log in sorted((kept / placement / "store/runs").glob("*/*.events.jsonl")):
            if json.loads(log.read_text().splitlines()[0]).get("name") == name:
                return OneRun(log.parent, tmp_path)
        raise AssertionError(f"no run is called {name}")

    return copy
