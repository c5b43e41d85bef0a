"""One busy clinic on SQLite, made once and only read: what is drawn does not depend on the kind of database."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.context import Access, AppContext
from fhir_tracker import clock, records
from fhir_tracker.records import Remote
from fhir_tracker.storage import connections
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database
from tests.api.staff.conftest import Colleague, Reader, colleague
from tests.support.clinic import EVERYONE, NURSE, RING, Clinic, appointment, author
from tests.support.contexts import context_of

BASE = "http://testserver"
LONG = "Maximiliane-Theodora-Wilhelmina " * 9
HEBREW = "\u05e8\u05d5\u05d6\u05d4 \u05dc\u05d3\u05d5\u05d2\u05de\u05d4"
PROGRAM = RING.replace(
    "    role: care-coordinator\n",
    "    role: care-coordinator\n"
    "    what: Ring the patient and ask about medicines\n"
    "    outreach: {attempts: 2, over: 2 days, channels: [sms, phone]}\n",
).replace(
    "rules:\n",
    "documents:\n"
    '  - {code: summary, after: discharge, within: 1 day, satisfied_by: {DocumentReference: {type: "http://loinc.org|18842-5"}}}\n'
    "rules:\n",
)


@dataclass(frozen=True, kw_only=True)
class World:
    """A clinic with every kind of work in it, and the page of each kind."""

    clinic: Clinic
    now: datetime
    pages: dict[str, str]
    context: AppContext

    def reader(self) -> Reader:
        """Somebody new at an open server."""
        return Reader(TestClient(create_app(self.context), base_url=BASE))

    def colleague(self, role: str) -> Colleague:
        """Somebody with that role who logged in."""
        client = TestClient(create_app(replace(self.context, access=Access.LOCKED)), base_url=BASE)
        return colleague(client, self.clinic.database, self.now, role)


@pytest.fixture(scope="session")
def world(prepared_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The busy clinic."""
    path = tmp_path_factory.mktemp("world") / "tracker.db"
    shutil.copyfile(prepared_file, path)
    now = clock.now()
    with closing(Database.open(f"sqlite:///{path}")) as database:
        context = context_of(database, public_url=BASE, started_at=now)
        clinic = Clinic(database, PROGRAM, at=now - timedelta(days=30))
        yield World(clinic=clinic, now=now, pages=_fill(clinic, now), context=context)


@pytest.fixture
def visitor(world: World) -> Reader:
    """Somebody at the busy clinic, in open mode."""
    return world.reader()


@pytest.fixture
def ready_url(one_file: str) -> str:
    """For tests of drawing that write: a database of their own, on SQLite only."""
    return one_file


def page_at(ref: str) -> str:
    """The page of a task."""
    return f"/tasks/{ref.partition('/')[2]}"


def task(id_: str, **more: Any) -> dict[str, Any]:
    """A Task of no program."""
    return {"resourceType": "Task", "id": id_, "status": "requested", "intent": "order", "code": {"text": id_}} | more


def outside(clinic: Clinic, body: dict[str, Any], at: datetime) -> None:
    """A Task that belongs to an EHR."""
    remote = Remote(connection="north", id=body["id"], version="1", body="{}", content_hash="h")
    with clinic.database.begin() as tx:
        records.save(tx, body, author(at, origin="ehr:north"), remote=remote)


def _fill(clinic: Clinic, now: datetime) -> dict[str, str]:
    for name, days in (("rosa", 5), ("ivo", 4), ("mia", 3), ("fred", 0)):
        clinic.patient(name, now - timedelta(days=days + 1))
        clinic.discharge(name, now - timedelta(days=days))
    clinic.sweep(now)
    call = {name: clinic.task(name, "first-call").ref for name in ("rosa", "ivo", "mia", "fred")}
    clinic.attempt(call["rosa"], now - timedelta(minutes=20))
    clinic.put(appointment("rosa", now + timedelta(days=1), id_="next", status="booked"), now)
    clinic.put(appointment("rosa", now - timedelta(days=1), id_="missed", status="noshow"), now)
    hold = {"hold.until": (now + timedelta(days=3)).isoformat(), "reason": "records are on their way"}
    clinic.move(call["ivo"], "waiting", now, fields=hold)
    clinic.move(call["mia"], "reached", now, NURSE, {"outreach.outcome": "reached", "note": "Spoke with her"})
    pages = {f"call of {name}": page_at(ref) for name, ref in call.items()}
    pages["escalation"] = page_at(clinic.escalations("rosa")[0].ref)
    pages["closed escalation"] = page_at(clinic.escalations("mia")[0].ref)
    return pages | _odd(clinic, now)


def _odd(clinic: Clinic, now: datetime) -> dict[str, str]:
    clinic.put({"resourceType": "Patient", "id": "long", "name": [{"text": LONG}], "birthDate": "1930-02"}, now)
    rtl = {"resourceType": "Patient", "id": "rtl", "name": [{"text": HEBREW}], "gender": "other"}
    clinic.put(rtl | {"deceasedBoolean": True}, now)
    clinic.put(task("nobodys"), now)
    clinic.put(task("owned", owner={"reference": EVERYONE.who}, **{"for": {"reference": "Patient/long"}}), now)
    clinic.put(task("titled", code={"text": LONG}, priority="stat", **{"for": {"reference": "Patient/rtl"}}), now)
    clinic.put(task("script", code={"text": "<b>&amp;\"'"}, description="<script>alert(1)</script>"), now)
    clinic.put(task("unknown", **{"for": {"reference": "Patient/nowhere"}}), now)
    outside(clinic, task("ehrs", **{"for": {"reference": "Patient/rosa"}}), now)
    noted = [{"text": f"Note {number} \u2764", "authorString": "A nurse"} for number in range(1000)]
    clinic.put(task("noted", note=noted), now)
    with clinic.database.begin() as tx:
        old = now - timedelta(hours=3)
        connections.add(tx, Connection(key="north", base_url="http://ehr.example/fhir", created_at=old))
        connections.add(tx, Connection(key="south", base_url="http://south.example/fhir", created_at=now))
        connections.note_failure(tx, "north", now, "The server answered 500.")
    return {name: f"/tasks/{name}" for name in ("nobodys", "owned", "titled", "script", "unknown", "ehrs", "noted")}
