"""A refusal says the same to a person and to a program: each is driven through the page and through the FHIR API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from fhir_tracker.model.program import CANONICAL
from fhir_tracker.model.vocabulary import HOLD_UNTIL
from tests.api.staff.conftest import Answer, Reader, late
from tests.api.staff.test_pages import at
from tests.support.clinic import Clinic


def texts(reader: Reader, method: str, path: str, body: Mapping[str, Any], status: int, **headers: str) -> list[str]:
    """The sentences of the API's OperationOutcome."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = reader.client.request(method, f"/fhir/{path}", json=body, headers=named)
    assert answer.status_code == status, answer.text
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    return [issue["details"]["text"] for issue in outcome["issue"]]


def moved(clinic: Clinic, task: str, to: str, **more: Any) -> dict[str, Any]:
    """The Task as a client would send it to move it."""
    system = f"{CANONICAL}/CodeSystem/ring-status"
    own = clinic.program.status(to)
    status = {"status": own.fhir} if own else {}
    return clinic.resource(task) | status | {"businessStatus": {"coding": [{"system": system, "code": to}]}} | more


def same(page: Answer, said: list[str], status: int) -> None:
    """Both refuse with the same number and in the same sentences."""
    assert page.status == status
    for text in said:
        assert text in page.words, f"{text!r} is not on the page"


@pytest.mark.parametrize("to", ["reached", "unreachable", "waiting"])
def test_fields_that_are_missing_are_named_alike(reader: Reader, clinic: Clinic, now: datetime, to: str) -> None:
    task = late(clinic, now)
    said = texts(reader, "PUT", task, moved(clinic, task, to), 422)
    assert all(text.endswith(" is missing.") for text in said[:-1])
    assert said[-1].startswith("What you may do next: ")
    same(reader.send(at(task) + "/move", {"to": to}), said, 422)
    assert clinic.item(task).status == "to-call"


def test_a_step_that_no_transition_allows_is_refused_alike(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    reader.send(at(task) + "/move", {"to": "unreachable", "reason": "Moved away"})
    body = moved(clinic, task, "calling")
    body.pop("statusReason", None)
    said = texts(reader, "PUT", task, body, 422)
    assert "cannot become" in said[0]
    same(reader.send(at(task) + "/move", {"to": "calling"}), said, 422)


def test_a_hold_that_ends_in_the_past_is_refused_alike(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    held = {"extension": [{"url": HOLD_UNTIL, "valueDateTime": "2020-01-01T09:00:00-05:00"}]}
    said = texts(reader, "PUT", task, moved(clinic, task, "waiting", statusReason={"text": "records"}, **held), 422)
    typed = {"to": "waiting", "hold.until": "2020-01-01T09:00", "reason": "records"}
    same(reader.send(at(task) + "/move", typed), said, 422)


def test_a_version_that_is_no_longer_present_is_refused_alike(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    old = clinic.resource(task)["meta"]["versionId"]
    clinic.move(task, "calling", now)
    said = texts(reader, "PUT", task, moved(clinic, task, "calling"), 412, If_Match=f'W/"{old}"')
    assert "Read it again" in said[0]
    page = reader.send(at(task) + "/claim", {"version": old})
    assert page.status == 412
    assert "Somebody changed this meanwhile. Nothing of yours was saved." in page.words


def test_a_task_that_was_deleted_is_gone_in_both(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    clinic.remove(task, now)
    said = texts(reader, "GET", task, {}, 410)
    assert reader.get(at(task)).status == 410
    assert any(word in reader.get(at(task)).words for word in (*said, f"{task} was deleted."))


@pytest.mark.parametrize("to", ["rejected", "cancelled", "failed"])
def test_outside_programs_a_reason_is_asked_for_alike(reader: Reader, clinic: Clinic, now: datetime, to: str) -> None:
    task = {"resourceType": "Task", "id": "loose", "status": "requested", "intent": "order"}
    clinic.put(task, now)
    said = texts(reader, "PUT", "Task/loose", task | {"status": to}, 422)
    same(reader.send("/tasks/loose/move", {"to": to}), said, 422)


def test_outside_programs_the_r4_table_is_told_alike(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = {"resourceType": "Task", "id": "loose", "status": "completed", "intent": "order"}
    clinic.put(task, now)
    said = texts(reader, "PUT", "Task/loose", task | {"status": "requested"}, 422)
    same(reader.send("/tasks/loose/move", {"to": "requested"}), said, 422)


def test_an_escalation_needs_a_reason_to_be_sent_back_in_both(reader: Reader, clinic: Clinic, now: datetime) -> None:
    late(clinic, now)
    escalation = clinic.escalations("rosa")[0].ref
    said = texts(reader, "PUT", escalation, clinic.resource(escalation) | {"status": "rejected"}, 422)
    same(reader.send(at(escalation) + "/send-back", {"reason": ""}), said, 422)
    assert clinic.item(escalation).open
