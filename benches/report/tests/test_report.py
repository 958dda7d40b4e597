"""The report from records: the same bytes each time, what is in it can be traced, and nothing a record lacks stops it.

    python -m pytest benches/report/tests

Nothing is measured. Records of peers are made up here; that of SQL is the one of the repository.
"""

import contextlib
import copy
import io
import json
import pathlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as xml

import pytest

REPORT = pathlib.Path(__file__).resolve().parents[1]
ROOT = REPORT.parents[1]
sys.path[:0] = [str(REPORT), str(REPORT / "tests")]

import report  # noqa: E402
import words  # noqa: E402
from made import MEASURES, ORDER, PEERS, made_record  # noqa: E402
from records import Peers  # noqa: E402


def page_of(record):
    return report.report({"peers": record})


def rows_below(text, heading):
    """Cells of the first table below a heading, without bold and marks."""
    lines = text[text.index(heading) :].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|---"))
    rows = []
    for line in lines[first + 1 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("**", "").replace(" ▼", "") for cell in line.strip("|").split(" | ")])
    return rows


def results_of(record, measure, peer=None):
    return [row for row in record["results"] if row["measure"] == measure and peer in (None, row["peer"])]


@pytest.fixture
def clone(tmp_path):
    """The committed files that the report reads and writes."""
    for name in ("README.md", "BENCHMARKS.md", "docs/benchmarks", "benches/results"):
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    return tmp_path


def run(root, *arguments):
    """Exit code and output of the program, in this process."""
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = report.main(["--root", str(root), *arguments])
    return subprocess.CompletedProcess([], code, out.getvalue(), error.getvalue())


def test_it_runs_as_a_program_and_its_exit_code_tells(clone):
    (clone / "BENCHMARKS.md").write_text("nothing")
    command = [sys.executable, str(REPORT / "report.py"), "--root", str(clone), "--check"]
    assert subprocess.run(command, capture_output=True).returncode == 1


def test_committed_files_are_what_the_records_say():
    done = run(ROOT, "--check")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["README.md", "BENCHMARKS.md", "docs/benchmarks/sql.svg"])
def test_a_changed_digit_is_found(clone, name):
    text = (clone / name).read_text()
    # A figure of the first question of the record, in whichever form the file has it.
    start = text.index("<!-- bench: sql -->") if name == "README.md" else text.index("36 real runs")
    place = next(
        found.start()
        for found in re.finditer(r"\d", text[start:])
        if text[start:][found.start() - 2 : found.start()] in (", ", "**", ">1")
    )
    place += start
    (clone / name).write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
    done = run(clone, "--check")
    assert done.returncode == 1 and name in done.stdout, done.stdout
    assert run(clone).returncode == 0 and (clone / name).read_text() == text
    assert run(clone, "--check").returncode == 0


def test_a_picture_that_is_missing_or_left_over_is_found(clone):
    extra, picture = clone / "docs/benchmarks/old.svg", clone / "docs/benchmarks/sql.svg"
    extra.write_text("<svg/>")
    assert run(clone, "--check").returncode == 1
    run(clone)
    assert not extra.exists()
    picture.unlink()
    assert run(clone, "--check").returncode == 1


def test_check_writes_nothing(clone):
    (clone / "BENCHMARKS.md").write_text("nothing")
    run(clone, "--check")
    assert (clone / "BENCHMARKS.md").read_text() == "nothing"


def test_the_same_records_give_the_same_bytes_in_any_order_of_their_rows():
    record = made_record()
    turned = {**copy.deepcopy(record), "results": record["results"][::-1]}
    pages = [page_of(record), page_of(record), page_of(turned)]
    assert pages[0].text() == pages[1].text() == pages[2].text()
    assert pages[0].pictures == pages[1].pictures == pages[2].pictures


def test_costs_can_be_traced_to_the_record():
    record = made_record()
    rows = rows_below(page_of(record).text(), "### A call with 1 metric")
    assert [row[0] for row in rows] == [
        "floor: empty function",
        "floor: SQLite",
        "Stepwell",
        "Stepwell handle",
        "expman-rs",
        "MLflow sync",
        "MLflow async",
    ]
    for (peer, variant), row in zip(ORDER, rows):
        figures = record["cost"][f"{peer}/{variant}"]["metrics_1"]
        expected = [words.nanos(figures[name]) for name in ("p50_ns", "p99_ns", "p99_9_ns", "max_ns", "batch_mean_ns")]
        assert row[1:6] == expected
    assert rows[0][6] == "0.33x" and rows[2][6] == "1.0x" and rows[4][6] == "1.7x"


def test_losses_sizes_and_slowdowns_can_be_traced_to_the_record():
    text = page_of(made_record()).text()
    assert rows_below(text, "## Of the calls")[2][:9] == ["Stepwell", "31", "30", "32", "1,001", "3", "2", "4", "1,001"]
    assert rows_below(text, "## How many bytes")[2][1:4] == ["15.8", "22.5", "110,192"]
    assert rows_below(text, "## By how much")[4][1:3] == ["0.7 %", "0.7 %"]
    assert rows_below(text, "## How soon")[6][1] == "17.5 ms"


def test_sql_can_be_traced_to_the_record():
    data = json.loads((ROOT / "benches/results/sql.json").read_text())
    text = (ROOT / "BENCHMARKS.md").read_text()
    for size in data["sizes"]:
        rows = rows_below(text, f"### {report.sql.name(size)}")
        for question, row in zip(size["questions"], rows, strict=True):
            theirs = min(value for name, value in question["median_ms"].items() if name != "stepwell")
            assert row[:3] == [
                question["question"],
                words.millis(question["median_ms"]["stepwell"]),
                words.millis(theirs),
            ]
            assert (theirs < question["median_ms"]["stepwell"]) == (
                question["question"] in text and "▼" in line_of(text, size, question)
            )


def line_of(text, size, question):
    below = text[text.index(f"### {report.sql.name(size)}") :]
    return next(line for line in below.splitlines() if line.startswith(f"| {question['question']} |"))


def test_a_lower_figure_of_a_peer_is_marked_and_named():
    record = made_record()
    for row in results_of(record, "size", "expman"):
        row["value"]["apparent_bytes_per_record"] = 1.5
    text = page_of(record).text()
    assert "| expman-rs | 1.50 ▼ |" in text
    glance = next(row for row in rows_below(text, "## At a glance") if row[0] == "bytes a record")
    assert glance[2:] == ["1.50 (expman-rs)", "0.095x", "expman-rs (1.50)"]
    readme = report.glance.readme(Peers(record))
    assert "| expman-rs | 500 ns | 701 ns" in readme and "1.50 ▼" in readme


def test_a_peer_that_failed_is_a_row_with_its_reason_and_without_paths_of_the_machine():
    record = made_record()
    record["peers"]["expman"]["error"] = "not installed: no such thing"
    for row in record["results"]:
        if row["peer"] == "expman":
            del row["value"]
            row["error"] = "exit code 1: /home/somebody/venvs/lib/x.py said | <b> at https://example.invalid/simple"
    del record["cost"]["expman/log"]
    page = page_of(record)
    text = page.text()
    assert text.count("| expman-rs | failed: exit code 1: x.py said \\| &lt;b&gt; at (address)") == len(MEASURES) + 1
    assert "/home/" not in text and "example.invalid" not in text
    # It is the last row of its table.
    assert rows_below(text, "## How many bytes")[-1][0] == "expman-rs"
    assert all(
        "expman-rs" in drawn and "failed" in drawn for name, drawn in page.pictures.items() if "cost" not in name
    )
    assert "failed" in report.glance.readme(Peers(record))


def test_what_hung_in_the_middle_is_shown_and_said():
    record = made_record()
    row = results_of(record, "cost", "mlflow")[1]
    del row["value"]["metrics_10"], record["cost"]["mlflow/async"]["metrics_10"]
    row["incomplete"] = "not done within 45 s"
    for row in results_of(record, "behaviour", "mlflow"):
        row["value"]["keys"] = {"word": "hangs", "detail": "no answer within 100 s"}
    text = page_of(record).text()
    assert "MLflow async: incomplete, not done within 45 s." in text
    assert "hangs (no answer within 100 s)" in text
    assert rows_below(text, "### A call with 10 metrics")[-1][:2] == ["MLflow async", "-"]


def test_a_value_that_is_never_seen_before_the_end_says_so_and_comes_last():
    record = made_record()
    for row in results_of(record, "visible", "expman"):
        row["value"] |= {
            "never_before_finish": True,
            "delay_ms": {"n": 0},
            "first_delay_ms": None,
            "reading_ms": {"n": 0},
        }
    text = page_of(record).text()
    assert rows_below(text, "## How soon")[-1][:2] == ["expman-rs", "not within 4 s"]


@pytest.mark.parametrize("measure", MEASURES)
def test_a_measure_may_be_missing(measure):
    record = made_record()
    record["results"] = [row for row in record["results"] if row["measure"] != measure]
    if measure == "cost":
        record["cost"] = {}
    assert "The record has no such measure yet." in page_of(record).text()
    assert report.glance.readme(Peers(record))


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("keep", ["nothing", "no figures"])
def test_figures_may_be_missing(measure, keep):
    record = made_record()
    for row in results_of(record, measure):
        row["value"] = {key: None for key in row["value"]} if keep == "no figures" else {}
    if measure == "cost":
        record["cost"] = {}
    page_of(record).text()
    report.glance.readme(Peers(record))


@pytest.mark.parametrize("peer", PEERS)
def test_one_peer_alone_makes_a_report(peer):
    record = made_record()
    record["results"] = [row for row in record["results"] if row["peer"] == peer]
    record["peers"] = {peer: record["peers"][peer]}
    record["cost"] = {key: value for key, value in record["cost"].items() if key.startswith(peer)}
    page = page_of(record)
    assert "## Of the calls" in page.text() and len(page.pictures) == 5


def test_no_record_at_all_makes_a_report_and_one_that_is_not_known_is_left_out(clone):
    for path in (clone / "benches/results").glob("*.json"):
        path.unlink()
    (clone / "benches/results/other.json").write_text("{}")
    done = run(clone)
    assert done.returncode == 0 and "other.json: not a record" in done.stderr
    assert "<!-- bench: sql -->\n<!-- /bench -->" in (clone / "README.md").read_text()


def test_tables_of_rust_programs_are_shown_as_they_are():
    rows = [
        {"table": "ns a call", "name": "limit: a store", "mean": 10.0, "p50": 9.5, "waits": None},
        {"table": "ns a call", "name": "log", "mean": 12.5, "p50": 10.0, "waits": 0.0},
    ]
    data = {"benchmark": "latency", "environment": {"profile": "dev: NOT A RELEASE BUILD"}, "records": rows}
    text = report.report({"latency": data}).text()
    assert "| log | 10 | 12.5 | 0 | 1.2x |" in text
    assert "**latency: dev: NOT A RELEASE BUILD. Its figures are not to be quoted.**" in text


def test_a_wheel_that_is_no_release_build_is_named():
    record = made_record()
    record["peers"]["stepwell"]["build"] = "debug"
    assert "**peers: stepwell debug. Its figures are not to be quoted.**" in page_of(record).text()
    record["peers"]["stepwell"]["build"] = "release, opt-level 3"
    assert "not to be quoted" not in page_of(record).text()


def test_pictures_are_whole_and_can_be_read_aloud_and_no_text_is_small():
    for name, drawn in page_of(made_record()).pictures.items():
        tree = xml.fromstring(drawn)
        space = "{http://www.w3.org/2000/svg}"
        assert tree.find(f"{space}title").text and tree.find(f"{space}desc").text, name
        assert min(map(int, re.findall(r"font-size:(\d+)px", drawn))) >= 11
        assert "prefers-color-scheme:dark" in drawn and "nan" not in drawn
        width, height = float(tree.get("width")), float(tree.get("height"))
        for text in tree.iter(f"{space}text"):
            assert 0 <= float(text.get("x")) <= width and 0 <= float(text.get("y")) <= height, (name, text.text)


@pytest.mark.parametrize(
    "value, expected",
    [
        (0.0123456, "0.0123"),
        (9.996, "10.0"),
        (999.6, "1,000"),
        (1234567, "1,234,567"),
        (-3.04, "-3.04"),
        (0, "0"),
        (None, "-"),
    ],
)
def test_numbers_have_three_digits_that_matter(value, expected):
    assert words.plain(value) == expected


def test_times_have_the_unit_that_suits_them():
    assert [words.nanos(value) for value in (78, 999.7, 1.2e6, 3.4e9)] == ["78.0 ns", "1.00 us", "1.20 ms", "3.40 s"]


def test_a_slowdown_within_the_noise_has_no_sign():
    assert [words.percent(value) for value in (-0.02, -0.06, 3.14, 250.4)] == ["0.0 %", "-0.1 %", "3.1 %", "250 %"]
