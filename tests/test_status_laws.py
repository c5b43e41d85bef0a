"""Laws of the status model that hold whatever people, clients and rules do, in whatever order, on both databases."""

from __future__ import annotations

import random
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from fhir_tracker import bulk_moves, consequences, effects, plan_moves, undo, writes
from fhir_tracker.errors import Incorrect, TrackerError
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.vocabulary import SUSPENDED
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage.database import Database
from tests.support.clinic import COORDINATOR, EVERYONE, FRONT_DESK, MONDAY, NURSE, Clinic, author
from tests.test_status_model import MINUTE, PROGRAM, document, plan_of

PEOPLE = (COORDINATOR, EVERYONE, FRONT_DESK, NURSE)
STATUSES = ("to-do", "waiting", "done", "dropped", "entered-in-error", "requested", "nonsense")
PLAIN = ("requested", "received", "accepted", "in-progress", "on-hold", "completed", "cancelled", "failed")


class Walk:
    """A seeded walk: one act after the other, refused or not; after each the laws are checked."""

    def __init__(self, database: Database, seed: int) -> None:
        self.dice = random.Random(seed)
        self.clinic = Clinic(database, PROGRAM)
        self.clinic.patient("ann")
        self.clinic.patient("bob")
        self.clinic.discharge("ann", MONDAY)
        self.plan = plan_of(self.clinic)
        self.papers = [
            document(self.clinic, "hers", "ann"),
            document(self.clinic, "his", "bob"),
            "DocumentReference/none",
        ]
        self.now = MONDAY + MINUTE
        self.done = self.undone = 0

    def step(self) -> None:
        """One act of a random person; what it is refused for changes nothing at all."""
        act = self.dice.choice([self.move, self.move, self.put, self.part, self.move_plan, self.bulk, self.attempt])
        before, who = self.state(), self.dice.choice(PEOPLE)
        self.now += timedelta(seconds=self.dice.choice([1, 30, 4000]))
        try:
            ref = act(who)
        except TrackerError:
            assert self.state() == before, f"{act.__name__} was refused and changed something"
            return
        self.done += 1
        self.check()
        if ref is not None and self.dice.random() < 0.7:
            self.take_back(ref, who, before)

    def state(self) -> dict[str, tuple[str, str, str | None, bool]]:
        return {
            one.ref: (one.status, one.fhir_status, one.owner, one.open)
            for one in self.clinic.items("ann")
            if one.kind in ("task", "plan")
        }

    def some_task(self) -> WorkItem:
        return self.dice.choice([one for one in self.clinic.items("ann") if one.kind == "task"])

    def fields(self) -> dict[str, str]:
        given = {
            "note": "A note",
            "reason": "Because",
            "reason.code": self.dice.choice(["insurer", "moved", "not-clinical", "none-such"]),
            "hold.until": instant(self.now + timedelta(hours=self.dice.choice([-1, 5, 50]))),
            "document": self.dice.choice(self.papers),
            "field.location": "Location/clinic",
            "field.for": "Patient/bob",
            "outreach.outcome": self.dice.choice(["reached", "no-answer", "shouted"]),
        }
        rare = {"field.for", "outreach.outcome"}
        return {name: text for name, text in given.items() if self.dice.random() < (0.1 if name in rare else 0.8)}

    def move(self, who: Viewer) -> str:
        item = self.some_task()
        to = self.dice.choice(STATUSES if item.program else PLAIN)
        self.clinic.move(item.ref, to, self.now, who, self.fields())
        return item.ref

    def put(self, who: Viewer) -> str:
        """A client's PUT that changes status alone, or something that stays."""
        item = self.some_task()
        body = self.clinic.resource(item.ref)
        if self.dice.random() < 0.3:
            body |= self.dice.choice([{"intent": "plan"}, {"for": {"reference": "Patient/bob"}}, {"basedOn": []}])
        else:
            body |= {"status": self.dice.choice(PLAIN), "statusReason": {"text": "Said so"}}
            body.pop("businessStatus", None)
        with self.clinic.acting(self.now, who) as (tx, by):
            writes.update(tx, "Task", body["id"], {name: one for name, one in body.items() if one != []}, by)
        return item.ref

    def part(self, who: Viewer) -> None:
        body: dict[str, Any] = {
            "resourceType": "Task",
            "status": self.dice.choice(PLAIN),
            "intent": "order",
            "for": {"reference": "Patient/ann"},
            "partOf": [{"reference": self.some_task().ref}],
        }
        with self.clinic.acting(self.now, who) as (tx, by):
            writes.create(tx, body, by)

    def move_plan(self, who: Viewer) -> str:
        if self.dice.random() < 0.6:
            raise Incorrect("Not this time.")
        to = self.dice.choice(["enrolled", "paused", "left", "finished", "nowhere"])
        body = self.clinic.resource(self.plan)
        with self.clinic.acting(self.now, who) as (tx, by):
            if self.dice.random() < 0.5:
                request = MoveRequest(to=to, fields=self.fields())
                plan_moves.move(tx, self.plan, request, by)
                consequences.draw(tx, effects.apply)
            else:
                status = {"enrolled": "active", "paused": "on-hold", "left": "revoked"}.get(to, "completed")
                writes.update(tx, "CarePlan", body["id"], body | {"status": status, "note": [{"text": "x"}]}, by)
        if self.clinic.item(self.plan).fhir_status == "revoked":
            left = [one.ref for one in self.clinic.items("ann") if one.plan == self.plan and one.open]
            assert left == [], "a plan that was revoked has open work"
        return self.plan

    def bulk(self, who: Viewer) -> None:
        items = [one.ref for one in self.clinic.items("ann") if one.kind == "task"]
        chosen = self.dice.sample(items, min(len(items), 3))
        step = self.dice.choice(
            [
                bulk_moves.moving(MoveRequest(to=self.dice.choice(STATUSES), fields=self.fields())),
                bulk_moves.assigning(self.dice.choice([None, who.who])),
                bulk_moves.giving("rn"),
                bulk_moves.ranking("urgent"),
            ]
        )
        before = {ref: self.clinic.resource(ref)["meta"]["versionId"] for ref in chosen}
        wanted = [bulk_moves.Wanted(ref=ref) for ref in chosen]
        results = bulk_moves.each(self.clinic.database, wanted, step, author(self.now, who))
        first = results[0]
        changed = self.clinic.resource(first.ref)["meta"]["versionId"] != before[first.ref]
        assert changed is (first.outcome == "done") or len(chosen) > 1

    def attempt(self, _: Viewer) -> None:
        self.clinic.attempt(self.some_task().ref, self.now)

    def take_back(self, ref: str, who: Viewer, before: dict[str, tuple[str, str, str | None, bool]]) -> None:
        """What the act moved stands again as it stood before; a second undo gives back no more than the first took."""
        now = self.state()
        self.now += timedelta(seconds=5)
        try:
            with self.clinic.acting(self.now, who) as (tx, by):
                undo.undo(tx, ref, by, MINUTE)
        except TrackerError:
            assert self.state() == now
            return
        after = self.state()
        assert after[ref][:2] == before[ref][:2]
        assert after.keys() == now.keys(), "undo makes or removes work"
        self.undone += 1
        self.check()

    def check(self) -> None:
        """The laws."""
        items = {one.ref: one for one in self.clinic.items("ann")}
        for ref, item in items.items():
            if item.kind not in ("task", "plan"):
                continue
            body = self.clinic.resource(ref)
            assert check(body) == (), ref
            assert body["status"] == item.fhir_status
            rows = [one for one in self.clinic.log(ref) if one.what == ("stage" if item.kind == "plan" else "status")]
            assert rows, f"{ref} has no history"
            assert rows[-1].after == item.status
            for one, following in pairwise(rows):
                assert following.before == one.after, f"a step of {ref} is missing"
            if item.kind == "task":
                self.check_task(body, item, items)

    def check_task(self, body: dict[str, Any], item: WorkItem, items: dict[str, WorkItem]) -> None:
        if item.program and item.status != "entered-in-error":
            own = self.clinic.program.status(item.status)
            assert own is not None
            assert own.fhir == body["status"]
            assert body["businessStatus"]["coding"][0]["code"] == item.status
        assert body["for"]["reference"] == "Patient/ann"
        for mark in (one for one in body.get("extension", []) if one["url"] == SUSPENDED):
            (by,) = [part["valueReference"]["reference"] for part in mark["extension"] if part["url"] == "by"]
            parent = items[by]
            assert item.clock == "paused"
            assert parent.open, f"{item.ref} waits for work that is closed"
            assert parent.clock == "paused", f"{item.ref} waits for work that goes on"

    def check_trail(self) -> None:
        """Every version that somebody made has a Provenance."""
        told = {t["reference"] for one in self.clinic.stored("Provenance") for t in one["target"]}
        for ref in self.state():
            versions = int(self.clinic.resource(ref)["meta"]["versionId"])
            missing = [v for v in range(1, versions + 1) if f"{ref}/_history/{v}" not in told]
            assert missing == [], f"{ref} has versions that nobody answers for"


@pytest.mark.requirement(124)
@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_done_work_and_plans_stay_in_step_with_what_is_written_of_them(
    database: Database, seed: int
) -> None:
    walk = Walk(database, seed)
    for _ in range(45):
        walk.step()
    walk.check()
    walk.check_trail()
    assert walk.done >= 8
