"""The stores, the program and the database that the tests of lineage share."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PASSWORD = "a password, long enough"
STORES = ["example", "hostile"]


def stepwell(store, *arguments, code=0, **environment):
    """Runs the program and gives what it wrote to stdout."""
    command = [os.environ["STEPWELL_BIN"], "--store", str(Path(os.environ["STEPWELL_LINEAGE_KEEP"]) / store), *arguments]
    ran = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, check=False)
    assert ran.returncode == code, (command, ran.returncode, ran.stderr.decode())
    return ran.stdout.decode() if code == 0 else ran.stderr.decode()


@pytest.fixture(params=STORES)
def store(request):
    return request.param


@pytest.fixture
def snapshot(store):
    """Runs, artifacts and edges, as the program tells them in JSON."""
    return json.loads(stepwell(store, "lineage", "--json"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def arcadedb(tmp_path_factory):
    """A server with a Bolt port on loopback: its address, and a function that makes an empty database."""
    from arcadedb_embedded.server import ArcadeDBServer

    # The server keeps its logs in the folder that its process was in when Java began.
    root, before = tmp_path_factory.mktemp("arcadedb"), Path.cwd()
    os.chdir(root)
    port = free_port()
    config = {
        "server_plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
        "bolt_port": port,
        "http_port": free_port(),
    }
    server = ArcadeDBServer(root_path=str(root), root_password=PASSWORD, config=config)
    server.start()
    made = []

    def database():
        made.append(server.create_database(f"lineage{len(made)}"))
        return f"lineage{len(made) - 1}"

    yield f"bolt://127.0.0.1:{port}", database
    server.stop()
    os.chdir(before)


@pytest.fixture(scope="session")
def driver(arcadedb):
    """Neo4j's own driver on that server."""
    from neo4j import GraphDatabase

    with GraphDatabase.driver(arcadedb[0], auth=("root", PASSWORD)) as driver:
        yield driver


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """Java, which the database brings into this process, ends it by a signal now and then when Python unloads it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(getattr(config, "ended_with", 0))


def pytest_sessionfinish(session, exitstatus):
    session.config.ended_with = int(exitstatus)
