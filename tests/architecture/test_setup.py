from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
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


STEADY = "def test_steady(): pass\n"
ONCE = """
from pathlib import Path
def test_once():
    here = Path(__file__).with_suffix(".met")
    was_here = here.exists()
    here.touch()
    assert was_here
"""
BROKEN = "def test_broken(): assert 0\n"


@pytest.mark.parametrize(
    ("text", "code", "unsteady"),
    [
        (STEADY, 0, []),
        (STEADY + ONCE, 0, ["test_once"]),
        (STEADY + ONCE + BROKEN, 1, []),
        ("".join(f"def test_{number}(): assert 0\n" for number in range(11)) + ONCE, 1, []),
        ("nonsense", 2, []),
    ],
)
def test_what_failed_gets_a_second_look_and_is_named_when_it_passes_then(
    tmp_path: Path, text: str, code: int, unsteady: list[str]
) -> None:
    (tmp_path / "test_it.py").write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    told = run("scripts/run-tests", sys.executable, str(tmp_path), "-c", str(tmp_path / "pytest.ini"), "-n", "0")
    assert told.returncode == code, told.stdout
    assert re.findall("^UNSTEADY.*::(.*)", told.stdout, re.M) == unsteady


def test_the_build_machine_runs_the_two_commands_a_person_types() -> None:
    assert "exec make check test" in (ROOT / ".ci" / "run").read_text()


def temporary(below: str, *, memory: str = "/nowhere") -> Path:
    """The folder that a run would be in, which is gone again."""
    env = {**os.environ, "TMPDIR": below}
    command = [str(ROOT / "scripts" / "quick-temp"), memory]
    made = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    assert made.stderr == ""
    (line,) = made.stdout.splitlines()
    found = Path(line)
    assert found.stat().st_mode & 0o777 == 0o755
    found.rmdir()
    return found


@pytest.mark.parametrize("odd", ["", "/nowhere/at/all", "relative", "/etc/passwd"])
def test_without_a_folder_to_be_in_the_files_of_a_run_are_where_they_mostly_are(odd: str) -> None:
    assert temporary(odd).parent == Path("/tmp")  # noqa: S108


@pytest.mark.parametrize(("name", "mode"), [("closed", 0o700), ("a b", 0o755), ("l" * 60, 0o755), ("it's", 0o755)])
def test_a_folder_that_some_server_does_not_reach_is_not_taken(tmp_path: Path, name: str, mode: int) -> None:
    (tmp_path / name).mkdir(mode=mode)
    assert temporary(str(tmp_path / name)).parent == Path("/tmp")  # noqa: S108


def test_a_tmpdir_that_serves_is_used_and_memory_before_it_where_there_is_room() -> None:
    assert temporary("/var/tmp").parent == Path("/var/tmp")  # noqa: S108
    room = shutil.disk_usage("/var/tmp").free  # noqa: S108
    assert temporary("/", memory="/var/tmp").parent == Path("/var/tmp" if room > 3_100_000_000 else "/tmp")  # noqa: S108
