"""Runs the example of examples/cmf on stepwell.cmf or on cmflib, each step in a process of its own, and takes the times of its calls.

cmflib 0.1.0 needs Python 3.11 and the pins of benches/peers/requirements/cmflib.txt. Its environment is found below .venv/
(peers/cmflib or cmflib), or named by STEPWELL_CMFLIB_PYTHON.
"""

import json
import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "cmf"
STEPS = ("parse.py", "featurize.py", "train.py", "test.py", "query.py")


def cmflib_python():
    named = os.environ.get("STEPWELL_CMFLIB_PYTHON")
    places = [named] if named else [ROOT / ".venv" / part / "bin" / "python" for part in ("peers/cmflib", "cmflib")]
    return next((str(place) for place in places if place and os.path.exists(place)), None)


def run(command, folder, **environment):
    git = {f"GIT_{role}_{part}": "t@localhost" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    settings = {**os.environ, **git, "DVC_NO_ANALYTICS": "true", "GIT_TERMINAL_PROMPT": "0", **environment}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, env=settings)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def repository(folder):
    """A git repository with a remote, a DVC configuration with a default remote, and the example."""
    for name in (*STEPS, "tracking.py"):
        (folder / "src").mkdir(parents=True, exist_ok=True)
        shutil.copy(EXAMPLE / name, folder / "src" / name)
    run(["git", "-c", "init.defaultBranch=trunk", "init", "-q"], folder)
    run(["git", "remote", "add", "cmf_origin", "https://localhost/none.git"], folder)
    run(["git", "add", "src"], folder)
    run(["git", "commit", "-qm", "one"], folder)
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text(
        "[core]\n    remote = local-storage\n    analytics = false\n['remote \"local-storage\"']\n    url = /srv/none/store\n"
    )


def pipeline(python, folder, library):
    repository(folder)
    times = folder.parent / f"{library}.times"
    path = os.pathsep.join([str(pathlib.Path(python).parent), os.environ["PATH"]])
    for step in STEPS:
        settings = {"CMF_LIBRARY": library, "CMF_TIMES": str(times), "PATH": path}
        if library == "cmflib":
            # Its environment is another one.
            settings["PYTHONPATH"] = ""
        told = run([python, f"src/{step}"], folder, **settings)
    return told, [json.loads(line) for line in times.read_text().splitlines()]
