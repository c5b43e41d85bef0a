"""What workers make of the work of one program or place - escalations, notifications, owners, new tasks, logs - is seen and changed by
the staff and systems of that program or place, and nothing of it reaches those of another, whatever they ask.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from fhir_tracker import enrolment, staffing
from fhir_tracker.model.grants import grants_of
from fhir_tracker.model.policy import ACTS, Policy
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import firings, notifications, queue, transitions, work_items
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.queue import QueueFilter
from tests.support.asking import Asker, member
from tests.support.clinic import COORDINATOR, MONDAY, RING, SYSTEM, Clinic
from tests.test_staffing import practitioner, role

HOURS = 'calendar: {zone: America/New_York, hours: "Mon-Fri 08:00-17:00", holidays: US'
SITES = ", ".join(f"{one}: {{zone: America/New_York, locations: [Location/{one}]}}" for one in ("north", "south"))
GIVEN_OUT = RING.replace(HOURS, f"{HOURS}, sites: {{{SITES}}}") + "\nownership: {assign: round-robin}\n"
PROGRAMS = ("ring", "knock")
PLACES = ("north", "south")
HOUR = timedelta(hours=1)
STAFF = ("rn", "provider", "clinic-admin", "care-coordinator", "front-desk")
PATCH = {"content-type": "application/json-patch+json"}
ASKED = (
    "Task?_count=200", "CarePlan?_count=200", "Patient?_count=200", "Encounter?_count=200", "Appointment?_count=200",
    "Provenance?_count=200", "Communication?_count=200", "Flag?_count=200", "Task/_history?_count=200", "_history?_count=200",
    "Task?_count=200&_include=*&_revinclude=Provenance:target", "Patient?_count=200&_revinclude=Task:patient",
    "CarePlan?_count=200&_revinclude=Task:based-on", "Task?_count=200&code=escalation",
)  # fmt: skip


@dataclass
class Practice:
    """Two programs at two places, patients of one program and place each, and workers that ran over a few days."""

    database: Database
    where: dict[str, tuple[str, str]] = field(default_factory=dict)
    clinics: dict[str, Clinic] = field(default_factory=dict)

    def fill(self, chance: random.Random) -> None:
        self.clinics = {
            one: Clinic(self.database, GIVEN_OUT.replace("program: ring", f"program: {one}")) for one in PROGRAMS
        }
        ring = self.clinics["ring"]
        for name in ("ottiwell", "peregrin"):
            ring.put(practitioner(name), MONDAY)
            ring.put(role(name), MONDAY)
        for number, (program, place) in enumerate((one, two) for one in PROGRAMS for two in PLACES for _ in range(2)):
            self._one(f"zq{number}v{chance.randrange(10**6)}", program, place)
        for hours in sorted(chance.sample(range(1, 120), 8)):
            self._happens(chance, MONDAY + hours * HOUR)
        ring.sweep(MONDAY + 200 * HOUR)
        staffing.keep_owned(self.database, MONDAY + 200 * HOUR)

    def _one(self, name: str, program: str, place: str) -> None:
        clinic = self.clinics[program]
        clinic.patient(name)
        with clinic.acting(MONDAY, COORDINATOR) as (tx, by):
            enrolment.by_hand(tx, clinic.program, name, by, site=f"Location/{place}")
        clinic.sweep(MONDAY)
        self.where[name] = (program, place)

    def _happens(self, chance: random.Random, at: datetime) -> None:
        clinic = self.clinics["ring"]
        clinic.sweep(at)
        staffing.keep_owned(self.database, at)
        called = chance.choice(sorted(self.where))
        if clinic.task(called, "first-call").open:
            clinic.attempt(clinic.task(called, "first-call").ref, at)

    def inside(self, programs: frozenset[str] | None, places: frozenset[str] | None) -> set[str]:
        """The patients of those programs and places."""
        return {
            name
            for name, (program, place) in self.where.items()
            if (programs is None or program in programs) and (places is None or place in places)
        }

    def work(self) -> dict[str, set[str]]:
        """Patient -> all pieces of work, those that workers made too."""
        return {name: {one.ref for one in self.clinics["ring"].items(name)} for name in self.where}


@pytest.fixture
def practice(database: Database) -> Practice:
    made = Practice(database)
    made.fill(random.Random(71))
    return made


BOUNDS = [
    (frozenset({"ring"}), None),
    (None, frozenset({"south"})),
    (frozenset({"knock"}), frozenset({"north"})),
    (frozenset[str](), None),
    (None, frozenset({"elsewhere"})),
]


def bound(programs: frozenset[str] | None, places: frozenset[str] | None, scope: str = "user/*.cruds") -> Viewer:
    policy = Policy(
        grants=grants_of((scope,)), acts=frozenset(ACTS) - {"break-glass"}, programs=programs, locations=places
    )
    return member(*STAFF, policy=policy)


def named(text: str, names: set[str]) -> list[str]:
    return sorted(one for one in names if one in text)


@pytest.mark.security("M2", "S50", "A3")
@pytest.mark.parametrize(("programs", "places"), BOUNDS)
def test_what_workers_made_is_seen_where_it_belongs_and_nowhere_else(
    practice: Practice, programs: frozenset[str] | None, places: frozenset[str] | None
) -> None:
    viewer, inside = bound(programs, places), practice.inside(programs, places)
    work, outside = practice.work(), practice.where.keys() - inside
    assert all(len(refs) >= 4 for refs in work.values()), "plan, call, and escalations of each patient"
    own = {ref for name in inside for ref in work[name]}
    everything = {ref for refs in work.values() for ref in refs}
    with practice.database.read() as tx:
        assert set(work_items.find_many(tx, viewer, everything)) == own
        assert {one.ref for _, one in work_items.scan(tx, viewer)} == own
        rows = queue.queue(tx, viewer, QueueFilter(), MONDAY + 200 * HOUR, limit=200).rows
        assert {one.item.ref for one in rows} == {
            ref for ref in own if ref.startswith("Task/") and _is_open(practice, ref)
        }
        told = notifications.of_role(tx, viewer, STAFF, person="Practitioner/ottiwell", limit=500)
        assert {one.patient for one in told} == inside
        assert all(one.subject in own for one in told)
        assert not named(repr(told), outside)
        assert {ref for ref, log in transitions.of_items(tx, viewer, sorted(everything)).items() if log} <= own
        fired = firings.of_items(tx, viewer, sorted(everything))
        assert {ref for ref, log in fired.items() if log} == {ref for ref in own if _has_fired(practice, ref)}
    asker = Asker(database=practice.database, viewer=viewer)
    for address in ASKED:
        answer = asker.ask("GET", address)
        assert answer.status == 200, (address, answer.body)
        assert not named(answer.body.decode(), outside), address
    tasks = json.loads(asker.ask("GET", ASKED[0]).body)["entry"] if inside else []
    assert {f"Task/{one['resource']['id']}" for one in tasks} == {ref for ref in own if ref.startswith("Task/")}


def _is_open(practice: Practice, ref: str) -> bool:
    with practice.database.read() as tx:
        found = work_items.find(tx, SYSTEM, ref)
    return found is not None and found.open


def _has_fired(practice: Practice, ref: str) -> bool:
    with practice.database.read() as tx:
        return bool(firings.of_items(tx, SYSTEM, [ref]).get(ref))


@pytest.mark.security("M2", "S41", "S45", "M3")
@pytest.mark.parametrize(("programs", "places"), BOUNDS[:3])
def test_nothing_of_another_program_or_place_is_changed_or_told_from_what_is_absent(
    practice: Practice, programs: frozenset[str] | None, places: frozenset[str] | None
) -> None:
    inside, work = practice.inside(programs, places), practice.work()
    asker, everybody = (
        Asker(database=practice.database, viewer=bound(*limits)) for limits in ((programs, places), (None, None))
    )
    theirs = sorted(ref for name, refs in work.items() if name not in inside for ref in refs if ref.startswith("Task/"))
    assert theirs
    before = {ref: everybody.read(ref) for ref in theirs}
    for ref, task in before.items():
        id_ = task["id"]
        change = [{"op": "replace", "path": "/status", "value": "cancelled"}]
        asked: tuple[tuple[str, str, Any, dict[str, str]], ...] = (
            ("GET", ref, None, {}),
            ("GET", f"{ref}/_history", None, {}),
            ("GET", f"{ref}/$options", None, {}),
            ("PUT", ref, {**task, "status": "cancelled"}, {}),
            ("PATCH", ref, change, PATCH),
            ("DELETE", ref, None, {}),
            ("POST", f"{ref}/$undo", None, {}),
        )
        for method, address, body, headers in asked:
            hidden = asker.ask(method, address, body, headers)
            assert hidden.status == 404, (method, address, hidden.body)
            if method != "PUT":
                absent = asker.ask(method, address.replace(id_, "nobodys"), body, headers)
                assert hidden.body.replace(id_.encode(), b"nobodys") == absent.body
    assert {ref: everybody.read(ref) for ref in theirs} == before
