"""A chart that opens, and an EHR that answers oddly when its patient is read: never another patient, never a view of everybody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fhir_tracker.fhir.identity import local_id
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import resources
from tests.support.other_servers import PATIENT, Page, Practice, Server, one_practice, page_of

FHIR = "application/fhir+json"
HERE = "/fhir/Patient/p-1"


@pytest.fixture(scope="module")
def clinic(prepared_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Practice]:
    """One tracker for all: each server is a connection of its own."""
    with one_practice(prepared_file, tmp_path_factory.mktemp("charts")) as found:
        yield found


def outcome(code: str, status: int) -> Page:
    return page_of({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": code}]}, status, FHIR)


ANSWERS: dict[str, Page] = {
    "not found": outcome("not-found", 404),
    "gone": outcome("deleted", 410),
    "not allowed": outcome("forbidden", 403),
    "break the glass": outcome("4131", 403),
    "who are you": outcome("login", 401),
    "broken": page_of(b"oops", 500, "text/plain"),
    "a login page": page_of(b"<h1>Log in</h1>", 200, "text/html"),
    "an outcome that says 200": outcome("processing", 200),
    "another patient": page_of({**PATIENT, "id": "p-2", "name": [{"text": "Other Person-Synthetic"}]}, kind=FHIR),
    "a patient without an id": page_of({**PATIENT}, kind=FHIR),
    "somebody of the staff": page_of({"resourceType": "Practitioner", "id": "p-1"}, kind=FHIR),
    "a bundle": page_of({"resourceType": "Bundle", "type": "searchset", "entry": []}, kind=FHIR),
    "half of one": page_of(b'{"resourceType": "Patient", "id": "p-', kind=FHIR),
    "a list": page_of([PATIENT], kind=FHIR),
    "elsewhere": (302, {"Location": "https://elsewhere.example/fhir/Patient/p-1"}, b""),
    "without end": (302, {"Location": "{at}/fhir/Patient/p-1"}, b""),
}


def held(clinic: Practice, key: str) -> list[str]:
    """Which patients of a server are here."""
    with clinic.database.read() as tx:
        ids = [local_id(key, one, "Patient") for one in ("p-1", "p-2")]
        return [id_ for id_ in ids if resources.find(tx, worker_viewer("test"), "Patient", id_)]


@pytest.mark.requirement(94)
@pytest.mark.security("S19", "S58", "A4")
@pytest.mark.parametrize("kind", ANSWERS)
def test_a_patient_who_cannot_be_read_opens_a_chart_of_nobody_else(clinic: Practice, kind: str) -> None:
    server = Server(token={"patient": "p-1"}, pages={HERE: ANSWERS[kind]})
    key = clinic.connect(server)
    clinic.person(key)
    browser = clinic.browser()
    session = clinic.session(clinic.come_in(key, browser))
    assert session.patient == local_id(key, "p-1", "Patient")
    home = browser.get(f"/l/{session.id}/open")
    assert home.status_code == 303
    page = browser.get(home.headers["location"])
    assert page.status_code in (200, 404)
    for path in ("/operations", "/programs", "/sync", f"/patients/{local_id(key, 'p-2', 'Patient')}"):
        assert browser.get(f"/l/{session.id}{path}").status_code == 404, path
    assert "Person-Synthetic" not in page.text
    assert held(clinic, key) == []


@pytest.mark.requirement(94, 98)
@pytest.mark.security("S19", "A4", "A5")
@pytest.mark.parametrize("kind", ANSWERS)
def test_where_people_read_in_their_own_name_such_a_chart_does_not_open(clinic: Practice, kind: str) -> None:
    server = Server(token={"patient": "p-1"}, pages={HERE: ANSWERS[kind]})
    key = clinic.connect(server, reads_as_user=True)
    clinic.person(key)
    browser = clinic.browser()
    answer = clinic.come_in(key, browser)
    assert (answer.status_code, "You were not let in" in answer.text) == (403, True)
    assert "Person-Synthetic" not in answer.text
    assert not any(one.startswith("__Host-l-") for one in browser.cookies)
    assert held(clinic, key) == []


@pytest.mark.requirement(94)
@pytest.mark.parametrize("told", ["p-1", "Patient/p-1"])
def test_a_patient_who_can_be_read_is_here_at_once(clinic: Practice, told: str) -> None:
    server = Server(token={"patient": told})
    key = clinic.connect(server)
    clinic.person(key)
    session = clinic.session(clinic.come_in(key))
    assert held(clinic, key) == [session.patient]
    assert server.seen.count(HERE) == 1


@pytest.mark.requirement(94)
@pytest.mark.security("S19")
@pytest.mark.parametrize(
    "odd", ["..", ".", "p-1/../p-2", "p-1?_id=p-2", "p-1#", "%2e%2e", "p 1", "Patient/p-1/_history/1"]
)
def test_an_id_that_leads_elsewhere_is_never_asked_for(clinic: Practice, odd: str) -> None:
    server = Server(token={"patient": odd})
    key = clinic.connect(server)
    clinic.person(key)
    answer = clinic.come_in(key)
    assert (answer.status_code, "cannot be read" in answer.text) == (403, True)
    assert not [one for one in server.seen if one.startswith("/fhir/Patient")]
