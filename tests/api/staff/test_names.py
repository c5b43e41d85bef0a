from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from api.staff.names import (
    names_for,
    practitioners,
    role_choices,
    role_named,
    state_title,
    status_chip,
    status_title,
    worker_named,
)
from fhir_tracker import records
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import ROLES, open_viewer
from fhir_tracker.rules.status_section import TASK_STATUSES
from fhir_tracker.storage import accounts
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Database, Tx
from tests.api.staff.samples import BARE, CALENDAR, ESCALATION, ITEM, NAMES, PROGRAM, STATUSES, item

NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)


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


def account(tx: Tx, id_: str, name: str, *roles: str, active: bool = True) -> None:
    made = Account(
        id=id_, ref=f"Practitioner/{id_}", name=name, roles=roles, active=active, created_at=NOW, changed_at=NOW
    )
    accounts.save(tx, made)


def test_work_is_given_to_colleagues_first_and_then_to_others_on_record_each_by_name(database: Database) -> None:
    with database.begin() as tx:
        account(tx, "zoe", "Zoe Synthetic", "rn", "auditor")
        account(tx, "ann", "Ann Synthetic", "front-desk")
        account(tx, "gone", "Gone Synthetic", "rn", active=False)
        for id_, name in (("mia", "Mia Record"), ("ann", "Annie On Record"), ("bo", "Bo Record")):
            resource = {"resourceType": "Practitioner", "id": id_, "name": [{"text": name}]}
            records.save(tx, resource, Author(viewer=open_viewer(), origin="ehr:north", at=NOW))
    with database.read() as tx:
        found = practitioners(tx, open_viewer())
    assert [(one.value, one.label) for one in found] == [
        ("Practitioner/ann", "Ann Synthetic, Front desk"),
        ("Practitioner/zoe", "Zoe Synthetic, RN, Auditor"),
        ("Practitioner/bo", "Bo Record"),
        ("Practitioner/mia", "Mia Record"),
    ]


def test_people_are_named_by_their_account_also_where_no_record_of_them_is_here(database: Database) -> None:
    with database.begin() as tx:
        account(tx, "zoe", "Zoe Synthetic", "rn")
        account(tx, "gone", "Gone Synthetic", "provider", active=False)
    me = replace(open_viewer(), who="Practitioner/zoe", name="Zoe Synthetic")
    with database.read() as tx:
        names = names_for(tx, me, [], ["Practitioner/zoe", "Practitioner/gone", "Practitioner/unknown"])
    assert names.person("Practitioner/zoe").me
    assert names.person("Practitioner/zoe").role == "RN"
    assert (names.who("Practitioner/gone"), names.who("Practitioner/unknown")) == ("Gone Synthetic", "unknown")
    assert not names.person("Practitioner/gone").me
