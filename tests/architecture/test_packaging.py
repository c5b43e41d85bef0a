from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from scripts.budgets import PACKAGES, ROOT
from tests.peers.process import Process, answers, free_port

NAMES = "import importlib.metadata, json; print(json.dumps(importlib.metadata.packages_distributions()))"
PLACES = "import json, sys, {0}; print(json.dumps([sys.modules[n].__file__ for n in '{0}'.split(',')]))"


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A fresh environment with the built wheel; it sees our pinned libraries but not the editable project."""

    wheel: Path
    bin: Path
    away: Path

    def run(self, *command: str) -> str:
        """What a program of this environment prints, started from a folder that is not the project's."""
        return subprocess.run(
            [self.bin / command[0], *command[1:]],
            cwd=self.away,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    @property
    def environment(self) -> dict[str, str]:
        return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "FHIR_TRACKER"))}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("packaging")
    quiet = {"check": True, "capture_output": True, "stdin": subprocess.DEVNULL}
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, **quiet)  # type: ignore[call-overload]
    wheel = next(folder.glob("*.whl"))
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv"), "platbase": str(folder / "venv")}))
    # A folder named in a .pth file is searched, but the .pth files in it, our editable one among them, are not read.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, **quiet)  # type: ignore[call-overload]
    away = folder / "away"
    away.mkdir()
    return Installed(wheel=wheel, bin=folder / "venv" / "bin", away=away)


def test_each_of_the_four_names_belongs_to_this_distribution_alone(installed: Installed) -> None:
    owners = json.loads(installed.run("python", "-c", NAMES))
    assert {name: sorted(set(owners[name])) for name in PACKAGES} == {name: ["fhir-tracker"] for name in PACKAGES}


def test_the_packages_are_imported_from_the_wheel_and_not_from_the_project(installed: Installed) -> None:
    files = json.loads(installed.run("python", "-c", PLACES.format(",".join(PACKAGES))))
    assert all(Path(file).is_relative_to(installed.bin.parent) for file in files)


def test_every_file_of_the_packages_is_in_the_wheel_and_nothing_else(installed: Installed) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    tracked = {name for name in listed.split("\0") if name and (ROOT / name).exists()}
    held = set(zipfile.ZipFile(installed.wheel).namelist())
    assert tracked - held == set()
    assert {name.split("/")[0] for name in held if ".dist-info/" not in name} == set(PACKAGES)


def test_the_installed_command_says_its_version(installed: Installed) -> None:
    assert "0.1.0" in installed.run("fhir-tracker", "version")


def test_the_installed_server_serves_from_another_folder(installed: Installed) -> None:
    port = free_port()
    command = [str(installed.bin / "fhir-tracker"), "serve", "--open", "--port", str(port)]
    database = f"sqlite:///{installed.away / 'tracker.db'}"
    server = Process([*command, "--database", database], log=installed.away / "serve.log", cwd=installed.away)
    try:
        address = f"http://127.0.0.1:{port}"
        server.wait_until(answers(f"{address}/livez"), seconds=60, what="the installed server")
        statement = httpx.get(f"{address}/fhir/metadata", timeout=60, trust_env=False).json()
        assert statement["resourceType"] == "CapabilityStatement"
    finally:
        assert server.stop() == 0
