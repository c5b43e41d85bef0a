"""Work gets an owner where the program says so, and is handed on when its owner is away or gone; all as transitions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fhir_tracker import staff, staffing
from fhir_tracker import transitions as moving
from fhir_tracker.errors import NotFound, RuleBroken
from fhir_tracker.model.work import Transition
from fhir_tracker.storage import staff as rows
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, NURSE, RING, SYSTEM, Clinic

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
NUCC = "http://nucc.org/provider-taxonomy"


def program(policy: str) -> str:
    return f"{RING}\nownership: {policy}\n"


def practitioner(id_: str, **members: Any) -> dict[str, Any]:
    """A synthetic member of the staff."""
    mail = {"system": "email", "value": f"{id_}@clinic.example", "use": "work"}
    name = [{"family": "Synthetic", "given": [id_.title()]}]
    return {"resourceType": "Practitioner", "id": id_, "active": True, "name": name, "telecom": [mail]} | members


def role(id_: str, code: str = "171M00000X", **members: Any) -> dict[str, Any]:
    """The PractitionerRole of `id_`; a care coordinator."""
    base = {"resourceType": "PractitionerRole", "id": f"role-{id_}", "active": True}
    person = {"practitioner": {"reference": f"Practitioner/{id_}"}}
    return base | person | {"code": [{"coding": [{"system": NUCC, "code": code}]}]} | members


class Ward:
    """A clinic whose program gives work out, with coordinators."""

    def __init__(self, database: Database, policy: str, *people: str) -> None:
        self.clinic = Clinic(database, program(policy))
        for one in people:
            self.clinic.put(practitioner(one), MONDAY)
            self.clinic.put(role(one), MONDAY)

    def admit(self, *patients: str) -> None:
        """Each a minute after the one before: who has waited longer gets an owner first."""
        for number, one in enumerate(patients):
            self.clinic.patient(one)
            self.clinic.discharge(one, MONDAY + timedelta(minutes=number))

    def keep(self, at: Any = MONDAY + timedelta(minutes=5)) -> staffing.StaffingReport:
        return staffing.keep_owned(self.clinic.database, at)

    def owner(self, patient: str) -> str | None:
        return self.clinic.task(patient, "first-call").owner

    def owner_rows(self, patient: str) -> list[Transition]:
        return [one for one in self.clinic.log(self.clinic.task(patient, "first-call").ref) if one.what == "owner"]

    def admin_tasks(self) -> list[dict[str, Any]]:
        return [one for one in self.clinic.stored("Task") if one["id"].startswith("no-owner")]

    def away(self, person: str, **terms: Any) -> int:
        with self.clinic.acting(MONDAY) as (tx, by):
            given = {"start": MONDAY, "end": MONDAY + 5 * DAY, "substitute": None} | terms
            return staff.go_away(tx, f"Practitioner/{person}", author=by, **given)


def test_work_is_given_by_turns_and_the_transition_says_why(database: Database) -> None:
    ward = Ward(database, "{assign: round-robin}", "ann", "ben")
    ward.admit("p1", "p2", "p3")
    assert ward.keep().given == 3
    assert [ward.owner(one) for one in ("p1", "p2", "p3")] == [
        "Practitioner/ann",
        "Practitioner/ben",
        "Practitioner/ann",
    ]
    (row,) = ward.owner_rows("p1")
    assert (row.before, row.who) == (None, staffing.STAFFING.who)
    assert row.reason == "assigned by itself: next in turn of the role care-coordinator"
    assert ward.keep().given == 0
    assert len(ward.clinic.provenance(ward.clinic.task("p1", "first-call").ref)) == 2


def test_the_least_loaded_gets_it_and_nobody_more_than_the_cap(database: Database) -> None:
    ward = Ward(database, "{assign: least-loaded, cap: 1}", "ann", "ben")
    ward.admit("p1", "p2", "p3")
    assert (ward.keep().given, ward.keep().waiting) == (2, 1)
    assert {ward.owner("p1"), ward.owner("p2")} == {"Practitioner/ann", "Practitioner/ben"}
    assert ward.owner("p3") is None
    assert ward.admin_tasks() == []
    ward.clinic.move(
        ward.clinic.task("p1", "first-call").ref,
        "reached",
        MONDAY + HOUR,
        fields={"outreach.outcome": "reached", "note": "n"},
    )
    assert ward.keep(MONDAY + HOUR).given == 1
    assert ward.owner("p3") is not None


def test_a_role_that_nobody_has_is_one_admin_task_that_closes_by_itself(database: Database) -> None:
    ward = Ward(database, "{assign: round-robin}")
    ward.admit("p1", "p2")
    assert ward.keep().waiting == 2
    assert ward.keep(MONDAY + HOUR).waiting == 2
    (task,) = ward.admin_tasks()
    assert (task["status"], task["meta"]["versionId"]) == ("requested", "1")
    assert "care-coordinator" in task["reasonCode"]["text"]
    ward.clinic.put(practitioner("ann"), MONDAY + DAY)
    ward.clinic.put(role("ann"), MONDAY + DAY)
    assert ward.keep(MONDAY + DAY).given == 2
    (task,) = ward.admin_tasks()
    assert task["status"] == "completed"


def test_the_work_of_somebody_away_goes_to_the_substitute_of_the_substitute_and_new_work_to_who_is_there(
    database: Database,
) -> None:
    ward = Ward(database, "{assign: round-robin}", "ann", "ben", "cem")
    ward.admit("p1")
    ward.keep()
    assert ward.owner("p1") == "Practitioner/ann"
    ward.away("ben", substitute="Practitioner/cem")
    ward.away("ann", substitute="Practitioner/ben")
    assert ward.keep(MONDAY + HOUR).handed_on == 1
    assert ward.keep(MONDAY + HOUR).handed_on == 0
    assert ward.owner("p1") == "Practitioner/cem"
    reason = ward.owner_rows("p1")[-1].reason or ""
    assert reason == "Practitioner/ann is away until 2026-03-14 14:00 UTC; Practitioner/cem stands in"
    ward.admit("p2")
    ward.keep(MONDAY + HOUR)
    assert ward.owner("p2") == "Practitioner/cem"


def test_the_work_of_somebody_away_without_a_substitute_is_given_out_anew(database: Database) -> None:
    ward = Ward(database, "{assign: round-robin}", "ann", "ben")
    ward.admit("p1")
    ward.keep()
    ward.away("ann")
    ward.keep(MONDAY + HOUR)
    ward.keep(MONDAY + HOUR)
    assert [row.after for row in ward.owner_rows("p1")] == ["Practitioner/ann", None, "Practitioner/ben"]


def test_an_absence_to_come_moves_nothing_yet_and_one_that_keeps_its_work_never(database: Database) -> None:
    ward = Ward(database, "{assign: round-robin}", "ann", "ben")
    ward.admit("p1")
    ward.keep()
    ward.away("ann", start=MONDAY + 2 * DAY)
    ward.away("ann", keeps_work=True, end=MONDAY + HOUR)
    ward.keep(MONDAY + HOUR / 2)
    assert ward.owner("p1") == "Practitioner/ann"
    ward.keep(MONDAY + 3 * DAY)
    assert ward.owner("p1") is None or ward.owner("p1") == "Practitioner/ben"


@pytest.mark.parametrize("how", ["inactive", "deleted", "without role"])
def test_the_open_work_of_somebody_who_is_gone_goes_back_to_the_queue(database: Database, how: str) -> None:
    ward = Ward(database, "{assign: queue}", "ann", "ben")
    ward.admit("p1")
    ref = ward.clinic.task("p1", "first-call").ref
    with ward.clinic.acting(MONDAY) as (tx, by):
        moving.assign(tx, ref, "Practitioner/ann", by)
    ward.keep()
    assert ward.owner("p1") == "Practitioner/ann"
    if how == "inactive":
        ward.clinic.put(practitioner("ann", active=False), MONDAY + HOUR)
    elif how == "deleted":
        ward.clinic.remove("Practitioner/ann", MONDAY + HOUR)
    else:
        ward.clinic.put(role("ann", period={"end": "2026-03-01"}), MONDAY + HOUR)
    assert ward.keep(MONDAY + 2 * HOUR).handed_on == 1
    assert ward.owner("p1") is None
    assert ward.owner_rows("p1")[-1].reason == "Practitioner/ann is not active any more; back to its queue"


def test_what_a_person_put_back_into_the_queue_stays_there(database: Database) -> None:
    ward = Ward(database, "{assign: round-robin}", "ann")
    ward.admit("p1")
    ward.keep()
    with ward.clinic.acting(MONDAY + HOUR, NURSE) as (tx, by):
        moving.assign(tx, ward.clinic.task("p1", "first-call").ref, None, by, reason="not mine")
    assert ward.keep(MONDAY + HOUR).given == 0
    assert ward.owner("p1") is None


def test_the_primary_owner_of_the_plan_goes_before_turns(database: Database) -> None:
    ward = Ward(database, "{assign: primary, roles: {front-desk: {assign: queue}}}", "ann", "ben")
    ward.admit("p1", "p2")
    (plan,) = [one for one in ward.clinic.stored("CarePlan") if one["subject"]["reference"] == "Patient/p1"]
    ward.clinic.put(plan | {"author": {"reference": "Practitioner/zoe"}}, MONDAY)
    ward.keep()
    assert (ward.owner("p1"), ward.owner("p2")) == ("Practitioner/zoe", "Practitioner/ann")


def test_work_that_a_rule_gives_to_somebody_away_goes_on_to_the_substitute_and_what_a_person_gives_stays(
    database: Database,
) -> None:
    ward = Ward(database, "{assign: queue}", "ann", "ben")
    ward.admit("p1", "p2")
    ward.away("ann", substitute="Practitioner/ben")
    ward.keep()
    for patient, viewer in (("p1", SYSTEM), ("p2", NURSE)):
        with ward.clinic.acting(MONDAY + HOUR, viewer) as (tx, by):
            moving.assign(tx, ward.clinic.task(patient, "first-call").ref, "Practitioner/ann", by)
    assert ward.keep(MONDAY + HOUR).handed_on == 1
    assert (ward.owner("p1"), ward.owner("p2")) == ("Practitioner/ben", "Practitioner/ann")
    assert ward.keep(MONDAY + HOUR).handed_on == 0


def test_an_absence_is_refused_that_cannot_be(database: Database) -> None:
    ward = Ward(database, "{assign: queue}", "ann")
    for terms in (
        {"end": MONDAY},
        {"start": MONDAY - 5 * DAY, "end": MONDAY - DAY},
        {"substitute": "Practitioner/ann"},
        {"substitute": "Patient/p1"},
    ):
        with pytest.raises(RuleBroken):
            ward.away("ann", **terms)
    with ward.clinic.acting(MONDAY) as (tx, by), pytest.raises(NotFound):
        staff.come_back(tx, 99, by)
    id_ = ward.away("ann", start=MONDAY + DAY)
    with ward.clinic.acting(MONDAY) as (tx, by):
        staff.come_back(tx, id_, by)
        assert rows.absences(tx) == []


def test_what_is_told_of_the_staff_in_odd_ways_is_taken_as_it_can_be(database: Database) -> None:
    ward = Ward(database, "{assign: queue}")
    odd = practitioner("odd", name=[{"given": "Odd"}], telecom=[{"system": "email", "use": "home", "value": "a@b"}, {}])
    ward.clinic.put(odd, MONDAY)
    ward.clinic.put(role("odd", code="999X"), MONDAY)
    nobody = {"resourceType": "PractitionerRole", "id": "nobody", "code": [{"text": "rn"}]}
    ward.clinic.put(nobody, MONDAY)
    ward.keep()
    with database.read() as tx:
        (person,) = rows.everybody(tx, MONDAY)
    assert (person.ref, person.mail, person.roles) == ("Practitioner/odd", "", frozenset())
    assert SYSTEM.patient is None
