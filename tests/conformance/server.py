"""fhir-tracker as a process of its own, as an operator starts it, reached only over HTTP."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.leak_watch import findings
from tests.peers.process import Process, answers

SECRET = "made-up-key-for-the-tests-" + "k" * 20
_ADDRESS = re.compile(r"^Pages +(http://\S+)/$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Tracker:
    """A running server: `url` without a slash at its end, and the database and log it writes."""

    url: str
    database: str
    log: Path
    process: Process

    @property
    def fhir(self) -> str:
        """The base of its FHIR API."""
        return f"{self.url}/fhir"

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return int(self.url.rpartition(":")[2])


@contextmanager
def running_tracker(
    database: str,
    folder: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    program: Sequence[str | Path] = (Path(sys.executable).parent / "fhir-tracker",),
) -> Iterator[Tracker]:
    """`fhir-tracker serve` on a free port with these further arguments, ready, and stopped at the end.

    What its database tells of people and in notes is looked for in its metrics, and at its end in its log.
    """
    log = folder / "tracker.log"
    command: list[str | Path] = [*program, "serve", "--port", "0", "--database", database, *arguments]
    settings = {"FHIR_TRACKER_SECRET_KEY": SECRET, "FHIR_TRACKER_LOG_LEVEL": "DEBUG", **(env or {})}
    process = Process(command, log=log, cwd=folder, env=settings)
    try:
        process.wait_until(lambda: _address(log) is not None, seconds=60, what="fhir-tracker")
        url = _address(log) or ""
        process.wait_until(answers(f"{url}/readyz"), seconds=30, what="fhir-tracker")
        yield Tracker(url=url, database=database, log=log, process=process)
        findings.search("metrics", _metrics(url) if process.running else "", database)
    finally:
        process.stop()


@contextmanager
def own_client(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[httpx.Client]:
    """A client of the FHIR API of a server of its own on SQLite, in open mode, with these further arguments."""
    with (
        running_tracker(f"sqlite:///{folder / 'tracker.db'}", folder, "--open", *arguments, env=env) as server,
        httpx.Client(base_url=server.fhir, timeout=60, trust_env=False) as client,
    ):
        yield client


def _address(log: Path) -> str | None:
    found = _ADDRESS.search(log.read_text(errors="replace"))
    return found[1] if found else None


def _metrics(url: str) -> str:
    try:
        return httpx.get(f"{url}/metrics", timeout=20, trust_env=False).text
    except httpx.HTTPError:
        return ""
