"""A viewer who is locked to one patient sees that one only: on every page, in every number and through every step."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from starlette.responses import Response

from api.staff import operations_page, patient_page, queue_page, session, steps_taken, task_page
from api.staff.visit import Visit
from fhir_tracker.errors import NotFound
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import ALL_SCOPES, ROLES, Viewer
from tests.api.staff.conftest import late
from tests.api.staff.test_pages import at
from tests.support.clinic import Clinic, appointment
from tests.support.contexts import context_of

MINE = Viewer(
    who="Practitioner/nurse",
    name="The nurse",
    roles=frozenset(ROLES),
    scopes=ALL_SCOPES,
    patient="rosa",
    sight=EVERYTHING,
)
Handler = Callable[[Visit], Response]


@pytest.fixture
def visit(clinic: Clinic, now: datetime) -> Visit:
    """A visit of somebody who opened the chart of rosa; ivo is somebody else's patient, as late as she is."""
    for name in ("rosa", "ivo"):
        late(clinic, now, name)
        clinic.attempt(clinic.task(name, "first-call").ref, now - timedelta(minutes=5))
        clinic.put(appointment(name, now + timedelta(days=1), id_=f"visit-{name}", status="booked"), now)
    clinic.put({"resourceType": "Task", "id": "nobodys", "status": "requested", "intent": "order"}, now)
    context = context_of(clinic.database, started_at=now)
    return Visit(
        context=context,
        viewer=MINE,
        session=session.fresh(),
        now=now,
        request_id="r",
        path="/",
        query={},
        form={},
        args={},
        headers={},
        address="/",
    )


def text(handler: Handler, visit: Visit, **changes: object) -> str:
    given = {**vars(visit), **changes}
    return bytes(handler(Visit(**given)).body).decode()


@pytest.mark.parametrize("tab", ["mine", "team", "unassigned", "hold", "escalated", "done", "all"])
def test_every_queue_lists_that_patient_only(visit: Visit, tab: str) -> None:
    page = text(queue_page.queue_page, visit, query={"tab": tab, "role": "every", "state": "any"})
    assert "ivo" not in page
    assert "nobodys" not in page
    if tab in ("team", "unassigned", "escalated", "all"):
        assert "rosa Synthetic" in page


def test_every_count_beside_a_tab_is_of_that_patient(visit: Visit) -> None:
    locked = re.findall(r'class="count[^"]*">(\d+)<', text(queue_page.queue_page, visit))
    whole = re.findall(
        r'class="count[^"]*">(\d+)<', text(queue_page.queue_page, visit, viewer=replace(MINE, patient=None))
    )
    assert locked == ["0", "2", "2", "0", "1"]
    assert whole == ["0", "5", "5", "0", "2"]


def test_a_search_for_another_patient_finds_nothing(visit: Visit) -> None:
    assert "Nothing matches these filters." in text(queue_page.queue_page, visit, query={"q": "ivo"})


def test_the_pulse_tells_of_that_patients_rows_only(visit: Visit) -> None:
    locked, whole = text(queue_page.pulse, visit), text(queue_page.pulse, visit, viewer=replace(MINE, patient=None))
    assert locked.count(": ") < whole.count(": ")
    assert len(re.findall(r'"[0-9a-f]{12}":', locked)) == 2


def test_every_number_of_operations_counts_that_patient_only(visit: Visit) -> None:
    page = text(operations_page.operations_page, visit)
    tiles = re.findall(r'class="tile-number">(\d+)<', page)
    assert tiles == ["2", "1", "0", "1", "0", "2"]
    whole = text(operations_page.operations_page, visit, viewer=replace(MINE, patient=None))
    assert re.findall(r'class="tile-number">(\d+)<', whole) == ["5", "2", "0", "2", "0", "5"]


def test_the_own_patients_pages_are_whole(visit: Visit, clinic: Clinic) -> None:
    assert "Phone: No answer" in text(patient_page.patient_page, visit, args={"id": "rosa"})
    for item in clinic.items("rosa"):
        if item.kind != "plan":
            id_ = item.ref.partition("/")[2]
            assert item.title in text(task_page.task_page, visit, args={"id": id_}, path=at(item.ref))


def test_another_patients_pages_are_not_there(visit: Visit, clinic: Clinic) -> None:
    with pytest.raises(NotFound, match="There is no Patient/ivo"):
        text(patient_page.patient_page, visit, args={"id": "ivo"})
    others = [item.ref for item in clinic.items("ivo") if item.kind != "plan"]
    for ref in [*others, "Task/nobodys"]:
        with pytest.raises(NotFound, match=f"There is no {ref}"):
            text(task_page.task_page, visit, args={"id": ref.partition("/")[2]})


@pytest.mark.parametrize(
    "step",
    [
        steps_taken.claim,
        steps_taken.release,
        steps_taken.assign,
        steps_taken.move,
        steps_taken.attempt,
        steps_taken.note,
        steps_taken.acknowledge,
        steps_taken.take_over,
        steps_taken.send_back,
        steps_taken.resolve,
    ],
)
def test_no_step_reaches_another_patients_work(visit: Visit, clinic: Clinic, step: Handler) -> None:
    form = {"note": "x", "reason": "x", "to": "calling", "outreach.channel": "phone", "outreach.outcome": "reached"}
    before = {item.ref: clinic.item(item.ref) for item in clinic.items("ivo")}
    for ref in before:
        with pytest.raises(NotFound):
            text(step, visit, args={"id": ref.partition("/")[2]}, form=form)
    assert {item.ref: clinic.item(item.ref) for item in clinic.items("ivo")} == before


def test_a_hidden_and_an_absent_task_are_told_alike(visit: Visit, clinic: Clinic) -> None:
    hidden = clinic.task("ivo", "first-call").ref.partition("/")[2]
    said = []
    for id_ in (hidden, "absent"):
        with pytest.raises(NotFound) as caught:
            text(task_page.task_page, visit, args={"id": id_})
        said.append(caught.value.message.replace(id_, "X"))
    assert said[0] == said[1]
