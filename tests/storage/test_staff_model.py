"""The staff, their absences and their work against the same kept in plain lists, over random walks that write and forget."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from fhir_tracker.model.staff import Away, Person
from fhir_tracker.model.work import Transition, WorkItem
from fhir_tracker.storage import caseloads, staff, transitions, work_items
from fhir_tracker.storage.caseloads import Waiting
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.staff import Absence, RoleRow
from tests.storage.samples import NOW, VIEWER, item, locked

DAY = timedelta(days=1)
PEOPLE = tuple(f"Practitioner/{name}" for name in ("ann", "bob", "cid", "dee's"))
SOURCES = tuple(f"PractitionerRole/{name}" for name in ("r1", "r2", "r3", "r4", "r5"))
ROLES = ("rn", "provider", "care-coordinator", "r%n")
ITEMS = tuple(f"Task/{number}" for number in range(12))
OWNERS = (*PEOPLE, *SOURCES, "Practitioner/unknown", None)


def a_moment(chance: random.Random) -> datetime:
    return NOW + chance.choice([-30, -2, -1, 0, 0, 1, 2, 30]) * DAY


@dataclass(kw_only=True)
class Model:
    """What must be the case."""

    persons: dict[str, Person] = field(default_factory=dict)
    roles: dict[str, RoleRow] = field(default_factory=dict)
    absences: dict[int, Absence] = field(default_factory=dict)
    turns: dict[str, str] = field(default_factory=dict)
    items: dict[str, WorkItem] = field(default_factory=dict)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    log: list[Transition] = field(default_factory=list)

    def counts(self, one: RoleRow, now: datetime | None) -> bool:
        if not one.active:
            return False
        return now is None or ((one.start is None or one.start <= now) and (one.end is None or now < one.end))

    def person(self, ref: str, now: datetime | None) -> Person | None:
        """All that is known of a reference, by looking at every row."""
        if ref in self.roles:
            behind = self.roles[ref]
            whole = self._whole(behind.person, now) or Person(ref=behind.person)
            return whole if self.counts(behind, now) else replace(whole, active=False)
        return self._whole(ref, now)

    def _whole(self, ref: str, now: datetime | None) -> Person | None:
        mine = [one for one in self.roles.values() if one.person == ref]
        away = sorted((one for one in self.absences.values() if one.person == ref), key=lambda one: (one.start, one.id))
        if ref not in self.persons and not mine and not away:
            return None
        told = self.persons.get(ref, Person(ref=ref))
        return Person(
            ref=ref,
            name=told.name,
            active=told.active,
            mail=told.mail,
            roles=frozenset(role for one in mine if self.counts(one, now) for role in one.roles),
            absences=tuple(
                Away(start=one.start, end=one.end, substitute=one.substitute, keeps_work=one.keeps_work) for one in away
            ),
        )

    def everybody(self, now: datetime) -> list[Person]:
        refs = {
            *self.persons,
            *(one.person for one in self.roles.values()),
            *(one.person for one in self.absences.values()),
        }
        found = [one for ref in refs if (one := self._whole(ref, now)) is not None]
        return sorted(found, key=lambda one: (one.name, one.ref))

    def members(self, role: str, now: datetime) -> list[str]:
        return sorted(one.ref for one in self.everybody(now) if one.active and role in one.roles)

    def names(self, person: str) -> list[str]:
        return [person, *sorted(one.source for one in self.roles.values() if one.person == person)]

    def mine(self, patient: str | None) -> list[WorkItem]:
        kinds = ("task", "escalation")
        open_ = [one for one in self.items.values() if one.open and one.kind in kinds]
        return [one for one in open_ if patient in (None, one.patient)]

    def gone(self, now: datetime, patient: str | None) -> list[str]:
        """Who has work and is not there: inactive, without any role that counts, or a role that does not count."""
        inactive = {one.ref for one in self.persons.values() if not one.active}
        by_person: dict[str, list[bool]] = {}
        for one in self.roles.values():
            by_person.setdefault(one.person, []).append(self.counts(one, now))
        left = {person for person, all_ in by_person.items() if not any(all_)}
        lost = {one.source for one in self.roles.values() if not self.counts(one, now) or one.person in inactive}
        return sorted({one.owner for one in self.mine(patient) if one.owner} & (inactive | left | lost))

    def given_back(self, items: list[str], but_by: str) -> set[str]:
        last = {one.item: one for one in self.log if one.what == "owner"}
        return {ref for ref in items if ref in last and last[ref].after is None and last[ref].who != but_by}


class Walk:
    """Plays steps on the database and on the model at once."""

    def __init__(self, database: Database, seed: int) -> None:
        self.database, self.chance, self.model = database, random.Random(seed), Model()

    def step(self) -> None:
        steps: list[Callable[[Tx], None]] = [
            self.save_person, self.save_role, self.save_role, self.go_away, self.come_back, self.begin, self.take_turn,
            self.own, self.own, self.own, self.want, self.want_no_more, self.hand_on, self.hand_on,
        ]  # fmt: skip
        with self.database.begin() as tx:
            for _ in range(self.chance.randint(1, 3)):
                self.chance.choice(steps)(tx)

    def save_person(self, tx: Tx) -> None:
        ref = self.chance.choice(PEOPLE)
        active = self.chance.random() < 0.7
        one = Person(ref=ref, name=self.chance.choice(("A", "b", "Ü", "")), active=active, mail="m@example.org")
        staff.save_person(tx, one)
        self.model.persons[ref] = one

    def save_role(self, tx: Tx) -> None:
        one = RoleRow(
            source=self.chance.choice(SOURCES),
            person=self.chance.choice(PEOPLE),
            roles=tuple(self.chance.sample(ROLES, self.chance.randint(0, 3))),
            active=self.chance.random() < 0.75,
            start=self.chance.choice((None, a_moment(self.chance))),
            end=self.chance.choice((None, a_moment(self.chance))),
        )
        staff.save_role(tx, one)
        self.model.roles[one.source] = one

    def go_away(self, tx: Tx) -> None:
        start = a_moment(self.chance)
        told: dict[str, Any] = {
            "start": start,
            "end": self.chance.choice((None, start + self.chance.randint(0, 5) * DAY)),
            "substitute": self.chance.choice((None, *PEOPLE)),
            "keeps_work": self.chance.random() < 0.5,
            "said_by": "Practitioner/boss",
            "said_at": NOW,
        }
        person = self.chance.choice(PEOPLE)
        id_ = staff.add_absence(tx, person, **told)
        self.model.absences[id_] = Absence(id=id_, person=person, begun=False, **told)

    def come_back(self, tx: Tx) -> None:
        if not self.model.absences:
            assert staff.end_absence(tx, 10**9, NOW) is None
            return
        id_, at = self.chance.choice(sorted(self.model.absences)), a_moment(self.chance)
        one = self.model.absences[id_]
        lasts = one.end is None or one.end > at
        assert staff.end_absence(tx, id_, at) == (one.person if lasts else None)
        if lasts and one.start >= at:
            del self.model.absences[id_]
        elif lasts:
            self.model.absences[id_] = replace(one, end=at)

    def begin(self, tx: Tx) -> None:
        if self.model.absences:
            id_ = self.chance.choice(sorted(self.model.absences))
            staff.mark_begun(tx, id_)
            self.model.absences[id_] = replace(self.model.absences[id_], begun=True)

    def take_turn(self, tx: Tx) -> None:
        role, person = self.chance.choice(ROLES), self.chance.choice(PEOPLE)
        staff.take_turn(tx, role, person)
        self.model.turns[role] = person

    def own(self, tx: Tx) -> None:
        one = item(
            self.chance.choice(ITEMS),
            kind=self.chance.choice(("task", "task", "escalation", "plan", "outside")),
            owner=self.chance.choice(OWNERS),
            open=self.chance.random() < 0.8,
            patient=self.chance.choice(("ann", "bob", None)),
        )
        work_items.save(tx, one)
        if one.ref not in self.model.items:
            self.model.items[one.ref] = one
        self.model.items[one.ref] = one

    def want(self, tx: Tx) -> None:
        ref = self.chance.choice(ITEMS)
        one = Waiting(item=ref, role=self.chance.choice(ROLES), since=a_moment(self.chance), reason=f"r{ref}")
        caseloads.want_owner(tx, one)
        since = self.model.waiting[ref].since if ref in self.model.waiting else one.since
        self.model.waiting[ref] = replace(one, since=since)

    def want_no_more(self, tx: Tx) -> None:
        some = self.chance.sample(ITEMS, self.chance.randint(0, 3))
        caseloads.wait_no_more(tx, some)
        for ref in some:
            self.model.waiting.pop(ref, None)

    def hand_on(self, tx: Tx) -> None:
        made = Transition(
            item=self.chance.choice(ITEMS),
            what=self.chance.choice(("owner", "owner", "role")),
            before="Practitioner/ann",
            after=self.chance.choice((None, None, "Practitioner/bob")),
            recorded_at=NOW,
            effective_at=NOW,
            who=self.chance.choice(("Practitioner/ann", "Device/staffing")),
        )
        transitions.add(tx, made, "ann")
        self.model.log.append(made)

    def check(self) -> None:
        with self.database.read() as tx:
            self._check_people(tx)
            self._check_work(tx)

    def _check_people(self, tx: Tx) -> None:
        model = self.model
        asked = [*PEOPLE, *SOURCES, "Practitioner/unknown", "PractitionerRole/unknown"]
        for now in (None, NOW - 3 * DAY, NOW, NOW + DAY):
            expected = {ref: one for ref in asked if (one := model.person(ref, now)) is not None}
            assert staff.people(tx, asked, now) == expected
            for ref in asked:
                assert staff.people(tx, [ref], now) == ({ref: expected[ref]} if ref in expected else {})
        for now in (NOW - 3 * DAY, NOW, NOW + DAY):
            assert staff.everybody(tx, now) == model.everybody(now)
            for role in (*ROLES, "none", "r"):
                assert [one.ref for one in staff.members(tx, role, now)] == model.members(role, now)
            lasting = [one for one in model.absences.values() if one.end is None or one.end > now]
            assert staff.absences(tx, since=now) == sorted(lasting, key=lambda one: (one.start, one.id))
        assert staff.absences(tx) == sorted(model.absences.values(), key=lambda one: (one.start, one.id))
        for person in PEOPLE:
            assert staff.names_of(tx, person) == model.names(person)
        for ref in asked:
            assert staff.person_behind(tx, ref) == (model.roles[ref].person if ref in model.roles else ref)
        for role in ROLES:
            assert staff.turn(tx, role) == model.turns.get(role)

    def _check_work(self, tx: Tx) -> None:
        model = self.model
        for viewer in (VIEWER, locked("ann")):
            mine = model.mine(viewer.patient)
            counts = {ref: sum(one.owner in model.names(ref) for one in mine) for ref in PEOPLE}
            assert caseloads.open_counts(tx, viewer, PEOPLE) == counts
            assert caseloads.open_counts(tx, viewer, PEOPLE[:1]) == {PEOPLE[0]: counts[PEOPLE[0]]}
            for now in (NOW - 3 * DAY, NOW, NOW + DAY):
                assert caseloads.owners_gone(tx, viewer, now) == model.gone(now, viewer.patient)
            for owner in (*PEOPLE, *SOURCES):
                found = caseloads.open_work_of(tx, viewer, owner)
                assert sorted(found) == sorted(one.ref for one in mine if one.owner == owner)
        assert caseloads.open_counts(tx, VIEWER, []) == {}
        given = model.given_back(list(ITEMS), "Device/staffing")
        assert caseloads.given_back(tx, VIEWER, ITEMS, "Device/staffing") == given
        for role in ROLES:
            waits = [one for one in model.waiting.values() if one.role == role]
            assert caseloads.waiting(tx, role) == sorted(waits, key=lambda one: (one.since, one.item))
        told = caseloads.roles_waiting(tx)
        assert {role: count for role, (count, _) in told.items()} == {
            role: count for role in ROLES if (count := sum(one.role == role for one in model.waiting.values()))
        }
        reasons = {role: min(one.reason for one in model.waiting.values() if one.role == role) for role in told}
        assert {role: reason for role, (_, reason) in told.items()} == reasons


@pytest.mark.parametrize("seed", [1, 2])
def test_the_staff_and_their_work_are_what_plain_lists_say(database: Database, seed: int) -> None:
    walk = Walk(database, seed)
    walk.check()
    for number in range(36):
        walk.step()
        if number % 3 == 0:
            walk.check()
    walk.check()
