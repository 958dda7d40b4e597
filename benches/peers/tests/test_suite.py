"""The suite in its tiny form: what it says has to be right. Nothing here looks at how long something took.

    python -m pytest benches/peers/tests

PEERS_VENVS names a folder for the environments, to use them again. STEPWELL_WHEEL names Stepwell's wheel; without it
the floors alone are run, and the tests about Stepwell say that they are skipped.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

PEERS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PEERS))

import processes  # noqa: E402
from forms import FORMS, MEASURES  # noqa: E402
from measure import behaviour, figures  # noqa: E402
from suite import launch, record  # noqa: E402

WHEEL = os.environ.get("STEPWELL_WHEEL")
FLOORS = ("pass", "list", "jsonl", "sqlite")
# An environment with nothing in it needs no network.
NOTHING = "# nothing\n"
ADAPTER = """
from adapters.base import Peer, Run

class Adapter(Peer):
    VARIANTS = {"log": "a test"}
"""


def run(folder, *arguments, adapters=None):
    """The record of one run of the suite."""
    path = folder / "record.json"
    venvs = os.environ.get("PEERS_VENVS") or str(folder / "venvs")
    command = [
        sys.executable,
        str(PEERS / "run.py"),
        "--tiny",
        "--json",
        str(path),
        "--work",
        str(folder / "work"),
        "--venvs",
        venvs,
    ]
    command += ["--adapters", str(adapters)] if adapters else []
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text()), done


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Floors and Stepwell through every measure."""
    peers = ["--peers", "floors,stepwell", "--wheel", WHEEL] if WHEEL else ["--peers", "floors"]
    return run(tmp_path_factory.mktemp("whole"), *peers)[0]


def value(data, peer, variant, measure):
    rows = [row for row in data["results"] if (row["peer"], row["variant"], row["measure"]) == (peer, variant, measure)]
    assert len(rows) == 1 and "value" in rows[0], rows
    return rows[0]["value"]


def kept(data):
    """All that keep what they are given until the end of a run."""
    return [("floors", name) for name in FLOORS[1:]] + ([("stepwell", "log")] if WHEEL else [])


def adapter(folder, name, body, requirements=NOTHING):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(ADAPTER + body)
    (folder / f"{name}.txt").write_text(requirements)
    return folder


def test_each_measure_has_a_row_without_error(whole):
    assert [row for row in whole["results"] if "error" in row] == []
    for measure in MEASURES:
        found = {row["variant"] for row in whole["results"] if row["peer"] == "floors" and row["measure"] == measure}
        assert found == set(FLOORS)
    if not WHEEL:
        print("skipped: Stepwell (STEPWELL_WHEEL is not set)")


def test_the_record_says_where_and_what_it_was(whole):
    assert whole["machine"]["cores"] and whole["machine"]["kernel"] and whole["machine"]["file_system"] != "unknown"
    assert {"seed", "commit", "started", "isolated", "settings"} <= whole.keys()
    if WHEEL:
        assert whole["peers"]["stepwell"]["versions"]["stepwell"] in os.path.basename(WHEEL)


def test_as_many_calls_are_read_back_as_were_logged(whole):
    for peer, variant in kept(whole):
        for part in ("metrics_1", "metrics_10"):
            told = value(whole, peer, variant, "cost")[part]
            assert told["read_back"] == told["logged"] > told["calls"]
            assert sum(count for _, count in told["histogram"]) == told["calls"]
    assert value(whole, "floors", "pass", "cost")["metrics_1"]["read_back"] == 0


def test_the_median_of_the_repetitions_is_kept_beside_them(whole):
    told = whole["cost"]["floors/jsonl"]
    assert told["repetitions"] == 1
    assert told["metrics_10"]["p50_ns"] == value(whole, "floors", "jsonl", "cost")["metrics_10"]["p50_ns"]


def test_a_list_in_memory_loses_all_at_a_kill_and_a_flushed_line_nothing(whole):
    for kind in ("paced", "flat"):
        for kill in value(whole, "floors", "list", "kill")[kind]["each"]:
            assert kill["lost"] == kill["returned"] > 0
        for kill in value(whole, "floors", "jsonl", "kill")[kind]["each"]:
            assert kill["lost"] == 0 and kill["readable"] >= kill["returned"] > 0 and kill["wrong"] == 0


@pytest.mark.skipif(not WHEEL, reason="STEPWELL_WHEEL is not set")
def test_stepwell_loses_nothing_at_a_kill(whole):
    for variant in ("log", "handle"):
        for kind in ("paced", "flat"):
            for kill in value(whole, "stepwell", variant, "kill")[kind]["each"]:
                assert (kill["lost"], kill["wrong"], kill["repeated"]) == (0, 0, 0), kill


def test_curves_and_ranks_are_read_back_right(whole):
    for peer, variant in kept(whole):
        told = value(whole, peer, variant, "read")
        assert told["points_read"] == told["points_logged"] == FORMS["tiny"]["read"]["points"]
        assert told["rank_right"] and told["runs_ranked"] == told["runs_logged"] == FORMS["tiny"]["read"]["runs"]
        back = value(whole, peer, variant, "size")["read_back_of_first_run"]
        assert back["found"] == back["expected"] == FORMS["tiny"]["size"]["steps"]
    assert not value(whole, "floors", "pass", "read")["rank_right"]


def test_visible_before_the_end_only_where_it_is_written_before(whole):
    assert value(whole, "floors", "list", "visible")["never_before_finish"]
    for peer, variant in kept(whole)[1:]:
        told = value(whole, peer, variant, "visible")
        assert not told["never_before_finish"] and told["steps_after_finish"] == told["steps_logged"]


def test_behaviour_is_told_as_it_is(whole):
    lines = value(whole, "floors", "jsonl", "behaviour")
    assert {case: told["word"] for case, told in lines.items()} == dict.fromkeys(
        ("nan", "late", "repeated", "keys", "fork"), "kept"
    )
    assert value(whole, "floors", "list", "behaviour")["fork"]["word"] == "partly kept"
    # SQLite has no NaN: it stores NULL.
    nan = value(whole, "floors", "sqlite", "behaviour")["nan"]
    assert nan["word"] == "partly kept" and nan["detail"] == "nan: changed to None, inf: kept, -inf: kept"
    if WHEEL:
        told = value(whole, "stepwell", "log", "behaviour")
        assert [told[case]["word"] for case in ("nan", "late", "repeated", "keys")] == ["kept"] * 4
        assert told["fork"]["word"] == "error" and "ForkedError" in told["fork"]["detail"]


def test_a_resumed_run_measures_what_is_missing_only(tmp_path):
    first, _ = run(tmp_path, "--peers", "floors", "--measures", "memory")
    second, done = run(tmp_path, "--peers", "floors", "--measures", "memory,times", "--resume")
    assert second["results"][: len(first["results"])] == first["results"]
    assert "memory floors" not in done.stderr and "times floors" in done.stderr


def test_a_peer_that_does_not_install_is_a_row_that_says_so(tmp_path):
    folder = adapter(tmp_path / "more", "missing", "", "--no-index\nnothing-of-this-name==1.0\n")
    data, _ = run(tmp_path, "--peers", "missing,floors", "--measures", "times", adapters=folder)
    rows = {row["variant"]: row for row in data["results"]}
    assert rows["log"]["error"].startswith("not installed: ") and "nothing-of-this-name" in rows["log"]["error"]
    assert "value" in rows["jsonl"]


def test_a_peer_that_fails_is_a_row_with_the_last_line_of_its_error(tmp_path):
    folder = adapter(tmp_path / "more", "unimportable", "    def load(self): import nothing_of_this_name\n")
    adapter(
        folder, "unstartable", "    def start(self, folder, name, params): raise OSError('first line\\nno start')\n"
    )
    adapter(folder, "unreadable", "    this is not Python\n")
    names = "unimportable,unstartable,unreadable"
    data, _ = run(tmp_path, "--peers", names, "--measures", "cost,kill", adapters=folder)
    errors = {(row["peer"], row["measure"]): row.get("error", "") for row in data["results"]}
    assert len(errors) == 6
    assert errors["unimportable", "cost"] == "ModuleNotFoundError: No module named 'nothing_of_this_name'"
    assert "no start" in errors["unstartable", "cost"] and "no start" in errors["unstartable", "kill"]
    assert errors["unreadable", "kill"].startswith("adapter: ")


def test_what_was_measured_before_the_end_hung_is_kept_and_marked(tmp_path, monkeypatch):
    body = """
    def start(self, folder, name, params):
        return Stuck()


class Stuck(Run):
    def log(self, values, step):
        pass

    def finish(self):
        import time

        time.sleep(1000)
"""
    folder = adapter(tmp_path / "more", "stuck", body)
    processes.adopt_orphans()
    form = {**FORMS["tiny"]["cost"], "limit_s": 0.1}
    task = {"peer": "stuck", "variant": "log", "measure": "cost", "repetition": 0, "form": form, "seed": 1}
    result = launch.measure(sys.executable, task, tmp_path / "work", {"PEERS_ADAPTERS": str(folder)}, 5)
    assert result["incomplete"] == "not done within 5 s" and "error" not in result
    assert result["value"]["metrics_1"]["calls"] == form["calls"] and "finish_s" not in result["value"]["metrics_1"]


def test_what_hangs_is_given_up_and_what_it_started_is_ended(tmp_path, monkeypatch):
    body = """
    def load(self):
        import subprocess, sys, time
        held = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        open(sys.argv[1] + ".pid", "w").write(str(held.pid))
        time.sleep(1000)
"""
    folder = adapter(tmp_path / "more", "hanging", body)
    monkeypatch.setenv("PEERS_KEEP", "1")
    processes.adopt_orphans()
    task = {"peer": "hanging", "variant": "log", "measure": "about", "repetition": 0, "form": {}, "seed": 1}
    settings = {"PEERS_ADAPTERS": str(folder)}
    result = launch.measure(sys.executable, task, tmp_path / "work", settings, 5)
    assert result["error"].startswith("not done within 5 s") and result["ended_by_force"] >= 1
    pid = int((tmp_path / "work" / "hanging-log-about-0" / "task.json.pid").read_text())
    assert processes.stat(pid) is None


@pytest.mark.skipif(not launch.isolation(), reason="no network namespaces here")
def test_a_measure_has_loopback_and_no_network(tmp_path):
    body = """
    def versions(self):
        import socket
        server = socket.create_server(("127.0.0.1", 0))
        socket.create_connection(server.getsockname(), 2).close()
        return {"names": ",".join(name for _, name in socket.if_nameindex())}
"""
    folder = adapter(tmp_path / "more", "looking", body)
    data, _ = run(tmp_path, "--peers", "looking", "--measures", "memory", adapters=folder)
    assert data["peers"]["looking"]["versions"] == {"names": "lo"}


def test_percentiles_and_buckets():
    ordered = list(range(1, 1001))
    assert [figures.percentile(ordered, share) for share in (0.5, 0.99, 0.999, 1)] == [500, 990, 999, 1000]
    assert figures.percentile([7], 0.5) == 7
    for value_ns in (0, 1, 31, 63, 64, 1000, 123_456_789):
        [[lower, count]] = figures.histogram([value_ns])
        assert count == 1 and lower <= value_ns <= lower + lower / 32


def test_words_of_behaviour():
    whole_curve = [(step, behaviour.SPECIAL.get(step, float(step))) for step in range(10)]
    assert behaviour.judge_nan(whole_curve)["word"] == "kept"
    assert behaviour.judge_nan([pair for pair in whole_curve if pair[0] not in behaviour.SPECIAL])["word"] == "dropped"
    told = behaviour.judge_nan([(step, 0.0 if step == 3 else value_of) for step, value_of in whole_curve if step != 5])
    assert told == {"word": "partly kept", "detail": "nan: changed to 0.0, inf: dropped, -inf: kept"}
    late = [(0, 0.0), (1, 1.0), (2, 2.0), (10, 10.0), (11, 11.0)]
    assert behaviour.judge_late([*late, (3, 3.0), (4, 4.0)])["word"] == "kept"
    assert behaviour.judge_late(late)["word"] == "dropped"
    assert behaviour.judge_late([*late, (10, 3.0), (10, 4.0)])["word"] == "changed"
    assert behaviour.judge_repeated([(0, 0.0), (1, 1.5)])["detail"] == "the last alone"


def test_medians_are_over_repetitions():
    def row(nanos):
        part = dict.fromkeys(("p50_ns", "p90_ns", "p99_ns", "p99_9_ns", "max_ns", "mean_ns", "batch_mean_ns"), nanos)
        taken = {"timer_ns": {"p50": 1}, "metrics_1": part, "metrics_10": part}
        return {"peer": "a", "variant": "b", "measure": "cost", "value": taken}

    found = record.medians([row(1), row(9), row(4), {"peer": "a", "variant": "b", "measure": "cost", "error": "x"}])
    assert found["a/b"]["repetitions"] == 3 and found["a/b"]["metrics_1"]["p50_ns"] == 4
