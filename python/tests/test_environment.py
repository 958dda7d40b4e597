"""The description of the Python that a run used."""

import json
import os
import subprocess
import sys

from stepwell import _environment


def install(folder, name, version, origin=None):
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if origin is not None:
        (info / "direct_url.json").write_text(origin if isinstance(origin, str) else json.dumps(origin))


def test_packages_are_named_as_pip_freeze_names_them(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    install(first, "Zeta", "1.0")
    install(first, "alpha-beta", "2.0")
    install(second, "alpha.beta", "9.0")
    install(second, "broken", "1", "{not json")
    install(first, "local", "0.1", {"url": "file:///src/local", "dir_info": {"editable": True}})
    git = {"url": "https://user:secret@host.example/x.git?token=secret", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    install(first, "from-git", "3", git)
    monkeypatch.setattr(sys, "path", [str(first), str(second)])
    assert _environment.packages() == [
        "alpha-beta==2.0",
        "broken==1",
        "from-git @ git+https://host.example/x.git@abc",
        "local @ file:///src/local",
        "Zeta==1.0",
    ]


def test_a_folder_that_is_broken_hides_no_other_package(tmp_path, monkeypatch):
    (tmp_path / "bad-1.dist-info").mkdir()
    install(tmp_path, "good", "1")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert "good==1" in _environment.packages()


def test_the_description_is_a_requirements_file_and_says_the_same_each_time():
    text = _environment.describe()
    assert text == _environment.describe()
    lines = text.splitlines()
    assert lines[0].startswith("# ") and sys.version.split()[0] in lines[0]
    assert all(line.startswith("#") or "==" in line or " @ " in line for line in lines)


def test_no_environment_variable_is_in_it():
    code = "from stepwell import _environment; print(_environment.describe())"
    environment = {**os.environ, "SECRET_TOKEN": "d0-not-tell", "CONDA_PREFIX": "/d0-not-tell"}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "d0-not-tell" not in printed.stdout
