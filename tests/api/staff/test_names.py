from __future__ import annotations

from dataclasses import replace

import pytest

from api.context import Access
from api.staff.names import (
    role_choices,
    role_named,
    roster,
    state_title,
    status_chip,
    status_title,
    worker_named,
)
from fhir_tracker.model.viewer import ROLES
from fhir_tracker.rules.status_section import TASK_STATUSES
from tests.api.staff.samples import BARE, CALENDAR, ESCALATION, ITEM, NAMES, PROGRAM, STATUSES, item


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("rn", "RN"),
        ("care-coordinator", "Care coordinator"),
        ("provider", "Provider"),
        ("front-desk", "Front desk"),
        ("clinic-admin", "Clinic admin"),
        ("x-ray", "X ray"),
        ("", ""),
    ],
)
def test_a_role_is_named_as_people_say_it(role: str, name: str) -> None:
    assert role_named(role) == name


def test_every_role_can_be_chosen_under_a_name_of_its_own() -> None:
    assert [one.value for one in role_choices()] == list(ROLES)
    assert len({one.label for one in role_choices()}) == len(ROLES)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("Device/rule-worker", "Rule worker"),
        ("Device/open-mode", "Open mode"),
        ("Practitioner/p-1", "p-1"),
        ("http://ehr.example/fhir/Practitioner/7", "7"),
        ("cli", "cli"),
        ("", "unknown"),
    ],
)
def test_who_has_no_name_is_called_by_the_id(reference: str, name: str) -> None:
    assert worker_named(reference) == name
    assert BARE.who(reference) == name


def test_known_staff_have_their_name_and_role() -> None:
    assert NAMES.who("Practitioner/nurse") == "The nurse"
    assert NAMES.person("Practitioner/nurse").me
    assert NAMES.person("Practitioner/desk").role == "Front desk"
    stranger = NAMES.person("Practitioner/zed")
    assert (stranger.name, stranger.initials, stranger.role, stranger.me) == ("zed", "Z", "", False)


def test_an_item_is_named_by_the_version_it_is_under() -> None:
    assert NAMES.program(ITEM) is PROGRAM
    assert NAMES.program(item(program_version=2)) is None
    assert NAMES.program(item(program=None, program_version=None)) is None


def test_due_times_count_in_the_programs_calendar_and_else_in_the_sites() -> None:
    assert NAMES.calendar_of(ITEM) is CALENDAR
    assert BARE.calendar_of(ITEM).zone == "UTC"


def test_a_program_that_is_not_known_is_called_by_its_code() -> None:
    assert NAMES.program_title("ring") == "Ring after discharge"
    assert BARE.program_title("ring") == "ring"


@pytest.mark.parametrize("status", STATUSES, ids=lambda status: status.code)
def test_a_chip_says_the_programs_own_name_and_definition(status: object) -> None:
    own = next(one for one in STATUSES if one is status)
    chip = status_chip(item(status=own.code, fhir_status=own.fhir), PROGRAM)
    assert (chip.label, chip.means) == (own.title, own.means)
    assert chip.icon


@pytest.mark.parametrize(
    ("fhir", "icon", "tone"),
    [
        ("requested", "open", ""),
        ("received", "open", ""),
        ("accepted", "progress", ""),
        ("in-progress", "progress", ""),
        ("on-hold", "hold", "hold"),
        ("completed", "done", "done"),
        ("failed", "closed", ""),
        ("cancelled", "closed", ""),
        ("rejected", "closed", ""),
        ("entered-in-error", "closed", ""),
    ],
)
def test_a_chip_has_an_icon_besides_its_colour(fhir: str, icon: str, tone: str) -> None:
    chip = status_chip(item(program=None, status=fhir, fhir_status=fhir), None)
    assert (chip.icon, chip.tone) == (icon, tone)
    assert chip.label == fhir.replace("-", " ").capitalize()


@pytest.mark.parametrize("code", TASK_STATUSES)
def test_an_escalation_has_a_word_for_every_state_a_task_can_have(code: str) -> None:
    chip = status_chip(replace(ESCALATION, status=code, fhir_status=code), None)
    assert chip.label[0].isupper()
    assert "-" not in chip.label
    assert chip.label == state_title("escalation", PROGRAM, code)


def test_an_open_escalation_is_coloured_as_one() -> None:
    assert status_chip(ESCALATION, None).tone == "escalated"
    assert status_chip(replace(ESCALATION, open=False, fhir_status="rejected"), None).tone == ""
    assert status_chip(replace(ESCALATION, open=False, fhir_status="completed"), None).tone == "done"


def test_the_stage_of_a_plan_is_its_chip_and_never_that_of_a_task() -> None:
    plan = item(kind="plan", status="intake", fhir_status="active")
    assert status_chip(plan, PROGRAM).means == "Getting to know the patient"
    assert status_chip(replace(plan, kind="task"), PROGRAM).means == ""


@pytest.mark.parametrize(
    ("code", "title"),
    [("calling", "Calling"), ("intake", "Intake"), ("not-known", "Not known"), ("", "nothing"), (None, "nothing")],
)
def test_a_code_is_told_by_its_title(code: str | None, title: str) -> None:
    assert status_title(PROGRAM, code) == title
    assert state_title("task", PROGRAM, code) == title


def test_only_the_demo_has_a_roster_and_it_holds_every_role() -> None:
    assert roster(Access.OPEN) == []
    assert roster(Access.LOCKED) == []
    assert {role for _, _, role in roster(Access.DEMO)} == {role_named(role) for role in ROLES}
    assert all(ref.startswith("Practitioner/") for ref, _, _ in roster(Access.DEMO))
