"""The graph in a real openCypher database, by the script and over Bolt."""

import json

import pytest

from conftest import PASSWORD, stepwell

# The query of CMF's documentation.
CMF_QUERY = "MATCH (a:Execution)-[r]-(b) WHERE (b:Dataset OR b:Model OR b:Metrics) RETURN a, r, b"


def by_script(store, address, database, driver):
    with driver.session(database=database) as session:
        for statement in stepwell(store, "lineage", "--format", "cypher").splitlines():
            session.run(statement.removesuffix(";")).consume()


def by_bolt(store, address, database, driver):
    stepwell(store, "lineage", "--to", address, "--user", "root", "--database", database, NEO4J_PASSWD=PASSWORD)


def edges_of(records):
    """Each edge as (run, direction, type, hash)."""
    found = set()
    for record in records:
        a, r, b = record["a"], record["r"], record["b"]
        (label,) = b.labels
        reads = r.end_node.element_id == a.element_id
        assert r.type == ("input" if reads else "output")
        found.add((a["run_id"], r.type, label, b["uri"]))
    return found


def dump(driver, database):
    with driver.session(database=database) as session:
        nodes = session.run("MATCH (n) RETURN labels(n) AS l, properties(n) AS p").data()
        relations = session.run(
            "MATCH (a)-[r]->(b) RETURN type(r) AS t, properties(r) AS p, a.uri AS a, a.Name AS an, b.uri AS b, b.Name AS bn"
        ).data()
    return sorted(json.dumps(row, sort_keys=True) for row in nodes), sorted(
        json.dumps(row, sort_keys=True) for row in relations
    )


@pytest.mark.parametrize("load", [by_script, by_bolt])
def test_cmfs_query_gives_the_edges_of_the_snapshot(store, snapshot, arcadedb, driver, load):
    address, make = arcadedb
    database = make()
    load(store, address, database, driver)
    artifacts = {artifact["id"]: artifact for artifact in snapshot["artifacts"]}
    wanted = set()
    for edge in snapshot["edges"]:
        artifact = artifacts[edge["artifact_id"]]
        if artifact["type"] in ("Dataset", "Model", "Metrics"):
            wanted.add((edge["run_id"], edge["direction"], artifact["type"], artifact["uri"]))
    with driver.session(database=database) as session:
        found = edges_of(session.run(CMF_QUERY))
    assert found == wanted and wanted
    once = dump(driver, database)
    load(store, address, database, driver)
    assert dump(driver, database) == once, "loading again changes nothing"


def test_script_and_bolt_make_the_same_graph(store, arcadedb, driver):
    address, make = arcadedb
    one, other = make(), make()
    by_script(store, address, one, driver)
    by_bolt(store, address, other, driver)
    assert dump(driver, one) == dump(driver, other)


def test_names_arrive_as_they_are(snapshot, store, arcadedb, driver):
    address, make = arcadedb
    database = make()
    by_script(store, address, database, driver)
    run = snapshot["runs"][0]
    with driver.session(database=database) as session:
        (node,) = session.run("MATCH (n:Execution {run_id: $id}) RETURN properties(n) AS p", id=run["run_id"]).data()
        paths = {path for row in session.run("MATCH (n:Dataset) RETURN n.Path AS p").data() for path in row["p"]}
        kinds = {label for row in session.run("MATCH (n) RETURN labels(n) AS l").data() for label in row["l"]}
    for key, value in run["params"].items():
        assert node["p"]["".join(c for c in key if c.isalnum() or c == "_")] == str(value)
    assert paths == {artifact["name"] for artifact in snapshot["artifacts"] if artifact["type"] == "Dataset"}
    assert kinds == {"Pipeline", "Stage", "Execution"} | {artifact["type"] for artifact in snapshot["artifacts"]}


def test_a_load_that_cannot_be_says_why(arcadedb):
    address, _ = arcadedb
    clean = {"NEO4J_PASSWD": "", "NEO4J_PASSWORD": "", "NEO4J_URI": ""}
    assert "set NEO4J_PASSWD" in stepwell("example", "lineage", "--to", address, code=2, **clean)
    assert "NEO4J_URI" in stepwell("example", "lineage", "--to", code=2, **clean)
    wrong = {**clean, "NEO4J_URI": address, "NEO4J_USER_NAME": "root", "NEO4J_PASSWORD": "wrong"}
    assert "could not load the graph" in stepwell("example", "lineage", "--to", code=1, **wrong)
    gone = {**clean, "NEO4J_PASSWD": "x"}
    assert "could not load the graph" in stepwell("example", "lineage", "--to", "bolt://127.0.0.1:1", code=1, **gone)
