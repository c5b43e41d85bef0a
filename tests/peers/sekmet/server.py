"""sekmet-fhir, an EHR simulator from the Python registry, as a process of its own with open access."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import yaml

from tests.peers.process import Process, answers, free_port


class Sekmet:
    """One server on an SQLite file in `folder`; `base_url` ends in /fhir."""

    def __init__(self, folder: Path, **settings: object) -> None:
        """`settings` are sekmet's own (settings.yaml), laid over ours."""
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}/fhir"
        self.version = version("sekmet-fhir")
        self._folder = folder
        self._settings = folder / "settings.yaml"
        self._settings.write_text(yaml.safe_dump({**self._defaults(), **settings}))
        self._process = self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """kill -9; its database file stays."""
        self._process.kill()

    def restart(self) -> None:
        """Start again on the same data and port."""
        self._process.kill()
        self._process = self._start()

    def stop(self) -> None:
        self._process.stop()

    def _defaults(self) -> dict[str, object]:
        return {
            "base_url": self.base_url,
            "host": "127.0.0.1",
            "port": self.port,
            "data_dir": str(self._folder),
            "db_path": str(self._folder / "sekmet.db"),
            "own_private_key_path": str(self._folder / "private.pem"),
            "server_auth": {"types": ["none"]},
            # Nothing happens in this EHR but what a test does there.
            "simulator": {"enabled": False},
            "validation": {"inbound": "off"},
            "log_inbound": False,
        }

    def _start(self) -> Process:
        command: list[str | Path] = [Path(sys.executable).parent / "sekmet", "serve", "--config", str(self._settings)]
        process = Process(command, log=self._folder / "sekmet.log", cwd=self._folder)
        process.wait_until(answers(f"{self.base_url}/metadata"), seconds=60, what="sekmet")
        return process
