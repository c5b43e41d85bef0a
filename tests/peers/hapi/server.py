"""HAPI FHIR 8.8.0 (JPA, R4, REST-hook subscriptions) as a process of its own, with HAPI's own defaults."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.peers.process import Process, answers, free_port

# The first run on a machine fetches about 300 MB of jars.
BUILD_SECONDS = 600


class Hapi:
    """One server, empty at the start; `base_url` ends in /fhir."""

    def __init__(self, folder: Path, *options: str) -> None:
        """`options` go to the Java process, such as -Dhapi.db=jdbc:postgresql://..."""
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}/fhir"
        self._folder = folder
        self._options = options
        self._process = self._start()

    @property
    def version(self) -> str:
        statement = httpx.get(f"{self.base_url}/metadata", timeout=60, trust_env=False).json()
        return str(statement["software"]["version"])

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """kill -9; the in-memory database is gone with it."""
        self._process.kill()

    def restart(self) -> None:
        """Start again on the same port."""
        self._process.kill()
        self._process = self._start()

    def stop(self) -> None:
        self._process.stop()

    def _start(self) -> Process:
        command: list[str | Path] = [Path(__file__).parent / "serve", str(self.port), *self._options]
        process = Process(command, log=self._folder / "hapi.log", cwd=self._folder)
        process.wait_until(answers(f"{self.base_url}/metadata"), seconds=BUILD_SECONDS, what="HAPI")
        return process
