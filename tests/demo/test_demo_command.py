"""`fhir-tracker demo`: real processes, the whole day with its check, and nothing left running however it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from api.demo.people import people
from fhir_tracker.fhir.json_types import Resource


@dataclass(kw_only=True)
class Demo:
    """A demo in a process of its own, with what it has printed so far."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def read_to(self, pattern: str) -> str:
        """Read on until a line has `pattern`; its first group."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found[1]
        raise AssertionError(f"no {pattern} in:\n{''.join(self.lines)}")

    def children(self) -> list[int]:
        """The processes it started."""
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True)
        return [int(pid) for pid in found.stdout.split()]


@contextmanager
def demo(folder: Path, *options: str) -> Iterator[Demo]:
    """A running `fhir-tracker demo` whose temporary folder is `folder`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "api.cli", "demo", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(folder), "COLUMNS": "200"},
    )
    try:
        yield Demo(process=process)
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def is_running(pid: int) -> bool:
    """Whether the process lives; one that only waits to be collected does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone_within(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not is_running(pid)


def test_the_check_sees_every_reaction_of_the_day(tmp_path: Path) -> None:
    with demo(tmp_path, "--check", "--pace", "4") as one:
        text = one.process.communicate(timeout=600)[0]
    assert one.process.returncode == 0, text
    assert "Every expected reaction was seen." in text
    assert "MISSED" not in text
    assert "WARNING" not in text
    assert "ERROR" not in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_two_run_side_by_side_and_leave_nothing_when_they_are_stopped(how: signal.Signals, tmp_path: Path) -> None:
    with demo(tmp_path) as one, demo(tmp_path) as other:
        pages = [each.read_to(r"side by side +(http://\S+)") for each in (one, other)]
        assert pages[0] != pages[1]
        for page in pages:
            assert b"Not for real patient data" in fetched(page)
        for each in (one, other):
            each.read_to(r"Simulated EHR: FHIR API +(http://\S+)")
        children = [pid for each in (one, other) for pid in each.children()]
        assert len(children) == 2
        for each in (one, other):
            each.process.send_signal(how)
        assert [each.process.wait(240) for each in (one, other)] == [0, 0]
        assert all(gone_within(pid, 60) for pid in children)
    assert list(tmp_path.iterdir()) == []


def test_the_ehr_ends_even_when_the_demo_is_killed(tmp_path: Path) -> None:
    with demo(tmp_path) as one:
        one.read_to(r"Simulated EHR: FHIR API +(http://\S+)")
        (child,) = one.children()
        one.process.kill()
        one.process.wait()
        assert gone_within(child, 60)


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with demo(tmp_path, "--port", port) as one:
            text = one.process.communicate(timeout=300)[0]
    assert one.process.returncode == 1
    assert "Traceback" not in text
    assert text.splitlines()[-1].startswith("fhir-tracker: Cannot listen on 127.0.0.1")


def test_the_queues_look_like_a_practice_at_work_when_the_day_begins(tmp_path: Path) -> None:
    with demo(tmp_path) as one:
        tracker = one.read_to(r"Tracker: queues and pages +(http://\S+)/")
        wait_for_the_day(tracker)
        tasks = every_task(tracker)
        statuses = Counter(task["status"] for task in tasks)
        queue = fetched(f"{tracker}/").decode()
        people_page = fetched(f"{tracker}/people").decode()
    assert len({task["for"]["reference"] for task in tasks if "for" in task}) >= 40
    assert statuses["requested"] >= 50
    assert statuses["in-progress"] >= 10
    assert statuses["on-hold"] >= 3
    assert statuses["completed"] >= 5
    workers = {person.ref for person in people() if person.role in {"rn", "care-coordinator", "front-desk"}}
    assert workers <= {owner_of(task) for task in tasks}
    assert "late" in queue
    assert all(person.name in people_page for person in people())


def wait_for_the_day(tracker: str) -> None:
    end = time.monotonic() + 300
    while json.loads(fetched(f"{tracker}/demo/state.json"))["phase"] == "loading":
        assert time.monotonic() < end
        time.sleep(0.5)


def every_task(tracker: str) -> list[Resource]:
    found: list[Resource] = []
    address = f"{tracker}/fhir/Task?_count=200"
    while address:
        bundle = json.loads(fetched(address))
        found += [entry["resource"] for entry in bundle.get("entry", [])]
        address = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), "")
    return found


def owner_of(task: Resource) -> str:
    return str(task.get("owner", {}).get("reference", ""))


def fetched(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310 - an address of our own
        return bytes(answer.read())
