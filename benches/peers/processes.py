"""Processes of a measure, from /proc: which there are, what they used, and how to end them. Linux only."""

import ctypes
import os
import pathlib
import signal
import time

PR_SET_CHILD_SUBREAPER = 36
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGESIZE")


def adopt_orphans() -> bool:
    """Makes this process the parent of daemons that its children leave, so that `descendants` finds them."""
    return ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on (the third of proc(5)), or None."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def descendants(root: int, zombies: bool = False) -> list[int]:
    """All processes below `root`, without it."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := stat(int(entry))) and (zombies or fields[0] not in "ZX"):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, ahead = [], [root]
    while ahead:
        below = children.get(ahead.pop(), [])
        found += below
        ahead += below
    return found


def cpu_seconds(root: int) -> float:
    """Processor time of `root`, of all processes below it, and of those of them that ended and were waited for."""
    ticks = 0
    for pid in [root, *descendants(root, zombies=True)]:
        if fields := stat(pid):
            # The process that asks knows its own time to the nanosecond; of others there are ticks.
            own = pid == os.getpid()
            ticks += sum(int(field) for field in fields[13 if own else 11 : 15])
    return ticks / TICKS + (time.process_time() if root == os.getpid() else 0)


def resident_bytes(root: int) -> int:
    """Proportional memory of `root` and all processes below it; a page shared by two is counted half for each."""
    return sum(resident_of(pid) for pid in [root, *descendants(root)])


def resident_of(pid: int) -> int:
    try:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    fields = stat(pid)
    return int(fields[21]) * PAGE if fields else 0


def end_descendants(root: int, grace: float, keep: frozenset[int] = frozenset()) -> int:
    """Waits up to `grace` seconds for all below `root` to end, kills those that did not, and returns their number."""
    until = time.monotonic() + grace
    while True:
        reap()
        left = [pid for pid in descendants(root) if pid not in keep]
        if not left or time.monotonic() > until:
            break
        time.sleep(0.01)
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(pid not in keep for pid in descendants(root)):
        reap()
        time.sleep(0.005)
    reap()
    return len(left)


def reap() -> None:
    """Takes leave of adopted children that ended. Children of `subprocess` have been waited for before."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
