"""The simulated practice is a plausible one, the same for the same seed, and what is lived in it keeps the invariants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest

from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import text_at
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.rules.starters import starter_programs
from fhir_tracker.storage import resources, work_items
from fhir_tracker.storage.database import Database
from tests.benchmarks.simulated_year import invariants, oracle, people, telling
from tests.benchmarks.simulated_year.people import DAYS, START, Ehr
from tests.benchmarks.simulated_year.staff import AWAY, PEOPLE, back_at, staff_of
from tests.benchmarks.simulated_year.year import Year
from tests.scenarios.ehr import DIABETES, HYPERTENSION

MANY = 3000
STEP = timedelta(hours=6)
VIEWER = worker_viewer("test")


def everything(seed: int, number: int) -> list[Resource]:
    ehr = Ehr()
    for one in (people.person(seed, each) for each in range(number)):
        people.life(seed, one, ehr)
    return ehr.until(START + timedelta(days=2 * DAYS))


def share(found: Iterable[Resource], type_: str, status: str = "", number: int = MANY) -> float:
    """How many of a type there are for a hundred patients, each once however often it came."""
    ids = {one["id"] for one in found if one["resourceType"] == type_ and status in (text_at(one, "status") or "")}
    return 100 * len(ids) / number


@pytest.mark.parametrize("seed", [1, 2])
def test_the_panel_is_that_of_a_practice_of_mostly_healthy_adults(seed: int) -> None:
    found = everything(seed, MANY)
    assert share(found, "Patient") == 100
    assert 3 < share(found, "Encounter", "finished") < 5.5
    assert 30 < share(found, "ServiceRequest") < 55
    codes = Counter(one["code"]["coding"][0]["code"] for one in found if one["resourceType"] == "Condition")
    shares = {code: 100 * count / MANY for code, count in codes.items()}
    assert 25 < shares[HYPERTENSION] < 33
    assert 10 < shares[DIABETES] < 16
    assert 7 < shares[people.DEPRESSION] < 13
    chronic = Counter(one["subject"]["reference"] for one in found if one["resourceType"] == "Condition")
    assert 10 < 100 * sum(1 for count in chronic.values() if count > 1) / MANY < 25


def test_a_life_is_the_same_for_the_same_seed_alone() -> None:
    assert everything(3, 40) == everything(3, 40)
    assert everything(3, 40) != everything(4, 40)


def test_the_ehr_is_away_for_hours_once_for_more_than_a_day_and_then_sends_it_all() -> None:
    outages = people.outages(1)
    longest = max(outages, key=lambda one: one[1] - one[0])
    assert longest[1] - longest[0] == timedelta(hours=25)
    assert longest[1] < START + timedelta(days=21)
    assert sum(1 for begins, ends in outages if ends - begins <= timedelta(hours=4)) >= 10
    ehr = Ehr(outages=outages)
    for hours in range(30):
        ehr.add(longest[0] + timedelta(hours=hours), lambda: {"resourceType": "Basic"})
    assert ehr.until(longest[1] - timedelta(minutes=1)) == []
    assert len(ehr.until(longest[1] + timedelta(minutes=1))) == 26


@pytest.mark.parametrize("role", ["rn", "provider", "front-desk"])
def test_everybody_is_away_once_for_two_weeks_and_not_all_of_a_role_at_once(role: str) -> None:
    away = dict[str, list[datetime]]()
    for number in range(60):
        who = staff_of(role, people.chance(1, number))
        days = (START + timedelta(days=day) for day in range(DAYS + 20))
        away[who.who] = [day for day in days if back_at(1, who, day) != day]
    assert len(away) == PEOPLE
    assert all(len(days) == AWAY.days for days in away.values())
    assert all(days[-1] - days[0] == AWAY - timedelta(days=1) for days in away.values())
    assert max(Counter(day for days in away.values() for day in days).values()) < PEOPLE


def lived(database: Database, seed: int, days: int) -> Year:
    programs = [text for _, text in sorted(starter_programs().items())]
    year = Year(database=database, seed=seed, patients=60, programs=programs, step=STEP, days=days)
    for _ in year.run():
        pass
    return year


def test_a_few_weeks_keep_the_invariants_and_the_oracle_agrees(database: Database) -> None:
    year = lived(database, 5, 16)
    end = START + timedelta(days=16)
    assert invariants.broken(database, end, STEP) == []
    items = oracle.sample(database, 5, 3)
    verdicts = oracle.watch(database, items, end, 2 * STEP)
    assert (verdicts.missed, verdicts.unwanted) == ([], [])
    assert verdicts.minutes > 0
    counts = year.counts
    assert counts["work: task"] > 10
    assert {"staff: attempt", "staff: not-needed", "staff: claim"} <= {name for name in counts if counts[name]}
    assert not [name for name in counts if name.startswith("refused: withdraw")]
    assert list(telling.changed_rule(database, end, 20))[-1] == "```"
    _nothing_open_in_what_ended(database)


def _nothing_open_in_what_ended(database: Database) -> None:
    """What follows from an act follows in the year as in the product: a plan that ends takes its open work along."""
    with database.read() as tx:
        items = [item for _, item in work_items.scan(tx, VIEWER, limit=5000)]
        ended = {item.ref for item in items if item.kind == "plan" and item.fhir_status == "revoked"}
        left = [item.ref for item in items if item.kind == "task" and item.open and item.plan in ended]
        assert ended
        assert left == []
        assert all(one.deleted is False for one in resources.find_many(tx, VIEWER, sorted(ended)).values())
