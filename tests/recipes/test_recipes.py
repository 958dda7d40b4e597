"""The 26 questions, asked with DuckDB and Polars over the files of a store, as docs/RECIPES.md has them."""

import pytest

import document
from engines import ENGINES

PLACEMENTS = ("committed", "compacted")


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("number", document.QUESTIONS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_recipe_gives_the_answer_that_stepwell_gives(kept, open_store, engine, number, placement):
    code = document.recipes()[number].code(engine)
    if code is None:
        pytest.skip("left out, as the document says")
    rows = open_store(engine, kept / placement / "store").ask(code)
    assert not (difference := document.difference(rows, number)), difference
