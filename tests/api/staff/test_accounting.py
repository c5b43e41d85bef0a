"""No page without its row in the trail: every route, what was refused, and whom a list showed."""

from __future__ import annotations

from datetime import datetime

import pytest

from api import staff
from api.staff.accounting import SILENT
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import audit
from fhir_tracker.storage.audit import AuditRow
from tests.api.staff.conftest import Reader, late
from tests.support.clinic import Clinic

READ = sorted(staff._GET)
WRITTEN = sorted(staff._POST)


def rows(clinic: Clinic) -> list[AuditRow]:
    """The rows of pages, oldest first."""
    with clinic.database.read() as tx:
        return [row for row in reversed(audit.list(tx, open_viewer(), limit=1000)) if row.kind == "page"]


def address(route: str, task: str) -> str:
    id_ = task.removeprefix("Task/") if route.startswith("/tasks") else "rosa" if route.startswith("/patients") else "1"
    return route.replace("{id}", id_).replace("{key}", "clinic").replace("{code}", "x").replace("{ticket}", "x")


@pytest.mark.security("B1", "S52")
@pytest.mark.parametrize("route", READ)
def test_every_page_that_is_opened_or_refused_leaves_one_row(
    reader: Reader, clinic: Clinic, now: datetime, route: str
) -> None:
    path = address(route, late(clinic, now))
    before = len(rows(clinic))
    answer = reader.get(path)
    found = rows(clinic)[before:]
    assert len(found) == (0 if route in SILENT else 1), found
    for row in found:
        assert (row.kind, row.who) == ("page", "Device/open-mode")
        assert row.request_id
        assert (row.outcome == "success") == (answer.status < 400)


@pytest.mark.security("B1", "S52")
@pytest.mark.parametrize("route", WRITTEN)
def test_every_step_that_is_taken_or_refused_leaves_a_row(
    reader: Reader, clinic: Clinic, now: datetime, route: str
) -> None:
    path = address(route, late(clinic, now))
    before = len(rows(clinic))
    answer = reader.send(path, {})
    found = rows(clinic)[before:]
    assert len(found) >= (0 if route in SILENT else 1), answer.status


@pytest.mark.security("B1", "S52")
def test_what_is_hidden_or_not_there_is_a_denial_that_names_it(reader: Reader, clinic: Clinic) -> None:
    reader.get("/patients/nobody")
    reader.get("/tasks/none")
    reader.get("/no/such/page")
    told = [(row.action, row.ref, row.patient, row.outcome, row.detail["status"]) for row in rows(clinic)[-3:]]
    assert told == [
        ("read", "Patient/nobody", "nobody", "denied", 404),
        ("read", "Task/none", None, "denied", 404),
        ("read", "page/other", None, "denied", 404),
    ]


@pytest.mark.security("B1")
def test_a_form_of_another_site_is_refused_and_told_of(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    reader.send(f"/tasks/{task.removeprefix('Task/')}/claim", csrf="wrong")
    row = rows(clinic)[-1]
    assert (row.action, row.ref, row.outcome) == ("update", task, "denied")


@pytest.mark.security("B1", "S52")
def test_a_list_names_whom_it_showed_and_what_was_asked(reader: Reader, clinic: Clinic, now: datetime) -> None:
    late(clinic, now)
    reader.get("/?tab=team")
    row = rows(clinic)[-1]
    assert (row.action, row.ref, row.patients, row.query) == ("search", "Task", ("rosa",), "tab=team")


def test_what_is_silent_is_a_route() -> None:
    assert {*staff._GET, *staff._POST, *staff._SESSION_GET, *staff._SESSION_POST} >= SILENT
