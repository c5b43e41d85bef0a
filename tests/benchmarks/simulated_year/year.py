"""A year of the simulated practice, hour by hour, through the product's own use cases and a real database.

Each step is what an hour brings: what the EHR sent, who is enrolled, what is due, and what the staff do.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeVar

from fhir_tracker import (
    batching,
    consequences,
    effects,
    enrolment,
    escalation,
    intake,
    outreach,
    plan_moves,
    programs,
    publishing,
    sweep,
    transitions,
)
from fhir_tracker.brake import Limit
from fhir_tracker.errors import Conflict, RuleBroken
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.author import Author
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.model.program import Program
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import work_items
from fhir_tracker.storage.database import Database, Tx
from mappings.base import Source
from mappings.generic import mapping
from tests.benchmarks.simulated_year import people
from tests.benchmarks.simulated_year.people import DAYS, START, Ehr
from tests.benchmarks.simulated_year.staff import Act, Staff

SOURCE = Source(key="sim", base_url="https://ehr.example.org/fhir")
SYSTEM = worker_viewer("simulated-year")
ORDER = (
    "Patient",
    "Condition",
    "ServiceRequest",
    "Encounter",
    "Flag",
    "Appointment",
    "Observation",
    "DocumentReference",
)
PAGE = 500
One = TypeVar("One")
LIMITS = sweep.Limits(brake=Limit(share=0.5, floor=25))


@dataclass(kw_only=True)
class Year:
    """One run: the database, who lives in it, and what has been counted so far."""

    database: Database
    seed: int
    patients: int
    programs: Sequence[str]
    step: timedelta = timedelta(hours=1)
    days: int = DAYS
    counts: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    _versions: Counter[str] = field(default_factory=Counter)
    _seen: int = 0

    def run(self) -> Iterator[datetime]:
        """Live through the year; yields the end of each day."""
        with self.database.begin() as tx:
            for text in self.programs:
                publishing.publish(tx, text, Author(viewer=SYSTEM, origin="cli", at=START))
        self.ehr = Ehr(outages=people.outages(self.seed))
        everybody = {one.id: one for one in (people.person(self.seed, number) for number in range(self.patients))}
        for one in everybody.values():
            people.life(self.seed, one, self.ehr)
        self.staff = Staff(seed=self.seed, people=everybody, ehr=self.ehr)
        now = START
        for day in range(self.days):
            while now < START + timedelta(days=day + 1):
                now += self.step
                self._hour(now)
            yield now

    def _hour(self, now: datetime) -> None:
        steps = (("ehr", self._take), ("staff", self._staff), ("enrol", self._enrol), ("sweep", self._sweep))
        for number, (name, work) in enumerate(steps, start=1):
            begun = time.perf_counter()
            work(now - timedelta(minutes=len(steps) - number))
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun

    def _take(self, now: datetime) -> None:
        found = self.ehr.until(now)
        for type_ in ORDER:
            for page in pages((one for one in found if one["resourceType"] == type_), PAGE):
                entries = [intake.read_entry(self._raw(one, now), type_, _translated) for one in page]
                with self.database.begin() as tx:
                    author = Author(viewer=SYSTEM, origin="ehr:sim", at=now)
                    tally = intake.take_page(tx, entries, SOURCE.key, author, one_by_one=False)
                self.counts["from the EHR"] += tally.applied
                self.counts["quarantined"] += tally.quarantined

    def _raw(self, resource: Resource, now: datetime) -> bytes:
        ref = f"{resource['resourceType']}/{resource['id']}"
        self._versions[ref] += 1
        meta = resource.get("meta", {}) | {"versionId": str(self._versions[ref]), "lastUpdated": now.isoformat()}
        return json.dumps(resource | {"meta": meta}).encode()

    def _enrol(self, now: datetime) -> None:
        with self.database.read() as tx:
            active = programs.active_programs(tx)
        more = True
        while more:
            found = enrolment.consume_all(self.database, active, now)
            self.counts["plans"] += found.enrolled
            more = found.more

    def _sweep(self, now: datetime) -> None:
        found = sweep.settle(self.database, now, LIMITS)
        self.counts["items looked at"] += found.items
        self.counts["effects"] += found.applied
        self.counts["escalations"] += found.escalated
        self.counts["postponed"] += found.postponed
        self.counts["held by the brake"] += found.held

    def _staff(self, now: datetime) -> None:
        for new, program in self._new_work():
            self.staff.meet(new, program, now)
            self.counts[f"work: {new.kind}"] += 1
        for acts in pages(self.staff.until(now), 200):
            while acts:
                turn = {act.ref: act for act in reversed(acts)}
                later = [act for act in acts if turn[act.ref] is not act]
                acts = [*self._together(list(turn.values()), now), *later]

    def _together(self, acts: Sequence[Act], now: datetime) -> list[Act]:
        """One act on each of many pieces of work, in one transaction with what follows from them; what each brings at once."""
        following, refs = [], [act.ref for act in acts]
        with (
            self.database.begin() as tx,
            consequences.drawn_after(tx, effects.apply, len(acts)),
            batching.together(tx, refs, now),
        ):
            for act in acts:
                item = work_items.find(tx, SYSTEM, act.ref)
                if item and item.open:
                    following += self._do(tx, act, item, now)
        return following

    def _new_work(self) -> Iterator[tuple[WorkItem, Program | None]]:
        found: dict[tuple[str, int | None], Program | None] = {}
        while True:
            with self.database.read() as tx:
                rows = work_items.scan(tx, SYSTEM, after_k=self._seen)
                for item in (one for _, one in rows if one.program):
                    if (item.program or "", item.program_version) not in found:
                        named = programs.load(tx, item.program or "", item.program_version)
                        found[item.program or "", item.program_version] = named
            if not rows:
                return
            self._seen = rows[-1][0]
            yield from ((item, found.get((item.program or "", item.program_version))) for _, item in rows)

    def _do(self, tx: Tx, act: Act, item: WorkItem, now: datetime) -> list[Act]:
        by = Author(viewer=act.who, origin="staff", at=now)
        try:
            following = self._act(tx, act, item, by)
            self.counts[f"staff: {act.kind}"] += 1
            return following
        except (RuleBroken, Conflict) as error:
            self.counts[f"refused: {act.kind}: {error.message[:60]}"] += 1
            return []

    def _act(self, tx: Tx, act: Act, item: WorkItem, by: Author) -> list[Act]:
        fields = {"note": "Done in the simulated year.", "reason": "Decided in the simulated year."}
        if act.kind == "claim":
            transitions.claim(tx, act.ref, by)
        elif act.kind == "attempt":
            channel, outcome = self.staff.outcome(act, item)
            outreach.log_attempt(tx, item, outreach.Attempt(channel=channel, outcome=outcome, at=by.at), by)
            if outcome != outreach.REACHED:
                self.staff.again(act, item)
            else:
                return self.staff.reached(act, item)
        elif act.kind == "hold":
            until = (by.at + timedelta(days=5)).isoformat()
            transitions.move(tx, act.ref, MoveRequest(to="waiting", fields=fields | {"hold.until": until}), by)
        elif act.kind in ("acknowledge", "take-over", "resolve"):
            {"acknowledge": escalation.acknowledge, "take-over": escalation.take_over, "resolve": escalation.resolve}[
                act.kind
            ](tx, act.ref, by)
        elif act.kind == "withdraw":
            plan_moves.move(tx, item.plan or "", MoveRequest(to="withdrawn", fields=fields), by)
        elif act.kind == "send-back":
            escalation.send_back(tx, act.ref, "Not ours in the simulated year.", by)
        else:
            to = {"give-up": "unreachable", "decline": "declined"}.get(act.kind, act.kind)
            transitions.move(tx, act.ref, MoveRequest(to=to, fields=fields), by)
        return []


def _translated(resource: Resource) -> Resource:
    return mapping.to_tracker(resource, SOURCE)


def pages(found: Iterable[One], size: int) -> Iterator[list[One]]:
    """The same things, `size` at a time."""
    rest = iter(found)
    while page := list(islice(rest, size)):
        yield page
