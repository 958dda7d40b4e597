"""Fails when a source file has grown past 600 lines: split it along its nouns."""

import pathlib
import subprocess
import sys

LINES_MAX = 600

files = subprocess.run(["git", "ls-files", "*.rs", "*.py", "*.sql"], capture_output=True, text=True, check=True)
long = []
for name in files.stdout.split():
    path = pathlib.Path(name)
    if path.exists():
        lines = path.read_text().count("\n")
        if lines > LINES_MAX:
            long.append(f"{name}: {lines} lines, {LINES_MAX} at most")
print("\n".join(long), end="\n" if long else "")
sys.exit(bool(long))
