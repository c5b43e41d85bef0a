from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.budgets import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]


def run(*command: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PATH": path or os.environ["PATH"]}
    return subprocess.run(
        command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def poor_machine(folder: Path, *, user_id: int) -> str:
    """A PATH with the shell and little more, on which `id -u` says who we are."""
    for name in ("bash", "env", "sh"):
        (folder / name).symlink_to(shutil.which(name) or name)
    fake = folder / "id"
    fake.write_text(f"#!/bin/sh\necho {user_id}\n")
    fake.chmod(0o755)
    return str(folder)


def test_make_alone_lists_every_target_with_its_purpose() -> None:
    listed = run("make", "--no-print-directory").stdout
    for target in ("demo", "test", "check", "bench", "clean", "help"):
        assert re.search(rf"^  make {target} +\S", listed, re.M), listed


def test_every_library_is_pinned_to_one_version_and_to_no_address() -> None:
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+]+", line) for line in PINS), PINS
    pinned = {canonicalize_name(line.split("==")[0]) for line in PINS}
    wanted = [*PROJECT["dependencies"], *(one for extra in PROJECT["optional-dependencies"].values() for one in extra)]
    assert {canonicalize_name(Requirement(one).name) for one in wanted} <= pinned


def test_whoever_is_not_root_is_told_the_exact_command_for_missing_servers(tmp_path: Path) -> None:
    told = run("scripts/install-servers", path=poor_machine(tmp_path, user_id=1000))
    assert told.returncode == 1
    assert "sudo apt-get update && sudo apt-get install -y" in told.stderr
    assert "redis-server chromium fonts-dejavu-core default-jdk-headless maven" in told.stderr


def test_a_machine_that_has_the_servers_is_left_alone() -> None:
    assert run("scripts/install-servers").returncode == 0


def test_whoever_has_no_python_and_is_not_root_is_told_the_exact_command(tmp_path: Path) -> None:
    path = poor_machine(tmp_path, user_id=1000)
    assert run("scripts/find-python", path=path).stdout.strip() == "python3-is-missing"
    told = run("scripts/make-venv", "python3-is-missing", str(tmp_path / "venv"), "demo", path=path)
    assert told.returncode == 1
    assert "sudo apt-get install -y python3 python3-venv" in told.stderr


def test_the_build_machine_runs_the_two_commands_a_person_types() -> None:
    assert "exec make check test" in (ROOT / ".ci" / "run").read_text()
