"""Random roles over random work: queues, counts, logs and records show the work of a role's programs, places and patients only."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest

from fhir_tracker.model.grants import grants_of
from fhir_tracker.model.policy import Policy
from fhir_tracker.model.sight import sight_of
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import Event, Firing, FiringKey, Transition, WorkItem
from fhir_tracker.storage import (
    enrolments,
    events,
    figures,
    firings,
    glass,
    notifications,
    patients,
    queue,
    resources,
    transitions,
    work_items,
)
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.patients import PatientSummary
from fhir_tracker.storage.queue import QueueFilter
from tests.storage.samples import NOW, item, put, task

PEOPLE = ("ann", "bob", "cid", "dan")
PROGRAMS = (None, "tcm", "ccm")
PLACES = (None, "Location/north", "Location/south")


@dataclass
class Ward:
    """The work there is, the statuses of its Tasks, and which patients are restricted."""

    work: dict[str, WorkItem] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    restricted: frozenset[str] = frozenset()
    shut: frozenset[str] = frozenset()

    def fill(self, database: Database, chance: random.Random) -> None:
        self.restricted = frozenset(chance.sample(PEOPLE, 1))
        with database.begin() as tx:
            for name in PEOPLE:
                put(tx, {"resourceType": "Patient", "id": name})
                patients.save(tx, PatientSummary(patient=name, name=name))
                events.save(
                    tx, Event(ref=f"Encounter/{name}", type="Encounter", status="planned", patient=name, seen_at=NOW)
                )
                enrolments.reserve(tx, "tcm", name, "", NOW)
            for number in range(14):
                self._one(tx, chance, number)
            self.shut = frozenset(chance.sample(sorted(self.work), 3))
            for name in (*(f"Patient/{one}" for one in self.restricted), *self.shut):
                glass.set_restricted(tx, name, restricted=True)

    def _one(self, tx: Tx, chance: random.Random, number: int) -> None:
        is_plan, patient = chance.random() < 0.25, chance.choice(PEOPLE)
        ref = f"{'CarePlan' if is_plan else 'Task'}/w{number}"
        status = chance.choice(("requested", "completed"))
        if is_plan:
            body = {"resourceType": "CarePlan", "id": f"w{number}", "status": "active", "intent": "plan"}
            put(tx, body | {"subject": {"reference": f"Patient/{patient}"}})
        else:
            put(tx, task(f"w{number}", patient, status=status))
        made = item(
            ref, kind="plan" if is_plan else "task", patient=patient, program=chance.choice(PROGRAMS),
            site=chance.choice(PLACES), role="rn", due_at=NOW.replace(year=2025),
        )  # fmt: skip
        work_items.save(tx, made)
        self.work[ref], self.statuses[ref] = made, status
        moved = Transition(item=ref, what="status", before=None, after="x", recorded_at=NOW, effective_at=NOW, who="me")
        transitions.add(tx, moved, patient)
        key = FiringKey(item=ref, rule="r", cycle="0", level=1)
        firings.fire(tx, Firing(key=key, fired_at=NOW, kind=firings.ESCALATE, task=None, program="tcm"), patient)
        notifications.add(
            tx, to_role="rn", to_person=None, channel="in-app", subject=ref, patient=patient, text="late", at=NOW
        )


@dataclass(frozen=True)
class Person:
    """Somebody with a role, judged by plain rules."""

    ward: Ward
    scopes: tuple[str, ...]
    programs: frozenset[str] | None
    places: frozenset[str] | None
    sees_restricted: bool
    opened: frozenset[str]
    lock: str | None

    @property
    def viewer(self) -> Viewer:
        policy = Policy(
            grants=grants_of(self.scopes),
            programs=self.programs,
            locations=self.places,
            restricted=self.sees_restricted,
        )
        return Viewer(who="Practitioner/p", sight=sight_of(None, policy, None), opened=self.opened, patient=self.lock)

    def _is_with(self, patient: str) -> bool:
        is_free = self.sees_restricted or patient not in self.ward.restricted or patient in self.opened
        return is_free and self.lock in (None, patient)

    def _is_inside(self, one: WorkItem) -> bool:
        has_program = self.programs is None or one.program in self.programs
        return (has_program and (self.places is None or one.site in self.places)) or one.patient in self.opened

    def sees(self, right: str, one: WorkItem) -> bool:
        """Whether a piece of work is shown."""
        assert one.patient is not None
        if not self._is_with(one.patient) or not self._is_inside(one):
            return False
        if one.ref in self.ward.shut and not self.sees_restricted and one.patient not in self.opened:
            return False
        return self._gives(right, one.ref.partition("/")[0], self.ward.statuses[one.ref])

    def _gives(self, right: str, type_: str, status: str = "") -> bool:
        for scope in self.scopes:
            named, _, tail = scope.removeprefix("user/").partition(".")
            rights, asks, query = tail.partition("?")
            is_held = not asks or (type_ == "Task" and query == f"status={status}")
            if named in {"*", type_} and right in rights and is_held:
                return True
        return False

    def knows(self, patient: str, type_: str) -> bool:
        """Whether another record of a patient is shown."""
        is_bounded = self.programs is not None or self.places is not None
        has_work = any(one.patient == patient and self._is_inside(one) for one in self.ward.work.values())
        is_near = not is_bounded or has_work or patient in self.opened
        return self._is_with(patient) and is_near and self._gives("r", type_)


def somebody(chance: random.Random, ward: Ward) -> Person:
    scopes = ("*.rs", "Task.rs", "CarePlan.rs", "Task.r", "Task.s", "Patient.rs", "Encounter.rs", "Task.rs?status=requested",
              "Task.rs?status=completed")  # fmt: skip
    return Person(
        ward=ward,
        scopes=tuple(f"user/{one}" for one in chance.sample(scopes, chance.randint(1, 3))),
        programs=chance.choice((None, None, frozenset({"tcm"}), frozenset({"tcm", "ccm"}), frozenset())),
        places=chance.choice((None, None, frozenset({"Location/north"}))),
        sees_restricted=chance.random() < 0.3,
        opened=chance.choice((frozenset(), frozenset(), ward.restricted, frozenset({"ann"}))),
        lock=chance.choice((None, None, None, "bob")),
    )


def check(tx: Tx, person: Person, ward: Ward) -> None:
    viewer = person.viewer
    read = {ref for ref, one in ward.work.items() if person.sees("r", one)}
    listed = {ref for ref, one in ward.work.items() if person.sees("s", one)}
    lines = queue.queue(tx, viewer, QueueFilter(), NOW, limit=50)
    tasks = {ref for ref in listed if ref.startswith("Task/")}
    assert ({row.item.ref for row in lines.rows}, lines.total) == (tasks, len(tasks))
    for row in lines.rows:
        assert (row.patient is not None) == person.knows(row.item.patient or "", "Patient")
    counted = queue.counts(tx, viewer, QueueFilter(), NOW)
    assert (counted.open, counted.late) == (len(tasks), len(tasks))
    assert figures.totals(tx, viewer, NOW).open == len(tasks)
    assert sum(one.count for one in figures.aging(tx, viewer, NOW)) == len(tasks)
    assert sum(one.count for one in figures.overdue(tx, viewer, NOW, "role")) == len(tasks)
    assert sum(one.count for one in figures.escalations(tx, viewer, NOW)) == len(tasks)
    assert set(work_items.find_many(tx, viewer, ward.work)) == read
    assert set(resources.find_many(tx, viewer, ward.work)) == read
    assert {one.ref for _, one in work_items.scan(tx, viewer)} == read
    assert {ref for ref, log in transitions.of_items(tx, viewer, list(ward.work)).items() if log} == read
    assert {ref for ref, log in firings.of_items(tx, viewer, list(ward.work)).items() if log} == read
    assert {one.subject for one in notifications.of_role(tx, viewer, ["rn"], limit=99)} == read
    assert notifications.unread_count(tx, viewer, ["rn"]) == len(read)
    assert set(patients.find_many(tx, viewer, PEOPLE)) == {one for one in PEOPLE if person.knows(one, "Patient")}
    seen = events.of_patients(tx, viewer, PEOPLE)
    assert {one for one in PEOPLE if seen[one]} == {one for one in PEOPLE if person.knows(one, "Encounter")}
    names = resources.find_many(tx, viewer, [f"Patient/{one}" for one in PEOPLE])
    assert set(names) == {f"Patient/{one}" for one in PEOPLE if person.knows(one, "Patient")}


@pytest.mark.requirement(89)
@pytest.mark.security("A3", "A5", "S44", "S50")
def test_work_is_shown_to_the_roles_that_may_see_it(database: Database) -> None:
    chance = random.Random(3)
    ward = Ward()
    ward.fill(database, chance)
    with database.read() as tx:
        for _ in range(40):
            check(tx, somebody(chance, ward), ward)


@pytest.mark.security("A5", "S50")
def test_what_is_restricted_later_is_gone_from_the_next_statement_on(database: Database) -> None:
    ward = Ward()
    ward.fill(database, random.Random(4))
    person = Person(ward, ("user/*.rs",), None, None, sees_restricted=False, opened=frozenset(), lock=None)
    for restricted in (frozenset(PEOPLE), frozenset[str](), frozenset({"cid"})):
        with database.begin() as tx:
            for name in PEOPLE:
                glass.set_restricted(tx, f"Patient/{name}", restricted=name in restricted)
        ward.restricted = restricted
        with database.read() as tx:
            check(tx, person, ward)
            check(tx, replace(person, opened=frozenset({"cid"})), ward)
