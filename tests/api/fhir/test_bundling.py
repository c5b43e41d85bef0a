"""What a Bundle leaves behind beside its resources: the same as single writes do, and nothing when it fails."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from api.app import create_app
from api.context import Access
from fhir_tracker import clock
from fhir_tracker.model.program import CANONICAL
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import audit, events, transitions, work_items
from fhir_tracker.storage.audit import AuditRow
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from tests.api.conftest import BASE, Serve
from tests.api.fhir.talk import JSON, Answer, outcome
from tests.support.clinic import MONDAY, Clinic, appointment, encounter
from tests.support.contexts import context_of
from tests.support.systems import let_in_with

VIEWER = open_viewer()
Entry = dict[str, Any]


def send(client: TestClient, type_: str, entries: Sequence[Entry]) -> Answer:
    """Post a Bundle."""
    bundle = {"resourceType": "Bundle", "type": type_, "entry": list(entries)}
    return client.post("/fhir", content=json.dumps(bundle), headers=JSON)


def put(resource: Entry) -> Entry:
    """An entry that updates."""
    url = f"{resource['resourceType']}/{resource['id']}"
    return {"resource": resource, "request": {"method": "PUT", "url": url}}


def ask(method: str, url: str, resource: Entry | None = None) -> Entry:
    """Any other entry."""
    return {"request": {"method": method, "url": url}} | ({"resource": resource} if resource else {})


def trail(database: Database) -> list[AuditRow]:
    """The audit rows, oldest first."""
    with database.read() as tx:
        return list(reversed(audit.list(tx, VIEWER, limit=1000)))


def told(rows: Sequence[AuditRow]) -> list[tuple[str, str, str | None, str]]:
    """What rows say."""
    return [(row.action, row.ref, row.patient, row.outcome) for row in rows]


PATIENT: Entry = {"resourceType": "Patient", "id": "p1", "name": [{"family": "Synthetic"}]}
TASK: Entry = {
    "resourceType": "Task",
    "id": "t1",
    "status": "requested",
    "intent": "order",
    "for": {"reference": "Patient/p1"},
}


@pytest.mark.requirement(39, 139)
def test_each_entry_of_a_transaction_has_its_audit_row(client: TestClient, database: Database) -> None:
    entries = [ask("GET", "Task/t1"), put(TASK), put(PATIENT), ask("GET", "Task?status=requested")]
    assert send(client, "transaction", entries).status_code == 200
    rows = trail(database)
    assert told(rows) == [
        ("create", "Patient/p1", "p1", "success"),
        ("create", "Task/t1", "p1", "success"),
        ("read", "Task/t1", "p1", "success"),
        ("search", "Task", None, "success"),
        ("transaction", "", None, "success"),
    ]
    assert len({row.request_id for row in rows}) == 1


@pytest.mark.requirement(33, 139)
def test_a_failed_transaction_leaves_the_row_of_its_failure_only(client: TestClient, database: Database) -> None:
    failed = send(client, "transaction", [put(PATIENT), put(TASK), ask("GET", "Task/never")])
    assert outcome(failed, 404)["expression"] == ["Bundle.entry[2]"]
    assert told(trail(database)) == [("transaction", "", None, "denied")]
    assert client.get("/fhir/Patient").json()["total"] == 0
    with database.read() as tx:
        assert work_items.find(tx, VIEWER, "Task/t1") is None


@pytest.mark.requirement(37, 39, 139)
def test_each_entry_of_a_batch_has_its_audit_row(client: TestClient, database: Database) -> None:
    entries = [put(PATIENT), ask("GET", "Task/t1"), put(TASK | {"status": "nonsense"}), ask("GET", "Patient/p1")]
    assert send(client, "batch", entries).status_code == 200
    assert told(trail(database)) == [
        ("create", "Patient/p1", "p1", "success"),
        ("read", "Task/t1", None, "denied"),
        ("update", "Task/t1", None, "error"),
        ("read", "Patient/p1", "p1", "success"),
    ]


@pytest.mark.requirement(87)
@pytest.mark.security("S34")
def test_each_entry_is_held_to_the_policy_of_its_type(serve: Serve, database: Database) -> None:
    client = let_in_with(serve(Access.LOCKED), database)
    refused = send(client, "transaction", [put(TASK), put(PATIENT)])
    assert outcome(refused, 405)["expression"] == ["Bundle.entry[1]"]
    assert client.get("/fhir/Task/t1").status_code == 404
    each = send(client, "batch", [put(TASK), put(PATIENT)]).json()["entry"]
    assert [one["response"]["status"][:3] for one in each] == ["201", "405"]


@pytest.mark.requirement(87)
def test_a_stranger_cannot_post_a_bundle(serve: Serve) -> None:
    for type_ in ("transaction", "batch"):
        outcome(send(serve(Access.LOCKED), type_, [ask("GET", "Patient")]), 401)


def _chart(name: str) -> list[Entry]:
    """What happens to one patient: a stay, work of a program and without one, an attempt, a missed visit, a flag."""
    subject = {"reference": f"Patient/{name}"}
    work = {"instantiatesCanonical": f"{CANONICAL}/ActivityDefinition/ring.first-call"}
    concept = {"text": "x"}
    return [
        PATIENT | {"id": name},
        encounter(name, MONDAY, id_=f"{name}-stay"),
        TASK | {"id": f"{name}-call", "for": subject} | work,
        TASK | {"id": f"{name}-plain", "for": subject},
        {
            "resourceType": "Communication",
            "id": f"{name}-attempt",
            "status": "not-done",
            "subject": subject,
            "about": [{"reference": f"Task/{name}-call"}],
            "sent": "2026-03-09T15:00:00Z",
        },
        appointment(name, MONDAY, id_=f"{name}-visit", status="noshow"),
        {"resourceType": "Flag", "id": f"{name}-flag", "status": "active", "code": concept, "subject": subject},
    ]


def _read_models(database: Database, name: str) -> str:
    """Items, transitions and events of a patient, without its name and without moments of now."""
    with database.read() as tx:
        items = work_items.of_patient(tx, VIEWER, name)
        log = transitions.of_items(tx, VIEWER, [one.ref for one in items])
        seen = events.of_patients(tx, VIEWER, [name])[name]
    rows: list[dict[str, Any]] = [
        vars(one if one.program else replace(one, next_action_at=None))
        for one in sorted(items, key=lambda one: one.ref)
    ]
    rows += [asdict(row) for ref in sorted(log) for row in log[ref]]
    rows += [asdict(one) for one in sorted(seen, key=lambda one: one.ref)]
    texts = [
        {key: value is not None if isinstance(value, datetime) else repr(value) for key, value in row.items()}
        for row in rows
    ]
    return re.sub(r"20\d\d-\d\d-\d\dT[0-9:.+]+", "THEN", json.dumps(texts, indent=1).replace(name, "NAME"))


@pytest.mark.requirement(39)
def test_read_models_and_provenance_follow_as_from_single_writes(client: TestClient, database: Database) -> None:
    Clinic(database)
    for resource in _chart("alone"):
        answer = client.put(
            f"/fhir/{resource['resourceType']}/{resource['id']}", content=json.dumps(resource), headers=JSON
        )
        assert answer.status_code == 201, answer.text
    assert send(client, "transaction", [put(one) for one in _chart("whole")]).status_code == 200
    assert send(client, "batch", [put(one) for one in _chart("parts")]).status_code == 200
    alone = _read_models(database, "alone")
    assert alone.count('"ref"') > 5
    assert _read_models(database, "whole") == alone
    assert _read_models(database, "parts") == alone
    proofs = Counter(
        name
        for name in ("alone", "whole", "parts")
        for one in client.get("/fhir/Provenance?_count=100").json()["entry"]
        if f"/{name}-" in one["resource"]["target"][0]["reference"]
    )
    assert proofs["alone"] == proofs["whole"] == proofs["parts"] > 0


@pytest.mark.requirement(33, 39)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_work_finds_its_plan_wherever_that_stands_in_the_bundle(
    client: TestClient, database: Database, method: str
) -> None:
    clinic = Clinic(database)
    patient = clinic.patient("anna")
    clinic.discharge(patient, MONDAY)
    with database.read() as tx:
        plan = next(one.ref for one in work_items.of_patient(tx, VIEWER, patient) if one.kind == "plan")
    stored = client.get(f"/fhir/{plan}").json()
    copy = {name: value for name, value in stored.items() if name not in ("id", "meta")} | {"id": "copied"}
    call = TASK | {
        "id": "call",
        "for": {"reference": f"Patient/{patient}"},
        "instantiatesCanonical": f"{CANONICAL}/ActivityDefinition/ring.first-call",
        "basedOn": [{"reference": "CarePlan/copied"}],
    }
    due = []
    for turned in (False, True):
        entries = [put(call | {"id": f"call-{turned}"}), put(copy)]
        if method == "POST":
            entries[0]["request"] = {"method": "POST", "url": "Task"}
        answer = send(client, "transaction", entries[:: -1 if turned else 1])
        assert answer.status_code == 200, answer.content
        written = next(one["resource"] for one in answer.json()["entry"] if one["resource"]["resourceType"] == "Task")
        due.append(written["restriction"]["period"]["end"])
    alone = client.put("/fhir/Task/alone", content=json.dumps(call | {"id": "alone"}), headers=JSON).json()
    assert due == [alone["restriction"]["period"]["end"]] * 2


@pytest.fixture(scope="module")
def quick_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server on one database for many examples."""
    database = Database.open(f"sqlite:///{tmp_path_factory.mktemp('bundling') / 'tracker.db'}")
    prepare(database)
    context = context_of(database, public_url=BASE)
    with TestClient(create_app(context), base_url=BASE) as client:
        yield client
    database.close()


def _graph(links: Sequence[tuple[int, int]], size: int, run: str) -> list[Entry]:
    """Persons that know each other: those of an even number are created, the others put."""
    entries = []
    urls = [UUID(int=number + (hash(run) & (1 << 60) - 1) * 1000).urn for number in range(size)]
    for number in range(size):
        known = [{"target": {"reference": urls[to]}} for at, to in links if at == number]
        person: Entry = {"resourceType": "Person", "identifier": [{"system": "urn:x", "value": f"{run}-{number}"}]}
        person |= {"link": known} if known else {}
        if number % 2:
            entries.append({"fullUrl": urls[number], **put(person | {"id": f"{run}-{number}"})})
        else:
            entries.append({"fullUrl": urls[number], **ask("POST", "Person", person)})
    return entries


@pytest.mark.requirement(33, 34)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(1, 9),
    pairs=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=25),
    seed=st.integers(0, 2**32),
)
def test_whatever_the_links_and_the_order_the_store_is_the_same(
    quick_client: TestClient, size: int, pairs: list[tuple[int, int]], seed: int
) -> None:
    links = [(at % size, to % size) for at, to in pairs]
    run = f"r{clock.now().timestamp():.6f}".replace(".", "-")
    entries = _graph(links, size, run)
    order = Random(seed).sample(range(size), size)
    answer = send(quick_client, "transaction", [entries[index] for index in order])
    assert answer.status_code == 200, answer.content
    persons = [one["resource"] for one in answer.json()["entry"]]
    name = {f"Person/{one['id']}": int(one["identifier"][0]["value"].rpartition("-")[2]) for one in persons}
    stored = [quick_client.get(f"/fhir/{ref}").json() for ref in name]
    found = [
        (name[f"Person/{one['id']}"], name[link["target"]["reference"]])
        for one in stored
        for link in one.get("link", [])
    ]
    assert sorted(found) == sorted(links)
    assert [name[f"Person/{one['id']}"] for one in persons] == order


WORDS = [
    "urn:uuid:1",
    "urn:oid:1.2",
    "Patient",
    "Patient/1",
    "Patient?identifier=a|b",
    "PATCH",
    "POST",
    "Bundle",
    "",
    "#x",
    "*",
]
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8), st.sampled_from(WORDS)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(
        ["reference", "resourceType", "id", "identifier", "system", "value", "url", "method", "resource", "request", "div"]
    ), inner, max_size=4)),
    max_leaves=12,
)  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every member and item."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in pairs:
        yield (*path, key)
        yield from _places(member, (*path, key))


@pytest.mark.security("S34")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    type_=st.sampled_from(["transaction", "batch"]), changes=st.lists(st.tuples(st.integers(0), ANYTHING), max_size=4)
)
def test_no_change_of_a_bundle_is_a_fault(quick_client: TestClient, type_: str, changes: list[tuple[int, Any]]) -> None:
    identified = PATIENT | {"identifier": [{"system": "a", "value": "b"}]}
    bundle: Entry = {
        "resourceType": "Bundle",
        "type": type_,
        "entry": [
            {"fullUrl": "urn:uuid:1", **ask("POST", "Patient", identified)},
            {"fullUrl": "urn:oid:1.2", **put(TASK | {"for": {"reference": "urn:uuid:1"}})},
            {"request": {"method": "PUT", "url": "Patient?identifier=a|c", "ifMatch": 'W/"1"'}, "resource": identified},
            {"request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=a|b"}, "resource": identified},
            ask("DELETE", "Patient?identifier=nobody"),
            ask("GET", "Task?patient=1&_include=Task:patient"),
        ],
    }
    for at, value in changes:
        places = list(_places(bundle))
        *path, last = places[at % len(places)]
        holder: Any = bundle
        for key in path:
            holder = holder[key]
        holder[last] = value
    answer = quick_client.post("/fhir", content=json.dumps(bundle), headers=JSON)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.json()["resourceType"] == "OperationOutcome"
    else:
        assert not [one for one in answer.json().get("entry", []) if one["response"]["status"].startswith("5")]
