"""A server the tests start for themselves: started in its own process group, waited for, and stopped by its id."""

from __future__ import annotations

import os
import random
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

LEAST_PATIENCE = 120.0
"""Seconds below which nothing is given up: a busy machine is slow, and where all is well nobody waits."""


PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For a client of plain HTTP: one that is not told so reads all certificates of the system, which takes longer than to ask."""


class PeerFailed(AssertionError):
    """A peer could not be had: that is a failure, never a reason to skip."""


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listened on a moment ago, below those that the system itself gives away."""
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Process:
    """One started program with its output in a file; `stop` is a polite end, `kill` is kill -9 of the whole group."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [str(argument) for argument in arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                user=user,
                group=user,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def wait_until(self, ready: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Ask `ready` until it says yes; PeerFailed with the end of the log when the program ends or time is up."""
        seconds = max(seconds, LEAST_PATIENCE)
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise PeerFailed(f"{what} ended with code {self._popen.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise PeerFailed(f"{what} was not ready within {seconds:.0f} s:\n{self.tail()}")
            time.sleep(0.1)

    def wait(self, seconds: float) -> int:
        """The exit code, once it has ended by itself."""
        return self._popen.wait(max(seconds, LEAST_PATIENCE))

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program itself."""
        if self.running:
            self._popen.send_signal(number)

    def stop(self, *, seconds: float = 60, number: signal.Signals = signal.SIGTERM) -> int:
        """End it politely, then by force; returns the exit code."""
        self.send(number)
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._popen.returncode

    def kill(self) -> None:
        """kill -9 of the program and of everything it started."""
        if self.running:
            os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()

    def tail(self, lines: int = 40) -> str:
        """The last lines it wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def answers(url: str, *, status: int = 200) -> Callable[[], bool]:
    """A question for `wait_until`: does a GET of `url` answer with `status`?

    It is asked again and again beside a server that starts, so it takes as little time as it can.
    """
    parts = urlsplit(url)
    path = urlunsplit(("", "", parts.path or "/", parts.query, ""))

    def ask() -> bool:
        with closing(HTTPConnection(parts.hostname or "", parts.port, timeout=20)) as connection:
            try:
                connection.request("GET", path)
                return connection.getresponse().status == status
            except (OSError, HTTPException):
                return False

    return ask
