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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from api.demo.people import people
from api.demo.records import RESTRICTED
from api.demo.stage import APP_ID
from api.demo.visitor import Answer, ChartReader, Visitor

TEAM = re.compile(r"Team [^<]*?<[^>]*>\s*(\d+)")


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
        """The processes that it, or a thread of it, started."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for one in tasks for pid in one.read_text().split()]


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
        pages = [each.read_to(r"launch the tracker +(http://\S+)") for each in (one, other)]
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
        ehr = one.read_to(r"launch the tracker +(http://\S+)/ehr")
        tracker = one.read_to(r"log in from outside the EHR +(http://\S+)/login")
        wait_for_the_day(ehr)
        readers = {who.role: ChartReader(ehr, tracker, who.remote_id, APP_ID) for who in people()}
        queues = {role: reader.page("", "/") for role, reader in readers.items()}
        held = readers["rn"].page("", "/?tab=hold")
        anchored = [file.read_text() for file in tmp_path.glob("*/tracker.db.anchor")]
        _break_the_glass(ehr, tracker, {who.role: who.remote_id for who in people()}, readers["auditor"])
        outside = fetched(f"{tracker}/login", 401).decode()
        stranger = fetched(f"{tracker}/fhir/Task", 401).decode()
    counts = {role: int(found[1]) for role, page in queues.items() if (found := TEAM.search(page))}
    assert counts["care-coordinator"] >= 20
    assert counts["rn"] >= 20
    assert counts["front-desk"] >= 3
    assert "late" in queues["care-coordinator"]
    assert "Audit trail" in queues["auditor"]
    assert [text.count("hash") > 0 for text in anchored] == [True], "the trail is not sealed as it grows"
    assert "daughter brings the medicine bottles" in held or "Hold" in held
    assert "Log in with the simulated EHR" in outside
    assert "OperationOutcome" in stranger


def _break_the_glass(ehr: str, tracker: str, members: dict[str, str], auditor: ChartReader) -> None:
    """The restricted patient is shut to all, opens to a nurse with a reason, and the auditor sees who, why and what else."""
    name, reason = "Josue Sipes", "The family called from the ambulance"
    desk, nurse, other = (Visitor() for _ in range(3))
    shut = [
        launched(one, ehr, members[role]) for one, role in ((desk, "front-desk"), (nurse, "rn"), (other, "provider"))
    ]
    assert [one.status for one in shut] == [404, 403, 403]
    assert all(name not in one.text for one in shut)
    page = urlsplit(shut[1].address)
    form = dict(re.findall(r'name="(csrf)" value="([^"]+)"', shut[1].text))
    where = f"{tracker}{page.path}/break-glass"
    assert nurse.post(where, form | {"reason": " "}).status == 400
    opened = nurse.post(where, form | {"reason": reason})
    assert opened.status == 200, opened.text
    assert name in opened.text
    assert other.get(shut[2].address).status == 403, "it opens to who gave the reason only"
    listed = auditor.page("", "/break-glass")
    assert reason in listed
    assert "glass broken" in auditor.page("", f"/patients/{page.path.rpartition('/')[2]}/access")


def launched(visitor: Visitor, ehr: str, member: str) -> Answer:
    """What the tracker answers to a launch of this member from the chart that is restricted."""
    assert visitor.post(f"{ehr}/ehr/login", {"member": member}).status == 200
    made = visitor.post(f"{ehr}/ehr/launch", {"app": APP_ID, "patient": RESTRICTED})
    return visitor.get(json.loads(made.text)["address"])


def wait_for_the_day(ehr: str) -> None:
    end = time.monotonic() + 300
    while json.loads(fetched(f"{ehr}/ehr/day.json")).get("phase", "loading") == "loading":
        assert time.monotonic() < end
        time.sleep(0.5)


def fetched(address: str, status: int = 200) -> bytes:
    answer = httpx.get(address, timeout=60, follow_redirects=True)
    assert answer.status_code == status, answer.text
    return answer.content
