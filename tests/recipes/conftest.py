"""The stores that `cargo test --test slt -- --ignored` leaves in the folder STEPWELL_SLT_KEEP."""

import os
import pathlib

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
