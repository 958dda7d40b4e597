"""What a section adds to the report: text and pictures, and where its figures come from."""

import dataclasses
import re
from typing import Any

from words import clean

PICTURES = "docs/benchmarks"
RESULTS = "benches/results"


@dataclasses.dataclass
class Page:
    """Text of BENCHMARKS.md and the pictures by the name of their file."""

    parts: list[str] = dataclasses.field(default_factory=list)
    pictures: dict[str, str] = dataclasses.field(default_factory=dict)

    def add(self, *texts: str) -> None:
        self.parts += [text for text in texts if text]

    def picture(self, name: str, alt: str, drawn: str) -> None:
        self.pictures[f"{PICTURES}/{name}.svg"] = drawn
        self.parts.append(f"![{alt}]({PICTURES}/{name}.svg)")

    def text(self) -> str:
        return "\n\n".join(part.strip("\n") for part in self.parts) + "\n"


def trace(record: str, key: str, command: str) -> str:
    """The line under a table: which record has its figures, where in it, and what made it."""
    bias = "benches/peers/README.md" if record == "peers" else "benches/METHOD.md"
    found = f"Raw record: [{record}.json]({RESULTS}/{record}.json), {key}."
    return f"{found} Made by `{command}`. [Known bias]({bias}#known-bias)."


def where(data: dict[str, Any], dated: bool = True) -> str:
    """Machine, kernel and commit of a record in a few words, for under the title of a picture."""
    machine = data.get("machine") or data.get("environment") or {}
    model = machine.get("model") or machine.get("processor") or machine.get("machine") or "unknown machine"
    model = re.sub(r", \d+ kB$", "", model)
    cores = machine.get("cores") or machine.get("threads")
    commit = data.get("commit") or machine.get("commit") or "unknown"
    date = str(data.get("started") or machine.get("date") or "")[:10]
    parts = [
        clean(model) + (f", {cores} cores" if cores else ""),
        f"Linux {machine.get('kernel', '?')}",
        machine.get("file_system") or machine.get("file system") or "",
        f"commit {short(commit)}",
        date if dated else "",
        f"form {data['form']}" if "form" in data else "",
    ]
    return ", ".join(part for part in parts if part)


def short(commit: str) -> str:
    """Eight digits of a commit, and whether files differed from it."""
    digits = "".join(letter for letter in commit[:40] if letter.isalnum())[:8] if commit != "unknown" else commit
    return digits + (" with changes" if "changes" in commit else "")
