"""What Python a run used: its version and packages, as text. No process is started; no environment variable is read."""

import importlib.metadata as _metadata
import json as _json
import os as _os
import platform as _platform
import re as _re
import sys as _sys
from urllib.parse import urlsplit as _urlsplit
from urllib.parse import urlunsplit as _urlunsplit

__all__ = ["describe", "packages"]


def packages():
    """Requirements of the installed packages as ``pip freeze`` writes them, sorted, each name once.

    ``name==version`` for what came from an index, ``name @ url`` for what came from elsewhere. Of a name that is installed
    several times, the one that is imported counts. About 0.2 ms for each package.
    """
    found = {}
    for distribution in _metadata.distributions():
        try:
            name = distribution.metadata["Name"]
            version = distribution.version
        except Exception:  # One broken folder in site-packages hides no other package.
            continue
        if name and version:
            found.setdefault(_re.sub(r"[-_.]+", "-", name).lower(), (name, version, distribution))
    return [_requirement(*found[key]) for key in sorted(found)]


def describe():
    """The interpreter as comment lines, then the packages: a requirements file, the same for the same environment."""
    lines = [
        f"# {_platform.python_implementation()} {_platform.python_version()}",
        f"# platform: {_platform.platform()}",
    ]
    if _os.path.isdir(_os.path.join(_sys.prefix, "conda-meta")):
        lines.append(f"# conda: {_sys.prefix}")
    return "\n".join([*lines, *packages()]) + "\n"


def _requirement(name, version, distribution):
    try:
        origin = _json.loads(distribution.read_text("direct_url.json") or "null")
        url = _without_credentials(origin["url"]) if origin else None
        if url and "vcs_info" in origin:
            info = origin["vcs_info"]
            url = f"{info['vcs']}+{url}@{info['commit_id']}"
        if url and origin.get("subdirectory"):
            url = f"{url}#subdirectory={origin['subdirectory']}"
    except Exception:  # A file that is none of pip's says nothing.
        url = None
    text = f"{name} @ {url}" if url else f"{name}=={version}"
    return " ".join(text.split())


def _without_credentials(url):
    parts = _urlsplit(url)
    return _urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
