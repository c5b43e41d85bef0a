"""A practice with some of the starter programs and one EHR: what the EHR sends comes in by intake, the worker never sleeps.

Time moves only forward and by the stories: `until` lets the worker look at every moment at which something is due, so
that what fires carries the exact moment of its firing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from fhir_tracker import enrolment, escalation, intake, programs, publishing, transitions, writes
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.program import Program
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import WorkItem
from fhir_tracker.rules.starters import starter_programs
from fhir_tracker.storage import patients, work_items
from fhir_tracker.storage.database import Database
from mappings.base import Source
from mappings.generic import mapping
from tests.scenarios.ehr import NEW_YORK
from tests.support.clinic import COORDINATOR, NURSE, SYSTEM, Clinic, author

HOSPITAL = Source(key="ehr", base_url="https://ehr.example.org/fhir")
DONE = {"note": "Done in the story"}


class Practice(Clinic):
    """Patients are named by their id in the EHR; here it is `ehr-<id>`. `programs` are codes of starters, or texts."""

    def __init__(self, database: Database, at: datetime, programs: Sequence[str] = ("tcm", "ccm")) -> None:
        texts = [starter_programs().get(code, code) for code in programs]
        super().__init__(database, texts[0], at)
        with database.begin() as tx:
            for text in texts[1:]:
                publishing.publish(tx, text, author(at))
        self.now = at
        self._versions: Counter[str] = Counter()

    def ehr(self, at: datetime, *sent: Resource) -> None:
        """The EHR sends these, in this order; the worker follows at once."""
        self.until(at)
        for resource in sent:
            self._take(resource, at)
        self.work(at)

    def ehr_deletes(self, ref: str, at: datetime) -> None:
        """The EHR deleted a resource; `ref` is its reference there."""
        self.until(at)
        type_, _, id_ = ref.partition("/")
        with self.database.begin() as tx:
            assert intake.take_deletion(tx, type_, id_, None, HOSPITAL.key, author(at, SYSTEM, "ehr:ehr"))
        self.work(at)

    def work(self, at: datetime) -> None:
        """One round of the worker: who is new in which program, then what is due."""
        assert at >= self.now, "stories move forward"
        self.now = at
        for program in self.active():
            with self.database.begin() as tx:
                enrolment.consume(tx, program, at)
        assert not self.sweep(at).postponed

    def until(self, at: datetime) -> None:
        """Let time pass: the worker looks at each moment at which an item is to be looked at, up to `at`."""
        for _ in range(2000):
            upcoming = [one.next_action_at for one in self.all_items() if one.open and one.next_action_at]
            first = min((max(one, self.now) for one in upcoming if one <= at), default=None)
            if first is None:
                break
            self.work(first)
        else:
            raise AssertionError("the worker looks again and again at the same moment")
        self.now = max(self.now, at)

    def do(self, ref: str, to: str, at: datetime, viewer: Viewer = NURSE, **fields: str) -> None:
        """A person moves a task; underscores in field names stand for dots."""
        self.until(at)
        self.move(ref, to, at, viewer, {name.replace("_", "."): text for name, text in fields.items()})
        self.work(at)

    def tries(self, ref: str, at: datetime, outcome: str = "no-answer", *, channel: str = "phone") -> None:
        """The coordinator tries to reach the patient."""
        self.until(at)
        self.attempt(ref, at, channel=channel, outcome=outcome)
        self.work(at)

    def answer(self, ref: str, how: str, at: datetime, viewer: Viewer, reason: str = "") -> None:
        """Somebody answers an escalation: acknowledge, take_over, resolve or send_back."""
        self.until(at)
        with self.acting(at, viewer) as (tx, by):
            if how == "send_back":
                escalation.send_back(tx, ref, reason, by)
            else:
                {
                    "acknowledge": escalation.acknowledge,
                    "take_over": escalation.take_over,
                    "resolve": escalation.resolve,
                }[how](tx, ref, by)
        self.work(at)

    def change_due(self, ref: str, due: datetime, at: datetime, viewer: Viewer) -> None:
        """A person sets another due time through the API."""
        self.until(at)
        resource = self.resource(ref)
        end = {"period": {"end": due.isoformat()}}
        with self.acting(at, viewer) as (tx, by):
            writes.update(tx, "Task", ref.split("/")[1], resource | {"restriction": end}, by)
        self.work(at)

    def give(self, ref: str, at: datetime, *, role: str = "", viewer: Viewer = COORDINATOR) -> None:
        """To another role's queue; without a role the viewer takes it."""
        self.until(at)
        with self.acting(at, viewer) as (tx, by):
            if role:
                transitions.give_role(tx, ref, role, by, reason="Handed over in the story")
            else:
                transitions.claim(tx, ref, by)
        self.work(at)

    def by_hand(self, program: str, who: str, at: datetime) -> str:
        """A person opens a plan; its reference."""
        self.until(at)
        with self.acting(at, COORDINATOR) as (tx, by):
            plan = enrolment.by_hand(tx, programs.required(tx, program), f"ehr-{who}", by)
        self.work(at)
        return plan.ref

    def accept(self, who: str, at: datetime) -> None:
        """The coordinator takes a candidate into the program."""
        self.do(self.one(who, "decide").ref, "done", at, COORDINATOR, note="Wants it")

    def starter(self, code: str) -> Program:
        """The active version of a program."""
        return next(one for one in self.active() if one.code == code)

    def program_text(self, code: str) -> str:
        """The text of a starter program."""
        return starter_programs()[code]

    def all_items(self) -> list[WorkItem]:
        """Every work item, oldest first."""
        with self.database.read() as tx:
            return [item for _, item in work_items.scan(tx, SYSTEM, limit=10_000)]

    def plans(self, who: str) -> list[WorkItem]:
        """A patient's plans, oldest first."""
        return [one for one in self.items(f"ehr-{who}") if one.kind == "plan"]

    def todo(self, who: str, *, plan: str = "") -> dict[str, WorkItem]:
        """The open work of a patient (of one plan) by code; two of one code are an error."""
        found = [one for one in self.items(f"ehr-{who}") if one.open and one.kind == "task"]
        found = [one for one in found if not plan or one.plan == plan]
        assert len({one.code for one in found}) == len(found), [one.code for one in found]
        return {one.code: one for one in found}

    def work_of(self, who: str, code: str) -> list[WorkItem]:
        """All work of one kind, open and closed, oldest first."""
        return [one for one in self.items(f"ehr-{who}") if one.code == code and one.kind == "task"]

    def one(self, who: str, code: str) -> WorkItem:
        """The one work item of a kind."""
        (found,) = self.work_of(who, code)
        return found

    def flags(self, who: str) -> tuple[str, ...]:
        """The flags of a patient that are up."""
        with self.database.read() as tx:
            return patients.find_many(tx, SYSTEM, [f"ehr-{who}"])[f"ehr-{who}"].flags

    def climbed(self, ref: str) -> list[tuple[str, str]]:
        """The levels that fired for an item: the role and when, on the practice's clock."""
        levels = [one for one in self.firings(ref) if one.kind == "escalate"]
        return [(one.to_role or "", clock(one.fired_at)) for one in sorted(levels, key=lambda one: one.fired_at)]

    def escalation(self, ref: str, level: int) -> str:
        """The latest escalation Task of one level about an item."""
        found = [one for one in self.firings(ref) if one.kind == "escalate" and one.key.level == level]
        task = max(found, key=lambda one: one.fired_at).task
        assert task is not None
        return task

    def _take(self, resource: Resource, at: datetime) -> None:
        ref = f"{resource['resourceType']}/{resource['id']}"
        self._versions[ref] += 1
        meta = resource.get("meta", {}) | {"versionId": str(self._versions[ref]), "lastUpdated": at.isoformat()}
        raw = json.dumps(resource | {"meta": meta}).encode()
        entry = intake.read_entry(raw, resource["resourceType"], lambda one: mapping.to_tracker(one, HOSPITAL))
        with self.database.begin() as tx:
            tally = intake.take_page(tx, [entry], HOSPITAL.key, author(at, SYSTEM, "ehr:ehr"))
        assert tally.quarantined == 0, entry


def clock(moment: datetime) -> str:
    """`Mon 2026-03-09 17:00` on the practice's wall clock."""
    return f"{moment.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M}"


def due(item: WorkItem) -> str:
    """When an item is due, on the practice's wall clock."""
    assert item.due_at is not None
    return clock(item.due_at)
