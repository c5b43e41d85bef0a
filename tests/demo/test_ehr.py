"""The simulated EHR is a real process with a real FHIR API, and never outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from api.demo.ehr import Ehr, FhirApi, start_ehr
from api.demo.records import source
from fhir_tracker.errors import RemoteFailure, Unavailable
from tests.support.simulated_ehr import app_at

NOW = datetime(2026, 3, 11, 15, 4, 9, tzinfo=UTC)
PARENT = """
    import sys, time
    from datetime import UTC, datetime
    from pathlib import Path
    from api.demo.ehr import start_ehr
    ehr = start_ehr(0, Path(sys.argv[1]), datetime.now(UTC))
    print(ehr.process.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def ehr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ehr]:
    started = start_ehr(0, tmp_path_factory.mktemp("ehr"), NOW)
    yield started
    started.stop()


def api(ehr: Ehr) -> FhirApi:
    return FhirApi(base_url=ehr.base_url)


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


def test_it_answers_with_the_records_dated_from_now(ehr: Ehr) -> None:
    assert len(api(ehr).search("Patient", _count="100")) >= 60
    late = api(ehr).search("Encounter", status="finished", date="ge2026-03-04", _count="100")
    assert len(late) >= 10


def test_what_is_written_is_found_as_changed(ehr: Ehr) -> None:
    before = api(ehr).search("Appointment", status="booked", _count="1")[0]
    after = api(ehr).update({**before, "status": "cancelled"})
    assert after["meta"]["versionId"] == "2"
    assert api(ehr).read(f"Appointment/{before['id']}")["status"] == "cancelled"


def test_what_is_wrong_is_refused(ehr: Ehr) -> None:
    with pytest.raises(RemoteFailure, match="400"):
        api(ehr).create({"resourceType": "Appointment", "status": "booked", "participant": "nobody"})


def test_two_run_side_by_side(ehr: Ehr, tmp_path: Path) -> None:
    other = start_ehr(0, tmp_path, NOW)
    try:
        assert other.base_url != ehr.base_url
        assert api(other).search("Patient", _count="1")
    finally:
        other.stop()
        other.stop()
    assert other.process.returncode == 0


def test_a_port_in_use_is_said_plainly(ehr: Ehr, tmp_path: Path) -> None:
    taken = int(ehr.base_url.split(":")[2].split("/")[0])
    with pytest.raises(Unavailable, match="in use"):
        start_ehr(taken, tmp_path, NOW)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_with_a_parent_that_had_no_time_to_tidy_up(how: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(PARENT), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        os.kill(parent.pid, how)
        parent.wait(60)
    assert gone_within(child, 60)


def test_it_opens_as_an_ehr_with_the_demos_staff_charts_and_app(tmp_path: Path) -> None:
    other = start_ehr(0, tmp_path, NOW, app_at("http://127.0.0.1:9"))
    try:
        known = api(other).call("GET", ".well-known/smart-configuration")
        assert known["issuer"] == other.base_url
        with httpx.Client(base_url=other.origin, follow_redirects=True) as browser:
            assert "Who are you?" in browser.get("/").text
            frame = browser.post("/ehr/login", data={"member": source()["people"][0]["id"]}).text
            assert source()["people"][0]["name"] in frame
            assert frame.count("data-chart=") == len(api(other).search("Patient", _count="100"))
            assert "Launch Care plan tracker" in frame
            assert browser.get("/ehr/day.json").json() == {}
            other.tell({"phase": "running", "steps": [], "recent": []})
            other.tell({"phase": "over", "steps": [], "recent": []})
            end = time.monotonic() + 60
            while browser.get("/ehr/day.json").json().get("phase") != "over":
                assert time.monotonic() < end
                time.sleep(0.05)
    finally:
        other.stop()
    other.tell({"phase": "over"})


def test_a_token_that_is_none_opens_no_record(ehr: Ehr) -> None:
    guessed = FhirApi(base_url=ehr.base_url, headers=lambda: {"Authorization": "Bearer guessed"})
    with pytest.raises(RemoteFailure, match="401"):
        guessed.search("Patient", _count="1")
    assert guessed.call("GET", "metadata")["resourceType"] == "CapabilityStatement"
