"""Of what a caller may not see no answer tells anything: with it and without it in the store, every request is answered alike.

Two worlds differ in what is hidden from the caller alone. The same requests go to both, and their answers - status, headers and
body - have to be the same but for ids and moments that are made up anew each time.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from api.fhir.exchange import FhirResponse
from fhir_tracker.model.policy import Policy
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.rules.role_file import read_roles
from fhir_tracker.storage.database import Database
from tests.peers.postgres.server import Postgres
from tests.support.asking import Asker, holder, member

Body = dict[str, Any]
ROLE = "https://fhir-tracker.example/CodeSystem/role"
CODES = "https://example.org/codes"
RESTRICTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}
JSON_PATCH = {"content-type": "application/json-patch+json"}
_MADE_UP = re.compile(r"\b(?=[0-9a-z-]*\d)[0-9a-z]{8}-?[0-9a-z-]{12,}\b|W/\"\d+\"|_cursor=[^\"&]+")


def ref(text: str) -> Body:
    return {"reference": text}


def task(id_: str, whose: str, **more: Any) -> Body:
    made = {"resourceType": "Task", "id": id_, "status": "requested", "intent": "order", "for": ref(f"Patient/{whose}")}
    return made | {"identifier": [{"system": CODES, "value": id_}]} | more


def observation(id_: str, whose: str, **more: Any) -> Body:
    code = {"coding": [{"system": CODES, "code": f"code-{id_}"}]}
    made = {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": code,
        "subject": ref(f"Patient/{whose}"),
    }
    return made | more


def patient(id_: str, **more: Any) -> Body:
    name = [{"family": f"Synthetic-{id_}", "given": [id_.upper()]}]
    return {"resourceType": "Patient", "id": id_, "name": name, "identifier": [{"system": CODES, "value": id_}]} | more


def desk(id_: str, whose: str, **more: Any) -> Body:
    return task(id_, whose, performerType=[{"coding": [{"system": ROLE, "code": "front-desk"}]}], **more)


SEEN: list[Body] = [
    {"resourceType": "Practitioner", "id": "doc", "name": [{"family": "Reed"}]},
    {"resourceType": "PlanDefinition", "id": "pd", "status": "active", "url": "http://example.org/pd"},
    patient("ann"),
    desk("a1", "ann", owner=ref("Practitioner/doc")),
    desk("a2", "ann"),
    observation("oa", "ann"),
]
HIDDEN: list[Body] = [
    patient("bob"),
    desk("b1", "bob", owner=ref("Practitioner/doc"), description="canary"),
    desk("b2", "bob", partOf=[ref("Task/b1")]),
    observation("ob", "bob"),
    {"resourceType": "Communication", "id": "cb", "status": "completed", "subject": ref("Patient/bob"), "about": [ref("Task/b1")]},
    {"resourceType": "Flag", "id": "fb", "status": "active", "code": {"text": "x"}, "subject": ref("Patient/bob")},
]  # fmt: skip


def restricted(bodies: list[Body]) -> list[Body]:
    """The same, the patient labelled."""
    return [one | {"meta": {"security": [RESTRICTED]}} if one["resourceType"] == "Patient" else one for one in bodies]


def each_restricted(bodies: list[Body]) -> list[Body]:
    """Records that are restricted by themselves, of the patient who is seen."""
    text = json.dumps([one for one in bodies if one["resourceType"] != "Patient"]).replace("Patient/bob", "Patient/ann")
    return [one | {"meta": {"security": [RESTRICTED]}} for one in json.loads(text)]


def of_roles(text: str) -> Policy:
    return read_roles(f"roles:\n  - {{role: made-up, {text}}}")["made-up"]


@dataclass(frozen=True, kw_only=True)
class Somebody:
    """A caller, and what is hidden from them."""

    name: str
    viewer: Viewer
    hidden: tuple[Body, ...] = tuple(HIDDEN)


def somebodies() -> Iterator[Somebody]:
    app = holder("patient/*.cruds", patient="ann", who="Patient/ann")
    yield Somebody(name="app of ann", viewer=app)
    yield Somebody(name="old app of ann", viewer=holder("patient/*.read", "patient/*.write", patient="ann"))
    yield Somebody(name="launched with ann", viewer=member("rn", patient="ann", who="Practitioner/doc"))
    quiet = "may: ['*.cruds'], acts: [queue, patient, task]"
    yield Somebody(
        name="no restricted patients",
        viewer=member("x", policy=of_roles(quiet), who="Practitioner/doc"),
        hidden=tuple(restricted(HIDDEN)),
    )
    yield Somebody(
        name="no restricted records",
        viewer=member("x", policy=of_roles(quiet), who="Practitioner/doc"),
        hidden=tuple(each_restricted(HIDDEN)),
    )
    yield Somebody(name="front desk", viewer=member("front-desk"), hidden=tuple(restricted(HIDDEN)))
    narrow = holder(*(f"system/{one}.cruds?_id={ids}" for one, ids in _IDS.items()))
    yield Somebody(name="granular", viewer=narrow)


_IDS = {
    "Task": "a1,a2",
    "Patient": "ann",
    "Observation": "oa",
    "Practitioner": "doc",
    "Communication": "x",
    "Flag": "x",
}
NAMES = ("Patient/bob", "Task/b1", "Observation/ob", "Communication/cb", "Flag/fb")


def reads() -> Iterator[tuple[Any, ...]]:
    etags = ({"if-none-match": 'W/"1"'}, {"if-none-match": "*"}, {"if-modified-since": "Wed, 09 Mar 2033 10:00:00 GMT"})
    for name in NAMES:
        yield from (
            ("GET", f"{name}{tail}") for tail in ("", "/_history", "/_history/1", "/_history/2", "?_elements=id")
        )
        yield from (("GET", name, None, one) for one in etags)
        yield "GET", f"{name}/$validate"
    yield from (
        ("GET", f"Patient/bob/{one}") for one in ("*", "Task", "Observation", "Task?_summary=count", "*?_type=Task")
    )
    yield from (("GET", f"Task/b1/{one}") for one in ("$options",))
    searches = (
        "Task", "Task?_summary=count", "Task?_total=accurate&_count=1", "Task?_count=0", "Task?_sort=-identifier&_count=1",
        "Task?identifier=b1", "Task?_id=b1", "Task?part-of=Task/b1", "Task?part-of:Task.identifier=b1", "Task?owner=doc&_count=2",
        "Task?patient=bob", "Task?patient.identifier=bob", "Task?patient.name=Synthetic-bob", "Task?patient:missing=true",
        "Task?_lastUpdated=gt2000&_sort=_lastUpdated", "Task?identifier:not=a1", "Task?code:missing=true&_total=accurate",
        "Practitioner?_has:Task:owner:identifier=b1", "Practitioner?_has:Task:owner:_id=b2,b1", "Practitioner?_revinclude=Task:owner",
        "Practitioner?_has:Task:owner:_has:Communication:based-on:status=completed",
        "Practitioner?_has:Task:owner:patient.name=Synthetic-bob",
        "Patient", "Patient?name=synthetic", "Patient?identifier=bob", "Patient?_has:Observation:subject:code=code-ob",
        "Patient?_sort=-family&_count=1&_total=accurate", "Patient?_revinclude=*&_revinclude:iterate=*", "Patient?_security=V",
        "Observation", "Observation?code=code-ob", "Observation?code:not=code-oa", "Observation?subject=Patient/bob",
        "Observation?_security=V",
        "?_type=Patient,Task", "?_type=Patient&_id=bob", "?_lastUpdated=gt2000", "_history", "_history?_since=2000-01-01T00:00:00Z",
        "Task/_history", "Patient/_history?_count=1", "Observation/_history?_count=0", "?_type=Flag,Communication&_count=0",
        "Task?_include=*&_revinclude=*&_include:iterate=*&_revinclude:iterate=*", "Task?_filter=identifier eq b1", "Task?_query=x",
        "Communication?based-on.identifier=b1", "Flag?patient=bob", "Flag?_contained=true",
    )  # fmt: skip
    yield from (("GET", one) for one in searches)
    yield "POST", "Task/_search?identifier=b1", b"patient=bob", {"content-type": "application/x-www-form-urlencoded"}


def writes() -> Iterator[tuple[Any, ...]]:
    patch = [{"op": "replace", "path": "/status", "value": "completed"}]
    tests = [{"op": "test", "path": "/description", "value": "canary"}, *patch]
    for name in NAMES:
        type_, id_ = name.split("/")
        body = next(one for one in HIDDEN if one["resourceType"] == type_ and one["id"] == id_)
        moved = json.loads(json.dumps(body).replace("Patient/bob", "Patient/ann"))
        for sent in (body, moved, {"resourceType": type_, "id": id_}):
            yield "PUT", name, sent
            yield "PUT", name, sent, {"if-match": 'W/"1"'}
            yield "PUT", name, sent, {"if-none-match": "*"}
        yield "POST", type_, {key: value for key, value in moved.items() if key != "id"}
        yield "POST", type_, moved
        yield "PATCH", name, patch, JSON_PATCH
        yield "PATCH", name, tests, JSON_PATCH | {"if-match": 'W/"7"'}
        yield "PATCH", name, [{"op": "nonsense"}], JSON_PATCH
        yield from (("DELETE", name, None, one) for one in ({}, {"if-match": 'W/"1"'}, {"if-match": 'W/"9"'}))
        yield "POST", f"{type_}/$validate", body
        yield "POST", f"{name}/$validate", body
        asked = {"resourceType": "Parameters", "parameter": [{"name": "mode", "valueCode": "delete"}]}
        yield "POST", f"{name}/$validate", asked
        yield "PUT", f"{type_}?identifier={id_}", moved
        yield "PUT", f"{type_}?_id={id_}", moved
        yield "DELETE", f"{type_}?_id={id_}"
        yield "PATCH", f"{type_}?_id={id_}", patch, JSON_PATCH
        made = {key: value for key, value in moved.items() if key != "id"}
        for condition in (f"_id={id_}", f"identifier={id_}"):
            yield "POST", type_, made, {"if-none-exist": condition}
    yield from _referring()


def _referring() -> Iterator[tuple[Any, ...]]:
    """Of what is seen, with references to what is not; and what else takes a reference or an id."""
    named = (
        "Task/b1",
        "Task/b1/_history/1",
        "http://testserver/fhir/Task/b1",
        "Task?identifier=b1",
        "Task/b1#x",
        "#b1",
    )
    for other in named:
        yield "PUT", "Task/a2", desk("a2", "ann", partOf=[ref(other)])
        yield "POST", "Task", {"resourceType": "Task", "status": "requested", "intent": "order", "partOf": [ref(other)]}
        about = {
            "resourceType": "Communication",
            "status": "completed",
            "subject": ref("Patient/ann"),
            "about": [ref(other)],
        }
        yield "POST", "Communication", about
        agent = [{"who": ref(other)}]
        told = json.dumps({"resourceType": "Provenance", "agent": agent})
        yield "PUT", "Task/a1", desk("a1", "ann", priority="urgent"), {"x-provenance": told}
        yield (
            "POST",
            "Provenance",
            {"resourceType": "Provenance", "target": [ref(other)], "recorded": "2026-01-01", "agent": agent},
        )
    yield "PUT", "Observation/oa", observation("oa", "bob")
    yield "PATCH", "Task/a1", [{"op": "replace", "path": "/for/reference", "value": "Patient/bob"}], JSON_PATCH
    yield from (("DELETE", one) for one in ("Practitioner/doc", "Task/a1", "Patient/ann"))
    for name, value in (("subject", "Patient/bob"), ("subject", "bob"), ("subject", "Patient?identifier=bob")):
        asked = {"resourceType": "Parameters", "parameter": [{"name": name, "valueString": value}]}
        yield "POST", "PlanDefinition/pd/$apply", asked
        yield "POST", "PlanDefinition/pd/$instantiate", asked
    yield "POST", "Task/b1/$undo", {"resourceType": "Parameters"}
    yield "GET", "Task/b1/$outreach"
    said = {"name": "reason", "valueString": "A reason that is long enough"}
    yield "POST", "Patient/bob/$break-glass", {"resourceType": "Parameters", "parameter": [said]}
    yield "GET", "Patient/bob/$evidence"
    for ids in (("b1",), ("a1", "b1"), ("b1", "b2")):
        parts = [{"name": "task", "valueReference": ref(f"Task/{one}")} for one in ids]
        yield (
            "POST",
            "Task/$move",
            {"resourceType": "Parameters", "parameter": [*parts, {"name": "status", "valueCode": "accepted"}]},
        )


def bundles() -> Iterator[tuple[Any, ...]]:
    """Those of one entry, of an entry that leads to another, and of one that ends all."""
    patch = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": "W10="}
    entries: list[Body] = []
    for name in ("Task/b1", "Patient/bob"):
        type_, _, id_ = name.partition("/")
        body = desk("b1", "ann") if type_ == "Task" else patient("bob")
        entries += [
            {"request": {"method": "GET", "url": name}},
            {"request": {"method": "GET", "url": name, "ifNoneMatch": 'W/"1"'}},
            {"request": {"method": "GET", "url": f"{name}/_history"}},
            {"request": {"method": "GET", "url": f"{type_}?_id={id_}&_summary=count"}},
            {"request": {"method": "PUT", "url": name}, "resource": body},
            {"request": {"method": "PUT", "url": f"{type_}?identifier={id_}"}, "resource": body},
            {"request": {"method": "POST", "url": type_, "ifNoneExist": f"_id={id_}"}, "resource": body},
            {"request": {"method": "DELETE", "url": name}},
            {"request": {"method": "DELETE", "url": f"{type_}?_id={id_}"}},
            {"request": {"method": "PATCH", "url": name}, "resource": patch},
        ]
    for link in ("Task/b1", "Task?identifier=b1", "Task?_id=b1", "Patient/bob", "Patient?identifier=bob"):
        body = {
            "resourceType": "Task",
            "status": "requested",
            "intent": "order",
            "for": ref("Patient/ann"),
            "focus": ref(link),
        }
        entries.append({"request": {"method": "POST", "url": "Task"}, "resource": body})
    for kind in ("batch", "transaction"):
        yield from (("POST", "", {"resourceType": "Bundle", "type": kind, "entry": [one]}) for one in entries)
    urls = ("Task/b1", "Task", "_history", "Patient/bob/*", "Practitioner?_has:Task:owner:identifier=b1")
    gets = [{"request": {"method": "GET", "url": one}} for one in urls]
    yield "POST", "", {"resourceType": "Bundle", "type": "batch", "entry": gets}
    yield "POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": gets}


def told(answer: FhirResponse) -> tuple[object, ...]:
    """An answer without what is made up anew each time."""
    headers = sorted((name.lower(), _MADE_UP.sub("*", value)) for name, value in answer.headers.items())
    return answer.status, headers, _MADE_UP.sub("*", answer.body.decode())


def differing(one: Asker, other: Asker, asked: list[tuple[Any, ...]]) -> list[str]:
    """The requests that two worlds answer differently, with how."""
    found = []
    for request in asked:
        with_it, without = (told(asker.ask(*request, keep=False)) for asker in (one, other))
        if with_it != without:
            text = f"{request[:2]} {json.dumps(request[2:], default=str)[:300]}"
            found.append(f"{text}\n  {str(with_it)[:700]}\n  {str(without)[:700]}")
    return found


@pytest.fixture
def other_database(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Iterator[Database]:
    """A second store of the same kind."""
    if database.dialect == "sqlite":
        path = tmp_path / "other.db"
        shutil.copyfile(request.getfixturevalue("prepared_file"), path)
        with closing(Database.open(f"sqlite:///{path}")) as opened:
            yield opened
        return
    server: Postgres = request.getfixturevalue("postgres")
    with request.getfixturevalue("copies").one() as name, closing(Database.open(server.url(name))) as opened:
        yield opened


def test_the_worlds_differ_for_who_sees_everything(database: Database, other_database: Database) -> None:
    one, other = worlds(database, other_database, next(somebodies()))
    everything = open_viewer()
    asked = list(chain(reads(), writes()))
    assert len(differing(one.as_viewer(everything), other.as_viewer(everything), asked)) > len(asked) / 2


def worlds(database: Database, other_database: Database, somebody: Somebody) -> tuple[Asker, Asker]:
    one, other = (Asker(database=each, viewer=open_viewer()) for each in (database, other_database))
    one.put(*SEEN, *somebody.hidden)
    other.put(*SEEN)
    return one.as_viewer(somebody.viewer), other.as_viewer(somebody.viewer)


@pytest.mark.security("M3", "S41", "S42", "S43", "A3", "A4")
@pytest.mark.requirement(84, 86, 87, 89)
@pytest.mark.parametrize("somebody", list(somebodies()), ids=lambda one: one.name.replace(" ", "-"))
def test_what_is_hidden_changes_no_answer(database: Database, other_database: Database, somebody: Somebody) -> None:
    one, other = worlds(database, other_database, somebody)
    found = differing(one, other, list(chain(reads(), writes())))
    found += differing(one, other, list(bundles()))
    assert found == [], f"{len(found)}\n" + "\n".join(found[:40])
