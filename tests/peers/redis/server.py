"""A real Redis with its append-only file on, as the scale-out deployment runs it."""

from __future__ import annotations

import base64
import binascii
import re
import shutil
from pathlib import Path

import redis

from tests.peers.process import PeerFailed, Process, free_port

_PACKED = re.compile(r"[A-Za-z0-9+/]{16,}={0,2}")
_folders: dict[int, Path] = {}


def written_to(url: str) -> list[str]:
    """Every key and value that a server of a test was ever given, as its append-only file has them; packed bodies unpacked."""
    port = url.rpartition(":")[2].partition("/")[0]
    folder = _folders.get(int(port)) if port.isdigit() else None
    files = sorted(folder.rglob("*.aof")) if folder else []
    lines = [line for one in files for line in one.read_text(errors="replace").splitlines()]
    return lines + [_unpacked(packed) for line in lines for packed in _PACKED.findall(line)]


def _unpacked(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode(errors="replace")
    except binascii.Error:
        return ""


class RedisServer:
    """One server; `restart` after `kill` reads the append-only file again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        _folders[self.port] = folder
        self._process = self._start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def version(self) -> str:
        with redis.Redis.from_url(self.url) as client:
            return str(client.info("server")["redis_version"])

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()

    def restart(self) -> None:
        """Start again on the same data and port."""
        self._process.kill()
        self._process = self._start()

    def stop(self) -> None:
        self._process.stop()

    def _start(self) -> Process:
        program = shutil.which("redis-server")
        if program is None:
            raise PeerFailed("redis-server is missing; `make test` installs it")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--appendonly", "yes"]
        process = Process([program, *options, "--save", ""], log=self.folder / "log", cwd=self.folder)
        process.wait_until(self._accepts, seconds=20, what="Redis")
        return process

    def _accepts(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False
