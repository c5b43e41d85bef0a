"""The processes behind one port, and requests that surely reach a certain one of them."""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.conformance.server import Tracker

AT_ONCE = 50
"""Connections kept open while one to a certain process is sought."""
PATIENCE_SECONDS = 120.0
JSON = {"Content-Type": "application/fhir+json"}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a process said; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.text)


def serving(tracker: Tracker) -> list[int]:
    """The ids of the processes that serve, oldest first."""
    pid = tracker.process.pid
    try:
        return sorted(int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    except FileNotFoundError:
        return []


def wait_for(tracker: Tracker, count: int, *, without: int = 0) -> list[int]:
    """So many processes that take connections, `without` not among them."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = serving(tracker)
        if len(found) == count and without not in found:
            for pid in found:
                assert ask(tracker, pid, "GET", "/livez").status == 200
            return found
        time.sleep(0.05)
    raise AssertionError(f"{serving(tracker)} serve, {count} should:\n{tracker.process.tail()}")


def wait_until_closed(port: int) -> None:
    """Until nobody listens there any more."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with closing(socket.socket()) as one:
            if one.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.02)
    raise AssertionError(f"somebody listens at port {port}")


def is_gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def connect(tracker: Tracker, pid: int) -> http.client.HTTPConnection:
    """A connection to one certain process; those that another took are kept until then, so that this one's turn comes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with ExitStack() as others:
            for _ in range(AT_ONCE):
                connection = http.client.HTTPConnection("127.0.0.1", tracker.port, timeout=PATIENCE_SECONDS)
                connection.connect()
                if _taker(tracker, connection) == pid:
                    return connection
                others.enter_context(closing(connection))
    raise AssertionError(f"process {pid} takes no connection:\n{tracker.process.tail()}")


def ask(
    tracker: Tracker,
    pid: int,
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request to one certain process, on a connection of its own."""
    with closing(connect(tracker, pid)) as connection:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {**(JSON if body is not None else {}), **(headers or {})})
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(status=answer.status, headers=named, text=answer.read().decode())


def numbers(tracker: Tracker, pid: int, family: str) -> dict[tuple[str, ...], float]:
    """The samples of one name at /metrics of one process, by the values of their labels."""
    text = ask(tracker, pid, "GET", "/metrics").text
    return {
        tuple(sample.labels.values()): sample.value
        for one in text_string_to_metric_families(text)
        for sample in one.samples
        if sample.name == family
    }


def _taker(tracker: Tracker, connection: http.client.HTTPConnection) -> int:
    """The process that accepted a connection."""
    ours = int(connection.sock.getsockname()[1])
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        inode = _inode(tracker.port, ours)
        for pid in serving(tracker) if inode else []:
            if f"socket:[{inode}]" in _open_files(pid):
                return pid
        time.sleep(0.002)
    raise AssertionError(f"nobody takes a connection:\n{tracker.process.tail()}")


def _inode(local: int, remote: int) -> str:
    """The socket of the end at `local`, "" while nobody has accepted it."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if [int(fields[place].rpartition(":")[2], 16) for place in (1, 2)] == [local, remote]:
            return fields[9] if fields[9] != "0" else ""
    return ""


def _open_files(pid: int) -> set[str]:
    folder = f"/proc/{pid}/fd"
    found = set()
    try:
        for name in os.listdir(folder):
            found.add(os.readlink(f"{folder}/{name}"))
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found
