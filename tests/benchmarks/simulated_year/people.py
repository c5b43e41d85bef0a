"""The patients of the simulated practice: who they are, what happens to them in a year, all by chance from one seed.

Synthetic throughout. What happens is a list of moments at which the EHR has something new; what depends on the staff
(a visit that somebody books, readings with a cuff that somebody explained) is added by them while the year runs.

Where the shares come from, for a panel of adults that is mostly healthy:
- Diagnosed diabetes: some 11 % of adults (CDC, National Diabetes Statistics Report). Diagnosed hypertension: 48 % of adults
  have it, 59 % of them know (CDC, NCHS Data Brief 511), 28 %. A major depressive episode in a year: 8 % of adults (NIMH, 2021).
- Discharges that a practice hears of and follows: 4 of 100 patients a year; there are some 10 hospital stays for 100 people
  (AHRQ, HCUP), births, children and stays elsewhere among them.
- Referrals: 0.44 a patient and year; 105 million visits ended with one in 2009, 0.34 for each inhabitant (Barnett, Song and
  Landon, Arch Intern Med 2012), and more of them among the frail.
- Missed visits: 2 to 20 % by patient.
- Who joins is in `staff`.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from fhir_tracker.fhir.json_types import Resource
from tests.scenarios import ehr

START = datetime(2026, 1, 5, 5, 0, tzinfo=UTC)
"""Midnight in New York, the first Monday of the year."""
DAYS = 365
DEPRESSION = "370143000"
REFERRAL = "3457005"
LABS = {
    "a1c": "4548-4",
    "labs": "4548-4",
    "urine-albumin": "9318-7",
    "egfr": "33914-3",
    "lipids": "13457-7",
    "assessment": "44261-6",
}
OTHERS = (ehr.ASTHMA, "55822004", "431855005", "239873007")
Make = Callable[[], Resource]


@dataclass(frozen=True, kw_only=True)
class Person:
    """One synthetic patient: how often a call reaches them, how often they miss a visit, how well they have labs taken."""

    id: str
    reached: float
    misses: float
    keeps: float
    frail: bool
    conditions: tuple[str, ...]


@dataclass(kw_only=True)
class Ehr:
    """What the EHR will have, by the moment at which it has it; during an outage nothing reaches us until its end."""

    outages: tuple[tuple[datetime, datetime], ...] = ()
    _coming: list[tuple[datetime, int, Make]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    def add(self, at: datetime, make: Make) -> None:
        """At `at` the EHR has what `make` gives."""
        heapq.heappush(self._coming, (at, next(self._numbers), make))

    def until(self, now: datetime) -> list[Resource]:
        """All that has come by `now` and was not sent before, oldest first; nothing during an outage."""
        if any(begins <= now < ends for begins, ends in self.outages):
            return []
        found = []
        while self._coming and self._coming[0][0] <= now:
            found.append(heapq.heappop(self._coming)[2]())
        return found


def chance(seed: int, *names: object) -> random.Random:
    """The same dice for the same names, whatever else was thrown before."""
    return random.Random(f"{seed}:{':'.join(map(str, names))}")


def working_moment(dice: random.Random, day: int) -> datetime:
    """A moment in the hours of the practice, on that day of the year or the Monday after a weekend."""
    moment = START + timedelta(days=day, hours=8, minutes=dice.randrange(0, 540))
    weekend = moment.astimezone(ehr.NEW_YORK).weekday()
    return moment + timedelta(days=max(0, 7 - weekend) if weekend > 4 else 0)


def person(seed: int, number: int) -> Person:
    """The patient of that number."""
    dice = chance(seed, "person", number)
    frail = dice.random() < 0.2
    often = 2.0 if frail else 1.0
    wanted = ((ehr.HYPERTENSION, 0.24), (ehr.DIABETES, 0.11), (DEPRESSION, 0.08), *((one, 0.05) for one in OTHERS))
    return Person(
        id=f"p{number}",
        reached=dice.choices((0.65, 0.35, 0.02), (0.7, 0.25, 0.05))[0],
        misses=dice.uniform(0.02, 0.2),
        keeps=dice.uniform(0.6, 0.98),
        frail=frail,
        conditions=tuple(code for code, share in wanted if dice.random() < min(0.9, share * often)),
    )


def life(seed: int, one: Person, into: Ehr) -> None:
    """Put into the EHR what happens to one patient by itself: diagnoses, stays, referrals, a death."""
    dice = chance(seed, "life", one.id)
    joined = 0 if dice.random() < 0.8 else dice.randrange(DAYS)
    first = working_moment(dice, joined)
    into.add(first, lambda: ehr.patient(one.id))
    for number, code in enumerate(one.conditions):
        day = joined + (dice.randrange(60) if dice.random() < 0.8 else dice.randrange(DAYS))
        into.add(max(first, working_moment(dice, day)), _condition(one, number, code))
    for number in range(_times(dice, 0.12 if one.frail else 0.02)):
        _stay(dice, one, number, joined, into)
    for number in range(_times(dice, 0.8 if one.frail else 0.35)):
        at = max(first, working_moment(dice, joined + dice.randrange(DAYS)))
        into.add(at, _referral(one, number, at))
    if one.frail and dice.random() < 0.02:
        died = working_moment(dice, joined + dice.randrange(30, DAYS + 30))
        into.add(died, lambda: ehr.patient(one.id, deceased=died))


def _times(dice: random.Random, rate: float) -> int:
    found = 0
    while found < 6 and dice.random() < rate / (1 + rate):
        found += 1
    return found


def _stay(dice: random.Random, one: Person, number: int, joined: int, into: Ehr) -> None:
    ends = working_moment(dice, joined + dice.randrange(4, DAYS))
    id_ = f"{one.id}-stay{number}"
    begins = ends - timedelta(days=3)
    into.add(begins, lambda: ehr.stay(id_, one.id, None) | {"period": {"start": begins.isoformat()}})
    into.add(ends + timedelta(minutes=dice.randrange(5, 600)), lambda: ehr.stay(id_, one.id, ends))
    if dice.random() < 0.85:
        filed = ends + timedelta(hours=dice.expovariate(1 / 30))
        into.add(filed, lambda: ehr.document(f"{id_}-summary", one.id, filed, code=ehr.DISCHARGE_SUMMARY))
    if dice.random() < 0.15:
        into.add(ends, lambda: ehr.flag(f"{id_}-risk", one.id, ends))


def readings(dice: random.Random, one: Person, begins: datetime, into: Ehr) -> None:
    """Home readings of the blood pressure to the end of the year: enough each month, or a few, and seldom a severe one."""
    for month in range((START + timedelta(days=DAYS) - begins).days // 30):
        for number in range(13 if dice.random() < one.keeps else 3):
            at = begins + timedelta(days=30 * month + number, minutes=dice.randrange(600))
            systolic = 185 if dice.random() < 0.0005 else dice.randrange(110, 160)
            into.add(at, _reading(one, f"{month}-{number}", at, systolic))


def _reading(one: Person, name: str, at: datetime, systolic: int) -> Make:
    def part(code: str, value: int) -> Resource:
        unit = {"value": value, "unit": "mmHg", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"}
        return {"code": {"coding": [{"system": ehr.LOINC, "code": code}]}, "valueQuantity": unit}

    return lambda: {
        "resourceType": "Observation",
        "id": f"{one.id}-bp{name}",
        "status": "final",
        "code": {"coding": [{"system": ehr.LOINC, "code": "85354-9"}]},
        "subject": {"reference": f"Patient/{one.id}"},
        "effectiveDateTime": at.isoformat(),
        "component": [part("8480-6", systolic), part("8462-4", systolic - 50)],
    }


def _condition(one: Person, number: int, code: str) -> Make:
    return lambda: ehr.condition(f"{one.id}-c{number}", one.id, code)


def _referral(one: Person, number: int, at: datetime) -> Make:
    return lambda: {
        "resourceType": "ServiceRequest",
        "id": f"{one.id}-r{number}",
        "status": "active",
        "intent": "order",
        "category": [{"coding": [{"system": ehr.SNOMED, "code": REFERRAL}]}],
        "subject": {"reference": f"Patient/{one.id}"},
        "authoredOn": at.isoformat(),
    }


def outages(seed: int, number: int = 12) -> tuple[tuple[datetime, datetime], ...]:
    """When the EHR cannot be reached: mostly for hours; in the first month once for 25, with the wave that comes after."""
    dice = chance(seed, "outages")
    begins = sorted(START + timedelta(minutes=dice.randrange(DAYS * 1440)) for _ in range(number))
    long = START + timedelta(days=9, minutes=dice.randrange(10 * 1440))
    others = ((one, one + timedelta(hours=dice.choice((0.5, 1, 2, 4)))) for one in begins)
    return (long, long + timedelta(hours=25)), *others
