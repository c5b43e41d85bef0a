"""Random histories of a clinic through the real use cases: everything that happens to work, one happening after another."""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import timedelta

from fhir_tracker import merged_patients, plan_migration, records, transitions
from fhir_tracker.errors import TrackerError
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.plan_map import PlanMap
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import rollups
from fhir_tracker.storage.database import Tx
from tests.support.clinic import EVERYONE, MONDAY, NURSE, RING, Clinic, encounter

PEOPLE = ("ann", "bob", "cid", "dee")
OWNERS = ("Practitioner/nurse", "Practitioner/coordinator", "Practitioner/gone")
HAPPENINGS = (
    "discharge", "take", "hand", "role", "move", "move", "move", "hold", "try", "try", "correct", "late-try", "plain",
    "delete", "restore", "stage", "retro", "due", "sweep", "fold", "merge", "owner",
    "migrate",
)  # fmt: skip


class Life:
    """One clinic to which things happen, by chance that `seed` decides."""

    def __init__(self, clinic: Clinic, seed: int) -> None:
        self.clinic = clinic
        self.chance = random.Random(seed)
        self.now = MONDAY
        self._made = 0
        for name in PEOPLE:
            clinic.patient(name, MONDAY)
        for ref in OWNERS:
            clinic.put({"resourceType": "Practitioner", "id": ref.partition("/")[2], "active": True}, MONDAY)
        clinic.discharge("ann", MONDAY)

    def go_on(self, what: str | None = None) -> None:
        """Let some time pass and something happen; what the product refuses does not happen."""
        self.now += timedelta(seconds=self.chance.choice([1, 600, 5000, 40_000, 90_000]))
        name = what or self.chance.choice(HAPPENINGS)
        with suppress(TrackerError):
            getattr(self, f"_{name.replace('-', '_')}")()

    def _open(self) -> WorkItem | None:
        found = [one for name in PEOPLE for one in self.clinic.items(name) if one.kind == "task"]
        return self.chance.choice(found) if found else None

    def _discharge(self) -> None:
        self._made += 1
        patient = self.chance.choice(PEOPLE)
        ended = self.now - timedelta(hours=2)
        self.clinic.put(encounter(patient, ended, id_=f"stay-{patient}-{self._made}"), self.now)
        self.clinic.enrol(self.now)

    def _take(self) -> None:
        if item := self._open():
            with self.clinic.acting(self.now, NURSE) as (tx, by):
                transitions.claim(tx, item.ref, by)

    def _hand(self) -> None:
        if item := self._open():
            owner = self.chance.choice([*OWNERS, None])
            with self.clinic.acting(self.now, EVERYONE) as (tx, by):
                transitions.assign(tx, item.ref, owner, by)

    def _role(self) -> None:
        if item := self._open():
            with self.clinic.acting(self.now, EVERYONE) as (tx, by):
                transitions.give_role(tx, item.ref, self.chance.choice(["rn", "provider"]), by)

    def _move(self) -> None:
        if item := self._open():
            to = self.chance.choice(["calling", "reached", "unreachable", "completed", "in-progress", "cancelled"])
            fields = {
                "reason": "Because",
                "note": "n",
                "outreach.outcome": self.chance.choice(["reached", "no-answer"]),
            }
            self.clinic.move(item.ref, to, self.now, EVERYONE, fields)

    def _hold(self) -> None:
        if item := self._open():
            fields = {"hold.until": instant(self.now + timedelta(days=1)), "reason": "Records"}
            self.clinic.move(item.ref, "waiting" if item.program else "on-hold", self.now, EVERYONE, fields)

    def _try(self) -> None:
        if item := self._open():
            channel, outcome = self.chance.choice(["phone", "sms"]), self.chance.choice(["reached", "no-answer"])
            self.clinic.attempt(item.ref, self.now, channel=channel, outcome=outcome)

    def _late_try(self) -> None:
        """An attempt of yesterday, written down now."""
        if item := self._open():
            self.clinic.put(
                {
                    "resourceType": "Communication",
                    "id": f"late-{self.now.timestamp():.0f}",
                    "status": "completed",
                    "about": [{"reference": item.ref}],
                    "subject": {"reference": f"Patient/{item.patient}"},
                    "sent": instant(self.now - timedelta(hours=self.chance.choice([1, 20, 60]))),
                },
                self.now,
            )

    def _correct(self) -> None:
        """An attempt turns out to be a mistake, or goes away."""
        tries = self.clinic.stored("Communication")
        if tries:
            one = self.chance.choice(tries)
            if self.chance.random() < 0.3:
                self.clinic.remove(f"Communication/{one['id']}", self.now)
            else:
                self.clinic.put(one | {"status": self.chance.choice(["entered-in-error", "completed"])}, self.now)

    def _plain(self) -> None:
        self._made += 1
        body: Resource = {
            "resourceType": "Task",
            "id": f"plain-{self._made % 5}",
            "status": "requested",
            "intent": "order",
        }
        owner = self.chance.choice([{}, {"owner": {"reference": self.chance.choice(OWNERS)}}])
        due = {"restriction": {"period": {"end": instant(self.now + timedelta(days=self.chance.choice([-1, 1, 3])))}}}
        whom = {"for": {"reference": f"Patient/{self.chance.choice(PEOPLE)}"}, "code": {"coding": [{"code": "call"}]}}
        self.clinic.put(body | owner | whom | self.chance.choice([{}, due]), self.now)

    def _delete(self) -> None:
        if item := self._open():
            self.clinic.remove(item.ref, self.now)

    def _restore(self) -> None:
        """Deleted plain work comes back."""
        self._plain()

    def _stage(self) -> None:
        plans = self.clinic.stored("CarePlan")
        if plans:
            self.clinic.put(
                self.chance.choice(plans) | {"status": self.chance.choice(["completed", "revoked", "active"])}, self.now
            )

    def _retro(self) -> None:
        """Work is closed now, as of some hours ago."""
        if (item := self._open()) and item.open and not item.program:
            why = Why(reason="Was done before", effective_at=self.now - timedelta(hours=5))
            body = self.clinic.resource(item.ref) | {"status": "completed"}
            with self.clinic.acting(self.now) as (tx, by):
                records.save(tx, body, by, why=why)

    def _due(self) -> None:
        if item := self._open():
            end = {"period": {"end": instant(self.now + timedelta(hours=self.chance.choice([-30, 30])))}}
            self.clinic.put(self.clinic.resource(item.ref) | {"restriction": end}, self.now)

    def _sweep(self) -> None:
        self.clinic.sweep(self.now)

    def _fold(self) -> None:
        rollups.fold(self.clinic.database, self.now)

    def _owner(self) -> None:
        """Somebody leaves, or comes back."""
        body = {"resourceType": "Practitioner", "id": "gone", "active": self.chance.random() < 0.5}
        self.clinic.put(body, self.now)

    def _migrate(self) -> None:
        """A new version of the program, and its plans go over to it."""
        self._made += 1
        wanted = self.clinic.publish(f"{RING}# {self._made}\n", self.now)
        by = Author(viewer=EVERYONE, origin="cli", at=self.now)
        plan_migration.migrate(self.clinic.database, wanted, PlanMap(), by, "A new version")

    def _merge(self) -> None:
        old, new = self.chance.sample(PEOPLE, 2)
        with self.clinic.acting(self.now, EVERYONE) as (tx, by):
            self._merged(tx, old, new, by)

    def _merged(self, tx: Tx, old: str, new: str, by: Author) -> None:
        merged_patients.tell(tx, old, new, by)
        id_ = merged_patients.task_id(merged_patients.MERGED, f"{old}.{new}")
        task = transitions.find_task(tx, EVERYONE, f"Task/{id_}")
        transitions.store(tx, task.resource | {"status": "completed"}, by, Why(reason="Confirmed"))
