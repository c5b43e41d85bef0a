"""Over HTTP with tokens: whatever way is tried, nobody sees, counts or learns of what their scopes do not reach."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.context import Access
from fhir_tracker import access_tokens, clock
from fhir_tracker.digests import digest_of
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import audit, tokens
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.tokens import IssuedToken
from tests.api.conftest import Serve
from tests.storage.samples import put, put_all, task
from tests.support.systems import let_in

CODE = {"coding": [{"system": "http://example.org/codes", "code": "call"}]}


def ref(text: str) -> dict[str, str]:
    return {"reference": text}


RECORDS: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "ann", "gender": "female", "name": [{"family": "Ash"}]},
    {"resourceType": "Patient", "id": "bob", "gender": "male", "name": [{"family": "Birch"}]},
    {"resourceType": "Practitioner", "id": "reed", "name": [{"family": "Reed"}]},
    task("a1", "ann", owner=ref("Practitioner/reed"), code=CODE),
    task("a2", "ann", status="completed", partOf=[ref("Task/b1")]),
    task("b1", "bob", owner=ref("Practitioner/reed"), identifier=[{"system": "urn:x", "value": "secret"}]),
    task("b2", "bob", status="completed", partOf=[ref("Task/a1")]),
    task("moved", "bob"),
    {"resourceType": "Observation", "id": "o-ann", "status": "final", "code": CODE, "subject": ref("Patient/ann")},
    {"resourceType": "Observation", "id": "o-bob", "status": "final", "code": CODE, "subject": ref("Patient/bob")},
    {"resourceType": "Provenance", "id": "p-bob", "recorded": "2026-01-01T00:00:00Z", "target": [ref("Task/b1")]},
]  # fmt: skip


@dataclass
class Caller:
    """One system with a token."""

    client: TestClient
    headers: dict[str, str]

    def __call__(self, path: str, method: str = "GET", body: object = None, **headers: str) -> Any:
        given = None if body is None else json.dumps(body)
        kind = {"Content-Type": "application/fhir+json"} if body is not None else {}
        return self.client.request(method, f"/fhir/{path}", content=given, headers=self.headers | kind | headers)

    def ids(self, path: str) -> list[str]:
        """What a search or history holds, as Type/id, sorted."""
        answer = self(path)
        assert answer.status_code == 200, (path, answer.text)
        found = [
            one
            for one in answer.json().get("entry", [])
            if one.get("resource", {}).get("resourceType") != "OperationOutcome"
        ]
        return sorted("/".join(one["fullUrl"].split("/")[-2:]) for one in found)


Tokens = Callable[..., Caller]


@pytest.fixture
def token(database: Database, serve: Serve) -> Tokens:
    """`token(*scopes, patient=...)`: a caller with a token of these scopes."""
    put_all(database, RECORDS)
    with database.begin() as tx:
        put(tx, task("moved", "ann"), 2)
    let_in(database)
    client = serve(Access.LOCKED)

    def given(*scopes: str, patient: str | None = None) -> Caller:
        told = hashlib.blake2b(f"{scopes} {patient}".encode(), digest_size=22).hexdigest()
        value = f"{access_tokens.PREFIX}{told[:43]}"
        now = clock.now()
        issued = IssuedToken(
            digest=digest_of(value), client="reports", scopes=scopes, patient=patient,
            issued_at=now, expires_at=now + timedelta(minutes=5),
        )  # fmt: skip
        with database.begin() as tx:
            tokens.add(tx, issued)
        return Caller(client, {"Authorization": f"Bearer {value}"})

    return given


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["issue"][0]["code"]


HIDDEN = ("Task/b1", "Patient/bob", "Observation/o-bob", "Provenance/p-bob")


@pytest.mark.requirement(86)
@pytest.mark.security("S41", "A4", "M3")
@pytest.mark.parametrize("name", HIDDEN)
def test_what_is_of_another_patient_is_as_what_never_was(token: Tokens, name: str) -> None:
    ask = token("patient/*.cruds", patient="ann")
    absent = f"{name.partition('/')[0]}/never"
    for tail in ("", "/_history", "/_history/1"):
        hidden, never = ask(name + tail), ask(absent + tail)
        assert hidden.status_code == never.status_code == 404
        assert hidden.text == never.text
        assert ask(name + tail, "HEAD").status_code == 404
    assert ask(name, **{"If-None-Match": 'W/"1"'}).status_code == 404


@pytest.mark.requirement(86)
@pytest.mark.security("S41", "S49")
def test_what_is_of_another_patient_is_not_changed(token: Tokens) -> None:
    ask, every = token("patient/*.cruds", patient="ann"), token("system/*.cruds")
    before = every("Task/b1").text
    patch = [{"op": "replace", "path": "/status", "value": "completed"}]
    body = task("b1", "ann", status="completed")
    assert ask("Task/b1", "PUT", body).text == ask("Task/never", "PUT", {**body, "id": "never"}).text
    assert ask("Task/b1", "PUT", body).status_code == 404
    assert ask("Task/b1", "DELETE").text == ask("Task/never", "DELETE").text
    assert ask("Task/b1", "PATCH", patch, **{"Content-Type": "application/json-patch+json"}).status_code == 404
    conditions = "Task?identifier=urn:x|secret", "Task?identifier=urn:x|never"
    assert len({ask(condition, "DELETE").text for condition in conditions}) == 1
    assert len({ask(condition, "PUT", {**body, "id": "other"}).status_code for condition in conditions}) == 1
    assert every("Task/b1").text == before


@pytest.mark.requirement(86)
@pytest.mark.security("S42", "S43", "A4")
@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("Task", ["Task/a1", "Task/a2", "Task/moved"]),
        ("Task?_id=a1,b1,b2", ["Task/a1"]),
        ("Task?patient=Patient/bob", []),
        ("Task?patient.name=birch", []),
        ("Task?subject:Patient.gender=male", []),
        ("Task?part-of.status=requested", []),
        ("Task?part-of:Task.identifier=urn:x|secret", []),
        ("Task?identifier=urn:x|secret", []),
        ("Task?_lastUpdated=gt2000&_sort=-_lastUpdated", ["Task/a1", "Task/a2", "Task/moved"]),
        ("Task?status:not=draft&_sort=status", ["Task/a1", "Task/a2", "Task/moved"]),
        ("Patient", ["Patient/ann"]),
        ("Patient?_has:Task:patient:status=requested", ["Patient/ann"]),
        ("Practitioner?_has:Task:owner:identifier=urn:x|secret", []),
        ("Practitioner?_has:Task:owner:code=call", ["Practitioner/reed"]),
        ("Task?_id=a2&_include=Task:part-of", ["Task/a2"]),
        ("Task?_id=a1&_revinclude=Task:part-of", ["Task/a1"]),
        ("Task?_id=a1&_include=*&_revinclude=*&_include:iterate=*&_revinclude:iterate=*",
         ["Observation/o-ann", "Patient/ann", "Practitioner/reed", "Task/a1", "Task/a2", "Task/moved"]),
        ("Practitioner?_id=reed&_revinclude=Task:owner", ["Practitioner/reed", "Task/a1"]),
        ("Practitioner?_id=reed&_revinclude:iterate=*", ["Practitioner/reed", "Task/a1"]),
        ("Patient/bob/Task", []),
        ("Patient/bob/*", []),
        ("Patient/ann/Observation", ["Observation/o-ann"]),
        ("?_type=Patient,Observation", ["Observation/o-ann", "Patient/ann"]),
        ("?_lastUpdated=gt2000", ["Observation/o-ann", "Patient/ann", "Practitioner/reed", "Task/a1", "Task/a2", "Task/moved"]),
        ("_history", ["Observation/o-ann", "Patient/ann", "Practitioner/reed", "Task/a1", "Task/a2", "Task/moved"]),
        ("Task/_history", ["Task/a1", "Task/a2", "Task/moved"]),
        ("Task/moved/_history", ["Task/moved"]),
    ],
)  # fmt: skip
def test_a_search_by_whatever_way_stays_in_the_compartment(token: Tokens, path: str, seen: list[str]) -> None:
    ask = token("patient/*.rs", patient="ann")
    mark = "&" if "?" in path else "?"
    assert ask.ids(path) == seen
    if "_history" in path:
        assert ask(path).json()["total"] == len(seen)
        return
    matches = [one for one in ask(path).json().get("entry", []) if one["search"]["mode"] == "match"]
    assert ask(f"{path}{mark}_total=accurate").json()["total"] == len(matches)
    assert ask(f"{path.partition('&_')[0]}{mark}_summary=count").json()["total"] == len(matches)
    if "?" in path and not path.startswith("?"):
        type_, _, query = path.partition("?")
        posted = ask.client.post(f"/fhir/{type_}/_search", content=query, headers=ask.headers | {
            "Content-Type": "application/x-www-form-urlencoded"})  # fmt: skip
        assert sorted("/".join(one["fullUrl"].split("/")[-2:]) for one in posted.json().get("entry", [])) == seen


@pytest.mark.security("S41")
def test_a_version_from_another_compartment_is_not_shown(token: Tokens) -> None:
    mine, other = (token("patient/*.rs", patient=name) for name in ("ann", "bob"))
    assert mine("Task/moved/_history/2").status_code == 200
    assert mine("Task/moved/_history/1").status_code == 404
    assert other("Task/moved/_history/1").status_code == 404
    assert other("Task/moved").status_code == 404


NO_TASKS = "system/Patient.rs", "system/Observation.rs", "system/Practitioner.rs"


@pytest.mark.requirement(81, 83)
@pytest.mark.security("S40", "S43", "A3")
@pytest.mark.parametrize(
    "path",
    [
        "Task/a1", "Task/never", "Task/a1/_history", "Task/a1/_history/1", "Task", "Task?_summary=count", "Task/_history",
        "Task?_id=a1", "?_type=Task", "?_type=Patient,Task", "Patient/ann/Task", "Patient?_has:Task:patient:status=requested",
        "Observation?patient._has:Task:patient:status=requested",
        "Patient?_has:Provenance:target:target:Task.status=requested",
    ],
)  # fmt: skip
def test_a_type_without_right_is_forbidden_whether_it_is_there_or_not(token: Tokens, path: str) -> None:
    answer = token(*NO_TASKS)(path)
    assert answer.status_code in {403, 400}, answer.text
    if answer.status_code == 400:
        pytest.fail(answer.text)
    assert code_of(answer) == (403, "forbidden")


@pytest.mark.requirement(83)
@pytest.mark.security("S42")
@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("Patient?_id=ann&_revinclude=Task:patient", ["Patient/ann"]),
        ("Patient?_id=ann&_revinclude=*", ["Observation/o-ann", "Patient/ann"]),
        ("Patient?_id=ann&_revinclude:iterate=*&_include:iterate=*", ["Observation/o-ann", "Patient/ann"]),
        (
            "?_lastUpdated=gt2000",
            ["Observation/o-ann", "Observation/o-bob", "Patient/ann", "Patient/bob", "Practitioner/reed"],
        ),
        ("_history", ["Observation/o-ann", "Observation/o-bob", "Patient/ann", "Patient/bob", "Practitioner/reed"]),
        ("Patient/ann/*", ["Observation/o-ann", "Patient/ann"]),
    ],
)
def test_types_without_right_are_not_among_what_is_found(token: Tokens, path: str, seen: list[str]) -> None:
    assert token(*NO_TASKS).ids(path) == seen


@pytest.mark.requirement(83, 85)
def test_read_and_search_are_rights_of_their_own(token: Tokens) -> None:
    reader, searcher, old = token("system/Task.r"), token("system/Task.s"), token("system/Task.read")
    assert [reader(path).status_code for path in ("Task/a1", "Task/a1/_history", "Task/a1/_history/1")] == [200] * 3
    assert [reader(path).status_code for path in ("Task", "Task/_history", "_history", "?_type=Task")] == [403] * 4
    assert [searcher(path).status_code for path in ("Task/a1", "Task/a1/_history", "Task/a1/_history/1")] == [403] * 3
    assert [searcher(path).status_code for path in ("Task", "Task/_history", "_history", "?_type=Task")] == [200] * 4
    assert [old(path).status_code for path in ("Task/a1", "Task", "Task/_history")] == [200] * 3
    assert old("Task/a1", "PUT", task("a1", "ann")).status_code == 403


@pytest.mark.requirement(84)
@pytest.mark.security("S44")
def test_a_filter_of_a_scope_holds_on_every_way(token: Tokens) -> None:
    ask = token(
        "system/Task.rs?status=requested",
        "system/Patient.rs",
        "system/Observation.s?code=http://example.org/codes|none",
    )
    assert ask("Task/a1").status_code == 200
    assert ask("Task/a2").text == ask("Task/never").text
    assert ask("Task/a2/_history").status_code == ask("Task/a2/_history/1").status_code == 404
    assert ask.ids("Task") == ["Task/a1", "Task/b1", "Task/moved"]
    assert ask.ids("Task?status=completed") == []
    assert ask("Task?_summary=count").json()["total"] == 3
    assert ask.ids("Task?_id=a1&_revinclude=Task:part-of") == ["Task/a1"]
    assert ask.ids("Task?part-of:Task.status=requested") == []
    assert ask.ids("Patient?_has:Task:patient:status=completed") == []
    assert ask.ids("Patient?_has:Task:patient:status=requested") == ["Patient/ann", "Patient/bob"]
    assert ask.ids("Observation") == []
    assert ask.ids("Task/moved/_history") == ["Task/moved"], "of what a filter judges only the present version is known"


@pytest.mark.requirement(84, 86)
def test_each_alternative_of_a_token_has_its_own_restriction(token: Tokens) -> None:
    ask = token("patient/Task.rs", "user/Observation.rs", "user/Task.r?status=completed", patient="ann")
    assert ask.ids("Task") == ["Task/a1", "Task/a2", "Task/moved"]
    assert ask.ids("Observation") == ["Observation/o-ann", "Observation/o-bob"]
    assert ask("Task/b2").status_code == 200
    assert ask("Task/b1").status_code == 404
    assert ask("Patient/ann").status_code == 403


@pytest.mark.security("S9", "S48")
@pytest.mark.parametrize(
    "scopes",
    [
        ("openid",),
        ("patient/*.rs",),
        ("system/Task.sr",),
        ("system/Task.rs?status:not=x",),
        ("system/Task.rs?due=gt2000",),
    ],
)
def test_a_token_that_gives_nothing_shows_nothing(token: Tokens, scopes: tuple[str, ...]) -> None:
    ask = token(*scopes)
    assert ask("Task/a1").status_code in {403, 404}
    answer = ask("Task")
    assert answer.status_code == 403 or answer.json()["total"] == 0


@pytest.mark.requirement(87)
@pytest.mark.security("S41", "S42", "A4")
def test_entries_of_a_batch_see_no_more_than_requests_of_their_own(token: Tokens) -> None:
    ask = token("patient/*.rs", "patient/Task.c", patient="ann")
    paths = ["Task/b1", "Task/a1", "Task?identifier=urn:x|secret", "Task", "Task/moved/_history/1", "Patient/bob/Task"]
    entries = [{"request": {"method": "GET", "url": path}} for path in paths]
    answer = ask("", "POST", {"resourceType": "Bundle", "type": "batch", "entry": entries}).json()
    status = [one["response"]["status"][:3] for one in answer["entry"]]
    assert status == ["404", "200", "200", "200", "404", "200"]
    totals = [one["resource"]["total"] for one in answer["entry"] if one.get("resource", {}).get("type") == "searchset"]
    assert totals == [0, 3, 0]
    forbidden = token("system/Patient.rs")(
        "", "POST", {"resourceType": "Bundle", "type": "batch", "entry": entries}
    ).json()
    assert {one["response"]["status"][:3] for one in forbidden["entry"]} == {"403"}


@pytest.mark.security("S43", "S41")
def test_a_condition_of_a_write_tells_nothing_of_what_is_hidden(token: Tokens) -> None:
    ask = token("patient/*.cruds", patient="ann")
    body = {key: value for key, value in task("x", "ann").items() if key != "id"}
    found = ask("Task", "POST", body, **{"If-None-Exist": "identifier=urn:x|secret"})
    never = ask("Task", "POST", body, **{"If-None-Exist": "identifier=urn:x|never"})
    assert found.status_code == never.status_code == 201
    writer = token("system/Task.c")
    assert code_of(writer("Task", "POST", body, **{"If-None-Exist": "identifier=urn:x|secret"})) == (403, "forbidden")


@pytest.mark.security("A4", "B3")
def test_who_may_know_of_one_patient_reads_the_trail_of_no_other_one(token: Tokens, database: Database) -> None:
    """Also where one row is of several: it is told as an event of that patient, and by its other numbers is not there."""
    ask = token("patient/AuditEvent.rs", patient="ann")
    with database.begin() as tx:
        told = {"at": clock.now(), "viewer": open_viewer(), "action": "search"}
        audit.add(tx, **told, ref="Task", patient="ann", patients=["bob", "cid"])  # type: ignore[arg-type]
        audit.add(tx, **told, ref="Task", patient="bob", patients=["ann"])  # type: ignore[arg-type]
    with database.read() as tx:
        theirs, mine = [one.seq for one in audit.list(tx, open_viewer(), limit=2)]
    found = ask("AuditEvent?_count=100")
    assert found.status_code == 200
    assert f"AuditEvent/{mine}.1" in ask.ids("AuditEvent?_count=100")
    for answer in (
        found,
        ask(f"AuditEvent/{mine}.1"),
        ask("Patient/ann/AuditEvent"),
        ask("AuditEvent?patient=ann,bob"),
    ):
        assert answer.status_code == 200
        assert "Patient/ann" in answer.text
        assert "Patient/bob" not in answer.text.replace("patient=ann,bob", "")
        assert "Patient/cid" not in answer.text
    for id_ in (f"{mine}", f"{mine}.2", f"{mine}.3", f"{theirs}", f"{theirs}.1", f"{theirs}.2"):
        assert ask(f"AuditEvent/{id_}").status_code == 404, id_
    with database.read() as tx:
        looked = next(
            one for one in audit.list(tx, open_viewer()) if one.ref == "AuditEvent" and one.outcome == "success"
        )
    assert "bob" not in looked.patients
