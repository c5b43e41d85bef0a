"""Of an element that a role hides no page tells anything: two practices that differ in nothing else show the same pages."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.context import Access, AppContext
from fhir_tracker import accounts, roles
from fhir_tracker.config import load_settings
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.policy import Fields
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage.database import Database
from tests.support.asking import Asker
from tests.support.launched import Tab, launched

ROLE = "https://fhir-tracker.example/CodeSystem/role"
FLAGS = "https://fhir-tracker.example/CodeSystem/exception"
WORD = "Quibblestone"
NARROW = """roles:
  - role: narrow
    may: ["*.rs"]
    hide:
      Task: [note, description, reasonCode, statusReason, input, output, insurance]
      Patient: [telecom, birthDate, gender, identifier, address, maritalStatus]
      CarePlan: [note, description, title, author]
      Appointment: [description, comment, reasonCode, serviceType]
      Communication: [note, payload, reasonCode, topic]
      Flag: [code]
    acts: [queue, patient, task, operations, bulk]
    restricted: yes
"""


def ref(text: str) -> Resource:
    return {"reference": text}


def coded(code: str) -> Resource:
    return {"coding": [{"system": "https://example.org/codes", "code": code}], "text": f"{code} of {WORD}"}


def task(id_: str, role: str) -> Resource:
    code = {"coding": [{"system": "https://example.org/work", "code": "call"}]}
    performer = [{"coding": [{"system": ROLE, "code": role}]}]
    made = {"resourceType": "Task", "id": id_, "status": "requested", "intent": "order", "for": ref("Patient/p")}
    return made | {"code": code, "performerType": performer, "authoredOn": "2026-03-01T09:00:00Z"}


SHOWN: list[Resource] = [
    {"resourceType": "Patient", "id": "p", "name": [{"family": "Synthetic", "given": ["Rosa"]}]},
    {"resourceType": "Practitioner", "id": "owner", "name": [{"family": WORD}]},
    {"resourceType": "CarePlan", "id": "c", "status": "active", "intent": "plan", "subject": ref("Patient/p")},
    task("desk", "front-desk"),
    task("nurses", "rn"),
    {
        "resourceType": "Appointment", "id": "a", "status": "booked", "start": "2026-04-01T10:00:00Z", "end": "2026-04-01T10:30:00Z",
        "participant": [{"actor": ref("Patient/p"), "status": "accepted"}],
    },
    {
        "resourceType": "Communication", "id": "m", "status": "completed", "subject": ref("Patient/p"), "sent": "2026-03-01T10:00:00Z",
        "category": [{"coding": [{"code": "outreach"}]}],
    },
]  # fmt: skip
TOLD: dict[str, Resource] = {
    "Task": {
        "note": [{"text": WORD}], "description": f"Ring {WORD}", "reasonCode": coded("why"), "statusReason": coded("late"),
        "input": [{"type": coded("in"), "valueString": WORD}], "output": [{"type": coded("out"), "valueString": WORD}],
        "priority": "stat", "owner": ref("Practitioner/owner"), "businessStatus": coded("odd"), "insurance": [ref("Coverage/none")],
    },
    "Patient": {
        "telecom": [{"system": "phone", "value": "5550147"}], "birthDate": "1951-02-03", "gender": "female",
        "identifier": [{"type": {"coding": [{"code": "MR"}]}, "system": "urn:mrn", "value": "MRN4711"}], "photo": [{"title": WORD}],
        "address": [{"city": WORD}], "maritalStatus": coded("M"),
    },
    "CarePlan": {"note": [{"text": WORD}], "description": WORD, "title": WORD, "author": ref("Practitioner/owner")},
    "Appointment": {"description": WORD, "comment": WORD, "reasonCode": [coded("why")], "serviceType": [coded("service")]},
    "Communication": {"note": [{"text": WORD}], "payload": [{"contentString": WORD}], "reasonCode": [coded("why")], "topic": coded("x")},
}  # fmt: skip
PAGES = [
    *("/", "/?tab=all", "/?tab=team&role=every", "/?tab=unassigned&role=every", "/?tab=mine", "/?tab=all&state=any"),
    *("/?tab=all&owner=Practitioner/owner", "/?tab=all&flag=high-risk", "/pulse?tab=all", "/operations"),
    *("/tasks/desk", "/tasks/nurses", "/plans/c", "/patients/p", "/open?ref=Task/desk", "/open?ref=CarePlan/c"),
]
ASKED = (WORD, "MRN4711", "5550147", "why", "stat", "1951-02-03", "Ring")
_MADE_UP = re.compile(
    r'/l/[\w-]+|value="[\w.=:-]{16,}"|<code>[0-9a-f]{16}</code>|(?:q|find)=[\w.=%-]+|data-[a-z-]+="[^"]*"'
)


@dataclass(frozen=True)
class Practice:
    """A server over a store of its own."""

    client: TestClient
    database: Database


@pytest.fixture
def practices(prepared_file: Path, tmp_path: Path, now: datetime) -> Iterator[tuple[Practice, Practice]]:
    with ExitStack() as stack:
        made = []
        for name in ("with", "without"):
            file = tmp_path / f"{name}.db"
            shutil.copyfile(prepared_file, file)
            database = stack.enter_context(closing(Database.open(f"sqlite:///{file}")))
            context = AppContext(
                database=database, settings=load_settings({"HOME": "/nowhere"}), access=Access.LOCKED,
                public_url="http://testserver", secret_key="k" * 40, started_at=now,
            )  # fmt: skip
            made.append(Practice(stack.enter_context(TestClient(create_app(context))), database))
        yield made[0], made[1]


def fill(practice: Practice, told: dict[str, Resource], now: datetime) -> None:
    Asker(database=practice.database, viewer=open_viewer(), now=now).put(
        *(one | told.get(one["resourceType"], {}) for one in SHOWN)
    )


def opened(practice: Practice, now: datetime, name: str, *held: str) -> Tab:
    """Somebody with these roles, who has launched."""
    with practice.database.begin() as tx:
        known = roles.defined(tx)
        user = {"connection": "north", "fhir_user": f"Practitioner/{name}"}
        account, _ = accounts.add(tx, "Somebody Synthetic", held, known=known, now=now, **user)
    return Tab(practice.client, *launched(practice.database, account, now))


def seen(tab: Tab) -> list[tuple[str, int, str]]:
    """Every page with its status and words, and what is found for words that may be hidden."""
    answers: list[tuple[str, Any]] = [(page, tab.get(page)) for page in PAGES]
    for word in ASKED:
        found = tab.post("/find", {"q": word, "tab": "all"})
        answers.append((f"find {word}", tab.client.get(found.headers["location"], headers=tab.shown)))
    return [(page, one.status_code, _MADE_UP.sub("#", one.text)) for page, one in answers]


@pytest.mark.security("A3", "M3")
@pytest.mark.requirement(89)
@pytest.mark.parametrize("role", ["front-desk", "clinic-admin", "narrow"])
def test_what_a_role_hides_changes_no_page(practices: tuple[Practice, Practice], now: datetime, role: str) -> None:
    hidden: Fields = {}
    for practice in practices:
        with practice.database.begin() as tx:
            roles.load(tx, NARROW, name="narrow.yaml", at=now, by="Practitioner/admin")
            hidden = roles.defined(tx)[role].hidden
    told = {
        type_: {name: value for name, value in members.items() if name in hidden.get(type_, ())}
        for type_, members in TOLD.items()
    }
    fill(practices[0], told, now)
    fill(practices[1], {}, now)
    shown = [seen(opened(one, now, "somebody", role)) for one in practices]
    differing = [
        (page, status, other)
        for (page, status, text), (_, other, bare) in zip(*shown, strict=True)
        if (status, text) != (other, bare)
    ]
    assert [one[:3] for one in differing] == []
    assert sum(status == 200 for _, status, _ in shown[0]) > len(PAGES) / 2
    whole = [seen(opened(one, now, "everybody", "rn", "provider")) for one in practices]
    assert whole[0] != whole[1], "who sees all of it is told"
