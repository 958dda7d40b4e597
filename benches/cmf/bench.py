"""Measures what CMF's calls cost with cmflib and with stepwell.cmf: the pipeline of examples/cmf, call by call.

    python benches/cmf/bench.py [--rounds 3] [--json FILE]

Each step of the pipeline is a process of its own, as in use; each round runs the whole pipeline once with each library, in
turn, in a new git repository with a new store. Both are durable as they come: cmflib's SQLite commits with its own
settings, and Stepwell syncs what a call recorded before the call returns. The times are those that a caller waits; a call
within another one counts as part of that one. Imports count, for every step pays for them.
"""

import argparse
import json
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

import stepwell

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "benches" / "peers"), str(ROOT / "tests" / "cmf_pipeline")]

from pipelines import STEPS, cmflib_python, pipeline  # noqa: E402
from suite import record  # noqa: E402


def measure(pythons, rounds, folder):
    """Seconds of each call by library and operation, and the sum of each round."""
    calls = {library: {} for library in pythons}
    totals = {library: [] for library in pythons}
    for turn in range(rounds):
        for library, python in pythons.items():
            work = folder / f"{library}-{turn}" / "work"
            work.mkdir(parents=True)
            _, times = pipeline(python, work, library)
            for line in times:
                calls[library].setdefault(line["operation"], []).append(line["seconds"])
            totals[library].append(sum(line["seconds"] for line in times))
            print(f"round {turn + 1} of {rounds}: {library} {totals[library][-1]:.3f} s", file=sys.stderr)
    return calls, totals


def show(data):
    print(f"{'call':24}{'calls':>7}{'cmflib ms':>12}{'stepwell ms':>13}{'ratio':>8}")
    for operation, theirs in data["calls"]["cmflib"].items():
        ours = data["calls"]["stepwell"][operation]
        one, other = statistics.median(theirs), statistics.median(ours)
        print(f"{operation:24}{len(theirs):7}{one * 1e3:12.3f}{other * 1e3:13.3f}{one / other:8.1f}")
    one, other = (statistics.median(data["totals"][library]) for library in ("cmflib", "stepwell"))
    print(f"{'all of a round':24}{'':7}{one * 1e3:12.0f}{other * 1e3:13.0f}{one / other:8.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="runs of the whole pipeline with each library (default 3)")
    parser.add_argument("--json", type=pathlib.Path, help="also write every time to this file")
    given = parser.parse_args()
    python = cmflib_python()
    if python is None:
        raise SystemExit("there is no environment with cmflib; `make bench-cmf` makes one")
    pythons = {"cmflib": python, "stepwell": sys.executable}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        data = {
            "suite": "cmf",
            "started": record.now(),
            "commit": record.commit(ROOT),
            "machine": record.machine(pathlib.Path(folder)),
            "python": platform.python_version(),
            "versions": {"cmflib": version_of_cmflib(python), "stepwell": f"{stepwell.__version__}, {stepwell.__build__}"},
            "steps": list(STEPS),
        }
        data["calls"], data["totals"] = measure(pythons, given.rounds, pathlib.Path(folder))
    show(data)
    if given.json:
        given.json.write_text(json.dumps(data, indent=1) + "\n")


def version_of_cmflib(python):
    code = "import importlib.metadata as m; print(m.version('cmflib'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
