"""A session that is locked to one patient, against every address there is: no other patient is read, found, named or changed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from api.context import Access
from api.staff import launched_routes
from fhir_tracker import records
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import launches as kept
from fhir_tracker.storage import resources
from tests.api.conftest import Serve
from tests.support.clinic import Clinic, appointment
from tests.support.contexts import context_of
from tests.support.launched import Tab, launched, person

ROLES = ("rn", "care-coordinator", "provider", "front-desk", "clinic-admin", "auditor")
ODD = ("ivo%20", "ivo%00", "%69vo", "rosa%2f..%2fivo", "rosa/../ivo", "..%2fpatients%2fivo", "IVO", "ivo.", "ivo;rosa")
REQUEST = re.compile("<code>[0-9a-f]{16}</code>")
"""The number by which a request is found in the log."""
FIELDS = {
    "note": "A note",
    "reason": "A reason",
    "text": "ivo",
    "to": "calling",
    "stage": "outreach",
    "owner": "Practitioner/eve",
    "role": "rn",
    "code": "unreachable",
    "exception": "unreachable",
    "outreach.channel": "phone",
    "outreach.outcome": "reached",
    "patient": "ivo",
    "for": "Patient/ivo",
    "subject": "Patient/ivo",
    "q": "ivo",
    "find": "ivo",
    "words": "ivo",
    "name": "ivo",
    "page": "/patients/ivo",
    "back": "/patients/ivo",
}


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is what the pages let through; storage has its own tests on both databases."""
    return one_file


@pytest.fixture
def client(serve: Serve, clinic: Clinic, two_late: None, now: datetime) -> TestClient:
    """Late work, tries and visits of two patients."""
    for name in ("rosa", "ivo"):
        clinic.attempt(clinic.task(name, "first-call").ref, now - timedelta(minutes=5))
        clinic.put(appointment(name, now + timedelta(days=1), id_=f"visit-{name}", status="booked"), now)
    return serve(Access.LOCKED)


@pytest.fixture
def chart(client: TestClient, clinic: Clinic, now: datetime) -> Tab:
    """rosa's chart, of somebody who has every role there is."""
    return Tab(
        client, *launched(clinic.database, person(clinic.database, "nurse", *ROLES, now=now), now, patient="rosa")
    )


def ids_of(clinic: Clinic, path: str) -> Iterator[str]:
    """What to put for `{id}` to reach the other patient by an address."""
    if path.startswith("/patients/"):
        yield from ("ivo", *ODD)
    kind = {"/plans/": "CarePlan/", "/tasks/": "Task/"}.get(path[:7], "")
    yield from (one.ref.partition("/")[2] for one in clinic.items("ivo") if kind and one.ref.startswith(kind))
    yield "1"


def addresses(clinic: Clinic) -> list[tuple[str, str]]:
    """Method and address of every page of a launch, with what belongs to the other patient in each place."""
    found: list[tuple[str, str]] = []
    for route in launched_routes(context_of(clinic.database)):
        assert isinstance(route, Route)
        if not route.path.startswith("/l/{launch}"):
            continue
        path = route.path.removeprefix("/l/{launch}")
        for id_ in ids_of(clinic, path) if "{id}" in path else ("",):
            filled = path.replace("{id}", id_).replace("{key}", "north").replace("{code}", "unreachable")
            methods = sorted(set(route.methods or ()) - {"HEAD"})
            found += [(method, filled.replace("{path:path}", "fhir/Patient/ivo")) for method in methods]
    return found


def everything_of(clinic: Clinic, name: str) -> list[Any]:
    """All that is kept of a patient."""
    items = clinic.items(name)
    about = [one for one in clinic.stored("Communication", "Flag", "CarePlan", "Task", "Patient") if name in str(one)]
    return [items, about, [clinic.log(one.ref) for one in items]]


@pytest.mark.security("S40", "S41", "A4", "M3")
@pytest.mark.requirement(94)
def test_no_page_no_form_and_no_address_reaches_another_patient(chart: Tab, clinic: Clinic) -> None:
    before, tried = everything_of(clinic, "ivo"), addresses(clinic)
    refs = [one.ref for one in clinic.items("ivo")]
    picks = {f"pick-{ref.partition('/')[2]}": "1" for ref in refs}
    leaving = {("POST", "/logout")}
    for method, address in sorted(set(tried) - leaving):
        answer = chart.get(address) if method == "GET" else chart.post(address, {**FIELDS, **picks})
        assert answer.status_code < 500, (method, address, answer.text)
        assert "ivo Synthetic" not in answer.text, (method, address)
        if any(one in address for one in ("ivo", *(ref.partition("/")[2] for ref in refs))):
            assert answer.status_code in (400, 404, 422), (method, address, answer.status_code)
    assert everything_of(clinic, "ivo") == before
    assert len(tried) > 60


@pytest.mark.security("S41", "A4", "S43")
@pytest.mark.parametrize(
    "page", ["/patients/rosa", "/", "/open", "/pulse", "/session", "/help/keys", "/patients/rosa/access"]
)
def test_nothing_in_the_query_of_ones_own_pages_leads_to_another_patient(chart: Tab, page: str) -> None:
    for name, text in itertools.product(
        ("patient", "id", "for", "subject", "q", "find", "_id", "plan", "args"), ("ivo", "Patient/ivo")
    ):
        answer = chart.get(f"{page}?{name}={quote(text, safe='')}&patient=ivo")
        assert answer.status_code < 500
        assert "ivo Synthetic" not in answer.text


@pytest.mark.security("S40", "A4", "S21")
@pytest.mark.parametrize("has_cookies", [True, False])
def test_what_opens_a_chart_opens_nothing_outside_it(chart: Tab, client: TestClient, has_cookies: bool) -> None:
    chart.has_cookies = has_cookies
    shown = {**chart.shown, "Authorization": f"Bearer {chart.handle}"}
    for path in (
        "/fhir/Patient/ivo",
        "/fhir/Patient/rosa",
        "/fhir/Task?patient=ivo",
        "/patients/ivo",
        "/tasks/x",
        "/queue",
    ):
        answer = client.get(path, headers=shown, follow_redirects=False)
        assert answer.status_code in (401, 404), (path, answer.status_code)
        assert "Synthetic" not in answer.text


@pytest.mark.security("S41", "M3")
def test_a_hidden_patient_and_one_there_is_not_are_answered_alike(chart: Tab) -> None:
    for method, path in (("GET", "/patients/{}"), ("GET", "/patients/{}/access"), ("POST", "/patients/{}/exceptions")):
        told = []
        for id_ in ("ivo", "nobody"):
            address = path.format(id_)
            answer = chart.get(address) if method == "GET" else chart.post(address, FIELDS)
            told.append((answer.status_code, REQUEST.sub("", answer.text).replace(id_, "X")))
        assert told[0][0] == told[1][0]
        assert told[0][0] in (404, 422)
        assert told[0][1] == told[1][1]


def removed(clinic: Clinic, now: datetime) -> None:
    clinic.remove("Patient/rosa", now)


def restricted(clinic: Clinic, now: datetime) -> None:
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
    with clinic.database.begin() as tx:
        stored = resources.find(tx, worker_viewer("test"), "Patient", "rosa")
        assert stored is not None
        body = records.resource_of(stored) | {"meta": {"security": [label]}}
        records.save(tx, body, Author(viewer=worker_viewer("test"), origin="cli", at=now))


def merged(clinic: Clinic, now: datetime) -> None:
    with clinic.database.begin() as tx:
        stored = resources.find(tx, worker_viewer("test"), "Patient", "rosa")
        assert stored is not None
        link = [{"other": {"reference": "Patient/ivo"}, "type": "replaced-by"}]
        body = records.resource_of(stored) | {"active": False, "link": link}
        records.save(tx, body, Author(viewer=worker_viewer("test"), origin="cli", at=now))


@pytest.mark.security("S19", "S50", "A5")
@pytest.mark.requirement(94)
@pytest.mark.parametrize(("change", "statuses"), [(removed, {404, 410}), (restricted, {403}), (merged, {200})])
def test_what_becomes_of_the_patient_meanwhile_counts_from_the_next_click(
    chart: Tab, clinic: Clinic, now: datetime, change: Any, statuses: set[int]
) -> None:
    """Deleted, restricted or merged into another: the chart never becomes a view of everybody, or of the other one."""
    assert chart.get("/patients/rosa").status_code == 200
    call = clinic.task("rosa", "first-call").ref.partition("/")[2]
    token = chart.token()
    change(clinic, now)
    answer = chart.get("/patients/rosa")
    assert answer.status_code in statuses, answer.text
    assert "ivo Synthetic" not in answer.text
    for page in ("/patients/ivo", "/operations", f"/tasks/{clinic.task('ivo', 'first-call').ref.partition('/')[2]}"):
        assert chart.get(page).status_code == 404, page
    home = chart.get("/")
    assert (home.status_code, home.headers["location"].endswith("/patients/rosa")) == (303, True)
    if change is restricted:
        before = clinic.resource(f"Task/{call}")
        assert chart.post(f"/tasks/{call}/note", {"csrf": token, "note": "late"}).status_code in (403, 404, 410)
        assert clinic.resource(f"Task/{call}") == before


@pytest.mark.security("S19", "S41")
@pytest.mark.requirement(94)
@pytest.mark.parametrize("patient", ["unknown", "a b", "<b>", "x" * 300, "Patient", "rosa/../ivo"])
def test_a_chart_of_nobody_known_stays_empty(client: TestClient, clinic: Clinic, now: datetime, patient: str) -> None:
    nurse = person(clinic.database, "nurse", *ROLES, now=now)
    tab = Tab(client, *launched(clinic.database, nurse, now, patient=patient))
    answer = tab.get("/open")
    assert answer.status_code == 303
    followed = tab.get(answer.headers["location"].removeprefix(tab.prefix))
    assert followed.status_code in (200, 404)
    for text in (followed.text, tab.get("/patients/rosa").text, tab.get("/?tab=all").text):
        assert "Synthetic" not in text.replace("Nurse Synthetic", "")
    with clinic.database.read() as tx:
        session = kept.find(tx, tab.session.id)
    assert session is not None
    assert session.patient == patient
