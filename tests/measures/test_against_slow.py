"""Every measure against a second implementation that goes through the transition log, over histories made by chance."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from fhir_tracker import patient_history
from fhir_tracker.measures import figures
from fhir_tracker.measures.definitions import MEASURES
from fhir_tracker.measures.report import Asked, Row
from fhir_tracker.model.work import Transition
from fhir_tracker.storage import rollups
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.measure_tables import spell
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.rollups import Zones
from fhir_tracker.storage.work_tables import transition, work_item
from tests.measures.slow_measures import OFFICE, Attempt, Fixed, Slow, ranks
from tests.support.clinic import MONDAY, SYSTEM, Clinic
from tests.support.lives import PEOPLE, Life

TICK = timedelta(microseconds=1)
SEEDS = (7, 21, 84)
Rows = Mapping[tuple[str, ...], Row]


_FIXED = ("kind", "code", "program", "plan", "created_at")


def slow(clinic: Clinic, now: datetime) -> Slow:
    """What the log and the versions of attempts say; of an item only what never changes is taken from elsewhere."""
    with clinic.database.read() as tx:
        names = [spell.c.item.label("ref"), *(spell.c[name] for name in _FIXED)]
        items = [*tx.rows(select(*names)), *tx.rows(select(work_item).where(work_item.c.kind != "outside"))]
        log = [from_row(Transition, row) for row in tx.rows(select(transition).order_by(transition.c.k))]
        histories = patient_history.read(tx, SYSTEM, PEOPLE, now).values()
    fixed = {
        row["ref"]: Fixed(
            kind=row["kind"],
            code=row["code"],
            program=row["program"] or "",
            plan=row["plan"],
            created_at=row["created_at"],
        )
        for row in items
    }
    tries = [
        Attempt(event=was.event, item=item, since=was.at, until=following.at if following else None)
        for one in histories
        for ref, versions in one.versions.items()
        if ref.startswith("Communication/")
        for was, following in zip(versions, (*versions[1:], None), strict=True)
        if was.event and was.event.status in ("completed", "not-done")
        for item in was.event.about
        if item in fixed and fixed[item].kind != "plan"
    ]
    return Slow(clinic.program, fixed, log, tries)


def told(clinic: Clinic, now: datetime, at: datetime, start: datetime, end: datetime) -> dict[str, Rows]:
    as_of = None if at == now else at
    asked = Asked(
        viewer=SYSTEM,
        now=now,
        start=start,
        end=end,
        as_of=as_of,
        zones=Zones(usual="UTC", own={"ring": "America/New_York"}),
    )
    with clinic.database.read() as tx:
        return {one.measure.name: {row.keys: row for row in one.rows} for one in figures.all_reports(tx, asked)}


def counts(rows: Rows, name: str = "count") -> dict[tuple[str, ...], int]:
    return {keys: int(row.values[name] or 0) for keys, row in rows.items() if row.values[name]}


def hours(rows: Rows) -> dict[tuple[str, ...], dict[str, object]]:
    names = ("count", "median_hours", "p90_hours", "longest_hours")
    return {keys: {name: row.values[name] for name in names} for keys, row in rows.items()}


def agree(found: dict[str, Rows], by_log: Slow, at: datetime, start: datetime, end: datetime) -> None:
    assert hours(found["aging"]) == by_log.aging(at)
    assert hours(found["overdue"]) == by_log.overdue(at)
    assert hours(found["holds"]) == by_log.holds(at)
    assert hours(found["waiting-for-contact"]) == by_log.waiting(at)
    kinds = ("no-owner", "no-due", "closed-plan")
    findings = {keys: n for keys, n in counts(found["queue-hygiene"]).items() if keys[0] in kinds}
    assert findings == dict(by_log.hygiene(at))
    until = min(end, at + TICK)
    agree_in_period(found, by_log, min(start, until), until, at)


def agree_in_period(found: dict[str, Rows], by_log: Slow, start: datetime, end: datetime, known: datetime) -> None:
    lengths = by_log.holds_ended(start, end)
    assert {keys: row.values["count"] for keys, row in found["holds-ended"].items()} == {
        keys: len(some) for keys, some in lengths.items()
    }
    for keys, some in lengths.items():
        values = found["holds-ended"][keys].values
        assert (values["median_hours"], values["p90_hours"], values["longest_hours"]) == ranks(some)
    assert counts(found["closed-work"]) == dict(by_log.closed(start, end))
    names = ("completed", "on_time", "without_due")
    timely = {keys: tuple(row.values[name] for name in names) for keys, row in found["on-time"].items()}
    assert timely == by_log.on_time(start, end)
    assert counts(found["reopened"], "reopened") == dict(by_log.reopened(start, end))
    assert sum(counts(found["reopened"], "closed").values()) == sum(by_log.closed(start, end).values())
    assert counts(found["handoffs"]) == dict(by_log.handoffs(start, end))
    assert counts(found["throughput"]) == dict(by_log.throughput(start, end))
    agree_on_escalations(found, by_log.escalations(start, end))
    agree_on_attempts(found, by_log, start, end, known)


def agree_on_escalations(found: dict[str, Rows], fired: list[tuple[str, str, str, str, str]]) -> None:
    assert counts(found["escalations"]) == dict(Counter(one[:4] for one in fired))
    assert counts(found["escalations-by-hour"]) == dict(Counter((one[0], one[4]) for one in fired))
    clinical = Counter((one[0], one[1], one[3]) for one in fired if one[3] not in OFFICE)
    assert counts(found["clinical-interrupts"]) == dict(clinical)


def agree_on_attempts(found: dict[str, Rows], by_log: Slow, start: datetime, end: datetime, known: datetime) -> None:
    made = by_log.attempts(start, end, known)
    for name, key in (("outreach", 1), ("outreach-by-hour", 3)):
        tries: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for one in made:
            tries[one[0], one[key]].append(one[2])
        assert {keys: (row.values["attempts"], row.values["contacts"]) for keys, row in found[name].items()} == {
            keys: (len(some), some.count("reached")) for keys, some in tries.items()
        }
    waits = by_log.first_contacts(start, end, known)
    first = [row.values for row in found["first-contact"].values()]
    assert [(one["count"], one["median_hours"], one["p90_hours"], one["longest_hours"]) for one in first] == (
        [(len(waits), *ranks(waits))] if waits else []
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_every_measure_is_what_the_log_says_now_then_and_at_any_moment(database: Database, seed: int) -> None:
    clinic = Clinic(database)
    life, moments = Life(clinic, seed), list[datetime]()
    for number in range(60):
        life.go_on()
        if number % 20 == 5:
            moments.append(life.now)
    by_log, start = slow(clinic, life.now), MONDAY - timedelta(days=9)
    for folded in range(2):
        for number, at in enumerate((*moments, moments[0] + TICK, life.now)):
            begin = at - timedelta(days=3, minutes=17) if (number + folded) % 2 else start
            agree(told(clinic, life.now, at, begin, at + TICK), by_log, at, begin, at + TICK)
        rollups.fold(database, life.now + timedelta(hours=3))
    assert len(told(clinic, life.now, life.now, start, life.now + TICK)) == len(MEASURES)
