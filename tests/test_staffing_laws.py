"""Owners that are PractitionerRoles, caps of a person, and laws that hold whatever happens to the staff."""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import datetime, timedelta

import pytest

from fhir_tracker import caseload, staff
from fhir_tracker import transitions as moving
from fhir_tracker.errors import RuleBroken
from fhir_tracker.gathering import gather
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.rules.parties import parties_of
from fhir_tracker.storage import caseloads, work_items
from fhir_tracker.storage import staff as rows
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY
from tests.test_staffing import DAY, HOUR, Ward, practitioner, role

ANN, BEN, ROLE = "Practitioner/ann", "Practitioner/ben", "PractitionerRole/role-ann"
VIEWER = open_viewer()


def given(ward: Ward, patient: str, owner: str, at: datetime = MONDAY) -> str:
    """A person gives the patient's first call to an owner."""
    ref = ward.clinic.task(patient, "first-call").ref
    with ward.clinic.acting(at) as (tx, by):
        moving.assign(tx, ref, owner, by)
    return ref


def test_work_of_a_role_of_somebody_goes_to_their_substitute_when_they_are_away(database: Database) -> None:
    ward = Ward(database, "{assign: queue}", "ann", "ben")
    ward.admit("p1", "p2")
    ward.keep()
    given(ward, "p1", ROLE)
    given(ward, "p2", ANN)
    ward.away("ann", substitute=BEN)
    assert ward.keep(MONDAY + HOUR).handed_on == 2
    assert [ward.owner("p1"), ward.owner("p2")] == [BEN, BEN]
    last = ward.owner_rows("p1")[-1]
    assert (last.before, last.after) == (ROLE, BEN)
    assert (last.reason or "").startswith(f"{ANN} is away until")


@pytest.mark.parametrize("how", ["the role has ended", "the role is not active", "the person is gone", "it is deleted"])
def test_work_of_a_role_that_counts_no_longer_goes_back_to_its_queue(database: Database, how: str) -> None:
    ward = Ward(database, "{assign: queue}", "ann", "ben")
    ward.clinic.put(role("ann", id="other-role"), MONDAY)
    ward.admit("p1", "p2")
    ward.keep()
    given(ward, "p1", ROLE)
    given(ward, "p2", "PractitionerRole/other-role")
    if how == "the role has ended":
        ward.clinic.put(role("ann", period={"end": "2026-03-01"}), MONDAY + HOUR)
    elif how == "the role is not active":
        ward.clinic.put(role("ann", active=False), MONDAY + HOUR)
    elif how == "the person is gone":
        ward.clinic.put(practitioner("ann", active=False), MONDAY + HOUR)
    else:
        ward.clinic.remove(ROLE, MONDAY + HOUR)
    ward.keep(MONDAY + 2 * HOUR)
    kept = None if how == "the person is gone" else "PractitionerRole/other-role"
    assert (ward.owner("p1"), ward.owner("p2")) == (None, kept)


def test_who_is_behind_a_role_is_the_owner_for_rules_and_moves_alike(database: Database) -> None:
    ward = Ward(database, "{assign: queue}", "ann", "ben")
    ward.admit("p1")
    ward.keep()
    ref = given(ward, "p1", ROLE)
    ward.away("ann", substitute=None, keeps_work=True)
    with database.read() as tx:
        task = moving.find_task(tx, VIEWER, ref)
        (facts,) = gather(tx, VIEWER, [task.item])
        behind = facts.people[ROLE]
        assert (behind.ref, behind.active, behind.away(MONDAY) is not None) == (ANN, True, True)
        for who, is_owner in ((ANN, True), (BEN, False), (ROLE, False)):
            viewer = Viewer(who=who, name=who, roles=frozenset({"front-desk"}), sight=EVERYTHING)
            assert ("owner" in task.parties(viewer)) is is_owner
    with (
        pytest.raises(RuleBroken),
        ward.clinic.acting(MONDAY, Viewer(who=BEN, name="Ben", roles=frozenset(), sight=EVERYTHING)) as (tx, by),
    ):
        moving.claim(tx, ref, by)
    with ward.clinic.acting(
        MONDAY, Viewer(who=ANN, name="Ann", roles=frozenset({"care-coordinator"}), sight=EVERYTHING)
    ) as (tx, by):
        moving.claim(tx, ref, by)
    assert ward.owner("p1") == ANN


def test_nobody_is_the_owner_of_work_whose_owner_is_nobody(database: Database) -> None:
    ward = Ward(database, "{assign: queue}", "ann")
    ward.admit("p1")
    item = ward.clinic.task("p1", "first-call")
    nobody = Viewer(who="", name="", roles=frozenset(), sight=EVERYTHING)
    assert parties_of(item, None, None, nobody) == frozenset()


def test_work_by_a_role_counts_towards_what_its_person_has(database: Database) -> None:
    ward = Ward(database, "{assign: least-loaded, cap: 2}", "ann", "ben")
    ward.admit("p1", "p2", "p3", "p4")
    with database.begin() as tx:
        for one in ("ann", "ben"):
            staff.learn(tx, role(one))
    given(ward, "p1", ROLE)
    given(ward, "p2", ROLE)
    with database.read() as tx:
        assert caseloads.open_counts(tx, VIEWER, [ANN, BEN, "Practitioner/zoe"]) == {
            ANN: 2,
            BEN: 0,
            "Practitioner/zoe": 0,
        }
    ward.keep()
    assert [ward.owner("p3"), ward.owner("p4")] == [BEN, BEN]


def test_a_cap_of_ones_own_goes_with_that_of_the_program_and_can_be_taken_away(database: Database) -> None:
    ward = Ward(database, "{assign: least-loaded, cap: 2}", "ann", "ben")
    with database.begin() as tx:
        caseload.set_cap(tx, ANN, 0)
        caseload.set_cap(tx, BEN, 50)
    ward.admit("p1", "p2", "p3")
    assert (ward.keep().given, [ward.owner(one) for one in ("p1", "p2", "p3")]) == (2, [BEN, BEN, None])
    assert ward.admin_tasks() == []
    with database.begin() as tx:
        caseload.set_cap(tx, ANN, None)
        assert caseload.caps_of_people(tx) == {BEN: 50}
    ward.keep(MONDAY + HOUR)
    assert ward.owner("p3") == ANN


@pytest.mark.parametrize(("who", "cap"), [("ann", 3), ("Practitioner/", 3), (ANN, -1), (ANN, 10**9), (ROLE, 1)])
def test_a_cap_that_cannot_be_is_refused(database: Database, who: str, cap: int) -> None:
    with pytest.raises(RuleBroken), database.begin() as tx:
        caseload.set_cap(tx, who, cap)


class _Story:
    """Something happens to the staff or to the work, then staffing has a round, again and again."""

    def __init__(self, database: Database, seed: int) -> None:
        self.dice = random.Random(seed)
        self.names = ("ann", "ben", "cem", "dee")
        self.assign = self.dice.choice(["round-robin", "least-loaded", "primary"])
        self.ward = Ward(database, f"{{assign: {self.assign}, cap: 3}}", *self.names)
        self.now = MONDAY + timedelta(minutes=5)
        self.caps: dict[str, int] = {}
        self.patients = 0

    def happen(self) -> None:
        """One thing, chosen by the dice."""
        who, ward = self.dice.choice(self.names), self.ward
        match self.dice.randrange(7):
            case 0 | 1:
                self.patients += 1
                ward.clinic.patient(f"p{self.patients}")
                ward.clinic.discharge(f"p{self.patients}", self.now)
            case 2:
                other = self.dice.choice([f"Practitioner/{one}" for one in self.names if one != who] + [""])
                end = self.now + self.dice.randint(1, 8) * HOUR
                with suppress(RuleBroken), ward.clinic.acting(self.now) as (tx, by):
                    staff.go_away(
                        tx, f"Practitioner/{who}", start=self.now, end=end, substitute=other or None, author=by
                    )
            case 3:
                ward.clinic.put(practitioner(who, active=self.dice.random() < 0.5), self.now)
            case 4:
                self.caps[f"Practitioner/{who}"] = cap = self.dice.randint(0, 4)
                with ward.clinic.database.begin() as tx:
                    caseload.set_cap(tx, f"Practitioner/{who}", cap)
            case 5:
                if self.dice.random() < 0.5:
                    ward.clinic.remove(f"PractitionerRole/role-{who}", self.now)
                else:
                    ward.clinic.put(role(who), self.now)
            case _:
                if self.patients:
                    patient = f"p{self.dice.randint(1, self.patients)}"
                    name = self.dice.choice([f"Practitioner/{who}", f"PractitionerRole/role-{who}"])
                    given(ward, patient, name, self.now)

    def keep_and_check(self) -> None:
        """Rounds until nothing is to be done (what is handed back is given out by the next), after which the laws hold."""
        before = self._work()
        rounds = 0
        while (done := self.ward.keep(self.now)).given or done.handed_on or done.changes:
            rounds += 1
            assert rounds < 5, "staffing does not come to rest"
        after = self._work()
        with self.ward.clinic.database.read() as tx:
            people = rows.people(tx, {one for one in after.values() if one} | set(self._refs()), self.now)
            loads = caseloads.open_counts(tx, VIEWER, self._refs())
        for ref, owner in after.items():
            if owner is not None:
                assert people[owner].active, f"{ref} is left with {owner}, who is gone"
            if owner is not None and owner != before.get(ref):
                assert people[owner].away(self.now) is None, f"{ref} was given to {owner}, who is away"
        free = [
            one
            for one in self._refs()
            if people[one].active
            and people[one].roles
            and not people[one].away(self.now)
            and loads[one] < min(3, self.caps.get(one, 3))
        ]
        waiting = [ref for ref, owner in after.items() if owner is None]
        assert not (free and waiting), f"{waiting} wait while {free} have room"
        assert self._work() == after

    def _refs(self) -> list[str]:
        return [f"Practitioner/{one}" for one in self.names]

    def _work(self) -> dict[str, str | None]:
        with self.ward.clinic.database.read() as tx:
            return {
                one.ref: one.owner
                for _, one in work_items.scan(tx, VIEWER)
                if one.open and one.kind == "task" and one.role == "care-coordinator" and one.program
            }


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_to_the_staff_work_that_somebody_can_have_is_had_by_somebody_who_is_there(
    database: Database, seed: int
) -> None:
    story = _Story(database, seed)
    story.keep_and_check()
    for _ in range(20):
        story.happen()
        story.now += timedelta(minutes=story.dice.choice([1, 30, 200]))
        story.keep_and_check()
    assert story.now < MONDAY + 4 * DAY
