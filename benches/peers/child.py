"""One measure of one peer, in a process of its own and in the peer's virtual environment.

    python child.py TASK.json RESULT.json

TASK has peer, variant, measure, form (settings of the form, see forms.py), folder, seed, and role: what this process is
to do. Measures that need a second process start this program again with another role (`start_role`). The result is
{"value": ...} or {"error": last line}.
"""

import fcntl
import importlib
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys
import traceback
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import adapters  # noqa: E402
import processes  # noqa: E402

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


# Adapters of peers that are not part of the suite. They are appended to a package, so that no adapter hides its tool.
adapters.__path__ += filter(None, [os.environ.get("PEERS_ADAPTERS")])


def raise_loopback() -> None:
    """A fresh network namespace has its loopback down; tools with a service of their own talk to it there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(probe, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def adapter(task: dict[str, Any]):
    """The adapter, its tool not imported yet."""
    return importlib.import_module(f"adapters.{task['peer']}").Adapter(task["variant"])


def loaded(task: dict[str, Any]):
    peer = adapter(task)
    peer.load()
    return peer


def start_role(task: dict[str, Any], role: str, result: str, **more: Any) -> subprocess.Popen:
    """Starts this program again for another part of the same measure."""
    path = pathlib.Path(f"{result}.task")
    path.write_text(json.dumps({**task, **more, "role": role}))
    command = [sys.executable, str(HERE / "child.py"), str(path), result]
    with open(f"{result}.log", "w") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def finish_role(process: subprocess.Popen, result: str, timeout: float) -> Any:
    """Waits for a part and returns its value; RuntimeError with the reason otherwise."""
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise RuntimeError(f"no answer within {timeout:g} s") from None
    try:
        found = json.loads(pathlib.Path(result).read_text())
    except (OSError, ValueError):
        lines = pathlib.Path(f"{result}.log").read_text(errors="replace").strip().splitlines()
        raise RuntimeError(f"exit code {process.returncode}: {lines[-1] if lines else 'no message'}") from None
    if "error" in found or "incomplete" in found:
        raise RuntimeError(found.get("error") or found["incomplete"])
    return found["value"]


def run_role(task: dict[str, Any], role: str, result: str, timeout: float = 60.0, **more: Any) -> Any:
    return finish_role(start_role(task, role, result, **more), result, timeout)


def keep(value: Any) -> None:
    """Leaves what was measured so far as the result, in case that the rest hangs or fails: the record says so then."""
    path = pathlib.Path(sys.argv[2])
    path.with_suffix(".part").write_text(json.dumps({"value": value}))
    path.with_suffix(".part").replace(path)


def last_line(error: BaseException) -> str:
    """The last line of an error that says something, with its kind."""
    lines = [line.strip() for line in traceback.format_exception_only(error) if line.strip()]
    return lines[-1][:500] if lines else type(error).__name__


def main() -> None:
    task = json.loads(pathlib.Path(sys.argv[1]).read_text())
    processes.adopt_orphans()
    if task.get("isolated") and task["role"] == "main":
        raise_loopback()
    os.chdir(task["folder"])
    try:
        measure = importlib.import_module(f"measure.{task['measure']}")
        result = {"value": measure.ROLES[task["role"]](task)}
    except Exception as error:
        traceback.print_exc()
        result = {"error": last_line(error)}
    path = pathlib.Path(sys.argv[2])
    if "error" in result and path.exists():
        result = {**json.loads(path.read_text()), "incomplete": result["error"]}
    path.with_suffix(".part").write_text(json.dumps(result))
    path.with_suffix(".part").replace(path)
    if task.get("leave"):
        return
    # Exit hooks of tools belong to the measure of finishing; a hook that hangs must not cost the result.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
