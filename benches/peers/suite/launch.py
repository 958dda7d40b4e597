"""Starts one measure of one peer: clean environment, no network, a time limit, and nothing left running afterwards."""

import functools
import json
import os
import pathlib
import shutil
import subprocess
import time
from typing import Any

import processes

HERE = pathlib.Path(__file__).resolve().parent.parent
# The arithmetic of the training loop stays on the thread that is timed.
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}


@functools.cache
def isolation() -> list[str]:
    """The command that runs another one without a network: as root, or in a user namespace; empty if there is
    neither."""
    for command in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        if shutil.which("unshare") and not subprocess.run([*command, "true"], capture_output=True).returncode:
            return command
    return []


def environment(interpreter: str, folder: pathlib.Path, extra: dict[str, str]) -> dict[str, str]:
    """Nothing of the caller's settings but where programs are; a home and a folder for temporary files of its own."""
    own = {
        "HOME": folder / "home",
        "TMPDIR": folder / "tmp",
        "XDG_CACHE_HOME": folder / "home" / "cache",
        "XDG_CONFIG_HOME": folder / "home" / "config",
        "XDG_DATA_HOME": folder / "home" / "data",
    }
    for path in own.values():
        path.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join([os.path.dirname(interpreter), os.environ.get("PATH", os.defpath)])
    base = {"PATH": path, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONWARNINGS": "ignore", "USER": "bench"}
    return {**base, **ONE_THREAD, **{key: str(value) for key, value in own.items()}, **extra}


def measure(
    interpreter: str, task: dict[str, Any], work: pathlib.Path, extra: dict[str, str], timeout: float
) -> dict[str, Any]:
    """Runs it and returns {"value": ...} or {"error": ...}, with the seconds it took.

    A value with "incomplete" is what had been measured when the rest hung or failed.
    """
    folder = work / "-".join(str(task[key]) for key in ("peer", "variant", "measure", "repetition"))
    shutil.rmtree(folder, ignore_errors=True)
    store = folder / "work"
    store.mkdir(parents=True)
    asked, answer, log = folder / "task.json", folder / "result.json", folder / "log"
    isolated = isolation()
    asked.write_text(json.dumps({**task, "role": "main", "folder": str(store), "isolated": bool(isolated)}))
    command = [*isolated, interpreter, str(HERE / "child.py"), str(asked), str(answer)]
    begin = time.monotonic()
    with open(log, "w") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=store,
            env=environment(interpreter, folder, extra),
            start_new_session=True,
        )
        try:
            process.wait(timeout)
            gone, whole = f"exit code {process.returncode}", process.returncode == 0
        except subprocess.TimeoutExpired:
            gone, whole = f"not done within {timeout:g} s", False
        finally:
            # First its group, then whatever else it left: daemons become children of this process.
            try:
                os.killpg(process.pid, 9)
            except ProcessLookupError:
                pass
            process.wait()
            left = processes.end_descendants(os.getpid(), 0)
    try:
        result = json.loads(answer.read_text())
        if not whole:
            result.setdefault("incomplete", gone)
    except (OSError, ValueError):
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        result = {"error": f"{gone}: {lines[-1][:500] if lines else 'no message'}"}
    if not os.environ.get("PEERS_KEEP"):
        shutil.rmtree(folder, ignore_errors=True)
    return {**result, "seconds": round(time.monotonic() - begin, 2), "ended_by_force": left}
