"""Patient data is where it belongs: not in logs, metrics, job rows, the trail, error answers or addresses."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.conformance.server import Tracker, running_tracker
from tests.conformance.talk import FORM, JSON, created, link_of

NAME, MRN, NOTE, BORN = "Kanarienvogel", "MRN-730915", "mentioned-a-canary-in-the-note", "1931-07-13"
CANARIES = (NAME, MRN, NOTE, BORN, NAME.lower())
ASKED = {("audit", "query"), ("audit", "ref"), ("audit", "patient")}
"""What somebody asked for, also in vain, is what the trail is for, as IHE's BALP wants it; it is shown to auditors alone."""
WATCHED_TABLES = (
    "job",
    "audit",
    "change",
    "consumer",
    "cursor",
    "connection",
    "setting",
    "rule_heartbeat",
    "quarantine",
)


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    """A server at DEBUG with its worker, after a day of work with one synthetic patient, wrong requests included."""
    folder = tmp_path_factory.mktemp("canary")
    with running_tracker(f"sqlite:///{folder / 'tracker.db'}", folder, "--open") as tracker:
        with httpx.Client(base_url=tracker.url, timeout=60, trust_env=False) as client:
            work(client)
            await_the_worker(client)
            await_the_log(client, tracker)
        yield tracker


def await_the_worker(client: httpx.Client) -> None:
    """Until the worker has made a plan for the patient and its Tasks."""
    deadline = time.monotonic() + 120
    while not client.get("/fhir/CarePlan?patient=canary").json().get("entry"):
        assert time.monotonic() < deadline, "the worker did nothing"
        time.sleep(0.2)


def await_the_log(client: httpx.Client, tracker: Tracker) -> None:
    """Until all that was logged so far has been written."""
    client.get("/livez", headers={"X-Request-Id": "the-last-one"})
    deadline = time.monotonic() + 120
    while "the-last-one" not in tracker.log.read_text():
        assert time.monotonic() < deadline, tracker.process.tail()
        time.sleep(0.1)


def work(client: httpx.Client) -> None:
    patient: dict[str, object] = {
        "resourceType": "Patient",
        "id": "canary",
        "identifier": [{"system": "http://example.org/mrn", "value": MRN}],
        "name": [{"family": NAME}],
        "birthDate": BORN,
    }
    created(client.put("/fhir/Patient/canary", content=json.dumps(patient), headers=JSON))
    stay = {
        "resourceType": "Encounter",
        "id": "stay",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "subject": {"reference": "Patient/canary", "display": NAME},
        "period": {"start": "2026-01-01", "end": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))},
    }
    created(client.put("/fhir/Encounter/stay", content=json.dumps(stay), headers=JSON))
    task: dict[str, object] = {
        "resourceType": "Task",
        "id": "t",
        "status": "requested",
        "intent": "order",
        "note": [{"text": NOTE}],
    }
    task |= {"for": {"reference": "Patient/canary", "display": NAME}, "description": f"Ring {NAME}"}
    created(client.put("/fhir/Task/t", content=json.dumps(task), headers=JSON))
    for path in (
        "/",
        "/tasks/t",
        "/patients/canary",
        "/operations",
        f"/?q={NAME}",
        f"/patients/{MRN}",
        f"/tasks/{NAME}",
    ):
        client.get(path)
    for query in (f"name={NAME}", f"identifier={MRN}&birthdate={BORN}", f"{NAME}={NOTE}", f"birthdate={NAME}"):
        client.get(f"/fhir/Patient?{query}")
        client.post("/fhir/Patient/_search", content=query, headers=FORM)
    client.post("/tasks/t/note", data={"note": NOTE, "csrf": NAME})
    for text in [*wrong_bodies(patient), *wrongly_named(patient)]:
        client.put("/fhir/Patient/canary", content=text, headers=JSON)


def wrong_bodies(patient: dict[str, object]) -> list[str]:
    return [
        json.dumps(patient | {"gender": NAME}),
        json.dumps(patient | {"birthDate": f"{BORN}-{NAME}"}),
        json.dumps(patient | {"nonsense": NOTE}),
        json.dumps(patient | {"id": NAME}),
        json.dumps(patient)[:-4],
        json.dumps(patient)[:-1] + f',"active":"{NAME}","active":"{MRN}"}}',
        json.dumps(patient | {"managingOrganization": {"reference": f"{NAME} {MRN}"}}),
        json.dumps(patient | {"contained": [{"resourceType": NAME}]}),
        json.dumps(patient | {"extension": [{"url": NOTE, "valueNonsense": NAME}]}),
    ]


def wrongly_named(patient: dict[str, object]) -> list[str]:
    """The names of elements are no data and may be repeated to who sent them, yet not logged."""
    return [json.dumps(patient | {NAME: NOTE}), json.dumps(patient)[:-1] + f',"{NAME}":1,"{NAME}":2}}']


@pytest.mark.security("L1", "L2", "S53")
def test_no_log_line_at_debug_holds_patient_data_or_a_query(used: Tracker) -> None:
    text = used.log.read_text()
    assert "route=/fhir/{type}/{id}" in text
    for canary in (*CANARIES, "Patient/canary", "tasks/t "):
        assert canary not in text, [line for line in text.splitlines() if canary in line][:3]
    assert "made-up-key" not in text


@pytest.mark.security("L1", "S53")
def test_no_metric_holds_patient_data(used: Tracker) -> None:
    text = (
        httpx.get(f"{used.url}/metrics", timeout=60, trust_env=False).text
        + httpx.get(f"{used.url}/readyz", timeout=60, trust_env=False).text
    )
    assert "/fhir/{type}" in text
    for canary in (*CANARIES, "canary"):
        assert canary not in text


@pytest.mark.security("L1", "S53")
def test_no_job_trail_or_bookkeeping_row_holds_patient_data(used: Tracker) -> None:
    path = Path(used.database.removeprefix("sqlite:///"))
    rows = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        tables = {name for (name,) in rows.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert set(WATCHED_TABLES) <= tables
        assert rows.execute("SELECT count(*) FROM audit").fetchone()[0] > 10
        for table in WATCHED_TABLES:
            found = rows.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in found.description]
            for row in found:
                kept = {name: value for name, value in zip(names, row, strict=True) if (table, name) not in ASKED}
                for canary in CANARIES:
                    assert canary not in str(kept), (table, kept)
    finally:
        rows.close()


@pytest.mark.security("L1", "S53")
@pytest.mark.parametrize("number", range(9))
def test_no_refusal_repeats_the_value_that_was_wrong(used: Tracker, number: int) -> None:
    patient: dict[str, object] = {
        "resourceType": "Patient",
        "id": "canary",
        "name": [{"family": NAME}],
        "birthDate": BORN,
    }
    body = wrong_bodies(patient)[number]
    answer = httpx.put(f"{used.fhir}/Patient/canary", content=body, headers=JSON, timeout=60, trust_env=False)
    assert 400 <= answer.status_code < 500
    for canary in CANARIES:
        assert canary not in answer.text, answer.text[:400]


@pytest.mark.security("L1", "L2")
@pytest.mark.parametrize(
    "query", [f"birthdate={NAME}", f"_sort={NAME}", f"birthdate=gt{BORN}x", f"_count={MRN}", f"_page={NAME}"]
)
def test_no_refused_search_repeats_its_value(used: Tracker, query: str) -> None:
    answer = httpx.get(f"{used.fhir}/Patient?{query}", timeout=60, trust_env=False)
    assert answer.status_code == 400
    for canary in (MRN, NOTE, BORN):
        assert canary not in answer.text
    if "_sort" not in query:
        assert NAME not in answer.text


@pytest.mark.security("L2")
def test_a_page_link_holds_no_value_of_the_resources_it_stands_between(used: Tracker) -> None:
    other = {"resourceType": "Patient", "id": "second", "name": [{"family": "Zzz"}], "birthDate": "1999-01-01"}
    httpx.put(f"{used.fhir}/Patient/second", content=json.dumps(other), headers=JSON, timeout=60, trust_env=False)
    page = httpx.get(f"{used.fhir}/Patient?_count=1&_sort=family", timeout=60, trust_env=False).json()
    following = link_of(page, "next")
    assert following
    for canary in (*CANARIES, quote(NAME)):
        assert canary not in following


@pytest.mark.security("L3")
def test_nothing_with_patient_data_may_be_kept(used: Tracker) -> None:
    for path in (
        "/",
        "/tasks/t",
        "/patients/canary",
        "/operations",
        "/fhir/Patient/canary",
        "/fhir/Patient",
        "/fhir/Nope",
    ):
        answer = httpx.get(f"{used.url}{path}", timeout=60, trust_env=False)
        assert "no-store" in answer.headers["cache-control"], path
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
