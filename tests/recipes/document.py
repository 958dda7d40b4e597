"""The recipes as docs/RECIPES.md shows them, and the answers that tests/sql/*.slt hold."""

import pathlib
import re
from dataclasses import dataclass

HERE = pathlib.Path(__file__).parent
DOCUMENT = HERE / "../../docs/RECIPES.md"
ANSWERS = HERE / "../sql"
QUESTIONS = range(1, 27)
LANGUAGES = {"duckdb": "sql", "polars": "python"}
TITLES = {"duckdb": "## DuckDB", "polars": "## Polars"}


@dataclass
class Section:
    title: str
    text: str

    def code(self, engine: str) -> str | None:
        """The code for an engine, or None where the section has none."""
        blocks = re.findall(rf"^```{LANGUAGES[engine]}\n(.*?)^```$", self.text, re.S | re.M)
        assert len(blocks) <= 1, f"{self.title}: more than one block"
        return blocks[0] if blocks else None


def sections() -> list[Section]:
    parts = re.split(r"^(?=## )", DOCUMENT.read_text(encoding="utf-8"), flags=re.M)
    return [Section(*part.split("\n", 1)) for part in parts if part.startswith("## ")]


def prelude(engine: str) -> str:
    """The code that comes before every recipe of an engine."""
    (section,) = (section for section in sections() if section.title == TITLES[engine])
    code = section.code(engine)
    assert code, f"{TITLES[engine]} has no code"
    return code


def recipes() -> dict[int, Section]:
    titles = ((re.match(r"## Q(\d+): ", section.title), section) for section in sections())
    return {int(title[1]): section for title, section in titles if title}


def expected(number: int) -> list[str]:
    """The lines of the first answer of a question."""
    (path,) = ANSWERS.glob(f"q{number:02}_*.slt")
    answer = re.search(r"^----\n(.*?)(?:\n\n|\Z)", path.read_text(encoding="utf-8"), re.S | re.M)
    return answer[1].strip().split("\n")


def cells(row: tuple) -> list[str]:
    """A row as sqllogictest shows it, cut at white space, as a text may hold some."""
    words = {None: "NULL", True: "true", False: "false"}
    shown = (words[cell] if cell is None or isinstance(cell, bool) else str(cell) for cell in row)
    return " ".join(shown).split()


def same(cell: str, wanted: str) -> bool:
    """Whether a cell is what an answer has: the same text, or a float that is the same in the six digits that are shown."""
    if cell.lower() == wanted.lower():
        return True
    if not (is_float(cell) and is_float(wanted)):
        return False
    return abs(float(cell) - float(wanted)) <= 1.001e-6 + 1e-12 * abs(float(wanted))


def is_float(cell: str) -> bool:
    return re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", cell) is not None


def difference(rows: list[tuple], number: int) -> str:
    """What is not as the answer of a question has it; empty when nothing is."""
    wanted = expected(number)
    found = [cells(row) for row in rows]
    fits = len(found) == len(wanted) and all(
        len(row) == len(line.split()) and all(map(same, row, line.split())) for row, line in zip(found, wanted)
    )
    return "" if fits else "\n".join(["found:", *map(" ".join, found), "wanted:", *wanted])
