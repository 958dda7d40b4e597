"""What CMF asks git, DVC and pip for, read from files: nothing is started and nothing is changed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BLOCK_BYTES = 1 << 20
#: Not told by `pip freeze` either.
_NOT_LISTED = {"pip", "setuptools", "wheel", "distribute"}


def _above(folder: str, name: str) -> Iterator[str]:
    """Paths of `name` in `folder` and the folders above it, as far as they exist."""
    while True:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            yield path
        parent = os.path.dirname(folder)
        if parent == folder:
            return
        folder = parent


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def git_folder(folder: str) -> str | None:
    """The git folder of the repository around `folder`."""
    path = next(_above(folder, ".git"), None)
    if path is None or os.path.isdir(path):
        return path
    link = _read(path).strip()
    return os.path.join(os.path.dirname(path), link[len("gitdir: ") :]) if link.startswith("gitdir: ") else None


def git_commit(folder: str) -> str:
    """The commit that is checked out; an empty text outside of a repository or before its first commit."""
    git = git_folder(folder)
    if git is None:
        return ""
    head = _read(os.path.join(git, "HEAD")).strip()
    if not head.startswith("ref: "):
        return head
    name, common = head[len("ref: ") :], _common(git)
    loose = _read(os.path.join(common, name)).strip()
    if loose:
        return loose
    lines = (line.split() for line in _read(os.path.join(common, "packed-refs")).splitlines())
    return next((parts[0] for parts in lines if len(parts) == 2 and parts[1] == name), "")


def git_remote(folder: str) -> str:
    """Address of the first remote by name, without credentials; an empty text when there is none."""
    git = git_folder(folder)
    found: dict[str, str] = {}
    section = ""
    for line in _read(os.path.join(_common(git), "config")).splitlines() if git else ():
        line = line.strip()
        if line.startswith("["):
            section = line
        elif section.startswith('[remote "') and line.partition("=")[0].strip() == "url":
            found.setdefault(section, line.partition("=")[2].strip())
    return _without_credentials(found[min(found)]) if found else ""


def _common(git: str) -> str:
    shared = _read(os.path.join(git, "commondir")).strip()
    return os.path.join(git, shared) if shared else git


def _without_credentials(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    user, at, host = rest.partition("@")
    return f"{scheme}://{host}" if mark and at and "/" not in user else url


def dvc_url(folder: str, md5: str) -> str:
    """Where DVC's default remote keeps the content; without DVC, the same path below no remote."""
    key = f"files/md5/{md5[:2]}/{md5[2:]}"
    config = next(_above(folder, os.path.join(".dvc", "config")), None)
    if config is None:
        return key
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read([config, f"{config}.local"])
        remote = parser.get("core", "remote", fallback="")
        url = parser.get(f"'remote \"{remote}\"'", "url", fallback="")
    except configparser.Error:
        return key
    if url and "://" not in url and not os.path.isabs(url):
        url = os.path.normpath(os.path.join(os.path.dirname(config), url))
    return f"{url.rstrip('/')}/{key}" if url else key


def dvc_md5(path: str) -> str:
    """MD5 of a file, or of a folder's list in DVC's form with `.dir` at its end. Names content, guards nothing."""
    import hashlib
    import json

    if not os.path.isdir(path):
        digest = hashlib.md5(usedforsecurity=False)
        with open(path, "rb", buffering=0) as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
        return digest.hexdigest()
    entries = []
    for folder, _, files in os.walk(path):
        for name in files:
            file = os.path.join(folder, name)
            entries.append({"md5": dvc_md5(file), "relpath": os.path.relpath(file, path).replace(os.sep, "/")})
    entries.sort(key=lambda entry: entry["relpath"].split("/"))
    return hashlib.md5(json.dumps(entries).encode(), usedforsecurity=False).hexdigest() + ".dir"


_packages: dict[tuple[str, ...], list[str]] = {}


def packages() -> list[str]:
    """The installed packages as `pip freeze` lists them; read once per search path."""
    known = tuple(sys.path)
    if known not in _packages:
        found: dict[str, str] = {}
        for folder in sys.path:
            for entry in _distributions(folder):
                name, version = _name_and_version(os.path.join(folder, entry))
                if name and name.lower() not in _NOT_LISTED:
                    found.setdefault(name.lower().replace("_", "-"), f"{name}=={version}")
        _packages[known] = sorted(found.values(), key=str.lower)
    return _packages[known]


def _distributions(folder: str) -> list[str]:
    try:
        return [entry for entry in os.listdir(folder or ".") if entry.endswith((".dist-info", ".egg-info"))]
    except OSError:
        return []


def _name_and_version(folder: str) -> tuple[str, str]:
    told: dict[str, Any] = {}
    for name in ("METADATA", "PKG-INFO"):
        for line in _read(os.path.join(folder, name)).partition("\n\n")[0].splitlines():
            key, _, value = line.partition(":")
            if key in ("Name", "Version"):
                told.setdefault(key, value.strip())
        if len(told) == 2:
            break
    return told.get("Name", ""), told.get("Version", "")
