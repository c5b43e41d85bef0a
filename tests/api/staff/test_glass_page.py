"""Breaking the glass on the pages of a launch: 403 with a form, a reason, a short time, and the list of what was opened."""

from __future__ import annotations

import re
from datetime import datetime

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from api.context import Access
from fhir_tracker import records
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import audit, resources
from tests.api.conftest import Serve
from tests.support.clinic import Clinic
from tests.support.setting_up import tab_of

REASON = "She fell in the waiting room"
LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page, not the database."""
    return one_file


@pytest.fixture
def client(serve: Serve, clinic: Clinic, two_late: None, now: datetime) -> TestClient:
    """A server that knows who comes in; rosa is restricted, ivo is not, both are late."""
    with clinic.database.begin() as tx:
        stored = resources.find(tx, worker_viewer("test"), "Patient", "rosa")
        assert stored is not None
        body = records.resource_of(stored)
        author = Author(viewer=worker_viewer("test"), origin="cli", at=now)
        records.save(tx, body | {"meta": {"security": [LABEL]}}, author)
    return serve(Access.LOCKED)


@pytest.mark.security("A5", "S50")
def test_a_restricted_patient_is_in_no_queue_and_no_count(client: TestClient, clinic: Clinic, now: datetime) -> None:
    tab = tab_of(client, clinic.database, now, "nurse", "rn", "care-coordinator")
    for page in ("/?tab=team&role=every", "/?tab=all", "/?tab=escalated&role=every", "/operations"):
        shown = tab.get(page)
        assert shown.status_code == 200, page
        assert "rosa Synthetic" not in shown.text, page
    assert "ivo Synthetic" in tab.get("/?tab=all").text


@pytest.mark.security("A5", "B1")
def test_the_record_opens_with_a_reason_and_only_to_who_gave_it(
    client: TestClient, clinic: Clinic, now: datetime
) -> None:
    tab = tab_of(client, clinic.database, now, "nurse", "rn")
    shut = tab.get("/patients/rosa")
    assert shut.status_code == 403
    assert "restricted" in shut.text
    assert "rosa Synthetic" not in shut.text
    assert 'name="reason"' in shut.text
    empty = tab.post("/patients/rosa/break-glass", {"reason": " "})
    assert empty.status_code == 400
    assert "Say why" in empty.text
    opened = tab.post("/patients/rosa/break-glass", {"reason": REASON})
    assert (opened.status_code, opened.headers["location"].partition("?")[0]) == (303, f"{tab.prefix}/patients/rosa")
    assert "rosa Synthetic" in tab.get("/patients/rosa").text
    other = tab_of(client, clinic.database, now, "another", "rn")
    assert other.get("/patients/rosa").status_code == 403
    with clinic.database.read() as tx:
        purposes = tx.connection.execute(
            text("SELECT DISTINCT purpose FROM audit WHERE patient = 'rosa' AND action IN ('read', 'break-glass')")
        )
        assert {row[0] for row in purposes} == {"BTG"}


@pytest.mark.security("A5", "M3")
@pytest.mark.parametrize("role", ["front-desk", "clinic-admin"])
def test_who_may_not_break_it_finds_nothing(client: TestClient, clinic: Clinic, now: datetime, role: str) -> None:
    tab = tab_of(client, clinic.database, now, "desk", role)
    hidden, absent = tab.get("/patients/rosa"), tab.get("/patients/nobody")
    assert (hidden.status_code, absent.status_code) == (404, 404)
    told, expected = (re.sub(r"Request <code>[0-9a-f]{16}</code>", "", one.text) for one in (hidden, absent))
    assert told.replace("rosa", "nobody") == expected
    assert (hidden.text, absent.text) != (told, expected), "each page names its own request"
    assert tab.post("/patients/rosa/break-glass", {"reason": REASON}).status_code == 403


@pytest.mark.security("A5")
def test_the_list_of_what_was_opened_is_for_auditors_and_administrators(
    client: TestClient, clinic: Clinic, now: datetime
) -> None:
    nurse = tab_of(client, clinic.database, now, "nurse", "rn")
    nurse.post("/patients/rosa/break-glass", {"reason": REASON})
    for name, role in (("au", "auditor"), ("ad", "clinic-admin")):
        shown = tab_of(client, clinic.database, now, name, role).get("/break-glass")
        assert shown.status_code == 200
        assert REASON in shown.text
    assert nurse.get("/break-glass").status_code == 403
    auditor = tab_of(client, clinic.database, now, "au", "auditor")
    assert f'href="{auditor.prefix}/break-glass"' in auditor.get("/audit").text
    with clinic.database.read() as tx:
        told = audit.list(tx, worker_viewer("test"))
    listed = [one.patients for one in told if one.ref == "BreakGlass"]
    assert listed == [("rosa",), ("rosa",)], "whom the list named is in the trail"


@pytest.mark.security("S40", "A3")
def test_the_front_desk_is_led_to_no_page_that_it_may_not_open(
    client: TestClient, clinic: Clinic, now: datetime
) -> None:
    tab = tab_of(client, clinic.database, now, "desk", "front-desk")
    home = tab.get("/")
    assert home.status_code == 200
    for path in ("/operations", "/programs", "/sync", "/outbox", "/quarantine", "/connections", "/bulk"):
        assert f'href="{tab.prefix}{path}"' not in home.text
        assert tab.get(path).status_code in (403, 404, 405), path
    auditor = tab_of(client, clinic.database, now, "au", "auditor")
    assert auditor.get("/").headers["location"] == f"{auditor.prefix}/audit"
