"""The staff of the simulated practice: what they do with each piece of work, when, and what they leave lying.

Every decision is thrown by dice of the patient and the work alone, so that a year is the same whatever runs beside it.
Everybody is away for two weeks: half of their work is done by a colleague, the other half lies until they are back.

Who joins: of candidates 40 % are found not to need the program when the record is read, of the others who are reached 35 %
join, so that some 2 in 10 do; chronic care ends for 65 % at the consent. That is more than what Medicare paid for
(of those eligible 2.3 % for chronic care and 9.3 % for transitional care in 2016, Agarwal and others, JAMA Internal Medicine
2018; 3.4 % for chronic care in 2019): a practice that runs these programs asks everybody.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Literal

from fhir_tracker.model.program import Program, TaskTemplate
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import WorkItem
from tests.benchmarks.simulated_year.people import DAYS, LABS, START, Ehr, Person, chance, readings
from tests.scenarios import ehr

Kind = Literal[
    "claim",
    "attempt",
    "done",
    "hold",
    "give-up",
    "decline",
    "not-needed",
    "withdraw",
    "acknowledge",
    "take-over",
    "send-back",
    "resolve",
]
PEOPLE = 6
"""How many there are of each role."""
AWAY = timedelta(days=14)
NOT_NEEDED, JOINS, REFUSES_CONSENT = 0.4, 0.35, 0.65
DONE_WHEN_REACHED = ("decide", "education", "cuff-and-training", "severe-reading")
"""Work that has an outreach policy and is closed by the person who reached the patient."""
CHANNELS = ("phone", "phone", "sms", "portal", "letter")
ANSWERED = {"phone": 1.0, "sms": 0.8, "portal": 0.7, "letter": 0.3}
"""How well a way of reaching somebody works beside a call."""
SERVICES = {"tcm": ehr.FOLLOW_UP, "ccm": ehr.REVIEW, "diabetes": "170742000", "hypertension": "401118009"}


@dataclass(frozen=True, kw_only=True, order=True)
class Act:
    """One thing somebody will do with a piece of work, if it is still open then."""

    at: datetime
    number: int
    kind: Kind = field(compare=False)
    ref: str = field(compare=False)
    who: Viewer = field(compare=False)
    tries: int = field(default=0, compare=False)


@dataclass(kw_only=True)
class Staff:
    """What has been taken up and will be done, by the moment of doing it."""

    seed: int
    people: dict[str, Person]
    ehr: Ehr
    counts: Counter[str] = field(default_factory=Counter)
    _acts: list[Act] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    def until(self, now: datetime) -> list[Act]:
        """All that is to be done by `now`, in order."""
        found = []
        while self._acts and self._acts[0].at <= now:
            found.append(heapq.heappop(self._acts))
        return found

    def meet(self, item: WorkItem, program: Program | None, now: datetime) -> None:
        """Decide what becomes of a piece of work that was just made."""
        one = self.people.get((item.patient or "").removeprefix("sim-"))
        dice = chance(self.seed, item.patient, item.code, item.kind, item.created_at.date(), item.escalation_level)
        if item.kind == "escalation":
            self._answer(item, dice, now)
            return
        template = program.task(item.code) if program else None
        if one is None or program is None or template is None:
            return
        fate = dice.random()
        begins = _office(now + timedelta(hours=dice.expovariate(1 / 20)))
        if fate < 0.04:
            begins = _office(now + timedelta(days=dice.randrange(8, 40)))
        who = staff_of(template.role, dice)
        if dice.random() < 0.5:
            self._do("claim", item, begins - timedelta(minutes=5), who)
        if fate > 0.985:
            self._do("decline", item, begins, who)
        elif fate > 0.955:
            self._do("hold", item, begins, who)
            self._work(item, program, template, one, begins + timedelta(days=6), dice)
        else:
            self._work(item, program, template, one, begins, dice)

    def again(self, act: Act, item: WorkItem) -> None:
        """An attempt failed: try once more on another day, or give up after the third."""
        dice = chance(self.seed, item.patient, item.code, item.created_at.date(), "again", act.tries)
        later = _office(act.at + timedelta(days=1, hours=dice.randrange(0, 30)))
        self._do("attempt" if act.tries < 3 else "give-up", item, later, act.who, tries=act.tries + 1)

    def reached(self, act: Act, item: WorkItem) -> list[Act]:
        """What is done at once with work whose patient was reached: those who were asked join or not."""
        dice = chance(self.seed, item.patient, item.code, item.created_at.date(), "answer")
        if item.code == "decide" and dice.random() > JOINS:
            return [replace(act, kind="decline")]
        if item.code == "cuff-and-training":
            readings(dice, self.people[(item.patient or "").removeprefix("sim-")], act.at, self.ehr)
        return [replace(act, kind="done")] if item.code in DONE_WHEN_REACHED else []

    def outcome(self, act: Act, item: WorkItem) -> tuple[str, str]:
        """The channel and outcome of an attempt."""
        one = self.people[(item.patient or "").removeprefix("sim-")]
        dice = chance(self.seed, item.patient, item.code, item.created_at.date(), "try", act.tries)
        channel = CHANNELS[act.tries % len(CHANNELS)] if act.tries else dice.choice(CHANNELS)
        if dice.random() < one.reached * ANSWERED[channel]:
            return channel, "reached"
        return channel, dice.choice(("no-answer", "left-message", "no-answer", "bounced"))

    def _work(
        self, item: WorkItem, program: Program, template: TaskTemplate, one: Person, at: datetime, dice: random.Random
    ) -> None:
        done = template.done_by.match.type if template.done_by else ""
        who = staff_of(template.role, dice)
        if item.code == "decide" and dice.random() < NOT_NEEDED:
            self._do("not-needed", item, at, staff_of("rn", dice))
            return
        if (program.code, item.code) == ("ccm", "consent") and dice.random() < REFUSES_CONSENT:
            self._do("withdraw", item, at, who)
            return
        if (program.code, item.code) == ("referral", "visit"):
            return
        if done == "Communication" or (template.outreach and not done):
            self._do("attempt", item, at, who)
        if done == "Appointment":
            self._book(item, program, one, at, dice)
        elif done == "Observation" and dice.random() < one.keeps:
            taken = at + timedelta(days=dice.expovariate(1 / 9))
            code = LABS.get(item.code, "4548-4")
            id_ = f"{one.id}-{item.ref.partition('/')[2][-12:]}"
            self.ehr.add(taken, lambda: ehr.result(id_, one.id, taken, code=code))
        elif done == "DocumentReference" and template.done_by and dice.random() < 0.9:
            filed = at + timedelta(hours=dice.expovariate(1 / 20))
            code = template.done_by.match.codes[0].rpartition("|")[2]
            id_ = f"{one.id}-{item.ref.partition('/')[2][-12:]}"
            self.ehr.add(filed, lambda: ehr.document(id_, one.id, filed, code=code))
        elif not done:
            self._do("done", item, _office(at + timedelta(hours=dice.expovariate(1 / 8))), who)

    def _book(self, item: WorkItem, program: Program, one: Person, at: datetime, dice: random.Random) -> None:
        service, id_ = SERVICES.get(program.code, ehr.FOLLOW_UP), f"{one.id}-{item.ref.partition('/')[2][-12:]}"
        start = _office(at + timedelta(days=dice.randrange(2, 12)))
        self.ehr.add(at, lambda: ehr.visit(id_, one.id, start, service=service))
        self.counts["visits booked"] += 1
        if dice.random() < one.misses:
            self.counts["visits missed or cancelled"] += 1
            status = dice.choice(("noshow", "noshow", "cancelled"))
            self.ehr.add(
                start + timedelta(hours=1), lambda: ehr.visit(id_, one.id, start, status=status, service=service)
            )
            return
        self.ehr.add(
            start + timedelta(hours=1), lambda: ehr.visit(id_, one.id, start, status="fulfilled", service=service)
        )
        if dice.random() < 0.85:
            filed = start + timedelta(hours=2 + dice.expovariate(1 / 18))
            self.ehr.add(filed, lambda: ehr.document(f"{id_}-note", one.id, filed, code=ehr.PROGRESS_NOTE))

    def _answer(self, item: WorkItem, dice: random.Random, now: datetime) -> None:
        kinds: tuple[Kind, ...] = ("acknowledge", "take-over", "send-back", "resolve")
        if dice.random() < 0.75:
            kind = dice.choices(kinds, (0.6, 0.15, 0.1, 0.15))[0]
            self._do(
                kind, item, _office(now + timedelta(hours=dice.expovariate(1 / 6))), staff_of(item.role or "rn", dice)
            )

    def _do(self, kind: Kind, item: WorkItem, at: datetime, who: Viewer, *, tries: int = 0) -> None:
        number = next(self._numbers)
        back = back_at(self.seed, who, at)
        if back != at and number % 2:
            who = replace(who, who=f"{who.who[:-1]}{(int(who.who[-1]) + 1) % PEOPLE}")
        elif back != at:
            self.counts["acts that waited for somebody to come back"] += 1
            at = _office(back)
        heapq.heappush(self._acts, Act(at=at, number=number, kind=kind, ref=item.ref, who=who, tries=tries))


def back_at(seed: int, who: Viewer, at: datetime) -> datetime:
    """The same moment, or when the person is back who is away then."""
    begins = START + timedelta(days=chance(seed, "away", who.who).randrange(7, DAYS))
    return begins + AWAY if begins <= at < begins + AWAY else at


def staff_of(role: str, dice: random.Random) -> Viewer:
    """One of the people of a role."""
    who = f"Practitioner/sim-{role}-{dice.randrange(PEOPLE)}"
    return Viewer(who=who, name=f"Synthetic {role}", roles=frozenset({role}), sight=EVERYTHING)


def _office(at: datetime) -> datetime:
    """The same moment, or the next morning on which somebody is there."""
    local = at.astimezone(ehr.NEW_YORK)
    if local.hour >= 17:
        local = (local + timedelta(days=1)).replace(hour=8, minute=local.minute)
    elif local.hour < 8:
        local = local.replace(hour=8)
    while local.weekday() > 4:
        local += timedelta(days=1)
    return local.astimezone(at.tzinfo)
