"""A virtual environment for each peer, built from a pinned file, made once and used again while that file stays the
same."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent.parent
REQUIREMENTS = HERE / "requirements"
# All peers run on one version of Python, the newest that all of them have wheels for.
PYTHON = "3.11"
INSTALL_S = 900


class InstallError(Exception):
    """A peer could not be installed. The text is the last line of what pip said."""


def find_python(given: str | None) -> str:
    """The interpreter for the peers: the given one, this one if it is of that version, or one found; else this one."""
    if given:
        return given
    if sys.version_info[:2] == tuple(int(part) for part in PYTHON.split(".")):
        return sys.executable
    folders = os.environ.get("PATH", "").split(os.pathsep)
    pyenv = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
    places = [pathlib.Path(folder, f"python{PYTHON}") for folder in folders]
    places += sorted(pyenv.glob(f"versions/{PYTHON}*/bin/python{PYTHON}"))
    for path in places:
        if os.access(path, os.X_OK) and answers(str(path)):
            return str(path)
    return sys.executable


def answers(python: str) -> bool:
    """Whether it runs: a shim of a version manager may stand for a version that is not chosen."""
    return subprocess.run([python, "-c", ""], capture_output=True).returncode == 0


def prepare(peer: str, folder: pathlib.Path, python: str, wheel: str | None, requirements: pathlib.Path) -> str:
    """Makes the peer's environment where it is missing or another one, and returns its interpreter."""
    if not requirements.exists():
        raise InstallError(f"{requirements.name} is missing")
    # A venv keeps the path of its interpreter, so both belong to what it was made from.
    made_from = hashlib.sha256(requirements.read_bytes() + python.encode())
    if peer == "stepwell":
        if not wheel:
            raise InstallError("no wheel was given: --wheel PATH")
        made_from.update(pathlib.Path(wheel).read_bytes())
    venv, mark = folder / peer, folder / peer / "made-from"
    # The link, not what it leads to: an interpreter finds its environment by the path it is called by.
    interpreter = os.path.abspath(venv / "bin" / "python")
    if mark.exists() and mark.read_text() == made_from.hexdigest() and os.access(interpreter, os.X_OK):
        return interpreter
    shutil.rmtree(venv, ignore_errors=True)
    run([python, "-m", "venv", str(venv)])
    pip = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    run([*pip, "--requirement", str(requirements)])
    if peer == "stepwell":
        run([*pip, "--no-deps", "--no-index", os.path.abspath(str(wheel))])
    mark.write_text(made_from.hexdigest())
    return interpreter


def run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
    except subprocess.TimeoutExpired:
        raise InstallError(f"not installed within {INSTALL_S} s") from None
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")]
        raise InstallError((errors or lines or ["no message"])[-1][:500])
