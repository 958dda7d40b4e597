"""Makes BENCHMARKS.md, its pictures and the README's tables from the raw records under benches/results.

    python benches/report/report.py [--check]

Standard library only; any Python from 3.10 on. Nothing is measured here: the same records give the same bytes. With
`--check` nothing is written, and the exit code is 1 with the differences when a file is not as the records say.
"""

import argparse
import difflib
import pathlib
import re
import sys
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import engine  # noqa: E402
import glance  # noqa: E402
import metadata  # noqa: E402
import peers_keep  # noqa: E402
import peers_speed  # noqa: E402
import sql  # noqa: E402
from page import PICTURES, RESULTS, Page, where  # noqa: E402
from records import Peers, kind, load  # noqa: E402
from words import clean, table  # noqa: E402

BLOCK = re.compile(r"(<!-- bench: (\w+) -->\n)(.*?)(<!-- /bench -->)", re.DOTALL)
FORMS = {
    "tiny": "**This record of the peers is of the form `tiny`, for tests: its figures mean nothing.**",
    "quick": "This record of the peers is of the form `quick`; `--full` does more of each.",
}


def introduction(page: Page, records: dict[str, dict[str, Any]]) -> None:
    page.add(
        "# Benchmarks",
        "<!-- Made by benches/report/report.py from the records under benches/results: change those, not this file. "
        "-->",
        "What logging costs, what survives a crash, and how soon and fast it can be read: Stepwell beside other "
        "trackers, with the same "
        "work for all, in one run of one machine. [How the peers are measured, and where that favours or hurts each of "
        "them](benches/peers/README.md#known-bias); [how the engine and SQL are measured](benches/METHOD.md).",
        "## How to read it",
        "- Lower is better in all tables but for counts, and for ratios to Stepwell, where more than 1x is in "
        "Stepwell's favour. Rows are "
        "sorted by the first figure; Stepwell's is in bold and has no other privilege. "
        "▼ marks figures that are lower than those of Stepwell's `run.log(dict, step)`.\n"
        "- *floor* rows are no trackers: an empty function, `list.append`, a JSON line with a flush, an insert into "
        "SQLite.\n"
        "- A tool that could not be installed, failed or hung is a row with the reason. `-` means that the record has "
        "no such figure.\n"
        "- Pictures with tools or questions as rows have logarithmic axes.\n"
        "- Each table names its raw record and the command that made it. Another machine gives other figures: run it "
        "on yours.",
        "## Where it was measured",
    )
    lines = []
    for stem, data in records.items():
        if not kind(data):
            continue
        machine = data.get("machine") or data.get("environment") or {}
        versions = ", ".join(
            f"{name} {machine[name]}"
            for name in ("stepwell", "duckdb", "python", "version", "profile")
            if name in machine
        )
        extra = [
            versions,
            f"wheel {data['wheel']}" if data.get("wheel") else "",
            f"seed {data['seed']}" if "seed" in data else "",
        ]
        extra += [f"load {machine['load']}" if "load" in machine else "", str(machine.get("note") or "")]
        extra += ["no network" if data.get("isolated") else "the network was on"] if "isolated" in data else []
        date = data.get("started") or machine.get("date") or "?"
        told = clean("; ".join(part for part in extra if part), 300)
        lines.append([f"[{stem}]({RESULTS}/{stem}.json)", clean(str(date)), where(data, dated=False), told])
    page.add(table(["record", "date", "machine", "versions and circumstances"], lines, words=3))
    page.add(*(unfit(stem, data) for stem, data in records.items() if kind(data)))
    form = next((data.get("form") for data in records.values() if kind(data) == "peers"), None)
    page.add(FORMS.get(str(form), ""))


def unfit(stem: str, data: dict[str, Any]) -> str:
    """A warning where a record says itself that its build was no release; else nothing."""
    profile = str((data.get("environment") or {}).get("profile", ""))
    builds = [(peer, str(told.get("build") or "")) for peer, told in (data.get("peers") or {}).items()]
    bad = [f"{peer} {build}" for peer, build in builds if build and "release" not in build]
    bad += [profile] if "NOT A RELEASE" in profile or profile.startswith("dev") else []
    return f"**{stem}: {clean('; '.join(bad))}. Its figures are not to be quoted.**" if bad else ""


def report(records: dict[str, dict[str, Any]]) -> Page:
    page = Page()
    introduction(page, records)
    for data in records.values():
        if kind(data) != "peers":
            continue
        peers = Peers(data)
        glance.section(page, peers)
        for section in (peers_speed.cost, peers_speed.loop, peers_keep.kill, peers_keep.sizes, peers_speed.times):
            section(page, peers)
        for section in (
            peers_speed.visible,
            peers_speed.read,
            peers_keep.memory,
            peers_keep.behaviour,
            peers_keep.versions,
        ):
            section(page, peers)
    for data in records.values():
        if kind(data) == "sql":
            sql.section(page, data)
    for data in records.values():
        if kind(data) == "cmf":
            metadata.section(page, data)
    engine.section(page, {stem: data for stem, data in records.items() if kind(data) == "engine"})
    return page


def blocks(records: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The README's tables by the name of their marker."""
    made = {"peers": "", "sql": ""}
    own = engine.readme({stem: data for stem, data in records.items() if kind(data) == "engine"})
    made["engine"] = own + "\n" if own else ""
    for data in records.values():
        if kind(data) == "peers":
            made["peers"] = glance.readme(Peers(data)) + "\n"
        elif kind(data) == "sql":
            made["sql"] = sql.readme(data) + "\n"
    return made


def with_blocks(text: str, made: dict[str, str]) -> str:
    """The text with what stands between `<!-- bench: NAME -->` and `<!-- /bench -->` replaced."""

    def replace(found: re.Match[str]) -> str:
        if found[2] not in made:
            raise SystemExit(f"README.md: no table is called {found[2]}; there are {', '.join(made)}")
        return found[1] + made[found[2]] + found[4]

    return BLOCK.sub(replace, text)


def outputs(root: pathlib.Path) -> dict[str, str | None]:
    """What each file has to hold; None for a picture that nothing refers to any more."""
    records = load(root / RESULTS)
    for stem, data in records.items():
        if not kind(data):
            print(f"{stem}.json: not a record that is known here; left out", file=sys.stderr)
    page = report(records)
    made: dict[str, str | None] = {"BENCHMARKS.md": page.text(), **page.pictures}
    made["README.md"] = with_blocks((root / "README.md").read_text(encoding="utf-8"), blocks(records))
    for path in sorted((root / PICTURES).glob("*.svg")):
        made.setdefault(f"{PICTURES}/{path.name}", None)
    return made


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 where a file is not as the records say"
    )
    parser.add_argument("--root", type=pathlib.Path, default=HERE.parents[1], help="the clone (default: this one)")
    given = parser.parse_args(arguments)
    changed = 0
    for name, text in outputs(given.root).items():
        path = given.root / name
        old = path.read_text(encoding="utf-8") if path.exists() else None
        if old == text:
            continue
        changed += 1
        if given.check:
            lines = difflib.unified_diff(
                (old or "").splitlines(), (text or "").splitlines(), name, "as the records say", "", "", 1, ""
            )
            print("\n".join(list(lines)[:40]))
        elif text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        if not given.check:
            print(f"{name}: {'removed' if text is None else 'written'}")
    if given.check and changed:
        print(f"{changed} file(s) differ from the records: run python benches/report/report.py", file=sys.stderr)
    return 1 if given.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
