"""What the document says of itself is so."""

import re

import document

REQUIREMENTS = document.HERE / "../../python/requirements-test.txt"


def test_every_question_has_a_section_and_nothing_else_does():
    assert list(document.recipes()) == list(document.QUESTIONS)
    for number in document.QUESTIONS:
        assert document.expected(number), number


def test_the_document_counts_its_recipes():
    recipes = document.recipes().values()
    told = re.search(r"^(\d+) of the 26 have a recipe for DuckDB, (\d+) for Polars", document.DOCUMENT.read_text(), re.M)
    counted = [sum(section.code(engine) is not None for section in recipes) for engine in ("duckdb", "polars")]
    assert [int(count) for count in told.groups()] == counted


def test_the_document_names_the_versions_that_are_tested():
    pinned = dict(line.split("==") for line in REQUIREMENTS.read_text().splitlines() if "==" in line)
    assert f"Tested with DuckDB {pinned['duckdb']} and Polars {pinned['polars']}." in document.DOCUMENT.read_text()


def test_a_wrong_answer_is_one():
    wanted = document.expected(2)
    assert wanted == ["lion-0.01-1 80 0.113333 79 0.11236"]
    right = ("lion-0.01-1", 80, 0.1133331, 79, 0.11236)
    assert document.difference([right], 2) == ""
    wrong = [
        [],
        [right, right],
        [right[:4]],
        [("lion-0.01-2", *right[1:])],
        [("lion-0.01-1", 81, *right[2:])],
        [("lion-0.01-1", 80.0, *right[2:])],
        [("lion-0.01-1", 80, 0.113336, 79, 0.11236)],
        [("lion-0.01-1", 80, None, 79, 0.11236)],
        [("lion-0.01-1", 80, float("nan"), 79, 0.11236)],
    ]
    assert all(document.difference(rows, 2) for rows in wrong)
