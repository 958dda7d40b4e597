"""OpenLineage, PROV-JSON and DOT, read by the programs made for them."""

import io
import json
import shutil
import subprocess

import pytest
from conftest import stepwell


def facets_by_url():
    """The facets of OpenLineage's own client, generated from the specification, by the address of their schema."""
    import importlib
    import pkgutil

    from openlineage.client import generated

    classes = {}
    for module in pkgutil.iter_modules(generated.__path__):
        for value in vars(importlib.import_module(f"{generated.__name__}.{module.name}")).values():
            if isinstance(value, type) and hasattr(value, "_get_schema"):
                classes[value._get_schema()] = value
    return classes


def rebuilt(classes, facet):
    """A facet made by the client's class from our fields: an unknown or a missing one is an error."""
    fields = {key: value for key, value in facet.items() if key not in ("_producer", "_schemaURL")}
    return classes[facet["_schemaURL"]](**fields, producer=facet["_producer"])


def test_openlineages_client_takes_every_event(store, snapshot):
    from openlineage.client import event_v2 as events

    classes = facets_by_url()
    told = {}
    for line in stepwell(store, "lineage", "--format", "openlineage").splitlines():
        event = json.loads(line)
        facets = lambda of: {key: rebuilt(classes, facet) for key, facet in of.items()}
        for key, kind, extra in [
            ("inputs", events.InputDataset, "inputFacets"),
            ("outputs", events.OutputDataset, "outputFacets"),
        ]:
            for dataset in event[key]:
                assert set(dataset) <= {"namespace", "name", "facets", extra}
                kind(dataset["namespace"], dataset["name"], facets=facets(dataset["facets"]), **{extra: facets(dataset.get(extra, {}))})
        run, job = event["run"], event["job"]
        built = events.RunEvent(
            eventTime=event["eventTime"],
            producer=event["producer"],
            eventType=events.RunState(event["eventType"]),
            run=events.Run(run["runId"], facets=facets(run["facets"])),
            job=events.Job(job["namespace"], job["name"], facets=facets(job["facets"])),
        )
        assert built.schemaURL == event["schemaURL"]
        told.setdefault(run["runId"], []).append(event["eventType"])
    end = {"finished": "COMPLETE", "failed": "FAIL"}
    assert told == {run["run_id"]: ["START", end[run["state"]]] for run in snapshot["runs"]}


def test_prov_reads_the_document(store, snapshot):
    from prov import model

    text = stepwell(store, "lineage", "--format", "prov")
    document = model.ProvDocument.deserialize(io.StringIO(text), format="json")
    count = lambda kind: len(list(document.get_records(kind)))
    inputs = sum(edge["direction"] == "input" for edge in snapshot["edges"])
    assert count(model.ProvEntity) == len(snapshot["artifacts"])
    assert count(model.ProvActivity) == len(snapshot["runs"])
    assert count(model.ProvUsage) == inputs
    assert count(model.ProvGeneration) == len(snapshot["edges"]) - inputs
    assert count(model.ProvDerivation) >= 1 and count(model.ProvAgent) >= 2
    again = model.ProvDocument.deserialize(content=document.serialize(format="json"), format="json")
    assert again.get_provn() == document.get_provn(), "as text, since NaN is not equal to itself"
    labels = {str(label) for entity in document.get_records(model.ProvEntity) for label in entity.get_attribute("prov:label")}
    assert labels == {artifact["name"] for artifact in snapshot["artifacts"]}


def test_graphviz_or_pydot_reads_the_graph(store, snapshot):
    text = stepwell(store, "lineage", "--format", "dot")
    if shutil.which("dot"):
        picture = subprocess.run(["dot", "-Tsvg"], input=text.encode(), capture_output=True, check=True)
        assert picture.stdout.count(b'class="edge"') == len(snapshot["edges"])
        assert picture.stdout.count(b'class="node"') == len(snapshot["runs"]) + len(snapshot["artifacts"])
    import pydot

    (graph,) = pydot.graph_from_dot_data(text)
    assert len(graph.get_edges()) == len(snapshot["edges"])
    nodes = [node for part in [graph, *graph.get_subgraphs()] for node in part.get_nodes() if node.get("id")]
    assert len(nodes) == len(snapshot["runs"]) + len(snapshot["artifacts"])


@pytest.mark.parametrize("name", ["model.pkl", "train", "0190b2f5"])
def test_a_start_picks_what_lies_around_it(name):
    document = json.loads(stepwell("example", "lineage", name, "--direction", "backward", "--json"))
    assert len(document["runs"]) == 3 and document["starts"]
    error = stepwell("example", "lineage", name[:-1] + "x", code=4)
    assert "there is no artifact or run" in error
