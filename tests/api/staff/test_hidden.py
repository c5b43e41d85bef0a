"""Pages show of work and patients what the role may see, and take the steps that it may take, and no more."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.context import Access
from api.staff.hidden import sees_chart, shown_events, shown_log
from fhir_tracker import roles
from fhir_tracker.model.vocabulary import EXCEPTIONS
from fhir_tracker.model.work import Event, Transition
from fhir_tracker.roles import built_in
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Database
from tests.api.conftest import Serve
from tests.api.staff.conftest import late
from tests.support.asking import NOW, member
from tests.support.clinic import SYSTEM, Clinic, appointment
from tests.support.launched import Tab, launched, person

SECRET = "SECRET-4711"
ROLE = "https://fhir-tracker.example/CodeSystem/role"


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page, not the database."""
    return one_file


def work(id_: str, role: str, **members: Any) -> dict[str, Any]:
    return {
        "resourceType": "Task",
        "id": id_,
        "status": "requested",
        "intent": "order",
        "code": {"text": "Book a visit"},
        "for": {"reference": "Patient/rosa"},
        "performerType": [{"coding": [{"system": ROLE, "code": role}]}],
        **members,
    }


@pytest.fixture
def client(serve: Serve, clinic: Clinic, now: datetime) -> TestClient:
    """A server that knows who comes in, with a task of the front desk and one of the nurses, full of secrets."""
    late(clinic, now, "rosa")
    secrets = {
        "note": [{"text": SECRET}],
        "description": SECRET,
        "reasonCode": {"text": SECRET},
        "statusReason": {"text": SECRET},
        "input": [{"type": {"text": SECRET}, "valueString": SECRET}],
    }
    clinic.put(work("desk", "front-desk", **secrets), now)
    clinic.put(work("nurses", "rn", **secrets), now)
    visit = appointment("rosa", now + timedelta(days=1), id_="soon", status="booked")
    clinic.put(visit | {"description": SECRET, "reasonCode": [{"text": SECRET}]}, now)
    return serve(Access.LOCKED)


def tab_of(client: TestClient, clinic: Clinic, now: datetime, *roles: str) -> Tab:
    return Tab(client, *launched(clinic.database, person(clinic.database, "somebody", *roles, now=now), now))


@pytest.mark.security("A3")
def test_the_front_desk_sees_its_own_task_without_what_is_clinical(
    client: TestClient, clinic: Clinic, now: datetime
) -> None:
    tab = tab_of(client, clinic, now, "front-desk")
    page = tab.get("/tasks/desk")
    assert page.status_code == 200
    assert "Book a visit" in page.text
    assert SECRET not in page.text
    assert tab.get("/tasks/nurses").status_code == 404
    patient = tab.get("/patients/rosa")
    assert patient.status_code == 200
    assert "rosa Synthetic" in patient.text
    assert SECRET not in patient.text
    queue = tab.get("/?tab=all")
    assert "Book a visit" in queue.text
    assert "First call" not in queue.text


@pytest.mark.security("A3")
def test_a_nurse_sees_all_of_it(client: TestClient, clinic: Clinic, now: datetime) -> None:
    tab = tab_of(client, clinic, now, "rn")
    assert SECRET in tab.get("/tasks/desk").text
    assert SECRET in tab.get("/tasks/nurses").text


CARDS = {
    "Plans": "CarePlan",
    "Exceptions": "Flag",
    "Outreach": "Communication",
    "Appointments": "Appointment",
    "Expected documents": "DocumentReference",
}


@pytest.mark.security("A3", "S40")
@pytest.mark.parametrize("role", [one for one in sorted(built_in()) if "patient" in built_in()[one].acts])
def test_a_card_that_a_role_may_not_see_is_not_there_rather_than_empty(
    client: TestClient, clinic: Clinic, now: datetime, role: str
) -> None:
    page = tab_of(client, clinic, now, role).get("/patients/rosa").text
    sight = member(role).sight
    shown = {card for card in CARDS if f"<h2>{card}</h2>" in page}
    assert shown == {card for card, type_ in CARDS.items() if sight.may("r", type_)}
    assert ("Flag an exception" in page) == sight.may("c", "Flag")
    assert ("Not enrolled in a program" in page) <= sight.may("r", "CarePlan")


@pytest.mark.security("A3", "S40")
@pytest.mark.parametrize(
    ("rights", "flags", "ends"), [("rs", False, False), ("crs", True, False), ("crus", True, True)]
)
def test_exceptions_are_put_up_and_ended_by_who_may(
    client: TestClient, clinic: Clinic, now: datetime, rights: str, flags: bool, ends: bool
) -> None:
    text = f"""
roles:
  - role: front-desk
    title: Front desk
    means: "Sees flags"
    may: [Patient.rs, Task.rs, Flag.{rights}]
    acts: [patient, task]
"""
    nurse = tab_of(client, clinic, now, "rn")
    assert nurse.post("/patients/rosa/exceptions", {"code": next(iter(EXCEPTIONS))}).status_code == 303
    with clinic.database.begin() as tx:
        roles.load(tx, text, name="watchers", at=now, by=SYSTEM.who)
    page = tab_of(client, clinic, now, "front-desk").get("/patients/rosa").text
    assert "<h2>Exceptions</h2>" in page
    assert ("Flag an exception" in page) == flags
    assert ("/end" in page) == ends


def test_the_front_desk_takes_its_own_steps_with_words_of_its_own(
    client: TestClient, clinic: Clinic, now: datetime, database: Database
) -> None:
    tab = tab_of(client, clinic, now, "front-desk")
    assert tab.post("/tasks/desk/claim").status_code == 303
    assert tab.post("/tasks/desk/note", {"note": "Asked to be called after five"}).status_code == 303
    page = tab.get("/tasks/desk").text
    assert SECRET not in page
    with database.read() as tx:
        stored = resources.find(tx, SYSTEM, "Task", "desk")
        assert stored is not None
        assert SECRET in stored.body
        assert "Asked to be called after five" in stored.body


@pytest.mark.security("A3", "S41")
@pytest.mark.parametrize("step", ["claim", "release", "note", "move", "assign", "attempt", "acknowledge", "undo"])
def test_no_step_reaches_a_task_of_others(client: TestClient, clinic: Clinic, now: datetime, step: str) -> None:
    tab = tab_of(client, clinic, now, "front-desk")
    fields = {"note": "x", "to": "in-progress", "owner": "Practitioner/x", "channel": "phone", "outcome": "reached"}
    answer = tab.post(f"/tasks/nurses/{step}", fields)
    assert answer.status_code in (403, 404)
    assert SECRET not in answer.text


@pytest.mark.security("A3", "S45")
def test_the_front_desk_hands_nothing_on_to_another_team(client: TestClient, clinic: Clinic, now: datetime) -> None:
    tab = tab_of(client, clinic, now, "front-desk")
    answer = tab.post("/tasks/desk/assign", {"role": "rn", "to": "role/rn", "owner": "role/rn"})
    assert answer.status_code in (400, 403, 422)


@pytest.mark.security("A3")
def test_events_and_transitions_lose_what_the_role_does_not_see() -> None:
    desk, nurse = member("front-desk").sight, member("rn").sight
    seen = Event(
        ref="Appointment/a", type="Appointment", status="booked", patient="p", seen_at=NOW,
        detail={"title": "Visit", "reason": SECRET, "description": SECRET},
    )  # fmt: skip
    row = Transition(
        item="Task/t", what="status", before="a", after="b", recorded_at=NOW, effective_at=NOW, who="x",
        reason=SECRET, note=SECRET,
    )  # fmt: skip
    assert shown_events([seen], desk)[0].detail == {"title": "Visit"}
    assert shown_events([seen], nurse) == (seen,)
    assert (shown_log([row], desk)[0].reason, shown_log([row], desk)[0].note) == (None, None)
    assert shown_log([row], nurse) == (row,)
    assert sees_chart(nurse)
    assert not any(sees_chart(member(role).sight) for role in ("front-desk", "clinic-admin", "auditor"))
