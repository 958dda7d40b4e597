"""Not a measure: what the peer is, as its own environment tells it. Taken first; a tool that does not import fails
here."""

import platform
import sqlite3
from typing import Any

import child


def main(task: dict[str, Any]) -> dict[str, Any]:
    peer = child.loaded(task)
    return {
        "versions": peer.versions(),
        "build": peer.build(),
        "reader": peer.READER,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }


ROLES = {"main": main}
